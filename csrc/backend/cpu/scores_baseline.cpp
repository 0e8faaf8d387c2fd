// The score kernels for every processor, and the choice between the levels.
#include "backend/cpu/scores_kernel.hpp"
#include "backend/cpu/simd.hpp"

namespace eigencontext::cpu {

#if defined(__x86_64__)
extern const ScoreKernels<float> score_kernels_avx2_float, score_kernels_avx512_float;
extern const ScoreKernels<double> score_kernels_avx2_double, score_kernels_avx512_double;
#endif

template <>
const ScoreKernels<float>& score_kernels<float>() {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512) return score_kernels_avx512_float;
  if (simd_level() == SimdLevel::avx2) return score_kernels_avx2_float;
#endif
  return score_kernels_here<float>;
}

template <>
const ScoreKernels<double>& score_kernels<double>() {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512) return score_kernels_avx512_double;
  if (simd_level() == SimdLevel::avx2) return score_kernels_avx2_double;
#endif
  return score_kernels_here<double>;
}

}  // namespace eigencontext::cpu
