// The tile kernels for every processor, and the choice between the levels.
#include "backend/cpu/simd.hpp"
#include "backend/cpu/tiles_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__x86_64__)
extern const TileKernels<float> tile_kernels_avx2_float, tile_kernels_avx512_float;
extern const TileKernels<double> tile_kernels_avx2_double, tile_kernels_avx512_double;
#endif

template <>
const TileKernels<float>& tile_kernels<float>() {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512) return tile_kernels_avx512_float;
  if (simd_level() == SimdLevel::avx2) return tile_kernels_avx2_float;
#endif
  return kernels_here<float>;
}

template <>
const TileKernels<double>& tile_kernels<double>() {
#if defined(__x86_64__)
  if (simd_level() == SimdLevel::avx512) return tile_kernels_avx512_double;
  if (simd_level() == SimdLevel::avx2) return tile_kernels_avx2_double;
#endif
  return kernels_here<double>;
}

}  // namespace eigencontext::cpu
