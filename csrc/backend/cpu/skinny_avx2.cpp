// The skinny kernels for AVX2 and FMA: 16 registers of 256 bits.
#if defined(__x86_64__)
#include "backend/cpu/skinny_kernel.hpp"

namespace eigencontext::cpu {

const SkinnyTables skinny_avx2 = make_tables<32, 12, 6, 4, 0>();

}  // namespace eigencontext::cpu
#endif
