// The tile engine: the products of operators that exist a tile at a time, and the log-sum-exps of their exponents.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/rows.hpp"
#include "backend/cpu/scores.hpp"
#include "backend/cpu/tile_sums.hpp"
#include "backend/cpu/tiles.hpp"
#include "base/buffer.hpp"
#include "base/parallel.hpp"
#include "operators/operator.hpp"
#include "operators/points.hpp"

namespace eigencontext::tiled {

using cpu::TileSums;
using points::ceil_div;

// A tile is at most tile_rows x tile_cols entries of S: half a megabyte, so that it stays in the L2 cache between the
// product that makes it and the product that uses it.
inline constexpr Index tile_rows = 256;
template <class S>
inline constexpr Index tile_cols = 512 * sizeof(float) / sizeof(S);
// A row of a tile is a little longer than its entries: rows at a power of two share cache sets.
template <class S>
inline constexpr Index tile_stride = tile_cols<S> + 64 / sizeof(S);

// Blocks of about a sixteenth of the points, multiples of 64 (a whole number of panels), by shape alone.
inline Index block_size(Index n, Index largest) {
  return std::clamp(ceil_div(ceil_div(n, 16), 64) * 64, Index{64}, largest);
}

// Would a sum of terms of this size lose more than 1e-4 of a unit in T? (Errors follow the terms, not the sum.)
template <class T>
bool cancels(double size) {
  return 2 * std::numeric_limits<T>::epsilon() * size > 1e-4;
}

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

// Room for one value a point, zeros up to whole panels.
template <class S>
Buffer<S> padded(Index count) {
  return Buffer<S>(ceil_div(count, cpu::panel_width<S>) * cpu::panel_width<S>, S(0));
}

// Added to the exponents of an operator, for each row and each column; null: none.
struct Offsets {
  const double *rows = nullptr, *cols = nullptr;
};

template <class S>
Buffer<S> converted(const double* x, Index n) {
  Buffer<S> out = padded<S>(n);
  for (Index i = 0; x && i < n; ++i) out[i] = static_cast<S>(x[i]);
  return out;
}

// max |x_i|, 0 for null.
inline double largest(const double* x, Index n) {
  double top = 0;
  for (Index i = 0; x && i < n; ++i) top = std::max(top, std::abs(x[i]));
  return top;
}

// K(i, j) += r_i + c_j.
template <class S>
void shift(const S* r, const S* c, Block<S> K) {
  for (Index i = 0; i < K.rows; ++i)
    for (Index j = 0; j < K.cols; ++j) K(i, j) += r[i] + c[j];
}

// log sum exp of a stream of numbers, and the sum of the squares of their exponentials, both relative to the largest.
struct LogSum {
  double top = -std::numeric_limits<double>::infinity(), sum = 0, squares = 0;

  // Never -infinity, so that -infinity - top stays -infinity.
  void raise(double to) {
    to = std::max(to, static_cast<double>(std::numeric_limits<float>::lowest()));
    if (!(to > top)) return;
    const double factor = std::exp(top - to);
    sum *= factor;
    squares *= factor * factor;
    top = to;
  }
  double log() const { return top + std::log(sum); }
  double effective() const { return sum * sum / squares; }
};

// What operators with entries exp(z_ij) offer beside products.
class HasLogSums {
 public:
  virtual ~HasLogSums() = default;
  // sums[i] = log sum_j exp(z_ij), effective[i] = (sum_j exp(z_ij))^2 / sum_j exp(z_ij)^2. Nothing over- or underflows.
  virtual void log_sums_of_rows(double* sums, double* effective) const = 0;
  // sums[j] = log sum_i exp(z_ij).
  virtual void log_sums_of_columns(double* sums) const = 0;
};

// T: the blocks. S: the scores, float64 for float32 blocks where float32 would cancel. An operator supplies the tiles.
template <class T, class S>
class Tiled : public Operator<Cpu, T> {
 public:
  Tiled(Index rows, Index cols, bool symmetric, double keep) : rows_(rows), cols_(cols), symmetric_(symmetric) {
    // A row block of the rectangular case is one tile high; the symmetric case cuts its blocks into such tiles.
    row_block_ = symmetric ? block_size(rows, tile_cols<S>) : block_size(rows, tile_rows);
    col_block_ = block_size(cols, tile_cols<S>);
    const Index blocks = ceil_div(rows, row_block_);
    const Index pairs = symmetric ? blocks * (blocks + 1) / 2 : blocks * ceil_div(cols, col_block_);
    kept_ = KeptTiles<T>(keep, pairs, row_block_, col_block_);
  }

