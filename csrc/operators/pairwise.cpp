#include "operators/pairwise.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend/cpu/tiles.hpp"
#include "base/errors.hpp"
#include "base/parallel.hpp"
#include "operators/points.hpp"

namespace eigencontext {
namespace {

using Kind = KernelOptions::Kind;
using points::ceil_div;

// A tile is at most tile_rows x tile_cols entries of S: half a megabyte, so that it stays in the L2 cache between the
// product that makes it and the product that uses it.
constexpr Index tile_rows = 256;
template <class S>
constexpr Index tile_cols = 512 * sizeof(float) / sizeof(S);
// A row of a tile is a little longer than its entries: rows at a power of two share cache sets.
template <class S>
constexpr Index tile_stride = tile_cols<S> + 64 / sizeof(S);

// Blocks of about a sixteenth of the points, multiples of 64 (a whole number of panels), by shape alone.
Index block_size(Index n, Index largest) { return std::clamp(ceil_div(ceil_div(n, 16), 64) * 64, Index{64}, largest); }

// A power of two near 1 / h: points in these units lose no bit, and their squares stay in range.
double unit(double h) { return std::ldexp(1.0, std::clamp(-std::ilogb(h), -1022, 1023)); }

// Would a sum of terms of this size lose more than 1e-4 of a unit in T? (Errors follow the terms, not the sum.)
template <class T>
bool cancels(double size) {
  return 2 * std::numeric_limits<T>::epsilon() * size > 1e-4;
}

// Points in the precision S of the scores.
template <class S>
struct Points {
  Index count = 0;
  Buffer<S> rows;     // packed rows of features
  Buffer<S> panels;   // where distances are summed from differences: the same, feature by feature
  Buffer<S> offsets;  // rbf: -|x|^2 / 2 of the scaled, centred points
};

// Tiles that stay in memory between products: those of the first pairs of blocks that a budget holds. Whichever product
// makes such a tile first writes it here; until it is written, others make their own.
template <class T>
class KeptTiles {
 public:
  KeptTiles() = default;
  // `pairs` pairs of blocks of rows x cols entries.
  KeptTiles(double budget, Index pairs, Index rows, Index cols)
      : stride_(cols + 64 / Index{sizeof(T)}), pair_size_(rows * stride_) {
    pairs_ = static_cast<Index>(std::min(static_cast<double>(pairs), budget / static_cast<double>(bytes(1))));
    tiles_ = Buffer<T>(pairs_ * pair_size_);
    states_ = std::vector<State>(static_cast<std::size_t>(pairs_));
  }

  bool holds(Index pair) const { return pair < pairs_; }
  double bytes() const { return static_cast<double>(bytes(pairs_)); }

  // The place of the tile at (i, j) within the blocks of a pair.
  Block<T> place(Index pair, Index i, Index j, Index ni, Index nj) const {
    return {tiles_.data() + pair * pair_size_ + i * stride_ + j, ni, nj, stride_};
  }
  bool ready(Index pair, int tile) const { return state(pair).ready.load(std::memory_order_acquire) >> tile & 1; }
  // Whether the caller is the first to ask and must write the tile, then call finish().
  bool claim(Index pair, int tile) const { return !(state(pair).claimed.fetch_or(1u << tile) >> tile & 1); }
  void finish(Index pair, int tile) const { state(pair).ready.fetch_or(1u << tile, std::memory_order_release); }

 private:
  struct State {
    std::atomic<unsigned> claimed{0}, ready{0};
  };
  State& state(Index pair) const { return states_[static_cast<std::size_t>(pair)]; }
  Index bytes(Index pairs) const { return pairs * (pair_size_ * Index{sizeof(T)} + Index{sizeof(State)}); }

