// Two normals from 104 random bits, the same on every device: only + - * / sqrt and bit operations, so that loops over
// it are vectorised and the numbers do not depend on a mathematical library.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define EIGENCONTEXT_ON_DEVICES __host__ __device__
#else
#define EIGENCONTEXT_ON_DEVICES
#endif

namespace eigencontext {

inline constexpr std::uint64_t bits_of_one = 0x3ff0000000000000, mantissa_mask = 0x000fffffffffffff;

// c_0 + c_1 x + c_2 x^2 + ..., unrolled.
template <class... C>
EIGENCONTEXT_ON_DEVICES inline double polynomial(double x, double c0, C... rest) {
  if constexpr (sizeof...(rest) == 0)
    return c0;
  else
    return c0 + x * polynomial(x, rest...);
}

// log(u), u in (0, 1): u = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 artanh(z), z = (m - 1) / (m + 1).
EIGENCONTEXT_ON_DEVICES inline double log_of(double u) {
  constexpr std::uint64_t bits_of_sqrt_half = 0x3fe6a09e667f3bcd, bits_of_2_52 = 0x4330000000000000;
  const std::uint64_t shifted = std::bit_cast<std::uint64_t>(u) + (bits_of_one - bits_of_sqrt_half);
  const double m = std::bit_cast<double>((shifted & mantissa_mask) + bits_of_sqrt_half);
  const double e = std::bit_cast<double>((shifted >> 52) | bits_of_2_52) - (0x1p52 + 1023);
  const double z = (m - 1) / (m + 1), w = z * z;
  const double series =
      polynomial(w, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19);
  return e * 0x1.62e42fefa39efp-1 + 2 * (z + z * w * series);
}

// Box-Muller from two numbers of 52 bits: sqrt(-2 log u) (cos, sin)(2 pi v), u = (k + 1/2) 2^-52.
EIGENCONTEXT_ON_DEVICES inline void normal_pair(std::uint64_t k, std::uint64_t l, double& even, double& odd) {
  const double u = std::bit_cast<double>(k | bits_of_one) - (1 - 0x1p-53);
  const double radius = std::sqrt(-2 * log_of(u));

  // 4 v = q + t, |t| <= 1/2: the angle is q quarter turns and a = t pi / 2.
  const double turns = 4 * (std::bit_cast<double>(l | bits_of_one) - 1);
  const double rounded = turns + 0x1.8p52;
  const std::uint64_t q = std::bit_cast<std::uint64_t>(rounded);  // its low bits are the rounded number
  const double a = (turns - (rounded - 0x1.8p52)) * 0x1.921fb54442d18p0, w = a * a;
  const double sine = a + a * w *
                              polynomial(w, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                                         1.0 / 6227020800, -1.0 / 1307674368000);
  const double cosine = 1 + w * polynomial(w, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
                                           1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000);

  // A quarter turn takes (cos, sin) to (-sin, cos).
  const std::uint64_t s = std::bit_cast<std::uint64_t>(sine), c = std::bit_cast<std::uint64_t>(cosine);
  const std::uint64_t swap = std::uint64_t{0} - (q & 1);
  const std::uint64_t cos_bits = ((s & swap) | (c & ~swap)) ^ (((q + 1) & 2) << 62);
  const std::uint64_t sin_bits = ((c & swap) | (s & ~swap)) ^ ((q & 2) << 62);
  even = radius * std::bit_cast<double>(cos_bits);
  odd = radius * std::bit_cast<double>(sin_bits);
}

}  // namespace eigencontext
