// The code of tiles.hpp, included by one file for each instruction set. Everything here has internal linkage, and it
// uses no function of another header: the linker must not share code between the levels.
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "backend/cpu/tiles.hpp"

namespace eigencontext::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, block_rows = 8;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, block_rows = 2;
#else
constexpr int vector_bytes = 16, block_rows = 1;
#endif

template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float Real __attribute__((vector_size(vector_bytes), may_alias));
  typedef std::int32_t Bits __attribute__((vector_size(vector_bytes), may_alias));
  static constexpr std::int32_t magnitude = 0x7fffffff;
};
template <>
struct Vector<double> {
  typedef double Real __attribute__((vector_size(vector_bytes), may_alias));
  typedef std::int64_t Bits __attribute__((vector_size(vector_bytes), may_alias));
  static constexpr std::int64_t magnitude = 0x7fffffffffffffff;
};

// `rows` rows of A against one panel: sums stay in registers, every load of the panel serves all rows.
template <bool squared, int rows, class T>
inline void distances_block(T scale, const T* A, Index p, const T* panel, T* C, Index stride) {
  using Real = typename Vector<T>::Real;
  using Bits = typename Vector<T>::Bits;
  constexpr int vectors = 128 / vector_bytes;
  Real sums[rows][vectors] = {};
  for (Index f = 0; f < p; ++f) {
    const Real* b = reinterpret_cast<const Real*>(panel + f * panel_width<T>);
    for (int i = 0; i < rows; ++i) {
      const T a = A[i * p + f];
      for (int v = 0; v < vectors; ++v) {
        const Real difference = a - b[v];
        sums[i][v] += squared ? difference * difference : (Real)((Bits)difference & Vector<T>::magnitude);
      }
    }
  }
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) reinterpret_cast<Real*>(C + i * stride)[v] = scale * sums[i][v];
}

template <bool squared, class T>
void distances(T scale, const T* A, Index rows, Index p, const T* panels, Index n_panels, T* C, Index stride) {
  for (Index q = 0; q < n_panels; ++q) {
    const T* panel = panels + q * p * panel_width<T>;
    T* column = C + q * panel_width<T>;
    Index i = 0;
    for (; i + block_rows <= rows; i += block_rows)
      distances_block<squared, block_rows>(scale, A + i * p, p, panel, column + i * stride, stride);
    for (; i < rows; ++i) distances_block<squared, 1>(scale, A + i * p, p, panel, column + i * stride, stride);
  }
}

template <class T>
void exponents(T r, const T* __restrict c, T* __restrict x, Index n) {
  for (Index j = 0; j < n; ++j) {
    const T e = x[j] + (r + c[j]);
    x[j] = e > T(0) ? T(0) : e;
  }
}

template <class T>
void power(T shift, int degree, T* x, Index n) {
  constexpr Index step = 64;  // a strip in registers or L1 while the exponent's bits are read
  T base[step], result[step];
  for (Index j0 = 0; j0 < n; j0 += step) {
    const Index width = n - j0 < step ? n - j0 : step;
    for (Index j = 0; j < width; ++j) {
      const T t = x[j0 + j] + shift;
      base[j] = t < T(0) ? T(0) : t;
      result[j] = T(1);
    }
    for (int bits = degree; bits > 0; bits >>= 1) {
      if (bits & 1)
        for (Index j = 0; j < width; ++j) result[j] *= base[j];
      if (bits > 1)
        for (Index j = 0; j < width; ++j) base[j] *= base[j];
    }
    for (Index j = 0; j < width; ++j) x[j0 + j] = result[j];
  }
}

template <class T>
void cosine(T* x, Index n) {
  for (Index j = 0; j < n; ++j) {
    const T t = x[j] + T(0.5);
    const T low = t < T(0) ? T(0) : t;
    x[j] = low > T(1) ? T(1) : low;
  }
}

// Bit j of 32: not (x_j + c_j > limit).
template <class T>
inline std::uint32_t within(T limit, const T* c, const T* x) {
  int above = 0;
  for (int j = 0; j < 32; ++j) above += x[j] + c[j] > limit;
  if (above == 32) return 0;
  std::uint32_t bits = 0;
  for (int j = 0; j < 32; ++j) bits |= static_cast<std::uint32_t>(!(x[j] + c[j] > limit)) << j;
  return bits;
}

#if defined(__AVX512F__)
inline std::uint32_t within(float limit, const float* c, const float* x) {
  std::uint32_t bits = 0;
  for (int j = 0; j < 32; j += 16) {
    const __m512 sum = _mm512_add_ps(_mm512_loadu_ps(x + j), _mm512_loadu_ps(c + j));
    bits |= static_cast<std::uint32_t>(_mm512_cmp_ps_mask(sum, _mm512_set1_ps(limit), _CMP_NGT_UQ)) << j;
  }
  return bits;
}
inline std::uint32_t within(double limit, const double* c, const double* x) {
  std::uint32_t bits = 0;
  for (int j = 0; j < 32; j += 8) {
    const __m512d sum = _mm512_add_pd(_mm512_loadu_pd(x + j), _mm512_loadu_pd(c + j));
    bits |= static_cast<std::uint32_t>(_mm512_cmp_pd_mask(sum, _mm512_set1_pd(limit), _CMP_NGT_UQ)) << j;
  }
  return bits;
}
#elif defined(__AVX2__)
inline std::uint32_t within(float limit, const float* c, const float* x) {
  std::uint32_t bits = 0;
  for (int j = 0; j < 32; j += 8) {
    const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(x + j), _mm256_loadu_ps(c + j));
    const __m256 mask = _mm256_cmp_ps(sum, _mm256_set1_ps(limit), _CMP_NGT_UQ);
    bits |= static_cast<std::uint32_t>(_mm256_movemask_ps(mask)) << j;
  }
  return bits;
}
inline std::uint32_t within(double limit, const double* c, const double* x) {
  std::uint32_t bits = 0;
  for (int j = 0; j < 32; j += 4) {
    const __m256d sum = _mm256_add_pd(_mm256_loadu_pd(x + j), _mm256_loadu_pd(c + j));
    const __m256d mask = _mm256_cmp_pd(sum, _mm256_set1_pd(limit), _CMP_NGT_UQ);
    bits |= static_cast<std::uint32_t>(_mm256_movemask_pd(mask)) << j;
  }
  return bits;
}
#endif

template <class T>
Index select(T limit, const T* c, const T* x, Index n, std::int32_t* found) {
  Index count = 0, j0 = 0;
  for (; j0 + 32 <= n; j0 += 32)
    for (std::uint32_t bits = within(limit, c + j0, x + j0); bits != 0; bits &= bits - 1)
      found[count++] = static_cast<std::int32_t>(j0) + __builtin_ctz(bits);
  for (; j0 < n; ++j0)
    if (!(x[j0] + c[j0] > limit)) found[count++] = static_cast<std::int32_t>(j0);
  return count;
}

template <class T>
constexpr TileKernels<T> kernels_here{distances<false, T>, distances<true, T>, exponents<T>, power<T>,
                                      cosine<T>,           select<T>};

}  // namespace
}  // namespace eigencontext::cpu