  Index stride_ = 0, pair_size_ = 0, pairs_ = 0;
  mutable Buffer<T> tiles_;
  mutable std::vector<State> states_;
};

// T: the blocks. S: the scores, float64 for float32 blocks where float32 would cancel.
template <class T, class S>
class Pairwise final : public Operator<Cpu, T> {
 public:
  Pairwise(Index features, Points<S> x, Points<S> a, bool symmetric, const KernelOptions& options, double keep)
      : p_(features), x_(std::move(x)), a_(std::move(a)), symmetric_(symmetric), options_(options) {
    // A row block of the rectangular case is one tile high; the symmetric case cuts its blocks into such tiles.
    row_block_ = symmetric ? block_size(rows(), tile_cols<S>) : block_size(rows(), tile_rows);
    col_block_ = block_size(cols(), tile_cols<S>);
    const Index blocks = ceil_div(rows(), row_block_);
    const Index pairs = symmetric ? blocks * (blocks + 1) / 2 : blocks * ceil_div(cols(), col_block_);
    kept_ = KeptTiles<T>(keep, pairs, row_block_, col_block_);
  }

  Index rows() const override { return x_.count; }
  Index cols() const override { return columns().count; }
  bool symmetric() const override { return symmetric_; }

  Cost cost(Index b) const override {
    const double n = static_cast<double>(rows()), m = static_cast<double>(cols()), p = static_cast<double>(p_);
    const double score = (from_differences() ? 3 : 2) * p;
    Cost cost;
    cost.flops = n * m * (score * (symmetric_ ? 0.5 : 1.0) + 2.0 * static_cast<double>(b));
    cost.bytes = (n + (symmetric_ ? 0 : m)) * p * sizeof(S);
    cost.workspace = static_cast<double>(num_threads()) * workspace_size() * sizeof(S) + kept_.bytes();
    const Index parts = std::max(segments(rows(), row_block_, cols(), col_block_) * rows(),
                                 segments(cols(), col_block_, rows(), row_block_) * cols());
    if (!symmetric_ && parts > std::max(rows(), cols())) cost.workspace += static_cast<double>(parts * b) * sizeof(T);
    return cost;
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    if (symmetric_) return multiply_symmetric(X, Y);
    const auto add = [&](Index i0, Index ni, Index j0, Index nj, Block<T> out, S* room) {
      Cpu::tile_multiply<T>(tile(i0, ni, j0, nj, room), X.row_range(j0, nj), out);
    };
    reduce(row_block_, col_block_, rows(), cols(), Y, add);
  }

  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    if (symmetric_) return multiply_symmetric(Y, Z);
    const auto add = [&](Index j0, Index nj, Index i0, Index ni, Block<T> out, S* room) {
      Cpu::tile_multiply_transposed<T>(tile(i0, ni, j0, nj, room), Y.row_range(i0, ni), out);
    };
    reduce(col_block_, row_block_, cols(), rows(), Z, add);
  }

  bool has_entries() const override { return symmetric_ && options_.kind != Kind::polynomial; }
  void entries(const Index* rows, const Index* columns, Block<T> Y) const override {
    const Points<S> some = rows ? gathered(rows, Y.rows) : Points<S>{}, a = gathered(columns, Y.cols);
    const Points<S>& x = rows ? some : x_;
    Buffer<S> room(num_threads() * workspace_size());
    parallel_for(ceil_div(Y.rows, tile_rows), [&](Index chunk, int worker) {
      const Index i0 = chunk * tile_rows, ni = std::min(tile_rows, Y.rows - i0);
      for (Index j0 = 0; j0 < Y.cols; j0 += tile_cols<S>) {
        const Index nj = std::min(tile_cols<S>, Y.cols - j0);
        const Block<S> K{room.data() + worker * workspace_size(), ni, nj, tile_stride<S>};
        score(x, i0, a, j0, K);
        map(x, i0, a, j0, K);
        for (Index i = 0; i < ni; ++i) std::copy_n(K.row(i), nj, Y.row(i0 + i) + j0);
      }
    });
    for (Index j = 0; j < Y.cols; ++j) {
      const T value = static_cast<T>(own_similarity(columns[j]));
      if (!rows) Y(columns[j], j) = value;
      for (Index i = 0; rows && i < Y.rows; ++i)
        if (rows[i] == columns[j]) Y(i, j) = value;
    }
  }
  // The exponent of rbf, -|x - a|^2 / 2, is a difference of terms as large as |x|^2.
  void diagonal(double* d, double* rounding) const override {
    for (Index i = 0; i < this->rows(); ++i) {
      d[i] = own_similarity(i);
      const double terms = x_.offsets.size() > 0 && std::is_same_v<T, S> ? -4.0 * x_.offsets[i] : 0.0;
      rounding[i] = std::numeric_limits<T>::epsilon() * (1 + terms);
    }
  }

