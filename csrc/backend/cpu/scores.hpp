// Kernels over a row of a score tile, compiled for several instruction sets and chosen at run time.
#pragma once

#include "base/views.hpp"

namespace eigencontext::cpu {

template <class T>
struct ScoreKernels {
  // top[j] = max(top[j], x_j); returns max_j x_j.
  T (*maxima)(const T* x, Index n, T* top);

  // sums[j] += x_j; returns sum_j x_j.
  T (*sums)(const T* x, Index n, T* sums);

  // x_j *= r + c_j.
  void (*weigh)(T r, const T* c, T* x, Index n);

  // z_j += shift, e_j = -|z_j|.
  void (*magnitudes)(T shift, T* z, T* e, Index n);

  // z_j = sigmoid(z_j) from e_j = exp(-|z_j|). *positive += sum max(0, z_j); returns prod(1 + e_j), n <= 1000: both
  // together are sum log(1 + exp(z_j)).
  double (*sigmoid)(const T* e, T* z, Index n, double* positive);
};

// The kernels of the level that simd_level() names.
template <class T>
const ScoreKernels<T>& score_kernels();

}  // namespace eigencontext::cpu
