// The CSR kernels of one SIMD level. Plain pointers and strides (in elements) only: the files that are compiled for one
// instruction set must not emit shared inline functions.
#pragma once

#include <cstdint>

#include "base/views.hpp"

namespace eigencontext::cpu {

// One piece of work: rows [row_begin, row_end) of A and `width` columns of the blocks.
template <class T, class Int>
struct CsrTask {
  CsrView<T, Int> A;
  Index row_begin, row_end;
  const T* X;  // gathered: row j of it belongs to column j of A
  Index x_stride;
  T* Y;  // multiply: row i of Y = A(i, :) X, or += if add
  Index y_stride;
  bool add;
  const T* left;  // scatter: row i of it belongs to row i of A
  Index left_stride;
  const double* weights;  // fused: w, null for ones
  T* sums;                // scatter, fused: row j starts at sums + j * sums_stride, sums_stride >= padded_width(width)
  Index sums_stride;
  Index width;
};

template <class T, class Int>
struct CsrKernels {
  Index multiply_panel, scatter_panel;       // the largest width of a task
  void (*multiply)(const CsrTask<T, Int>&);  // Y = A X, or Y += A X
  void (*scatter)(const CsrTask<T, Int>&);   // sums += A^T left
  void (*fused)(const CsrTask<T, Int>&);     // sums += A^T diag(w) A X
};

template <class T, class Int>
CsrKernels<T, Int> csr_kernels_baseline();
template <class T, class Int>
CsrKernels<T, Int> csr_kernels_avx2();
template <class T, class Int>
CsrKernels<T, Int> csr_kernels_avx512();

}  // namespace eigencontext::cpu