 private:
  const Points<S>& columns() const { return symmetric_ ? x_ : a_; }
  // laplacian, and rbf where |x|^2 + |a|^2 - 2 x.a would cancel.
  bool from_differences() const { return x_.panels.size() > 0; }

  // k(x, x), exactly.
  double own_similarity(Index i) const { return options_.kind == Kind::cosine && is_zero(i) ? 0.5 : 1.0; }

  Points<S> gathered(const Index* which, Index count) const {
    Points<S> some;
    some.count = count;
    some.rows = Buffer<S>(count * p_);
    for (Index i = 0; i < count; ++i) std::copy_n(x_.rows.data() + which[i] * p_, p_, some.rows.data() + i * p_);
    if (x_.offsets.size() > 0) {
      some.offsets = Buffer<S>(count);
      for (Index i = 0; i < count; ++i) some.offsets[i] = x_.offsets[which[i]];
    }
    if (from_differences())
      some.panels = points::pack_panels<S>(MatrixView<const S>{some.rows.data(), count, p_, p_, 1}, 1);
    return some;
  }

  // A tile of scores, and where T differs, its copy in T.
  static constexpr Index workspace_size() { return tile_rows * tile_stride<S> * (std::is_same_v<T, S> ? 1 : 2); }

  // The tile K(i0 : i0 + ni, j0 : j0 + nj), ni <= tile_rows, nj <= tile_cols, within one pair of blocks.
  Block<const T> tile(Index i0, Index ni, Index j0, Index nj, S* room) const {
    const Index I = i0 / row_block_, J = j0 / col_block_, blocks = ceil_div(cols(), col_block_);
    const Index pair = symmetric_ ? I * (2 * blocks - I - 1) / 2 + J : I * blocks + J;
    if (!kept_.holds(pair)) return make_tile(i0, ni, j0, nj, room);
    const int number = static_cast<int>(2 * (i0 % row_block_ / tile_rows) + (symmetric_ && i0 == j0));
    const Block<T> place = kept_.place(pair, i0 % row_block_, j0 % col_block_, ni, nj);
    if (kept_.ready(pair, number)) return place;
    const Block<const T> made = make_tile(i0, ni, j0, nj, room);
    if (kept_.claim(pair, number)) {
      for (Index i = 0; i < ni; ++i) std::copy_n(made.row(i), nj, place.row(i));
      kept_.finish(pair, number);
    }
    return made;
  }

  Block<const T> make_tile(Index i0, Index ni, Index j0, Index nj, S* room) const {
    const Block<S> K{room, ni, nj, tile_stride<S>};
    score(x_, i0, columns(), j0, K);
    map(x_, i0, columns(), j0, K);
    if (symmetric_ && i0 == j0) make_symmetric(i0, K);
    if constexpr (std::is_same_v<T, S>) {
      return K;
    } else {
      T* copy = reinterpret_cast<T*>(room + tile_rows * tile_stride<S>);
      for (Index i = 0; i < ni; ++i)
        for (Index j = 0; j < nj; ++j) copy[i * tile_stride<S> + j] = static_cast<T>(K(i, j));
      return {copy, ni, nj, tile_stride<S>};
    }
  }

