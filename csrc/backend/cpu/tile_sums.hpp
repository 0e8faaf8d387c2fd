// Products of a block with a matrix that exists a tile at a time.
#pragma once

#include <memory>

#include "base/views.hpp"

namespace eigencontext::cpu {

// Sums of K X(j : j + n, :) and K^T X(i : i + m, :) over tiles K (m x n) of a matrix, in registers over at most 48
// products along columns and 384 bytes along rows, then in T. X is packed once and the sums stay packed, both for the
// kernels of skinny.cpp. Rows where a tile begins are even.
template <class T>
class TileSums {
 public:
  enum class Sides { direct, transposed, both };

  // `rows` sums, zero.
  TileSums(Block<const T> X, Index rows, Sides sides);
  ~TileSums();

  // All work on the calling thread; threads may add to different rows at a time.
  void add(Block<const T> K, Index sum_row, Index x_row);             // sums += K X
  void add_transposed(Block<const T> K, Index sum_row, Index x_row);  // sums += K^T X
  void add_both(Block<const T> K, Index i, Index j);  // sums(i) += K X(j), sums(j) += K^T X(i) in one read of K
  // Y = the sums from `row`, plus those `stride` further on, ... `parts` in all.
  void write(Index row, Block<T> Y, Index parts = 1, Index stride = 0) const;

  // Memory of a block of `cols` columns.
  static double bytes(Index cols, Index x_rows, Index rows, Sides sides);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace eigencontext::cpu
