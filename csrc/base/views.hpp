// Views: a pointer with its shape and strides. They own nothing and are passed by value.
#pragma once

#include <cstdint>
#include <type_traits>

namespace eigencontext {

using Index = std::int64_t;

// A matrix with arbitrary strides, in elements (0 and negative ones included): what a user hands in.
template <class T>
struct MatrixView {
  T* data = nullptr;
  Index rows = 0, cols = 0;
  Index row_stride = 0, col_stride = 1;

  constexpr T& operator()(Index i, Index j) const { return data[i * row_stride + j * col_stride]; }
  constexpr MatrixView transposed() const { return {data, cols, rows, col_stride, row_stride}; }
  constexpr operator MatrixView<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, row_stride, col_stride};
  }
};

// A row-major block of `cols` vectors of length `rows`; row i starts at data + i * stride. Operators act on blocks.
template <class T>
struct Block {
  T* data = nullptr;
  Index rows = 0, cols = 0;
  Index stride = 0;

  constexpr T* row(Index i) const { return data + i * stride; }
  constexpr T& operator()(Index i, Index j) const { return data[i * stride + j]; }
  constexpr Block row_range(Index begin, Index count) const { return {data + begin * stride, count, cols, stride}; }
  constexpr Block col_range(Index begin, Index count) const { return {data + begin, rows, count, stride}; }
  constexpr MatrixView<T> view() const { return {data, rows, cols, stride, 1}; }
  constexpr operator Block<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, stride};
  }
};

// A sparse matrix by rows: row i has the entries offsets[i] .. offsets[i + 1] - 1 of indices (columns) and values.
template <class T, class Int>
struct CsrView {
  const Int* offsets = nullptr;
  const Int* indices = nullptr;
  const T* values = nullptr;
  Index rows = 0, cols = 0;
};

}  // namespace eigencontext