  Index rows() const override { return rows_; }
  Index cols() const override { return cols_; }
  bool symmetric() const override { return symmetric_; }

  void multiply(Block<const T> X, Block<T> Y) const override {
    if (symmetric_) return multiply_symmetric(X, Y);
    const auto add = [&](Index i0, Index ni, Index j0, Index nj, TileSums<T>& sums, Index row, S* room) {
      sums.add(tile(i0, ni, j0, nj, room), row, j0);
    };
    reduce(row_block_, col_block_, TileSums<T>::Sides::direct, X, Y, add);
  }

  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    if (symmetric_) return multiply_symmetric(Y, Z);
    const auto add = [&](Index j0, Index nj, Index i0, Index ni, TileSums<T>& sums, Index row, S* room) {
      sums.add_transposed(tile(i0, ni, j0, nj, room), row, i0);
    };
    reduce(col_block_, row_block_, TileSums<T>::Sides::transposed, Y, Z, add);
  }

 protected:
  // The entries (i0 + i, j0 + j). K has room for whole panels; a tile on the diagonal of a symmetric operator must be
  // symmetric.
  virtual void fill(Index i0, Index j0, Block<S> K) const = 0;

  // The cost of a product with b columns, given the flops of an entry and the bytes of the data.
  Cost product_cost(Index b, double entry_flops, double bytes) const {
    const double n = static_cast<double>(rows_), m = static_cast<double>(cols_);
    Cost cost;
    cost.flops = n * m * (entry_flops * (symmetric_ ? 0.5 : 1.0) + 2.0 * static_cast<double>(b));
    cost.bytes = bytes;
    using Sides = typename TileSums<T>::Sides;
    const double sums =
        symmetric_
            ? TileSums<T>::bytes(b, rows_, rows_, Sides::both)
            : std::max(TileSums<T>::bytes(b, cols_, sum_rows(rows_, row_block_, cols_, col_block_), Sides::direct),
                       TileSums<T>::bytes(b, rows_, sum_rows(cols_, col_block_, rows_, row_block_), Sides::transposed));
    cost.workspace = static_cast<double>(num_threads()) * workspace_size() * sizeof(S) + kept_.bytes() + sums;
    return cost;
  }

  // HasLogSums for rectangular operators; exponents(i0, j0, K) fills a tile with z.
  template <class Exponents>
  void stream_rows(const Exponents& exponents, double* sums, double* effective) const {
    Buffer<S> room(num_threads() * (tile_rows + 1) * tile_stride<S>), zeros(tile_cols<S>, S(0));
    parallel_for(ceil_div(rows_, row_block_), [&](Index block, int worker) {
      S* memory = room.data() + worker * (tile_rows + 1) * tile_stride<S>;
      S* columns = memory + tile_rows * tile_stride<S>;  // of no interest
      std::fill_n(columns, tile_stride<S>, S(0));
      const Index i0 = block * row_block_, ni = std::min(row_block_, rows_ - i0);
      LogSum total[tile_rows];
      for (Index j0 = 0; j0 < cols_; j0 += col_block_) {
        const Block<S> K{memory, ni, std::min(col_block_, cols_ - j0), tile_stride<S>};
        exponents(i0, j0, K);
        for (Index i = 0; i < ni; ++i) {
          LogSum& row = total[i];
          row.raise(static_cast<double>(cpu::score_kernels<S>().maxima(K.row(i), K.cols, columns)));
          exponentials(-static_cast<S>(row.top), zeros.data(), K.row(i), K.cols);
          row.sum += static_cast<double>(cpu::score_kernels<S>().sums(K.row(i), K.cols, columns));
          double squares;
          cpu::row_kernels<S>().dots(K.row(i), K.row(i), 1, K.cols, &squares);
          row.squares += squares;
        }
      }
      for (Index i = 0; i < ni; ++i) {
        sums[i0 + i] = total[i].log();
        effective[i0 + i] = total[i].effective();
      }
    });
  }

