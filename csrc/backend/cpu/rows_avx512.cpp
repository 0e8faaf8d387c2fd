// The row kernels for AVX-512. Empty where the compiler has no such flags (other processors).
#include "backend/cpu/rows_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__AVX512F__)
extern const RowKernels<float> row_kernels_avx512_float;
extern const RowKernels<double> row_kernels_avx512_double;
const RowKernels<float> row_kernels_avx512_float = row_kernels_here<float>;
const RowKernels<double> row_kernels_avx512_double = row_kernels_here<double>;
#endif

}  // namespace eigencontext::cpu
