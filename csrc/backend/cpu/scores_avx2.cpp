// The score kernels for AVX2 and FMA. Empty where the compiler has no such flags (other processors).
#include "backend/cpu/scores_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__AVX2__)
extern const ScoreKernels<float> score_kernels_avx2_float;
extern const ScoreKernels<double> score_kernels_avx2_double;
const ScoreKernels<float> score_kernels_avx2_float = score_kernels_here<float>;
const ScoreKernels<double> score_kernels_avx2_double = score_kernels_here<double>;
#endif

}  // namespace eigencontext::cpu