  template <class Exponents>
  void stream_columns(const Exponents& exponents, double* sums) const {
    Buffer<S> room(num_threads() * (tile_rows + 1) * tile_stride<S>);
    parallel_for(ceil_div(cols_, col_block_), [&](Index block, int worker) {
      S* memory = room.data() + worker * (tile_rows + 1) * tile_stride<S>;
      S* line = memory + tile_rows * tile_stride<S>;
      const Index j0 = block * col_block_, nj = std::min(col_block_, cols_ - j0);
      LogSum total[tile_cols<S>];
      for (Index i0 = 0; i0 < rows_; i0 += row_block_) {
        const Block<S> K{memory, std::min(row_block_, rows_ - i0), nj, tile_stride<S>};
        exponents(i0, j0, K);
        std::fill_n(line, nj, -std::numeric_limits<S>::infinity());
        for (Index i = 0; i < K.rows; ++i) cpu::score_kernels<S>().maxima(K.row(i), nj, line);
        for (Index j = 0; j < nj; ++j) {
          total[j].raise(static_cast<double>(line[j]));
          line[j] = -static_cast<S>(total[j].top);
        }
        for (Index i = 0; i < K.rows; ++i) exponentials(S(0), line, K.row(i), nj);
        std::fill_n(line, nj, S(0));
        for (Index i = 0; i < K.rows; ++i) cpu::score_kernels<S>().sums(K.row(i), nj, line);
        for (Index j = 0; j < nj; ++j) total[j].sum += static_cast<double>(line[j]);
      }
      for (Index j = 0; j < nj; ++j) sums[j0 + j] = total[j].log();
    });
  }

  // x_j = exp(min(0, x_j + r + c_j)).
  static void exponentials(S r, const S* c, S* x, Index n) {
    cpu::tile_kernels<S>().exponents(r, c, x, n);
    Cpu::exp<S>(x, n);
  }

 private:
  // A tile of scores, and where T differs, its copy in T.
  static constexpr Index workspace_size() { return tile_rows * tile_stride<S> * (std::is_same_v<T, S> ? 1 : 2); }

  // The tile K(i0 : i0 + ni, j0 : j0 + nj), ni <= tile_rows, nj <= tile_cols, within one pair of blocks.
  Block<const T> tile(Index i0, Index ni, Index j0, Index nj, S* room) const {
    const Index I = i0 / row_block_, J = j0 / col_block_, blocks = ceil_div(cols_, col_block_);
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
    fill(i0, j0, K);
    if constexpr (std::is_same_v<T, S>) {
      return K;
    } else {
      T* copy = reinterpret_cast<T*>(room + tile_rows * tile_stride<S>);
      for (Index i = 0; i < ni; ++i)
        for (Index j = 0; j < nj; ++j) copy[i * tile_stride<S> + j] = static_cast<T>(K(i, j));
      return {copy, ni, nj, tile_stride<S>};
    }
  }

