// The code of rows.hpp, included by one file for each instruction set. Everything here has internal linkage, and it
// uses no function of another header: the linker must not share code between the levels.
#include "backend/cpu/rows.hpp"

namespace eigencontext::cpu {
namespace {

constexpr Index lanes = 16;  // rows or terms that are summed side by side

template <class T>
inline T magnitude(T x) {
  return x < T(0) ? -x : x;
}

template <class T>
void means(const T* X, Index stride, Index rows, Index cols, T* __restrict mean) {
  const T share = T(1) / static_cast<T>(rows);  // before the sum, which could overflow
  for (Index j = 0; j < cols; ++j) mean[j] = 0;
  Index i = 0;
  for (; i + 4 <= rows; i += 4) {
    const T *a = X + i * stride, *b = a + stride, *c = b + stride, *d = c + stride;
    for (Index j = 0; j < cols; ++j) mean[j] += (a[j] * share + b[j] * share) + (c[j] * share + d[j] * share);
  }
  for (; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) mean[j] += X[i * stride + j] * share;
}

template <class T>
void shift(const T* X, Index stride, Index rows, Index cols, const T* __restrict high, const T* __restrict low, T* out,
           double* __restrict sums) {
  for (Index i = 0; i < rows; ++i) {
    const T* x = X + i * stride;
    T* y = out + i * cols;
    if (sums)
#pragma GCC ivdep
      for (Index j = 0; j < cols; ++j) {
        y[j] = (x[j] - high[j]) - low[j];
        sums[j] += static_cast<double>(y[j]);
      }
    else
#pragma GCC ivdep
      for (Index j = 0; j < cols; ++j) y[j] = (x[j] - high[j]) - low[j];
  }
}

template <class T>
void peaks(const T* X, Index rows, Index cols, T* __restrict peak) {
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) {
      const T x = magnitude(X[i * cols + j]);
      peak[j] = peak[j] > x ? peak[j] : x;
    }
}

template <class T>
void squares(const T* X, Index rows, Index cols, double* __restrict sums) {
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) {
      const double x = static_cast<double>(X[i * cols + j]);
      sums[j] += x * x;
    }
}

template <class T>
void weighted(const double* w, const T* X, Index rows, Index cols, double* __restrict sums) {
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) sums[j] += w[i] * static_cast<double>(X[i * cols + j]);
}

template <class T>
void pairs(const double* w, const T* B, const T* C, Index rows, Index cols, double* __restrict products,
           double* __restrict differences) {
  for (Index i = 0; i < rows; ++i) {
    const T *b = B + i * cols, *c = C + i * cols;
    const double weight = w ? w[i] : 1.0;
    for (Index j = 0; j < cols; ++j) {
      const double x = static_cast<double>(b[j]), y = static_cast<double>(c[j]);
      products[j] += weight * (x * y);
      differences[j] += weight * ((x - y) * (x - y));
    }
  }
}

template <class T>
void dots(const T* B, const T* C, Index rows, Index cols, double* t) {
  for (Index i = 0; i < rows; ++i) {
    const T *b = B + i * cols, *c = C + i * cols;
    double sum[lanes] = {};
    Index j = 0;
    for (; j + lanes <= cols; j += lanes)
      for (Index l = 0; l < lanes; ++l) sum[l] += static_cast<double>(b[j + l]) * static_cast<double>(c[j + l]);
    for (; j < cols; ++j) sum[0] += static_cast<double>(b[j]) * static_cast<double>(c[j]);
    for (Index half = lanes / 2; half > 0; half /= 2)
      for (Index l = 0; l < half; ++l) sum[l] += sum[l + half];
    t[i] = sum[0];
  }
}

template <class T>
void add(const T* f, const T* X, Index rows, Index cols, T* __restrict out) {
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) out[i * cols + j] += f[i] * X[i * cols + j];
}

template <class T>
bool combine(const T* product, const T* constant, T f, const T* b, const T* columns_b, T g, const T* c,
             const T* columns_c, Index cols, bool accumulate, T* __restrict out) {
  int bad = 0;
  for (Index j = 0; j < cols; ++j) {
    T x = product[j] + constant[j] + f * columns_b[j] * b[j] + g * columns_c[j] * c[j];
    if (accumulate) x += out[j];
    out[j] = x;
    bad |= !(x - x == T(0));
  }
  return bad == 0;
}

// Sixteen rows side by side, so that running sums over the columns are vectors.
template <class T>
inline void side_by_side(const T* B, const T* C, Index rows, Index cols, Index j, T* x) {
  for (Index l = 0; l < rows; ++l) x[l] = B[l * cols + j] * C[l * cols + j];
}

template <class T>
void level_squares(const T* B, const T* C, Index rows, Index cols, double* squares) {
  for (Index i = 0; i < rows; i += lanes) {
    const Index count = rows - i < lanes ? rows - i : lanes;
    double prefix[lanes] = {};
    for (Index j = 0; j < cols; ++j) {
      double sum = 0;
      for (Index l = 0; l < count; ++l) {
        const Index k = (i + l) * cols + j;
        prefix[l] += static_cast<double>(B[k]) * static_cast<double>(C[k]);
      }
      for (Index l = 0; l < lanes; ++l) sum += prefix[l] * prefix[l];
      squares[j] += sum;
    }
  }
}

template <class T>
void level_products(const T* B, const T* C, Index rows, Index cols, const T* W, bool joint, T* Y) {
  for (Index i = 0; i < rows; i += lanes) {
    const Index count = rows - i < lanes ? rows - i : lanes;
    const T *b = B + i * cols, *c = C + i * cols;
    T* y = Y + i * cols;
    T x[lanes], sum[lanes] = {};
    for (Index j = 0; j < cols; ++j) {
      const T w = joint ? W[j] : T(1);
      side_by_side(b, c, count, cols, j, x);
      for (Index l = 0; l < count; ++l) {
        sum[l] += x[l];
        y[l * cols + j] = w * sum[l];
      }
    }
    if (!joint) continue;
    for (T& s : sum) s = 0;
    for (Index j = cols - 1; j >= 0; --j) {
      side_by_side(b, c, count, cols, j, x);
      for (Index l = 0; l < count; ++l) {
        y[l * cols + j] += sum[l];
        sum[l] += W[j] * x[l];
      }
    }
  }
}

template <class T>
void add_products(T f, const T* Y, const T* X, Index size, T* __restrict out) {
  for (Index i = 0; i < size; ++i) out[i] += f * (Y[i] * X[i]);
}

template <class T>
constexpr RowKernels<T> row_kernels_here{means<T>,    shift<T>,         peaks<T>,          squares<T>,
                                         weighted<T>, pairs<T>,         dots<T>,           add<T>,
                                         combine<T>,  level_squares<T>, level_products<T>, add_products<T>};

}  // namespace
}  // namespace eigencontext::cpu
