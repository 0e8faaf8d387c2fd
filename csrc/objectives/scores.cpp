#include "objectives/scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/scores.hpp"
#include "backend/cpu/tiles.hpp"
#include "base/parallel.hpp"
#include "objectives/tile.hpp"

namespace eigencontext {
namespace {

using cpu::score_kernels;
using cpu::tile_kernels;
using objectives::ceil_div;

// A tile is at most half a megabyte, so that it stays in the L2 cache between the product that makes it and those that
// use it; of few rows there are several tiles, by shape alone.
template <class T>
struct TileShape {
  static constexpr Index max_rows = 256, max_cols = 512 * sizeof(float) / sizeof(T), stride = max_cols + 64 / sizeof(T);
  Index rows, cols;
  TileShape(Index n, Index m) : rows(side(n, max_rows)), cols(side(m, max_cols)) {}
  static Index side(Index n, Index largest) {
    return std::clamp(ceil_div(ceil_div(n, 16), 64) * 64, Index{64}, largest);
  }
};

// Exponents that differ by this much may share one reference: no sum or factor leaves float32.
constexpr double shared_range = 60;

// Rows as BLAS reads them: where they are, or packed.
template <class T>
class Rows {
 public:
  explicit Rows(MatrixView<const T> X) : block_{X.data, X.rows, X.cols, X.row_stride} {
    if (X.col_stride == 1 && (X.row_stride >= X.cols || X.rows <= 1)) return;
    packed_ = Buffer<T>(X.rows * X.cols);
    parallel_for(ceil_div(X.rows, 256), [&](Index chunk, int) {
      for (Index i = chunk * 256; i < std::min(X.rows, chunk * 256 + 256); ++i)
        for (Index j = 0; j < X.cols; ++j) packed_[i * X.cols + j] = X(i, j);
    });
    block_ = {packed_.data(), X.rows, X.cols, X.cols};
  }
  Block<const T> range(Index begin, Index count) const { return block_.row_range(begin, count); }

