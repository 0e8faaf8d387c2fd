// The match kernels for AVX2 and FMA. Empty where the compiler has no such flags (other processors).
#include "backend/cpu/match_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__AVX2__)
extern const MatchKernels<float> match_kernels_avx2_float;
extern const MatchKernels<double> match_kernels_avx2_double;
const MatchKernels<float> match_kernels_avx2_float = match_kernels_here<float>;
const MatchKernels<double> match_kernels_avx2_double = match_kernels_here<double>;
#endif

}  // namespace eigencontext::cpu
