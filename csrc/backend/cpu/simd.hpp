// Which instruction set the hand-written kernels of the host device use. Detected once, when first asked.
#pragma once

namespace eigencontext::cpu {

enum class SimdLevel { baseline, avx2, avx512, neon };

// The best level this machine runs, or the one that EIGENCONTEXT_SIMD names; a name that is unknown or that this
// machine cannot run is an ArgumentError. The environment is read once, at the first computation.
SimdLevel simd_level();

const char* name(SimdLevel level);

}  // namespace eigencontext::cpu