 private:
  Buffer<T> packed_;
  Block<const T> block_;
};

template <class T>
struct Tile {
  Index i0, j0;
  Block<T> z;
  Block<const T> phi, psi;
  Index shift;  // the pair of the tile's row i is its column i + shift
};

// body(tile, worker) for every tile of scores.
template <class T, class Body>
void for_tiles(const ScoreRows<T>& s, const Body& body) {
  const TileShape<T> shape(s.phi.rows, s.psi.rows);
  const Index n = s.phi.rows, m = s.psi.rows, size = shape.rows * TileShape<T>::stride;
  const Index rows = ceil_div(n, shape.rows), cols = ceil_div(m, shape.cols), rounds = std::max(rows, cols);
  const Rows<T> phi(s.phi), psi(s.psi);
  Buffer<T> room(num_threads() * size);
  for (Index round = 0; round < rounds; ++round)
    parallel_for(rows, [&](Index I, int worker) {
      const Index J = (I + round) % rounds;
      if (J >= cols) return;
      const Index i0 = I * shape.rows, ni = std::min(shape.rows, n - i0);
      const Index j0 = J * shape.cols, nj = std::min(shape.cols, m - j0);
      const Block<const T> a = phi.range(i0, ni), b = psi.range(j0, nj);
      const Block<T> z{room.data() + worker * size, ni, nj, TileShape<T>::stride};
      Cpu::tile_scores<T>(static_cast<T>(s.scale), a, b, T(0), z);
      body(Tile<T>{i0, j0, z, a, b, s.phi_begin + i0 - s.psi_begin - j0}, worker);
    });
}

// body(i, j) for the entries of the tile that belong to one input (group = 1: the pairs).
template <class T, class Body>
void for_own(const Tile<T>& t, Index phi_begin, Index group, const Body& body) {
  for (Index i = 0; i < t.z.rows; ++i) {
    const Index place = (phi_begin + t.i0 + i) % group;  // within its input
    const Index begin = std::max<Index>(0, i + t.shift - place);
    const Index end = std::min(t.z.cols, i + t.shift - place + group);
    for (Index j = begin; j < end; ++j) body(i, j);
  }
}

template <class T>
void add_products(const Tile<T>& t, const ScoreOutputs<T>& out) {
  if (out.phi.data) Cpu::tile_multiply<T>(t.z, t.psi, out.phi.row_range(t.i0, t.z.rows));
  if (out.psi.data) Cpu::tile_multiply_transposed<T>(t.z, t.phi, out.psi.row_range(t.j0, t.z.cols));
}

// The memory of one worker for vectors as long as a tile's sides.
template <class T>
struct Sides {
  Buffer<T> zeros{TileShape<T>::max_cols, T(0)}, line{TileShape<T>::max_cols}, cols{TileShape<T>::max_cols, T(0)},
      rows{TileShape<T>::max_rows};
};

template <class T>
std::vector<Sides<T>> sides_for_workers() {
  return std::vector<Sides<T>>(static_cast<std::size_t>(num_threads()));
}

// x_j = exp(min(0, x_j + r + c_j)).
template <class T>
void exponentials(T r, const T* c, T* x, Index n) {
  tile_kernels<T>().exponents(r, c, x, n);
  Cpu::exp<T>(x, n);
}

void raise(LogSums s, Index i, double top) {
  if (!(top > s.top[i])) return;
  s.sum[i] *= std::exp(s.top[i] - top);
  s.top[i] = top;
}

double lowest(const double* x, Index n) { return *std::min_element(x, x + n); }
double highest(const double* x, Index n) { return *std::max_element(x, x + n); }

template <class T>
void add_log_sums(const Tile<T>& t, LogSums phi, LogSums psi, Sides<T>& s) {
  const auto& kernels = score_kernels<T>();
  const Index ni = t.z.rows, nj = t.z.cols;
  std::fill_n(s.cols.data(), nj, -std::numeric_limits<T>::infinity());
  for (Index i = 0; i < ni; ++i) s.rows[i] = kernels.maxima(t.z.row(i), nj, s.cols.data());
  for (Index i = 0; i < ni; ++i) raise(phi, t.i0 + i, static_cast<double>(s.rows[i]));
  for (Index j = 0; j < nj; ++j) raise(psi, t.j0 + j, static_cast<double>(s.cols[j]));
  const T top = *std::max_element(s.rows.data(), s.rows.data() + ni);
  const double low = std::min(lowest(phi.top + t.i0, ni), lowest(psi.top + t.j0, nj));
  const bool shared = static_cast<double>(top) - low <= shared_range;
  std::fill_n(s.cols.data(), nj, T(0));
  // One exponential an entry where all rows and columns can share its reference, else one for each.
  for (Index i = 0; i < ni; ++i) {
    T* z = t.z.row(i);
    const double own = phi.top[t.i0 + i];
    if (shared) {
      exponentials(-top, s.zeros.data(), z, nj);
      phi.sum[t.i0 + i] +=
          static_cast<double>(kernels.sums(z, nj, s.cols.data())) * std::exp(static_cast<double>(top) - own);
      continue;
    }
    std::copy_n(z, nj, s.line.data());
    exponentials(static_cast<T>(-own), s.zeros.data(), s.line.data(), nj);
    for (Index j = 0; j < nj; ++j) z[j] -= static_cast<T>(psi.top[t.j0 + j]);
    exponentials(T(0), s.zeros.data(), z, nj);
    kernels.sums(z, nj, s.cols.data());
    T unused[TileShape<T>::max_cols] = {};
    phi.sum[t.i0 + i] += static_cast<double>(kernels.sums(s.line.data(), nj, unused));
  }
  for (Index j = 0; j < nj; ++j)
    psi.sum[t.j0 + j] +=
        static_cast<double>(s.cols[j]) * (shared ? std::exp(static_cast<double>(top) - psi.top[t.j0 + j]) : 1.0);
}

// The tile's scores become exp(z - l_i) + exp(z - m_j).
template <class T>
void softmax(const Tile<T>& t, const double* l, const double* m, Sides<T>& s) {
  const Index ni = t.z.rows, nj = t.z.cols;
  const T top = static_cast<T>(std::max(highest(l, ni), highest(m, nj)));
  const bool shared = static_cast<double>(top) - std::min(lowest(l, ni), lowest(m, nj)) <= shared_range;
  for (Index j = 0; j < nj; ++j) s.cols[j] = static_cast<T>(shared ? std::exp(static_cast<double>(top) - m[j]) : -m[j]);
  for (Index i = 0; i < ni; ++i) {
    T* z = t.z.row(i);
    if (shared) {
      exponentials(-top, s.zeros.data(), z, nj);
      score_kernels<T>().weigh(static_cast<T>(std::exp(static_cast<double>(top) - l[i])), s.cols.data(), z, nj);
      continue;
    }
    std::copy_n(z, nj, s.line.data());
    exponentials(T(0), s.cols.data(), s.line.data(), nj);
    exponentials(static_cast<T>(-l[i]), s.zeros.data(), z, nj);
    for (Index j = 0; j < nj; ++j) z[j] += s.line[j];
  }
}

// Sums of the tiles, added up in the order of the tiles.
template <class Sums>
class TileSums {
 public:
  template <class T>
  explicit TileSums(const ScoreRows<T>& s)
      : shape_rows_(TileShape<T>(s.phi.rows, s.psi.rows).rows),
        shape_cols_(TileShape<T>(s.phi.rows, s.psi.rows).cols),
        cols_(ceil_div(s.psi.rows, shape_cols_)),
        sums_(static_cast<std::size_t>(ceil_div(s.phi.rows, shape_rows_) * cols_)) {}
  template <class T>
  Sums& of(const Tile<T>& t) {
    return sums_[static_cast<std::size_t>(t.i0 / shape_rows_ * cols_ + t.j0 / shape_cols_)];
  }
  auto begin() const { return sums_.begin(); }
  auto end() const { return sums_.end(); }

