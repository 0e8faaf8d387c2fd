// Elementwise kernels over tiles of rows, compiled for several instruction sets and chosen at run time. A tile is
// packed (its rows follow each other without a gap) unless a stride is given; sums are float64.
#pragma once

#include "base/views.hpp"

namespace eigencontext::cpu {

template <class T>
struct RowKernels {
  // mean[j] = the mean of column j, to the precision of T.
  void (*means)(const T* X, Index stride, Index rows, Index cols, T* mean);

  // out = (X - high) - low; sums[j] += its column sums or else peaks[j] = max(peaks[j], max_i |out(i, j)|), null where
  // not asked for. X may be out.
  void (*shift)(const T* X, Index stride, Index rows, Index cols, const T* high, const T* low, T* out, double* sums,
                T* peaks);

  // peaks[j] = max(peaks[j], max_i |X(i, j)|).
  void (*peaks)(const T* X, Index stride, Index rows, Index cols, T* peaks);

  // sums[j] += x[j].
  void (*accumulate)(const T* x, Index n, double* sums);

  // sums[j] += sum_i X(i, j)^2.
  void (*squares)(const T* X, Index rows, Index cols, double* sums);

  // sums[j] += sum_i w_i X(i, j).
  void (*weighted)(const double* w, const T* X, Index rows, Index cols, double* sums);

  // products[j] += sum_i w_i B(i, j) C(i, j), differences[j] += sum_i w_i (B(i, j) - C(i, j))^2; w null: ones.
  void (*pairs)(const double* w, const T* B, const T* C, Index rows, Index cols, double* products, double* differences);

  // t[i] = <B(i, :), C(i, :)>.
  void (*dots)(const T* B, const T* C, Index rows, Index cols, double* t);

  // out(i, :) += f[i] X(i, :).
  void (*add)(const T* f, const T* X, Index rows, Index cols, T* out);

  // Row `out` = product + constant + f b o columns_b + g c o columns_c (+ out where accumulate); whether all are
  // finite.
  bool (*combine)(const T* product, const T* constant, T f, const T* b, const T* columns_b, T g, const T* c,
                  const T* columns_c, Index cols, bool accumulate, T* out);

  // squares[l] += sum_i (sum_{k <= l} B(i, k) C(i, k))^2.
  void (*level_squares)(const T* B, const T* C, Index rows, Index cols, double* squares);

  // Y(i, j) = sum_k B(i, k) C(i, k) M(k, j), M(k, j) = W[max(j, k)] (joint) or [k <= j]. `room` is
  // scratch memory of 32 (cols + 16) initialised entries.
  void (*level_products)(const T* B, const T* C, Index rows, Index cols, const T* W, bool joint, T* room, T* Y);

  // out += f Y o X.
  void (*add_products)(T f, const T* Y, const T* X, Index size, T* out);
};

// The kernels of the level that simd_level() names.
template <class T>
const RowKernels<T>& row_kernels();

}  // namespace eigencontext::cpu
