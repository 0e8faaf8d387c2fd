// The tile kernels for AVX-512. Empty where the compiler has no such flags (other processors).
#include "backend/cpu/tiles_kernel.hpp"

namespace eigencontext::cpu {

#if defined(__AVX512F__)
extern const TileKernels<float> tile_kernels_avx512_float;
extern const TileKernels<double> tile_kernels_avx512_double;
const TileKernels<float> tile_kernels_avx512_float = kernels_here<float>;
const TileKernels<double> tile_kernels_avx512_double = kernels_here<double>;
#endif

}  // namespace eigencontext::cpu
