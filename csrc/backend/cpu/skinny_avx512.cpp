// The skinny kernels for AVX-512: 32 registers of 512 bits.
#if defined(__x86_64__)
#include "backend/cpu/skinny_kernel.hpp"

namespace eigencontext::cpu {

const SkinnyTables skinny_avx512 = make_tables<64, 16, 8, 8, 6>();

}  // namespace eigencontext::cpu
#endif
