// The pairwise losses on a CUDA device: square tiles of scores, made, mapped and used while they are in the L2
// cache. One stream does all of it, so sums have one order.
#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "objectives/scores.hpp"

namespace eigencontext {
namespace {

template <class T>
using Array = cuda::Array<T>;

// Rows as cuBLAS reads them: where they are, or packed.
template <class T>
class Rows {
 public:
  explicit Rows(MatrixView<const T> X) : block_{X.data, X.rows, X.cols, X.row_stride} {
    if (X.col_stride == 1 && (X.row_stride >= X.cols || X.rows <= 1)) return;
    packed_ = Array<T>(X.rows, X.cols);
    cuda::pack_points<T, T>(X, nullptr, 1, nullptr, packed_.view());
    block_ = packed_.view();
  }
  Block<const T> range(Index begin, Index count) const { return block_.row_range(begin, count); }

 private:
  Array<T> packed_;
  Block<const T> block_;
};

// A vector of the host for the time of a sweep; null: there is none.
class Vector {
 public:
  Vector(const double* values, Index size) : size_(values ? size : 0) {
    if (values) memory_ = cuda::Memory<double>::from_host(values, size);
  }
  double* at(Index i) { return size_ > 0 ? memory_.data() + i : nullptr; }
  void to(double* values) const { memory_.to_host(values); }
  double sum() const {
    std::vector<double> values(static_cast<std::size_t>(size_));
    to(values.data());
    return std::accumulate(values.begin(), values.end(), 0.0);
  }

 private:
  Index size_;
  cuda::Memory<double> memory_;
};

template <class T>
struct Tile {
  Index i0, j0, shift;  // the pair of the tile's row i is its column i + shift
  Block<T> z;
  Block<const T> phi, psi;
};

// Every tile; of one side against itself, where each pair of tiles is to be made once, those not below the diagonal.
template <class T, class Body>
void for_tiles(const ScoreRows<T>& s, const Body& body, bool once = false) {
  const Index n = s.phi.rows, m = s.psi.rows, side = cuda::tile_side;
  const Rows<T> phi(s.phi), psi(s.psi);
  Array<T> room(std::min(n, side), std::min(m, side));
  for (Index i = 0; i < n; i += side)
    for (Index j = once ? i : 0; j < m; j += side) {
      const Block<const T> a = phi.range(i, std::min(side, n - i)), b = psi.range(j, std::min(side, m - j));
      const Block<T> z{room.data(), a.rows, b.rows, b.rows};
      cuda::tile_scores<T>(static_cast<T>(s.scale), a, b, z);
      body(Tile<T>{i, j, s.phi_begin + i - s.psi_begin - j, z, a, b});
    }
}

template <class T>
void add_products(const Tile<T>& t, const ScoreOutputs<T>& out) {
  if (out.phi.data) cuda::tile_multiply<T>(t.z, t.psi, 1, out.phi.row_range(t.i0, t.z.rows));
  if (out.psi.data) cuda::tile_multiply_transposed<T>(t.z, t.phi, 1, out.psi.row_range(t.j0, t.z.cols));
}

}  // namespace

template <class T>
void log_sums(const ScoreRows<T>& rows, LogSums of_phi, LogSums of_psi, double* pair) {
  const Index n = rows.phi.rows, m = rows.psi.rows;
  Vector phi_top(of_phi.top, n), phi_sum(of_phi.sum, n), psi_top(of_psi.top, m), psi_sum(of_psi.sum, m), own(pair, n);
  for_tiles(rows, [&](const Tile<T>& t) {
    cuda::pick_pairs<T>(t.z, t.shift, own.at(t.i0));
    cuda::raise_log_sums<T>(t.z, phi_top.at(t.i0), phi_sum.at(t.i0), psi_top.at(t.j0), psi_sum.at(t.j0));
  });
  phi_top.to(of_phi.top);
  phi_sum.to(of_phi.sum);
  psi_top.to(of_psi.top);
  psi_sum.to(of_psi.sum);
  own.to(pair);
}

template <class T>
void softmax_products(const ScoreRows<T>& rows, const double* phi_log_sums, const double* psi_log_sums,
                      SampleWeights weights, ScoreOutputs<T> out) {
  const Index n = rows.phi.rows, m = rows.psi.rows;
  Vector l(phi_log_sums, n), k(psi_log_sums, m), w(weights.phi, n), v(weights.psi, m);
  for_tiles(rows, [&](const Tile<T>& t) {
    cuda::map_softmaxes<T>(l.at(t.i0), k.at(t.j0), w.at(t.i0), v.at(t.j0), t.shift, t.z);
    add_products(t, out);
  });
  cuda::synchronize();
}

template <class T>
SigmoidSums sigmoid_products(const ScoreRows<T>& rows, double bias, SampleWeights weights, ScoreOutputs<T> out) {
  const Index n = rows.phi.rows;
  const std::vector<double> zeros(static_cast<std::size_t>(n));
  Vector w(weights.phi, n), v(weights.psi, rows.psi.rows), losses(zeros.data(), n), gradients(zeros.data(), n);
  for_tiles(rows, [&](const Tile<T>& t) {
    cuda::map_sigmoids<T>(bias, w.at(t.i0), v.at(t.j0), t.shift, losses.at(t.i0), gradients.at(t.i0), t.z);
    add_products(t, out);
  });
  return {losses.sum(), gradients.sum()};
}

template <class T>
double largest_score(const ScoreRows<T>& rows, bool own) {
  std::vector<double> values(static_cast<std::size_t>(rows.phi.rows), -std::numeric_limits<double>::infinity());
  Vector tops(values.data(), rows.phi.rows);
  for_tiles(rows, [&](const Tile<T>& t) { cuda::raise_tops<T>(t.z, t.shift, own, tops.at(t.i0)); });
  tops.to(values.data());
  return *std::max_element(values.begin(), values.end());
}

template <class T>
ExponentialSums exponential_products(const ScoreRows<T>& rows, const ExponentialOptions& options, ScoreOutputs<T> out,
                                     double* phi_sums, double* psi_sums) {
  const Index n = rows.phi.rows, m = rows.psi.rows;
  const std::vector<double> zeros(static_cast<std::size_t>(n));
  Vector r(options.phi_offsets, n), c(options.psi_offsets, m), w(options.weights, n), of_phi(phi_sums, n),
      of_psi(psi_sums, m), pairs(zeros.data(), n), others(zeros.data(), n);
  const bool once = options.same && rows.phi_begin == rows.psi_begin;
  const auto add = [&](const Tile<T>& t) {
    const bool both = once && t.i0 != t.j0;  // its transpose is not made
    cuda::map_exponentials<T>(r.at(t.i0), c.at(t.j0), (rows.phi_begin + t.i0) % options.group, options.group, t.shift,
                              options.same, options.pair_factor, w.at(t.i0), both ? 2 : 1, pairs.at(t.i0),
                              others.at(t.i0), of_phi.at(t.i0), t.z);
    double* const sums = once ? both ? of_phi.at(t.j0) : nullptr : of_psi.at(t.j0);
    if (sums) cuda::add_column_sums<T>(t.z, sums);
    add_products(t, {out.phi, once ? both ? out.phi : Block<T>{} : out.psi});
  };
  for_tiles(rows, add, once);
  of_phi.to(phi_sums);
  of_psi.to(psi_sums);
  return {pairs.sum(), others.sum()};
}

EIGENCONTEXT_INSTANTIATE_SCORES(float)
EIGENCONTEXT_INSTANTIATE_SCORES(double)

}  // namespace eigencontext
