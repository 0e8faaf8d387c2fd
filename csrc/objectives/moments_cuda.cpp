// Sums over rows on a CUDA device: products of float64 by the backend, a chunk of rows at a time, added on the host in
// the order of the chunks.
#include <numeric>

#include "objectives/chunks_cuda.hpp"
#include "objectives/moments.hpp"

namespace eigencontext {
namespace {

using namespace objectives;
using Rows = Block<const double>;

// total += X^T Y.
void add_gram(Rows X, Rows Y, std::vector<double>& total) {
  std::vector<double> part(static_cast<std::size_t>(X.cols * Y.cols));
  Cuda::gram<double>(X, Y, part.data());
  total.resize(part.size());
  for (std::size_t i = 0; i < part.size(); ++i) total[i] += part[i];
}

void add_squares(Rows X, std::vector<double>& total) {
  std::vector<double> part(static_cast<std::size_t>(X.cols));
  Cuda::column_squares<double>(X, part.data());
  total.resize(part.size());
  for (std::size_t i = 0; i < part.size(); ++i) total[i] += part[i];
}

template <class T>
std::vector<double> mean_of(MatrixView<const T> X) {
  std::vector<double> mean(static_cast<std::size_t>(X.cols));
  Cuda::to_host<double>(cuda::column_means<T>(X).view(), mean.data());
  return mean;
}

// The sums over pairs of columns of b and c; `room` is as large as these.
void add_pairs(Rows w, Rows b, Rows c, Block<double> room, Moments& m) {
  add_gram(w, b, m.weighted_phi);
  add_gram(w, c, m.weighted_psi);
  cuda::multiply_elements(1, b, c, 0, room);
  add_gram(w, room, m.products);
  Cuda::add<double>(1, b, 0, room);
  Cuda::add<double>(-1, c, 1, room);
  cuda::multiply_elements(1, room, room, 0, room);
  add_gram(w, room, m.differences);
}

}  // namespace

template <class T>
Moments moments(MatrixView<const T> Phi, MatrixView<const T> Psi, const double* weights, unsigned flags) {
  const Index n = Phi.rows, p = Phi.cols, q = Psi.cols, chunk = chunk_rows(n, 2 * p + q);
  Moments m;
  m.mean_phi = mean_of(Phi);
  m.mean_psi = mean_of(Psi);
  if (flags == 0) return m;
  const bool pairs = (flags & moment_pairs) != 0;
  Side<T> phi(Phi, m.mean_phi.data(), chunk), psi(Psi, m.mean_psi.data(), chunk);
  const Weights w(weights, n, chunk);
  Array<double> room(pairs ? chunk : 0, p);
  for_chunks(n, chunk, [&](Index begin, Index count) {
    const Rows b = phi.load(begin, count), c = psi.load(begin, count);
    if (flags & moment_pp) add_gram(b, b, m.pp);
    if (flags & moment_pq) add_gram(b, c, m.pq);
    if (flags & moment_qq) add_gram(c, c, m.qq);
    if (flags & moment_squares) {
      add_squares(b, m.squares_phi);
      add_squares(c, m.squares_psi);
    }
    if (pairs) add_pairs(w.of(begin, count), b, c, room.view().row_range(0, count), m);
  });
  if (pairs) m.weight = weights ? std::accumulate(weights, weights + n, 0.0) : static_cast<double>(n);
  return m;
}

template <class T>
DiagonalSums diagonal_sums(MatrixView<const T> Phi, const double* mean_phi, MatrixView<const T> Psi,
                           const double* mean_psi, Levels levels) {
  const Index n = Phi.rows, d = Phi.cols, chunk = chunk_rows(n, 4 * d);
  const auto size = static_cast<std::size_t>(d);
  DiagonalSums s{std::vector<double>(levels.weights ? size : 1), std::vector<double>(size), std::vector<double>(size)};
  Side<T> phi(Phi, mean_phi, chunk), psi(Psi, mean_psi, chunk);
  const Weights ones(nullptr, n, chunk);
  Array<double> t(chunk, 1), E(chunk, d), Y, M, U;
  if (levels.weights) {
    M = uploaded(level_matrix(levels, d).data(), d, d);
    U = uploaded(level_matrix({levels.weights, false}, d).data(), d, d);
    Y = Array<double>(chunk, d);
  }
  for_chunks(n, chunk, [&](Index begin, Index count) {
    const Rows b = phi.load(begin, count), c = psi.load(begin, count);
    const Block<double> dots = t.view().row_range(0, count), e = E.view().row_range(0, count);
    if (!levels.weights) {
      cuda::row_dots(b, c, dots.data);
      add_gram(dots, dots, s.squares);
      if (!mean_phi) return;
      add_gram(dots, b, s.phi);
      return add_gram(dots, c, s.psi);
    }
    const Block<double> y = Y.view().row_range(0, count);
    const Rows one = ones.of(begin, count);
    cuda::multiply_elements(1, b, c, 0, e);
    cuda::tile_multiply<double>(e, U.view(), 0, y);  // running sums
    add_squares(y, s.squares);
    if (!mean_phi) return;
    cuda::tile_multiply<double>(e, M.view(), 0, y);
    cuda::multiply_elements(1, y, b, 0, e);
    add_gram(one, e, s.phi);
    cuda::multiply_elements(1, y, c, 0, e);
    add_gram(one, e, s.psi);
  });
  return s;
}

template <class T>
ViewSums view_sums(Views<const T> A, const double* weights) {
  const Index n = A.inputs, chunk = chunk_rows(n, A.views * A.cols);
  ViewRows<T> views(A, chunk);
  const Weights w(weights, n, chunk);
  Array<double> t(chunk, 1);
  std::vector<double> pairs(1), squares(1), own(1);
  for_chunks(n, chunk, [&](Index begin, Index count) {
    views.load(begin, count);
    const Block<double> dots = t.view().row_range(0, count);
    for (Index j = 0; j < A.views; ++j)
      for (Index k = j; k < A.views; ++k) {
        cuda::row_dots(views.of(j), views.of(k), dots.data);
        if (k > j) add_gram(w.of(begin, count), dots, pairs);
        add_gram(dots, dots, k > j ? squares : own);
      }
  });
  const double weight = weights ? std::accumulate(weights, weights + n, 0.0) : static_cast<double>(n);
  return {weight, 2 * pairs[0], 2 * squares[0] + own[0]};
}

EIGENCONTEXT_INSTANTIATE_MOMENTS(float)
EIGENCONTEXT_INSTANTIATE_MOMENTS(double)

}  // namespace eigencontext
