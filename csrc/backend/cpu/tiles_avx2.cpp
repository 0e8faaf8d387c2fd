// The tile kernels for AVX2 and FMA. Empty where the compiler has no such flags (other processors).
#include "backend/cpu/tiles_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__AVX2__)
extern const TileKernels<float> tile_kernels_avx2_float;
extern const TileKernels<double> tile_kernels_avx2_double;
const TileKernels<float> tile_kernels_avx2_float = kernels_here<float>;
const TileKernels<double> tile_kernels_avx2_double = kernels_here<double>;
#endif

}  // namespace eigencontext::cpu
