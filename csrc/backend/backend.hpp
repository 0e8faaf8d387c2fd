// The device that operators and the solver are compiled for: one source, one module for each device.
#pragma once

#ifdef EIGENCONTEXT_CUDA
#include "backend/cuda/cuda.hpp"

namespace eigencontext {
using Device = Cuda;
}
#else
#include "backend/cpu/cpu.hpp"

namespace eigencontext {
using Device = Cpu;
}
#endif
