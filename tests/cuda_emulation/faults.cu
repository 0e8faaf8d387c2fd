// One fault of each kind, for the test that the emulation reports it.
#include <cstdint>
#include <string>
#include <vector>

#include "backend/cuda/kernel.cuh"
#include "base/errors.hpp"
#include "control.hpp"

namespace eigencontext {
namespace {

using cuda::launch;
using Doubles = cuda::Memory<double>;

__global__ void write_at(double* x, Index at) { x[at] = 1; }
__global__ void read_at(const double* x, Index at, double* to) { to[0] = x[at]; }
__global__ void copy(Block<const double> X, double* to) { to[threadIdx.x] = X(0, threadIdx.x); }
__global__ void write_shared(int at) { cuda::shared_memory<double>()[at] = 1; }

// Each thread reads what its neighbour has written, with a barrier between or without one.
__global__ void pass_on(double* x, bool waits) {
  double* const shared = cuda::shared_memory<double>();
  const int t = static_cast<int>(threadIdx.x);
  shared[t] = t;
  if (waits) __syncthreads();
  x[t] = shared[(t + 1) % 32];
}
__global__ void some_wait() {
  if (threadIdx.x < 16) __syncthreads();
}
__global__ void some_shuffle(double* x) {
  double value = threadIdx.x;
  if (threadIdx.x < 16) value = __shfl_xor_sync(0xffffffffu, value, 1);
  x[threadIdx.x] = value;
}

// Copies 32 numbers from page-locked memory on a stream of their own, and forgets to wait for something.
void copy_beside(const std::string& forgotten, double* x) {
  void* locked = nullptr;
  cudaStream_t copies = nullptr;
  cudaEvent_t before = nullptr, after = nullptr;
  using cuda::check;
  check(cudaMallocHost(&locked, 256), "cudaMallocHost");
  check(cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  for (cudaEvent_t* event : {&before, &after}) check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "event");
  double* const numbers = static_cast<double*>(locked);
  for (int i = 0; i < 32; ++i) numbers[i] = i;
  check(cudaEventRecord(before, cuda::stream()), "record");
  if (forgotten != "work before a copy") check(cudaStreamWaitEvent(copies, before, 0), "wait");
  check(cudaMemcpy2DAsync(x, 256, numbers, 256, 256, 1, cudaMemcpyHostToDevice, copies), "copy");
  check(cudaEventRecord(after, copies), "record");
  if (forgotten == "copy before the host writes") numbers[3] = -1;
  if (forgotten != "copy before work") check(cudaStreamWaitEvent(cuda::stream(), after, 0), "wait");
  launch("planted", read_at, dim3(1), dim3(1), 0, static_cast<const double*>(x), Index{3}, x);
  check(cudaEventDestroy(before), "event");
  check(cudaEventDestroy(after), "event");
  check(cudaStreamDestroy(copies), "stream");
  check(cudaFreeHost(locked), "free");
}

std::vector<double> values(const Doubles& x) {
  std::vector<double> out(static_cast<std::size_t>(x.size()));
  x.to_host(out.data());
  return out;
}

}  // namespace

std::vector<double> plant(const std::string& kind) {
  Doubles x(32), y(32);
  const auto one = [](auto kernel, std::size_t shared, auto... arguments) {
    launch("planted", kernel, dim3(1), dim3(32), shared, arguments...);
  };
  if (kind == "write past the end") one(write_at, 0, x.data(), Index{32});
  if (kind == "write before the start") one(write_at, 0, x.data(), Index{-600});
  if (kind == "read past the end") one(read_at, 0, x.data(), Index{33}, y.data());
  if (kind == "write past shared memory") one(write_shared, 32 * sizeof(double), 40);
  if (kind == "view too long") one(copy, 0, Block<const double>{x.data(), 2, 32, 32}, y.data());
  if (kind == "uninitialised read") one(read_at, 0, x.data(), Index{3}, y.data());
  if (kind == "missing barrier") one(pass_on, 32 * sizeof(double), x.data(), false);
  if (kind == "no fault") one(pass_on, 32 * sizeof(double), x.data(), true);
  if (kind == "divergent barrier") one(some_wait, 0);
  if (kind == "divergent shuffle") one(some_shuffle, 0, x.data());
  if (kind == "host access") x.data()[0] = 1;
  if (const auto at = kind.find("forgotten: "); at == 0) copy_beside(kind.substr(11), x.data());
  if (kind == "leak") new Doubles(7);
  if (kind == "host pointer") {
    double on_host[32];
    one(write_at, 0, static_cast<double*>(on_host), Index{0});
  }
  if (kind == "use after free") {
    double* gone = Doubles(32).data();
    one(write_at, 0, gone, Index{0});
  }
  if (kind == "no synchronisation") {
    one(pass_on, 32 * sizeof(double), x.data(), true);
    std::vector<double> out(32, -1.0);
    cuda::check(cudaMemcpy2DAsync(out.data(), 256, x.data(), 256, 256, 1, cudaMemcpyDeviceToHost, cuda::stream()),
                "copy");
    const std::vector<double> seen = out;
    cuda::synchronize();
    return seen;
  }
  if (kind == "pitch too long")
    cuda::check(
        cudaMemcpy2DAsync(x.data(), 8, y.data(), std::size_t{1} << 31, 8, 1, cudaMemcpyDeviceToDevice, cuda::stream()),
        "planted");
  if (kind == "too many threads") launch("planted", some_wait, dim3(1), dim3(2048), 0);
  return kind == "uninitialised read" ? std::vector<double>{values(y)[0]} : values(x);
}

}  // namespace eigencontext