  // The exponent where distances are summed from differences. The others: alpha x.a.
  void score(const Points<S>& x, Index i0, const Points<S>& a, Index j0, Block<S> K) const {
    if (from_differences()) {
      constexpr Index width = cpu::panel_width<S>;
      const cpu::TileKernels<S>& kernels = cpu::tile_kernels<S>();
      const bool rbf = options_.kind == Kind::rbf;
      const double h = options_.bandwidth * (rbf ? unit(options_.bandwidth) : 1);
      // A finite scale: infinity times a distance of 0 would be NaN.
      const double scale = std::max<double>(rbf ? -0.5 / (h * h) : -1 / h, std::numeric_limits<S>::lowest());
      const auto distances = rbf ? kernels.squared_distances : kernels.l1_distances;
      distances(static_cast<S>(scale), x.rows.data() + i0 * p_, K.rows, p_, a.panels.data() + j0 * p_,
                ceil_div(K.cols, width), K.data, K.stride);
      return;
    }
    S alpha = 1;
    if (options_.kind == Kind::cosine) alpha = S(0.5);
    if (options_.kind == Kind::polynomial) alpha = S(1) / static_cast<S>(std::max<Index>(p_, 1));
    const Block<const S> A{x.rows.data() + i0 * p_, K.rows, p_, p_};
    const Block<const S> B{a.rows.data() + j0 * p_, K.cols, p_, p_};
    Cpu::tile_scores<S>(alpha, A, B, S(0), K);
  }

  void map(const Points<S>& x, Index i0, const Points<S>& a, Index j0, Block<S> K) const {
    const cpu::TileKernels<S>& kernels = cpu::tile_kernels<S>();
    for (Index i = 0; i < K.rows; ++i) {
      S* row = K.row(i);
      switch (options_.kind) {
        case Kind::rbf:
          if (!from_differences()) kernels.exponents(x.offsets[i0 + i], a.offsets.data() + j0, row, K.cols);
          Cpu::exp<S>(row, K.cols);
          break;
        case Kind::laplacian:
          Cpu::exp<S>(row, K.cols);
          break;
        case Kind::cosine:
          kernels.cosine(row, K.cols);
          break;
        case Kind::polynomial:
          kernels.power(static_cast<S>(options_.coef0), options_.degree, row, K.cols);
          break;
      }
    }
  }

  // A tile on the diagonal: exactly symmetric, and k(x, x) = 1 where the kernel says so.
  void make_symmetric(Index i0, Block<S> K) const {
    for (Index i = 0; i < K.rows; ++i) {
      for (Index j = 0; j < i; ++j) K(i, j) = K(j, i);
      if (options_.kind == Kind::rbf || options_.kind == Kind::cosine) K(i, i) = static_cast<S>(own_similarity(i0 + i));
    }
  }

  bool is_zero(Index i) const {
    const S* x = x_.rows.data() + i * p_;
    return std::all_of(x, x + p_, [](S value) { return value == S(0); });
  }

  // K = K^T: each pair of blocks is made once and used for both. The pairs are visited as a round-robin tournament, in
  // which every block plays once a round: no two threads write one block, and each block's sum has one order.
  void multiply_symmetric(Block<const T> X, Block<T> Y) const {
    const Index blocks = ceil_div(rows(), row_block_), players = blocks + blocks % 2;
    Buffer<S> room(num_threads() * workspace_size());
    parallel_for(
        blocks, [&](Index block, int worker) { diagonal_block(block, X, Y, room.data() + worker * workspace_size()); });
    for (Index round = 0; round + 1 < players; ++round)
      parallel_for(players / 2, [&](Index match, int worker) {
        const Index turn = players - 1;
        const Index first = match == 0 ? turn : (round + match) % turn;
        const Index second = (round + turn - match) % turn;
        const Index I = std::min(first, second), J = std::max(first, second);
        if (J >= blocks) return;  // an odd number of blocks: one rests
        off_diagonal(I * row_block_, height(I), J * row_block_, height(J), X, Y,
                     room.data() + worker * workspace_size());
      });
  }

