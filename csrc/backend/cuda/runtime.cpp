#include "backend/cuda/runtime.cuh"

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/blas.hpp"
#include "base/errors.hpp"

namespace eigencontext::cuda {
namespace {

// cuBLAS handles are made once and pass from threads that end to those that begin; none is destroyed, as the driver may
// be gone when the process ends.
class Handles {
 public:
  cublasHandle_t take() {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      const cublasHandle_t handle = free_.back();
      free_.pop_back();
      return handle;
    }
    cublasHandle_t handle = nullptr;
    check(cublasCreate(&handle), "cublasCreate");
    check(cublasSetStream(handle, stream()), "cublasSetStream");
    return handle;
  }
  void give(cublasHandle_t handle) {
    const std::lock_guard lock(mutex_);
    free_.push_back(handle);
  }

 private:
  std::mutex mutex_;
  std::vector<cublasHandle_t> free_;
};

Handles& handles() {
  static Handles& all = *new Handles;
  return all;
}

struct Lease {
  cublasHandle_t handle = handles().take();
  ~Lease() { handles().give(handle); }
};

thread_local bool tf32_allowed = false;

// Released memory stays in the pool.
void keep_pool() {
  static const bool done = [] {
    int device = 0;
    cudaMemPool_t pool = nullptr;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
    std::uint64_t everything = UINT64_MAX;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &everything), "cudaMemPoolSetAttribute");
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stick is not reported twice
  throw DeviceError(std::string(call) + ": " + cudaGetErrorString(status));
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw DeviceError(std::string(call) + ": " + cublasGetStatusString(status));
}

cublasHandle_t blas() {
  thread_local Lease lease;
  return lease.handle;
}

bool tf32() { return tf32_allowed; }
Tf32Scope::Tf32Scope(bool on) : previous_(tf32_allowed) { tf32_allowed = on; }
Tf32Scope::~Tf32Scope() { tf32_allowed = previous_; }

void* allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  keep_pool();
  void* memory = nullptr;
  const cudaError_t status = cudaMallocAsync(&memory, bytes, stream());
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    throw DeviceMemoryError("cudaMallocAsync: " + std::to_string(bytes) + " bytes asked for, " +
                            std::to_string(free_memory()) + " of " + std::to_string(total) + " free on the device");
  }
  check(status, "cudaMallocAsync");
  return memory;
}

void release(void* memory) noexcept {
  if (memory) cudaFreeAsync(memory, stream());
}

Index free_memory() {
  keep_pool();
  int device = 0;
  std::size_t free = 0, total = 0;
  std::uint64_t reserved = 0, used = 0;
  cudaMemPool_t pool = nullptr;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
  check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved), "cudaMemPoolGetAttribute");
  check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used), "cudaMemPoolGetAttribute");
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<Index>(free + (reserved - used));
}

void synchronize() { check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize"); }

void wait_for_everybody() noexcept { static_cast<void>(cudaDeviceSynchronize()); }

std::string unavailable() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess) {
    cudaGetLastError();
    return std::string("cudaGetDeviceCount: ") + cudaGetErrorString(status);
  }
  if (devices == 0) return "no device";
  int device = 0, major = 0, minor = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  if (major < 8)
    return "compute capability " + std::to_string(major) + "." + std::to_string(minor) + "; allowed: 8.0 and later";
  return "";
}

std::string device_name() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return properties.name;
}

void require_on_device(const void* memory, const char* argument) {
  if (!memory) return;
  int device = 0;
  cudaPointerAttributes attributes{};
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaPointerGetAttributes(&attributes, memory), "cudaPointerGetAttributes");
  const bool there = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
  if (!there) throw ArgumentError(argument, "memory of the host", "memory of a CUDA device");
  if (attributes.device != device)
    throw ArgumentError(argument, "an array on CUDA device " + std::to_string(attributes.device),
                        "arrays on the current device, " + std::to_string(device));
}

void wait_for(std::uintptr_t other) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  const cudaError_t recorded = cudaEventRecord(event, reinterpret_cast<cudaStream_t>(other));
  const cudaError_t waits = recorded == cudaSuccess ? cudaStreamWaitEvent(stream(), event, 0) : recorded;
  cudaEventDestroy(event);
  check(recorded, "cudaEventRecord");
  check(waits, "cudaStreamWaitEvent");
}

void copy_rows(void* to, Index to_pitch, const void* from, Index from_pitch, Index width, Index rows, Way way) {
  if (width == 0 || rows == 0) return;
  const cudaMemcpyKind kind = way == Way::to_host     ? cudaMemcpyDeviceToHost
                              : way == Way::to_device ? cudaMemcpyHostToDevice
                                                      : cudaMemcpyDeviceToDevice;
  const auto size = [](Index bytes) { return static_cast<std::size_t>(bytes); };
  if (rows == 1 || (to_pitch == width && from_pitch == width))  // cudaMemcpy2DAsync allows pitches below 2^31 alone
    check(cudaMemcpyAsync(to, from, size(width * rows), kind, stream()), "cudaMemcpyAsync");
  else
    check(cudaMemcpy2DAsync(to, size(to_pitch), from, size(from_pitch), size(width), size(rows), kind, stream()),
          "cudaMemcpy2DAsync");
  if (way == Way::to_host) synchronize();
}

}  // namespace eigencontext::cuda
