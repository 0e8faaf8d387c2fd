// Tiles of rows: what moments.cpp and rows.cpp share.
#pragma once

#include <algorithm>
#include <cmath>

#include "backend/cpu/rows.hpp"
#include "base/buffer.hpp"
#include "base/views.hpp"

namespace eigencontext::objectives {

constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// Rows whose columns lie side by side: where they are if they do, else copied (packed) to `copy`.
template <class T>
Block<const T> side_by_side(MatrixView<const T> X, Index begin, Index count, T* copy) {
  if (X.col_stride == 1 || X.cols <= 1) return {X.data + begin * X.row_stride, count, X.cols, X.row_stride};
  const Block<T> out{copy, count, X.cols, X.cols};
  if (std::abs(X.row_stride) < std::abs(X.col_stride)) {
    for (Index j = 0; j < X.cols; ++j)
      for (Index i = 0; i < count; ++i) out(i, j) = X(begin + i, j);
  } else {
    for (Index i = 0; i < count; ++i)
      for (Index j = 0; j < X.cols; ++j) out(i, j) = X(begin + i, j);
  }
  return out;
}

// A float64 vector as a sum of two vectors of S, so that a shift by it is exact to the precision of the difference.
template <class S>
class Shift {
 public:
  Shift(const double* v, Index n) : high_(n, S(0)), low_(n, S(0)) {
    for (Index j = 0; v && j < n; ++j) {
      high_[j] = static_cast<S>(v[j]);
      low_[j] = static_cast<S>(v[j] - static_cast<double>(high_[j]));
    }
  }
  const S* high() const { return high_.data(); }
  const S* low() const { return low_.data(); }

 private:
  Buffer<S> high_, low_;
};

}  // namespace eigencontext::objectives
