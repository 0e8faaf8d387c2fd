// Small float64 matrices on the host, row-major and packed.
#pragma once

#include <cmath>
#include <vector>

#include "base/views.hpp"

namespace eigencontext::spectrum {

using Small = std::vector<double>;

// C = A B, A (m x k), B (k x n).
inline Small product(Index m, Index k, Index n, const double* A, const double* B) {
  Small C(static_cast<std::size_t>(m * n), 0.0);
  for (Index i = 0; i < m; ++i)
    for (Index l = 0; l < k; ++l) {
      const double a = A[i * k + l];
      if (a == 0) continue;
      for (Index j = 0; j < n; ++j) C[i * n + j] += a * B[l * n + j];
    }
  return C;
}

inline Small identity(Index n) {
  Small I(static_cast<std::size_t>(n * n), 0.0);
  for (Index i = 0; i < n; ++i) I[i * n + i] = 1;
  return I;
}

inline Small diagonal(Index n, const double* d) {
  Small D(static_cast<std::size_t>(n * n), 0.0);
  for (Index i = 0; i < n; ++i) D[i * n + i] = d[i];
  return D;
}

inline double sum_of_squares(const double* x, Index n) {
  double sum = 0;
  for (Index i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

// The first `count` columns of A (rows x cols), packed; and the transpose of the first `count` rows.
inline Small leading_columns(Index rows, Index cols, const double* A, Index count) {
  Small B(static_cast<std::size_t>(rows * count));
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < count; ++j) B[i * count + j] = A[i * cols + j];
  return B;
}
inline Small leading_rows_transposed(Index cols, const double* A, Index count) {
  Small B(static_cast<std::size_t>(cols * count));
  for (Index j = 0; j < count; ++j)
    for (Index i = 0; i < cols; ++i) B[i * count + j] = A[j * cols + i];
  return B;
}

}  // namespace eigencontext::spectrum
