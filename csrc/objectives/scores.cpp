#include "objectives/scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
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
  static constexpr Index max_square = 384 * sizeof(float) / sizeof(T);
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

// Makes a tile of scores and hands it over: body(tile, worker).
template <class T>
class Tiles {
 public:
  Tiles(const ScoreRows<T>& s, Index rows, Index cols)
      : s_(s), rows_(rows), cols_(cols), phi_(s.phi), psi_(s.psi), room_(num_threads() * size()) {}
  Index down() const { return ceil_div(s_.phi.rows, rows_); }
  Index across() const { return ceil_div(s_.psi.rows, cols_); }

  template <class Body>
  void make(Index I, Index J, int worker, const Body& body) {
    const Index i0 = I * rows_, j0 = J * cols_;
    const Block<const T> a = phi_.range(i0, std::min(rows_, s_.phi.rows - i0));
    const Block<const T> b = psi_.range(j0, std::min(cols_, s_.psi.rows - j0));
    const Block<T> z{room_.data() + worker * size(), a.rows, b.rows, TileShape<T>::stride};
    Cpu::tile_scores<T>(static_cast<T>(s_.scale), a, b, T(0), z);
    body(Tile<T>{i0, j0, z, a, b, s_.phi_begin + i0 - s_.psi_begin - j0}, worker);
  }

 private:
  Index size() const { return rows_ * TileShape<T>::stride; }
  const ScoreRows<T>& s_;
  Index rows_, cols_;
  Rows<T> phi_, psi_;
  Buffer<T> room_;
};

// Every tile of scores.
template <class T, class Body>
void for_tiles(const ScoreRows<T>& s, const Body& body) {
  const TileShape<T> shape(s.phi.rows, s.psi.rows);
  Tiles<T> tiles(s, shape.rows, shape.cols);
  const Index rounds = std::max(tiles.down(), tiles.across());
  for (Index round = 0; round < rounds; ++round)
    parallel_for(tiles.down(), [&](Index I, int worker) {
      const Index J = (I + round) % rounds;
      if (J < tiles.across()) tiles.make(I, J, worker, body);
    });
}

