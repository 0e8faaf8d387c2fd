// The skinny kernels for every machine of the architecture: 128-bit vectors.
#include "backend/cpu/skinny_kernel.hpp"

namespace eigencontext::cpu {

const SkinnyTables skinny_baseline = make_tables<16, 8, 6, 4, 0>();

}  // namespace eigencontext::cpu
