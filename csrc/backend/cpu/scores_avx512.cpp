// The score kernels for AVX-512. Empty where the compiler has no such flags (other processors).
#include "backend/cpu/scores_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__AVX512F__)
extern const ScoreKernels<float> score_kernels_avx512_float;
extern const ScoreKernels<double> score_kernels_avx512_double;
const ScoreKernels<float> score_kernels_avx512_float = score_kernels_here<float>;
const ScoreKernels<double> score_kernels_avx512_double = score_kernels_here<double>;
#endif

}  // namespace eigencontext::cpu