 private:
  Index shape_rows_, shape_cols_, cols_;
  std::vector<Sums> sums_;
};

}  // namespace

template <class T>
void log_sums(const ScoreRows<T>& rows, LogSums of_phi, LogSums of_psi, double* pair) {
  auto sides = sides_for_workers<T>();
  for_tiles(rows, [&](const Tile<T>& t, int worker) {
    for_own(t, rows.phi_begin, 1, [&](Index i, Index j) { pair[t.i0 + i] = static_cast<double>(t.z(i, j)); });
    add_log_sums(t, of_phi, of_psi, sides[static_cast<std::size_t>(worker)]);
  });
}

template <class T>
double largest_score(const ScoreRows<T>& rows, bool own) {
  auto sides = sides_for_workers<T>();
  TileSums<double> tops(rows);
  for_tiles(rows, [&](const Tile<T>& t, int worker) {
    T top = -std::numeric_limits<T>::infinity();
    if (!own) for_own(t, rows.phi_begin, 1, [&](Index i, Index j) { t.z(i, j) = top; });
    for (Index i = 0; i < t.z.rows; ++i)
      top = std::max(
          top, score_kernels<T>().maxima(t.z.row(i), t.z.cols, sides[static_cast<std::size_t>(worker)].cols.data()));
    tops.of(t) = static_cast<double>(top);
  });
  return *std::max_element(tops.begin(), tops.end());
}

template <class T>
void softmax_products(const ScoreRows<T>& rows, const double* phi_log_sums, const double* psi_log_sums,
                      ScoreOutputs<T> out) {
  auto sides = sides_for_workers<T>();
  for_tiles(rows, [&](const Tile<T>& t, int worker) {
    softmax(t, phi_log_sums + t.i0, psi_log_sums + t.j0, sides[static_cast<std::size_t>(worker)]);
    for_own(t, rows.phi_begin, 1, [&](Index i, Index j) { t.z(i, j) -= T(2); });
    add_products(t, out);
  });
}

template <class T>
SigmoidSums sigmoid_products(const ScoreRows<T>& rows, double bias, ScoreOutputs<T> out) {
  auto sides = sides_for_workers<T>();
  TileSums<SigmoidSums> sums(rows);
  for_tiles(rows, [&](const Tile<T>& t, int worker) {
    Sides<T>& s = sides[static_cast<std::size_t>(worker)];
    SigmoidSums& sum = sums.of(t);
    const auto& kernels = score_kernels<T>();
    for_own(t, rows.phi_begin, 1,
            [&](Index i, Index j) { sum.loss -= static_cast<double>(t.z(i, j) + static_cast<T>(bias)); });
    for_own(t, rows.phi_begin, 1, [&](Index i, Index j) { s.rows[i] = t.z(i, j) + static_cast<T>(bias); });
    for (Index i = 0; i < t.z.rows; ++i) {
      kernels.magnitudes(static_cast<T>(bias), t.z.row(i), s.line.data(), t.z.cols);
      Cpu::exp<T>(s.line.data(), t.z.cols);
      double positive = 0;
      sum.loss += std::log(kernels.sigmoid(s.line.data(), t.z.row(i), t.z.cols, &positive));
      sum.loss += positive;
    }
    for_own(t, rows.phi_begin, 1, [&](Index i, Index j) {  // sigmoid(z) - 1, without cancellation
      t.z(i, j) = static_cast<T>(-1 / (1 + std::exp(static_cast<double>(s.rows[i]))));
    });
    for (Index i = 0; i < t.z.rows; ++i)
      sum.gradient += static_cast<double>(kernels.sums(t.z.row(i), t.z.cols, s.cols.data()));
    add_products(t, out);
  });
  SigmoidSums total;
  for (const SigmoidSums& sum : sums) {
    total.loss += sum.loss;
    total.gradient += sum.gradient;
  }
  return total;
}

template <class T>
ExponentialSums exponential_products(const ScoreRows<T>& rows, const ExponentialOptions& options, ScoreOutputs<T> out,
                                     double* phi_sums, double* psi_sums) {
  auto sides = sides_for_workers<T>();
  TileSums<ExponentialSums> sums(rows);
  for_tiles(rows, [&](const Tile<T>& t, int worker) {
    Sides<T>& s = sides[static_cast<std::size_t>(worker)];
    ExponentialSums& sum = sums.of(t);
    const double *r = options.phi_offsets, *c = options.psi_offsets;
    for (Index j = 0; c && j < t.z.cols; ++j) s.cols[j] = static_cast<T>(c[t.j0 + j]);
    // f of the pairs, whose squares may vanish where they do not; not yet in the tile, whose sums are those of w.
    std::vector<double> own;
    for_own(t, rows.phi_begin, options.group, [&](Index i, Index j) {
      const double z = static_cast<double>(t.z(i, j));
      const double exponent = r ? std::min(0.0, z + r[t.i0 + i] + c[t.j0 + j]) : z;
      own.push_back(!options.own && j == i + t.shift ? 0.0 : std::exp(0.5 * exponent));
    });
    for (Index i = 0; i < t.z.rows; ++i) {
      if (r) tile_kernels<T>().exponents(static_cast<T>(r[t.i0 + i]), s.cols.data(), t.z.row(i), t.z.cols);
      Cpu::exp<T>(t.z.row(i), t.z.cols);
    }
    for_own(t, rows.phi_begin, options.group, [&](Index i, Index j) { t.z(i, j) = T(0); });
    std::fill_n(s.cols.data(), t.z.cols, T(0));
    for (Index i = 0; i < t.z.rows; ++i) {
      const double row = static_cast<double>(score_kernels<T>().sums(t.z.row(i), t.z.cols, s.cols.data()));
      sum.others += row;
      if (phi_sums) phi_sums[t.i0 + i] += row;
    }
    for (Index j = 0; psi_sums && j < t.z.cols; ++j) psi_sums[t.j0 + j] += static_cast<double>(s.cols[j]);
    auto f = own.begin();
    for_own(t, rows.phi_begin, options.group, [&](Index i, Index j) {
      const double g = -options.pair_factor * *f;
      sum.pairs += *f++;
      t.z(i, j) = static_cast<T>(g);
      if (phi_sums) phi_sums[t.i0 + i] += g;
      if (psi_sums) psi_sums[t.j0 + j] += g;
    });
    add_products(t, out);
  });
  ExponentialSums total;
  for (const ExponentialSums& sum : sums) {
    total.pairs += sum.pairs;
    total.others += sum.others;
  }
  return total;
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                                                 \
  template void log_sums<T>(const ScoreRows<T>&, LogSums, LogSums, double*);                                        \
  template double largest_score<T>(const ScoreRows<T>&, bool);                                                      \
  template void softmax_products<T>(const ScoreRows<T>&, const double*, const double*, ScoreOutputs<T>);            \
  template SigmoidSums sigmoid_products<T>(const ScoreRows<T>&, double, ScoreOutputs<T>);                           \
  template ExponentialSums exponential_products<T>(const ScoreRows<T>&, const ExponentialOptions&, ScoreOutputs<T>, \
                                                   double*, double*);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
