// The skinny kernels for ARM: 32 registers of 128 bits.
#if defined(__aarch64__)
#include "backend/cpu/skinny_kernel.hpp"

namespace eigencontext::cpu {

const SkinnyTables skinny_neon = make_tables<16, 16, 8, 8, 6>();

}  // namespace eigencontext::cpu
#endif