  // K = K^T: each pair of blocks is made once and used for both. The pairs are visited as a round-robin tournament, in
  // which every block plays once a round: no two threads write one block, and each block's sum has one order.
  void multiply_symmetric(Block<const T> X, Block<T> Y) const {
    if (X.cols == 0) return;
    const Index blocks = ceil_div(rows_, row_block_), players = blocks + blocks % 2;
    Buffer<S> room(num_threads() * workspace_size());
    TileSums<T> sums(X, rows_, TileSums<T>::Sides::both);
    parallel_for(
        blocks, [&](Index block, int worker) { diagonal_block(block, sums, room.data() + worker * workspace_size()); });
    for (Index round = 0; round + 1 < players; ++round)
      parallel_for(players / 2, [&](Index match, int worker) {
        const Index turn = players - 1;
        const Index first = match == 0 ? turn : (round + match) % turn;
        const Index second = (round + turn - match) % turn;
        const Index I = std::min(first, second), J = std::max(first, second);
        if (J >= blocks) return;  // an odd number of blocks: one rests
        off_diagonal(I * row_block_, height(I), J * row_block_, height(J), sums,
                     room.data() + worker * workspace_size());
      });
    parallel_for(blocks, [&](Index block, int) {
      sums.write(block * row_block_, Y.row_range(block * row_block_, height(block)));
    });
  }

  Index height(Index block) const { return std::min(row_block_, rows_ - block * row_block_); }

  void diagonal_block(Index block, TileSums<T>& sums, S* room) const {
    const Index begin = block * row_block_, end = begin + height(block);
    for (Index i = begin; i < end; i += tile_rows) {
      const Index ni = std::min(tile_rows, end - i);
      sums.add(tile(i, ni, i, ni, room), i, i);
      if (i + ni < end) off_diagonal(i, ni, i + ni, end - i - ni, sums, room);
    }
  }

  // Y_I += K_IJ X_J and Y_J += K_IJ^T X_I.
  void off_diagonal(Index i0, Index ni, Index j0, Index nj, TileSums<T>& sums, S* room) const {
    for (Index i = i0; i < i0 + ni; i += tile_rows)
      sums.add_both(tile(i, std::min(tile_rows, i0 + ni - i), j0, nj, room), i, j0);
  }

  // Into how many parts the inner sum is cut: more than one only where the outer blocks are too few for the threads.
  static Index segments(Index outer, Index outer_block, Index inner, Index inner_block) {
    return ceil_div(outer, outer_block) >= 8 ? 1 : std::min<Index>(8, ceil_div(inner, inner_block));
  }

  // Rows of the sums of all parts.
  static Index sum_rows(Index outer, Index outer_block, Index inner, Index inner_block) {
    return ceil_div(outer, outer_block) * outer_block *
           std::max<Index>(1, segments(outer, outer_block, inner, inner_block));
  }

  // Output blocks in parallel, each summed over the inner blocks in order; add(outer begin, count, inner begin, count,
  // sums, the row of the sums, workspace).
  template <class Add>
  void reduce(Index outer_block, Index inner_block, typename TileSums<T>::Sides sides, Block<const T> X, Block<T> out,
              const Add& add) const {
    if (out.cols == 0) return;
    const Index outer = out.rows, inner = X.rows;
    const Index blocks = ceil_div(outer, outer_block), inner_blocks = ceil_div(inner, inner_block);
    const Index parts = std::max<Index>(1, segments(outer, outer_block, inner, inner_block));
    const Index length = blocks * outer_block;  // of the sums of one part
    Buffer<S> room(num_threads() * workspace_size());
    TileSums<T> sums(X, parts * length, sides);
    parallel_for(blocks * parts, [&](Index chunk, int worker) {
      const Index block = chunk / parts, part = chunk % parts;
      const Index o0 = block * outer_block, no = std::min(outer_block, outer - o0);
      for (Index q = part * inner_blocks / parts; q < (part + 1) * inner_blocks / parts; ++q) {
        const Index q0 = q * inner_block;
        add(o0, no, q0, std::min(inner_block, inner - q0), sums, part * length + o0,
            room.data() + worker * workspace_size());
      }
    });
    parallel_for(blocks, [&](Index block, int) {
      const Index o0 = block * outer_block, no = std::min(outer_block, outer - o0);
      sums.write(o0, out.row_range(o0, no), parts, length);
    });
  }
  Index rows_, cols_;
  bool symmetric_;
  Index row_block_, col_block_;
  KeptTiles<T> kept_;
};

}  // namespace eigencontext::tiled
