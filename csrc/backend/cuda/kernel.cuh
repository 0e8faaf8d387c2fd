// For the sources that hold kernels.
#pragma once

#include "backend/cuda/runtime.cuh"

// Dynamic shared memory of a block; launch() says how much.
extern __shared__ double eigencontext_shared[];

namespace eigencontext::cuda {

template <class T>
__device__ inline T* shared_memory() {
  return reinterpret_cast<T*>(eigencontext_shared);
}

// The rows and columns of over()'s threads.
__device__ inline Index first_row() { return Index{blockIdx.y} * blockDim.y + threadIdx.y; }
__device__ inline Index row_step() { return Index{gridDim.y} * blockDim.y; }
__device__ inline Index first_col() { return Index{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline Index col_step() { return Index{gridDim.x} * blockDim.x; }

// What the lanes of a warp add up, in an order that only depends on the lanes.
__device__ inline double over_warp(double x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

__device__ inline double largest_in_warp(double x) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const double other = __shfl_xor_sync(0xffffffffu, x, offset);
    if (!(x >= other)) x = other == other ? other : x;
  }
  return x;
}

// Blocks of four warps, one for each row.
inline dim3 warps_for(Index rows) { return dim3(static_cast<unsigned>(std::min<Index>(ceil_div(rows, 4), 1 << 16))); }

}  // namespace eigencontext::cuda
