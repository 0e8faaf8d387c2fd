// The match kernels for every processor, and the choice between the levels.
#include "backend/cpu/match_kernel.hpp"
#include "backend/cpu/simd.hpp"

namespace eigencontext::cpu {

#if defined(__x86_64__)
extern const MatchKernels<float> match_kernels_avx2_float, match_kernels_avx512_float;
extern const MatchKernels<double> match_kernels_avx2_double, match_kernels_avx512_double;
#endif

template <>
const MatchKernels<float>& match_kernels<float>() {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512) return match_kernels_avx512_float;
  if (simd_level() == SimdLevel::avx2) return match_kernels_avx2_float;
#endif
  return match_kernels_here<float>;
}

template <>
const MatchKernels<double>& match_kernels<double>() {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512) return match_kernels_avx512_double;
  if (simd_level() == SimdLevel::avx2) return match_kernels_avx2_double;
#endif
  return match_kernels_here<double>;
}

}  // namespace eigencontext::cpu
