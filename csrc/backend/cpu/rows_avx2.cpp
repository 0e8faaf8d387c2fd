// The row kernels for AVX2 and FMA. Empty where the compiler has no such flags (other processors).
#include "backend/cpu/rows_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__AVX2__)
extern const RowKernels<float> row_kernels_avx2_float;
extern const RowKernels<double> row_kernels_avx2_double;
const RowKernels<float> row_kernels_avx2_float = row_kernels_here<float>;
const RowKernels<double> row_kernels_avx2_double = row_kernels_here<double>;
#endif

}  // namespace eigencontext::cpu
