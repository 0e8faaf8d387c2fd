// The match kernels for AVX-512. Empty where the compiler has no such flags (other processors).
#include "backend/cpu/match_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__AVX512F__)
extern const MatchKernels<float> match_kernels_avx512_float;
extern const MatchKernels<double> match_kernels_avx512_double;
const MatchKernels<float> match_kernels_avx512_float = match_kernels_here<float>;
const MatchKernels<double> match_kernels_avx512_double = match_kernels_here<double>;
#endif

}  // namespace eigencontext::cpu
