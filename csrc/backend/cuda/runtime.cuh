// What every source of this backend begins with: checked calls, this thread's stream, launches.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>

#include "backend/cuda/cuda.hpp"
#include "base/views.hpp"

namespace eigencontext::cuda {

// Throws DeviceError, which names the call.
void check(cudaError_t status, const char* call);

inline cudaStream_t stream() { return cudaStreamPerThread; }

// The one way in which kernels are started.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared,
            Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream();
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// Threads along the columns and rows of a block; the kernels walk on where the grid is smaller than the block.
struct Shape {
  dim3 grid, block;
};
inline Shape over(Index rows, Index cols) {
  unsigned width = 1;
  while (width < 32 && width < cols) width *= 2;
  const unsigned height = 256 / width;
  return {dim3(static_cast<unsigned>(std::min<Index>(ceil_div(cols, width), 1024)),
               static_cast<unsigned>(std::min<Index>(ceil_div(rows, height), 4096))),
          dim3(width, height)};
}

}  // namespace eigencontext::cuda