// The rows of one side against themselves: the tiles I <= J alone. In round r block I meets the block J with I + J = r
// modulo their number, so again no two threads write one block.
template <class T, class Body>
void for_symmetric_tiles(const ScoreRows<T>& s, const Body& body) {
  const Index rows = TileShape<T>::side(s.phi.rows, TileShape<T>::max_square);
  Tiles<T> tiles(s, rows, rows);
  const Index blocks = tiles.down();
  for (Index round = 0; round < blocks; ++round)
    parallel_for(blocks, [&](Index I, int worker) {
      const Index J = (round - I + blocks) % blocks;
      if (I <= J) tiles.make(I, J, worker, body);
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

// The tile's scores become w_i exp(z - l_i) + w_j exp(z - m_j).
template <class T>
void softmax(const Tile<T>& t, const double* l, const double* m, SampleWeights w, Sides<T>& s) {
  const Index ni = t.z.rows, nj = t.z.cols;
  const T top = static_cast<T>(std::max(highest(l, ni), highest(m, nj)));
  const bool shared = static_cast<double>(top) - std::min(lowest(l, ni), lowest(m, nj)) <= shared_range;
  const auto row_weight = [&](Index i) { return w.phi ? w.phi[t.i0 + i] : 1.0; };
  const auto col_weight = [&](Index j) { return w.psi ? w.psi[t.j0 + j] : 1.0; };
  for (Index j = 0; j < nj; ++j)
    s.cols[j] = static_cast<T>(shared ? col_weight(j) * std::exp(static_cast<double>(top) - m[j]) : -m[j]);
  for (Index i = 0; i < ni; ++i) {
    T* z = t.z.row(i);
    if (shared) {
      exponentials(-top, s.zeros.data(), z, nj);
      const double u = row_weight(i) * std::exp(static_cast<double>(top) - l[i]);
      score_kernels<T>().weigh(static_cast<T>(u), s.cols.data(), z, nj);
      continue;
    }
    std::copy_n(z, nj, s.line.data());
    exponentials(T(0), s.cols.data(), s.line.data(), nj);
    exponentials(static_cast<T>(-l[i]), s.zeros.data(), z, nj);
    const T u = static_cast<T>(row_weight(i));
    for (Index j = 0; j < nj; ++j) z[j] = u * z[j] + static_cast<T>(col_weight(j)) * s.line[j];
  }
}

// Sums of the tiles, added up in the order of the tiles.
template <class Sums>
class TileSums {
 public:
  TileSums(Index rows, Index cols, Index tile_rows, Index tile_cols)
      : tile_rows_(tile_rows),
        tile_cols_(tile_cols),
        across_(ceil_div(cols, tile_cols)),
        sums_(static_cast<std::size_t>(ceil_div(rows, tile_rows) * across_)) {}
  template <class T>
  static TileSums of_all(const ScoreRows<T>& s) {
    const TileShape<T> shape(s.phi.rows, s.psi.rows);
    return {s.phi.rows, s.psi.rows, shape.rows, shape.cols};
  }
  template <class T>
  Sums& of(const Tile<T>& t) {
    return sums_[static_cast<std::size_t>(t.i0 / tile_rows_ * across_ + t.j0 / tile_cols_)];
  }
  auto begin() const { return sums_.begin(); }
  auto end() const { return sums_.end(); }

 private:
  Index tile_rows_, tile_cols_, across_;
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
  auto tops = TileSums<double>::of_all(rows);
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
                      SampleWeights weights, ScoreOutputs<T> out) {
  auto sides = sides_for_workers<T>();
  for_tiles(rows, [&](const Tile<T>& t, int worker) {
    softmax(t, phi_log_sums + t.i0, psi_log_sums + t.j0, weights, sides[static_cast<std::size_t>(worker)]);
    for_own(t, rows.phi_begin, 1,
            [&](Index i, Index j) { t.z(i, j) -= static_cast<T>(weights.phi ? 2 * weights.phi[t.i0 + i] : 2.0); });
    add_products(t, out);
  });
}

namespace {

// The losses log(1 + exp(z)) of a tile's rows, weighted by sample: half of a row's by the row's, half of each column's
// by the column's. Products of 1 + exp(-|z|) stand for their logarithms; a tile has few enough rows.
template <class T>
class WeightedLosses {
 public:
  WeightedLosses(const Tile<T>& t, SampleWeights w)
      : row_(w.phi + t.i0), col_(w.psi + t.j0), product_(t.z.cols, 1.0), positive_(t.z.cols, 0.0) {
    for (Index j = 0; j < t.z.cols; ++j) cols_.push_back(static_cast<T>(0.5 * col_[j]));
  }
  void add(const T* e, const T* z) {
    for (Index j = 0; j < product_.size(); ++j) {
      product_[j] *= 1 + static_cast<double>(e[j]);
      positive_[j] += static_cast<double>(std::max(T(0), z[j]));
    }
  }
  double of_row(Index i, double loss) const { return 0.5 * row_[i] * loss; }
  double of_columns() const {
    double sum = 0;
    for (Index j = 0; j < product_.size(); ++j) sum += 0.5 * col_[j] * (std::log(product_[j]) + positive_[j]);
    return sum;
  }
  void weigh(Index i, T* z) const {
    score_kernels<T>().weigh(static_cast<T>(0.5 * row_[i]), cols_.data(), z, product_.size());
  }

 private:
  const double *row_, *col_;
  Buffer<double> product_, positive_;
  std::vector<T> cols_;
};

template <class T>
void add_sigmoids(const Tile<T>& t, T bias, Index phi_begin, SampleWeights w, SigmoidSums& sum, Sides<T>& s) {
  const auto& kernels = score_kernels<T>();
  std::optional<WeightedLosses<T>> weighted;
  if (w.phi) weighted.emplace(t, w);
  for_own(t, phi_begin, 1, [&](Index i, Index j) {
    s.rows[i] = t.z(i, j) + bias;
    sum.loss -= static_cast<double>(s.rows[i]) * (w.phi ? w.phi[t.i0 + i] : 1.0);
  });
  for (Index i = 0; i < t.z.rows; ++i) {
    kernels.magnitudes(bias, t.z.row(i), s.line.data(), t.z.cols);
    Cpu::exp<T>(s.line.data(), t.z.cols);
    if (weighted) weighted->add(s.line.data(), t.z.row(i));
    double positive = 0;
    const double loss = std::log(kernels.sigmoid(s.line.data(), t.z.row(i), t.z.cols, &positive)) + positive;
    sum.loss += weighted ? weighted->of_row(i, loss) : loss;
  }
  if (weighted) sum.loss += weighted->of_columns();
  for_own(t, phi_begin, 1, [&](Index i, Index j) {  // sigmoid(z) - 1, without cancellation
    t.z(i, j) = static_cast<T>(-1 / (1 + std::exp(static_cast<double>(s.rows[i]))));
  });
  for (Index i = 0; i < t.z.rows; ++i) {
    if (weighted) weighted->weigh(i, t.z.row(i));
    sum.gradient += static_cast<double>(kernels.sums(t.z.row(i), t.z.cols, s.cols.data()));
  }
}

}  // namespace

template <class T>
SigmoidSums sigmoid_products(const ScoreRows<T>& rows, double bias, SampleWeights weights, ScoreOutputs<T> out) {
  auto sides = sides_for_workers<T>();
  auto sums = TileSums<SigmoidSums>::of_all(rows);
  for_tiles(rows, [&](const Tile<T>& t, int worker) {
    add_sigmoids(t, static_cast<T>(bias), rows.phi_begin, weights, sums.of(t), sides[static_cast<std::size_t>(worker)]);
    add_products(t, out);
  });
  SigmoidSums total;
  for (const SigmoidSums& sum : sums) {
    total.loss += sum.loss;
    total.gradient += sum.gradient;
  }
  return total;
}

namespace {

// One tile of exponential_products: from scores to G, whose sums and products are added.
template <class T>
void add_exponentials(const Tile<T>& t, const ExponentialOptions& options, Index phi_begin, Index group,
                      const ScoreOutputs<T>& out, double* phi_sums, double* psi_sums, ExponentialSums& sum,
                      Sides<T>& s) {
  const double *r = options.phi_offsets, *c = options.psi_offsets;
  for (Index j = 0; c && j < t.z.cols; ++j) s.cols[j] = static_cast<T>(c[t.j0 + j]);
  // f of the pairs, whose squares may vanish where they do not; not yet in the tile, whose sums are those of w.
  std::vector<double> own;
  for_own(t, phi_begin, group, [&](Index i, Index j) {
    const double z = static_cast<double>(t.z(i, j));
    const double exponent = r ? std::min(0.0, z + r[t.i0 + i] + c[t.j0 + j]) : z;
    own.push_back(options.same && j == i + t.shift ? 0.0 : std::exp(0.5 * exponent));
  });
  for (Index i = 0; i < t.z.rows; ++i) {
    if (r) tile_kernels<T>().exponents(static_cast<T>(r[t.i0 + i]), s.cols.data(), t.z.row(i), t.z.cols);
    Cpu::exp<T>(t.z.row(i), t.z.cols);
  }
  for_own(t, phi_begin, group, [&](Index i, Index j) { t.z(i, j) = T(0); });
  std::fill_n(s.cols.data(), t.z.cols, T(0));
  for (Index i = 0; i < t.z.rows; ++i) {
    const double row = static_cast<double>(score_kernels<T>().sums(t.z.row(i), t.z.cols, s.cols.data()));
    sum.others += row;
    if (phi_sums) phi_sums[t.i0 + i] += row;
  }
  for (Index j = 0; psi_sums && j < t.z.cols; ++j) psi_sums[t.j0 + j] += static_cast<double>(s.cols[j]);
  auto f = own.begin();
  for_own(t, phi_begin, group, [&](Index i, Index j) {
    const double w = options.weights ? options.weights[t.i0 + i] : 1.0;
    const double g = -options.pair_factor * w * *f;
    sum.pairs += w * *f++;
    t.z(i, j) = static_cast<T>(g);
    if (phi_sums) phi_sums[t.i0 + i] += g;
    if (psi_sums) psi_sums[t.j0 + j] += g;
  });
  add_products(t, out);
}

}  // namespace

template <class T>
ExponentialSums exponential_products(const ScoreRows<T>& rows, const ExponentialOptions& options, ScoreOutputs<T> out,
                                     double* phi_sums, double* psi_sums) {
  auto sides = sides_for_workers<T>();
  ExponentialSums total;
  const auto add = [&](const ExponentialSums& sum, double times) {
    total.pairs += times * sum.pairs;
    total.others += times * sum.others;
  };
  if (!(options.same && rows.phi_begin == rows.psi_begin)) {
    auto sums = TileSums<ExponentialSums>::of_all(rows);
    for_tiles(rows, [&](const Tile<T>& t, int worker) {
      add_exponentials(t, options, rows.phi_begin, options.group, out, phi_sums, psi_sums, sums.of(t),
                       sides[static_cast<std::size_t>(worker)]);
    });
    for (const ExponentialSums& sum : sums) add(sum, 1);
    return total;
  }
  const Index n = rows.phi.rows, side = TileShape<T>::side(n, TileShape<T>::max_square), blocks = ceil_div(n, side);
  TileSums<ExponentialSums> sums(n, n, side, side);
  for_symmetric_tiles(rows, [&](const Tile<T>& t, int worker) {
    const bool diagonal = t.i0 == t.j0;  // the transpose of any other tile is not made
    add_exponentials(t, options, rows.phi_begin, options.group, {out.phi, diagonal ? Block<T>{} : out.phi}, phi_sums,
                     diagonal ? nullptr : phi_sums, sums.of(t), sides[static_cast<std::size_t>(worker)]);
  });
  Index tile = 0;
  for (const ExponentialSums& sum : sums) {
    add(sum, tile / blocks == tile % blocks ? 1 : 2);
    ++tile;
  }
  return total;
}

EIGENCONTEXT_INSTANTIATE_SCORES(float)
EIGENCONTEXT_INSTANTIATE_SCORES(double)

}  // namespace eigencontext
