// Operators that exist a tile at a time on a CUDA device: square tiles, made by a kernel or by cuBLAS and a map, and
// used by cuBLAS while they are in the L2 cache. One stream does all of it, so sums have one order.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "operators/operator.hpp"

namespace eigencontext::tiled {

// T: the blocks. S: the scores, float64 for float32 blocks where float32 would cancel. An operator supplies the tiles.
template <class T, class S>
class TiledOnDevice : public Operator<Cuda, T> {
 public:
  TiledOnDevice(Index rows, Index cols, bool symmetric) : rows_(rows), cols_(cols), symmetric_(symmetric) {}

  Index rows() const override { return rows_; }
  Index cols() const override { return cols_; }
  bool symmetric() const override { return symmetric_; }

  void multiply(Block<const T> X, Block<T> Y) const override {
    if (X.cols == 0) return;
    Room room(rows_, cols_);
    for (Index i = 0; i < rows_; i += cuda::tile_side)
      for (Index j = symmetric_ ? i : 0; j < cols_; j += cuda::tile_side) {
        const Block<const T> K = tile(i, j, room);
        const Block<T> here = Y.row_range(i, K.rows);
        // Rows of Y that earlier tiles have written, as mirror images, are added to.
        cuda::tile_multiply<T>(K, X.row_range(j, K.cols), j == 0 ? 0 : 1, here);
        if (symmetric_ && j > i)
          cuda::tile_multiply_transposed<T>(K, X.row_range(i, K.rows), i == 0 ? 0 : 1, Y.row_range(j, K.cols));
      }
  }

  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    if (symmetric_) return multiply(Y, Z);
    if (Y.cols == 0) return;
    Room room(rows_, cols_);
    for (Index j = 0; j < cols_; j += cuda::tile_side)
      for (Index i = 0; i < rows_; i += cuda::tile_side) {
        const Block<const T> K = tile(i, j, room);
        cuda::tile_multiply_transposed<T>(K, Y.row_range(i, K.rows), i == 0 ? 0 : 1, Z.row_range(j, K.cols));
      }
  }

 protected:
  // The entries (i + u, j + v); a tile on the diagonal of a symmetric operator must be symmetric.
  virtual void fill(Index i, Index j, Block<S> K) const = 0;

  // The cost of a product with b columns, given the flops of an entry and the bytes of the data.
  Cost product_cost(Index b, double entry_flops, double bytes) const {
    const double n = static_cast<double>(rows_), m = static_cast<double>(cols_);
    const double tile = static_cast<double>(cuda::tile_side);
    Cost cost;
    cost.flops = n * m * (entry_flops * (symmetric_ ? 0.5 : 1.0) + 2.0 * static_cast<double>(b));
    cost.bytes = bytes;
    cost.workspace = std::min(n, tile) * std::min(m, tile) * (sizeof(S) + (std::is_same_v<T, S> ? 0 : sizeof(T)));
    return cost;
  }

  // log sum_j exp(z_ij), log sum_i exp(z_ij) and (sum_j exp(z_ij))^2 / sum_j exp(z_ij)^2, each unless null, of the z
  // that exponents(i, j, K) fills tiles with.
  template <class Exponents>
  void log_sums(const Exponents& exponents, double* of_rows, double* effective, double* of_cols) const {
    Room room(rows_, cols_);
    const LogSums row(rows_), col(cols_), twice(effective ? rows_ : 0), unused(effective ? cols_ : 0);
    for (Index i = 0; i < rows_; i += cuda::tile_side)
      for (Index j = 0; j < cols_; j += cuda::tile_side) {
        const Block<S> K = room.tile(std::min(cuda::tile_side, rows_ - i), std::min(cuda::tile_side, cols_ - j));
        exponents(i, j, K);
        cuda::raise_log_sums<S>(K, row.tops(i), row.sums(i), col.tops(j), col.sums(j));
        if (!effective) continue;
        Cuda::add<S>(2, K, 0, K);
        cuda::raise_log_sums<S>(K, twice.tops(i), twice.sums(i), unused.tops(j), unused.sums(j));
      }
    const std::vector<double> logs = row.logs(), squares = twice.logs(), columns = col.logs();
    if (of_rows) std::copy(logs.begin(), logs.end(), of_rows);
    if (of_cols) std::copy(columns.begin(), columns.end(), of_cols);
    for (std::size_t i = 0; i < squares.size(); ++i) effective[i] = std::exp(2 * logs[i] - squares[i]);
  }

 private:
  // A tile of scores, and where T differs, its copy in T.
  struct Room {
    Room(Index rows, Index cols) : scores(std::min(rows, cuda::tile_side) * std::min(cols, cuda::tile_side), 1) {
      if (!std::is_same_v<T, S>) entries = cuda::Array<T>(scores.rows(), 1);
    }
    Block<S> tile(Index rows, Index cols) { return {scores.data(), rows, cols, cols}; }
    cuda::Array<S> scores;
    cuda::Array<T> entries;
  };

  // The largest exponents so far and the sums relative to them. Never -infinity, so that -infinity - top stays that.
  class LogSums {
   public:
    explicit LogSums(Index n) {
      const std::vector<double> lowest(static_cast<std::size_t>(n), std::numeric_limits<float>::lowest());
      tops_ = cuda::Memory<double>::from_host(lowest.data(), n);
      sums_ = cuda::Memory<double>::from_host(std::vector<double>(lowest.size(), 0.0).data(), n);
    }
    double* tops(Index i) const { return const_cast<double*>(tops_.data()) + i; }
    double* sums(Index i) const { return const_cast<double*>(sums_.data()) + i; }
    std::vector<double> logs() const {
      std::vector<double> top(static_cast<std::size_t>(tops_.size())), sum(top.size());
      tops_.to_host(top.data());
      sums_.to_host(sum.data());
      for (std::size_t i = 0; i < top.size(); ++i) top[i] += std::log(sum[i]);
      return top;
    }

   private:
    cuda::Memory<double> tops_, sums_;
  };

  // The tile whose first entry is (i, j).
  Block<const T> tile(Index i, Index j, Room& room) const {
    const Block<S> K = room.tile(std::min(cuda::tile_side, rows_ - i), std::min(cuda::tile_side, cols_ - j));
    fill(i, j, K);
    if constexpr (std::is_same_v<T, S>) {
      return K;
    } else {
      const Block<T> rounded{room.entries.data(), K.rows, K.cols, K.cols};
      cuda::convert<S, T>(K, rounded);
      return rounded;
    }
  }

  Index rows_, cols_;
  bool symmetric_;
};

}  // namespace eigencontext::tiled