  Index height(Index block) const { return std::min(row_block_, rows() - block * row_block_); }

  void diagonal_block(Index block, Block<const T> X, Block<T> Y, S* room) const {
    const Index begin = block * row_block_, end = begin + height(block);
    for (Index i = begin; i < end; ++i) std::fill_n(Y.row(i), Y.cols, T(0));
    for (Index i = begin; i < end; i += tile_rows) {
      const Index ni = std::min(tile_rows, end - i);
      Cpu::tile_multiply<T>(tile(i, ni, i, ni, room), X.row_range(i, ni), Y.row_range(i, ni));
      if (i + ni < end) off_diagonal(i, ni, i + ni, end - i - ni, X, Y, room);
    }
  }

  // Y_I += K_IJ X_J and Y_J += K_IJ^T X_I.
  void off_diagonal(Index i0, Index ni, Index j0, Index nj, Block<const T> X, Block<T> Y, S* room) const {
    for (Index i = i0; i < i0 + ni; i += tile_rows) {
      const Index height = std::min(tile_rows, i0 + ni - i);
      const Block<const T> K = tile(i, height, j0, nj, room);
      Cpu::tile_multiply<T>(K, X.row_range(j0, nj), Y.row_range(i, height));
      Cpu::tile_multiply_transposed<T>(K, X.row_range(i, height), Y.row_range(j0, nj));
    }
  }

  // Into how many parts the inner sum is cut: more than one only where the outer blocks are too few for the threads.
  static Index segments(Index outer, Index outer_block, Index inner, Index inner_block) {
    return ceil_div(outer, outer_block) >= 8 ? 1 : std::min<Index>(8, ceil_div(inner, inner_block));
  }

  // Output blocks in parallel, each summed over the inner blocks in order; add(outer begin, count, inner begin, count,
  // output block, workspace).
  template <class Add>
  void reduce(Index outer_block, Index inner_block, Index outer, Index inner, Block<T> out, const Add& add) const {
    const Index blocks = ceil_div(outer, outer_block), inner_blocks = ceil_div(inner, inner_block);
    const Index parts = std::max<Index>(1, segments(outer, outer_block, inner, inner_block));
    Buffer<S> room(num_threads() * workspace_size());
    OwnedBlock<T> partial((parts - 1) * outer, parts > 1 ? out.cols : 0);
    parallel_for(blocks * parts, [&](Index chunk, int worker) {
      const Index block = chunk / parts, part = chunk % parts;
      const Index o0 = block * outer_block, no = std::min(outer_block, outer - o0);
      const Block<T> target = part == 0 ? out.row_range(o0, no) : partial.view().row_range((part - 1) * outer + o0, no);
      for (Index i = 0; i < no; ++i) std::fill_n(target.row(i), target.cols, T(0));
      for (Index q = part * inner_blocks / parts; q < (part + 1) * inner_blocks / parts; ++q) {
        const Index q0 = q * inner_block;
        add(o0, no, q0, std::min(inner_block, inner - q0), target, room.data() + worker * workspace_size());
      }
    });
    for (Index part = 1; part < parts; ++part)
      Cpu::add<T>(1, Block<const T>(partial.view()).row_range((part - 1) * outer, outer), 1, out);
  }

