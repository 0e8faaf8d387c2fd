// The row kernels for every processor, and the choice between the levels.
#include "backend/cpu/rows_kernel.hpp"
#include "backend/cpu/simd.hpp"

namespace eigencontext::cpu {

#if defined(__x86_64__)
extern const RowKernels<float> row_kernels_avx2_float, row_kernels_avx512_float;
extern const RowKernels<double> row_kernels_avx2_double, row_kernels_avx512_double;
#endif

template <>
const RowKernels<float>& row_kernels<float>() {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512) return row_kernels_avx512_float;
  if (simd_level() == SimdLevel::avx2) return row_kernels_avx2_float;
#endif
  return row_kernels_here<float>;
}

template <>
const RowKernels<double>& row_kernels<double>() {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512) return row_kernels_avx512_double;
  if (simd_level() == SimdLevel::avx2) return row_kernels_avx2_double;
#endif
  return row_kernels_here<double>;
}

}  // namespace eigencontext::cpu
