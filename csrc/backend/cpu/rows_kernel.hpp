// The code of rows.hpp, included by one file for each instruction set. Everything here has internal linkage, and it
// uses no function of another header: the linker must not share code between the levels.
#include "backend/cpu/rows.hpp"

// For the vectoriser, of the loop that follows: x and y, which may be one array, meet entry by entry or not at all.
#if defined(__clang__)
#define EIGENCONTEXT_ENTRYWISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define EIGENCONTEXT_ENTRYWISE _Pragma("GCC ivdep")
#endif

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
           double* __restrict sums, T* __restrict peak) {
  for (Index i = 0; i < rows; ++i) {
    const T* x = X + i * stride;
    T* y = out + i * cols;
    if (sums) {
      EIGENCONTEXT_ENTRYWISE
      for (Index j = 0; j < cols; ++j) {
        y[j] = (x[j] - high[j]) - low[j];
        sums[j] += static_cast<double>(y[j]);
      }
    } else if (peak) {
      EIGENCONTEXT_ENTRYWISE
      for (Index j = 0; j < cols; ++j) {
        y[j] = (x[j] - high[j]) - low[j];
        const T size = magnitude(y[j]);
        peak[j] = peak[j] > size ? peak[j] : size;
      }
    } else {
      EIGENCONTEXT_ENTRYWISE
      for (Index j = 0; j < cols; ++j) y[j] = (x[j] - high[j]) - low[j];
    }
  }
}

template <class T>
void peaks(const T* X, Index stride, Index rows, Index cols, T* __restrict peak) {
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) {
      const T x = magnitude(X[i * stride + j]);
      peak[j] = peak[j] > x ? peak[j] : x;
    }
}

template <class T>
void accumulate(const T* __restrict x, Index n, double* __restrict sums) {
  for (Index j = 0; j < n; ++j) sums[j] += static_cast<double>(x[j]);
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

template <class T>
struct Square {
  typedef T Row __attribute__((vector_size(lanes * sizeof(T)), may_alias));
  T at[lanes][lanes] = {};

  // Four perfect shuffles of sixteen rows.
  void transpose() {
    Row rows[2][lanes];
    for (Index l = 0; l < lanes; ++l) __builtin_memcpy(&rows[0][l], at[l], sizeof(Row));
    for (int round = 0; round < 4; ++round) {
      const Row* from = rows[round % 2];
      Row* to = rows[1 - round % 2];
      for (Index l = 0; l < lanes / 2; ++l) {
        to[2 * l] =
            __builtin_shufflevector(from[l], from[l + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        to[2 * l + 1] =
            __builtin_shufflevector(from[l], from[l + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      }
    }
    for (Index l = 0; l < lanes; ++l) __builtin_memcpy(at[l], &rows[0][l], sizeof(Row));
  }
};

// Up to sixteen rows side by side, so that running sums over the columns are vectors.
template <class T>
inline void load_transposed(const T* X, Index stride, Index rows, Index cols, Square<T>& out) {
  if (cols == lanes)
    for (Index l = 0; l < rows; ++l) __builtin_memcpy(out.at[l], X + l * stride, lanes * sizeof(T));
  else
    for (Index l = 0; l < rows; ++l)
      for (Index j = 0; j < cols; ++j) out.at[l][j] = X[l * stride + j];
  out.transpose();
}

template <class T>
void level_squares(const T* B, const T* C, Index rows, Index cols, double* squares) {
  for (Index i = 0; i < rows; i += lanes) {
    const Index count = rows - i < lanes ? rows - i : lanes;
    double prefix[lanes] = {};
    for (Index j0 = 0; j0 < cols; j0 += lanes) {
      const Index width = cols - j0 < lanes ? cols - j0 : lanes;
      Square<T> b, c;  // rows that are missing are 0
      load_transposed(B + i * cols + j0, cols, count, width, b);
      load_transposed(C + i * cols + j0, cols, count, width, c);
      for (Index j = 0; j < width; ++j) {
        double sums[lanes];
        for (Index l = 0; l < lanes; ++l) {
          prefix[l] += static_cast<double>(b.at[j][l]) * static_cast<double>(c.at[j][l]);
          sums[l] = prefix[l] * prefix[l];
        }
        for (Index half = lanes / 2; half > 0; half /= 2)
          for (Index l = 0; l < half; ++l) sums[l] += sums[l + half];
        squares[j0 + j] += sums[0];
      }
    }
  }
}

template <class T>
void level_products(const T* B, const T* C, Index rows, Index cols, const T* W, bool joint, T* room, T* Y) {
  T *x = room, *y = room + (cols + lanes) * lanes;
  for (Index i = 0; i < rows; i += lanes) {
    const Index count = rows - i < lanes ? rows - i : lanes;
    T sum[lanes] = {};
    for (Index j0 = 0; j0 < cols; j0 += lanes) {
      const Index width = cols - j0 < lanes ? cols - j0 : lanes;
      Square<T> b, c;
      load_transposed(B + i * cols + j0, cols, count, width, b);
      load_transposed(C + i * cols + j0, cols, count, width, c);
      for (Index j = 0; j < width; ++j) {
        const T w = joint ? W[j0 + j] : T(1);
        for (Index l = 0; l < lanes; ++l) {
          const T product = b.at[j][l] * c.at[j][l];
          sum[l] += product;
          x[(j0 + j) * lanes + l] = product;
          y[(j0 + j) * lanes + l] = w * sum[l];
        }
      }
    }
    for (T& s : sum) s = 0;
    for (Index j = cols - 1; joint && j >= 0; --j)
      for (Index l = 0; l < lanes; ++l) {
        y[j * lanes + l] += sum[l];
        sum[l] += W[j] * x[j * lanes + l];
      }
    for (Index j0 = 0; j0 < cols; j0 += lanes) {
      const Index width = cols - j0 < lanes ? cols - j0 : lanes;
      Square<T> out;
      __builtin_memcpy(out.at, y + j0 * lanes, sizeof(out.at));  // the room goes on beyond the last column
      out.transpose();
      for (Index l = 0; l < count; ++l)
        for (Index j = 0; j < width; ++j) Y[(i + l) * cols + j0 + j] = out.at[l][j];
    }
  }
}

template <class T>
void add_products(T f, const T* Y, const T* X, Index size, T* __restrict out) {
  for (Index i = 0; i < size; ++i) out[i] += f * (Y[i] * X[i]);
}

template <class T>
constexpr RowKernels<T> row_kernels_here{means<T>,         shift<T>,          peaks<T>,       accumulate<T>, squares<T>,
                                         weighted<T>,      pairs<T>,          dots<T>,        add<T>,        combine<T>,
                                         level_squares<T>, level_products<T>, add_products<T>};

}  // namespace
}  // namespace eigencontext::cpu