  Index p_;
  Points<S> x_, a_;
  bool symmetric_;
  KernelOptions options_;
  Index row_block_, col_block_;
  KeptTiles<T> kept_;
};

void check(const KernelOptions& options) {
  const bool has_bandwidth = options.kind == Kind::rbf || options.kind == Kind::laplacian;
  if (has_bandwidth && !(options.bandwidth > 0 && std::isfinite(1 / options.bandwidth)))
    throw ArgumentError("bandwidth", std::to_string(options.bandwidth), "a positive number");
  if (options.kind == Kind::polynomial && options.degree < 0)
    throw ArgumentError("degree", std::to_string(options.degree), "an integer of at least 0");
}

// `squares`: |x - centre|^2 of the scaled points; empty for differences of the points as they are.
template <class T, class S>
Points<S> pack(MatrixView<const T> X, const KernelOptions& options, const double* centre,
               const Buffer<double>& squares) {
  Points<S> out;
  out.count = X.rows;
  switch (options.kind) {
    case Kind::rbf:
      if (squares.size() == 0) {
        out.panels = points::pack_panels<S>(X, unit(options.bandwidth));
        out.rows = points::pack<S>(X, nullptr, unit(options.bandwidth));
        break;
      }
      out.rows = points::pack<S>(X, centre, 1 / options.bandwidth);
      out.offsets = Buffer<S>(X.rows);
      for (Index i = 0; i < X.rows; ++i) out.offsets[i] = static_cast<S>(-0.5 * squares[i]);
      break;
    case Kind::laplacian:
      out.panels = points::pack_panels<S>(X, 1);
      [[fallthrough]];
    case Kind::polynomial:
      out.rows = points::pack<S>(X, nullptr, 1);
      break;
    case Kind::cosine:
      out.rows = points::pack_normalised<S>(X);
      break;
  }
  return out;
}

}  // namespace

template <class T>
OperatorPtr<Cpu, T> make_pairwise(MatrixView<const T> X, MatrixView<const T> A, const KernelOptions& options,
                                  double keep) {
  check(options);
  const bool symmetric = A.rows == 0;
  Buffer<double> centre, x_squares, a_squares;
  double size = 0;  // bound of the terms of a score
  if (options.kind == Kind::rbf) {
    centre = points::mean(symmetric ? X : A);
    x_squares = points::squared_norms(X, centre.data(), 1 / options.bandwidth);
    if (!symmetric) a_squares = points::squared_norms(A, centre.data(), 1 / options.bandwidth);
    const double x = points::largest(x_squares), a = symmetric ? x : points::largest(a_squares);
    size = std::sqrt(x * a) + 0.5 * x + 0.5 * a;  // |x.a| + |x|^2 / 2 + |a|^2 / 2
    if (!std::isfinite(size))
      throw ArgumentError("bandwidth", std::to_string(options.bandwidth), "one that does not overflow for these data");
    if (cancels<double>(size)) {  // to pack(): differences
      x_squares = Buffer<double>();
      a_squares = Buffer<double>();
    }
  } else if (options.kind == Kind::polynomial) {
    const double x = std::sqrt(points::largest(points::squared_norms(X, nullptr, 1)));
    const double a = symmetric ? x : std::sqrt(points::largest(points::squared_norms(A, nullptr, 1)));
    size = x * a / static_cast<double>(std::max<Index>(X.cols, 1)) + std::abs(options.coef0);
  }
  const auto make = [&](auto zero) -> OperatorPtr<Cpu, T> {
    using S = decltype(zero);
    Points<S> x = pack<T, S>(X, options, centre.data(), x_squares), a;
    if (!symmetric) a = pack<T, S>(A, options, centre.data(), a_squares);
    return std::make_shared<Pairwise<T, S>>(X.cols, std::move(x), std::move(a), symmetric, options, keep);
  };
  return cancels<T>(size) ? make(double{}) : make(T{});
}

template OperatorPtr<Cpu, float> make_pairwise(MatrixView<const float>, MatrixView<const float>, const KernelOptions&,
                                               double);
template OperatorPtr<Cpu, double> make_pairwise(MatrixView<const double>, MatrixView<const double>,
                                                const KernelOptions&, double);

}  // namespace eigencontext
