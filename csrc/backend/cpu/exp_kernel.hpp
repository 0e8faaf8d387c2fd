// exp over an array in the widest vectors of the flags that the including file is compiled with (the compiler's vector
// types: one source for every instruction set). Internal linkage: code made for one instruction set must not be merged
// with that of another.
//
//   exp(x) = 2^n exp(r),  n = round(x / log 2),  r = x - n log 2,  |r| <= log(2)/2
//
// n log 2 is subtracted in two parts, the first exact. exp(r) is its Taylor polynomial, whose remainder is below 0.1
// ulp on that interval. 2^n is multiplied in by an instruction of its own or as two factors, so that results below the
// smallest normal number come out rounded once and those above the largest come out infinite. At most 2 ulp with and
// without fma.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace eigencontext::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  typedef float Vector __attribute__((vector_size(vector_bytes)));
  typedef std::uint32_t BitVector __attribute__((vector_size(vector_bytes)));
  static constexpr int mantissa = 23, bias = 127, half_range = 512;
  static constexpr float shift = 0x1.8p23f;  // adding it leaves the rounded integer in the low bits
  static constexpr float inverse_log2 = 0x1.715476p0f, log2_high = 355.0f / 512, log2_low = -2.12194440e-4f;
  static constexpr float lowest = -105, highest = 89;  // beyond: 0 and infinity
  // (exp(r) - 1 - r) / r^2
  template <class V>
  static V tail(V r) {
    V p = (1.0f / 5040) * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    return p * r + 0.5f;
  }
};

template <>
struct ExpConstants<double> {
  typedef double Vector __attribute__((vector_size(vector_bytes)));
  typedef std::uint64_t BitVector __attribute__((vector_size(vector_bytes)));
  static constexpr int mantissa = 52, bias = 1023, half_range = 2048;
  static constexpr double shift = 0x1.8p52;
  static constexpr double inverse_log2 = 0x1.71547652b82fep0, log2_high = 0x1.62e4p-1,
                          log2_low = 1.42860682030941723212e-6;
  static constexpr double lowest = -746, highest = 710;
  template <class V>
  static V tail(V r) {
    V p = (1.0 / 6227020800) * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    return p * r + 0.5;
  }
};

#if defined(__AVX512F__)

// NaN, the second operand, stays. (All elements by a mask: the plain forms trip a false warning of GCC 12.)
inline __m512 at_least(__m512 bound, __m512 x) { return _mm512_maskz_max_ps(0xffff, bound, x); }
inline __m512d at_least(__m512d bound, __m512d x) { return _mm512_maskz_max_pd(0xff, bound, x); }
inline __m512 at_most(__m512 bound, __m512 x) { return _mm512_maskz_min_ps(0xffff, bound, x); }
inline __m512d at_most(__m512d bound, __m512d x) { return _mm512_maskz_min_pd(0xff, bound, x); }

// p 2^n, rounded once.
inline __m512 times_power(__m512 p, __m512 n) { return _mm512_maskz_scalef_ps(0xffff, p, n); }
inline __m512d times_power(__m512d p, __m512d n) { return _mm512_maskz_scalef_pd(0xff, p, n); }

#else

template <class V>
using Element = std::remove_cvref_t<decltype(V{}[0])>;
template <class V>
using BitsOf = typename ExpConstants<Element<V> >::BitVector;

// mask ? a : b for each element; a comparison's mask is all ones or all zeros.
template <class V, class Mask, class BitV>
inline V select(Mask mask, V a, V b, BitV) {
  return (V)(((BitV)mask & (BitV)a) | (~(BitV)mask & (BitV)b));
}

// NaN fails the comparison and stays.
template <class V>
inline V at_least(V bound, V x) {
  return select(x < bound, bound, x, BitsOf<V>{});
}
template <class V>
inline V at_most(V bound, V x) {
  return select(x > bound, bound, x, BitsOf<V>{});
}

template <class V>
inline V times_power(V p, V n) {
  using K = ExpConstants<Element<V> >;
  using Bits = BitsOf<V>;
  const V shift = V{} + K::shift;
  const Bits power = (Bits)(n + shift) - (Bits)shift;  // n, modulo 2^bits
  const Bits half = (power + K::half_range) >> 1;      // a logical shift, so kept positive
  const Bits first = half - K::half_range / 2, second = power - first;
  return p * (V)((first + K::bias) << K::mantissa) * (V)((second + K::bias) << K::mantissa);
}

#endif

// `bounded`: no element is above K::highest.
template <class T, bool bounded = false>
inline typename ExpConstants<T>::Vector exp_vector(typename ExpConstants<T>::Vector x) {
  using K = ExpConstants<T>;
  using V = typename K::Vector;
  const V zero = {}, lowest = zero + K::lowest, highest = zero + K::highest, shift = zero + K::shift;
  x = at_least(lowest, x);
  if constexpr (!bounded) x = at_most(highest, x);
  const V n = (x * K::inverse_log2 + shift) - shift;
  const V r = (x - n * K::log2_high) - n * K::log2_low;
  const V p = T(1) + (r + (r * r) * K::tail(r));
  return times_power(p, n);
}

template <class T>
inline void exp_in_place(T* data) {
  typename ExpConstants<T>::Vector x;
  std::memcpy(&x, data, sizeof x);
  x = exp_vector<T>(x);
  std::memcpy(data, &x, sizeof x);
}

template <class T>
void exp_array(T* x, std::int64_t n) {
  constexpr std::int64_t width = vector_bytes / sizeof(T);
  std::int64_t i = 0;
  for (; i + width <= n; i += width) exp_in_place(x + i);
  if (i == n) return;
  T rest[width] = {};
  std::memcpy(rest, x + i, static_cast<std::size_t>(n - i) * sizeof(T));
  exp_in_place(rest);
  std::memcpy(x + i, rest, static_cast<std::size_t>(n - i) * sizeof(T));
}

}  // namespace
}  // namespace eigencontext::cpu
