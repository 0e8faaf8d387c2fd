// The few parts of the CUDA runtime that the engine uses, for a machine without one: kernels run on the processor, the
// threads of a block as fibers. For tests alone; what is watched meanwhile is listed in ../NOTES.md.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged };
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor = 75, cudaDevAttrComputeCapabilityMinor = 76 };
enum cudaMemPoolAttr {
  cudaMemPoolAttrReleaseThreshold = 4,
  cudaMemPoolAttrReservedMemCurrent = 5,
  cudaMemPoolAttrUsedMemCurrent = 7
};
enum { cudaEventDisableTiming = 2, cudaStreamNonBlocking = 1 };

typedef struct EmulatedStream* cudaStream_t;
typedef struct EmulatedEvent* cudaEvent_t;
typedef struct EmulatedPool* cudaMemPool_t;
#define cudaStreamPerThread (reinterpret_cast<cudaStream_t>(2))

struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
};
struct cudaDeviceProp {
  char name[256];
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory);
cudaError_t cudaMallocHost(void** memory, std::size_t bytes);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);

namespace emulation {

// Ends the process with a report, which is what a test looks for.
[[noreturn]] void fault(const char* kind, const char* format, ...) __attribute__((format(printf, 2, 3)));

// That [first, first + bytes) lies within one live allocation.
void require_device(const void* first, std::size_t bytes, const char* what);

void barrier(const char* file, int line);
// The value that the lane numbered `lane` of this warp brought to the same call.
std::uint64_t exchange(std::uint64_t bits, int lane, const char* file, int line);
int lane();

typedef void Body(const void* context);
cudaError_t run(const cudaLaunchConfig_t& config, Body* body, const void* context);

// Device memory may be touched while one of these lives.
struct Access {
  Access();
  ~Access();
};

template <class T>
void require_strided(const T* data, std::int64_t rows, std::int64_t cols, std::int64_t row, std::int64_t col) {
  if (rows == 0 || cols == 0) return;
  const std::int64_t r = (rows - 1) * row, c = (cols - 1) * col;
  const std::int64_t low = (r < 0 ? r : 0) + (c < 0 ? c : 0), high = (r > 0 ? r : 0) + (c > 0 ? c : 0);
  require_device(data + low, static_cast<std::size_t>(high - low + 1) * sizeof(T), "a view");
}

// What a kernel is given: views whole, pointers where they point.
template <class T>
void check_argument(const T& argument) {
  if constexpr (std::is_pointer_v<T>) {
    if (argument) require_device(argument, sizeof(std::remove_pointer_t<T>), "a pointer");
  } else if constexpr (requires {
                         argument.offsets;
                         argument.indices;
                         argument.values;
                       }) {
    require_strided(argument.offsets, argument.rows + 1, 1, 1, 1);
    check_argument(argument.indices);
    check_argument(argument.values);
  } else if constexpr (requires {
                         argument.data;
                         argument.row_stride;
                         argument.col_stride;
                       }) {
    require_strided(argument.data, argument.rows, argument.cols, argument.row_stride, argument.col_stride);
  } else if constexpr (requires {
                         argument.data;
                         argument.stride;
                       }) {
    require_strided(argument.data, argument.rows, argument.cols, argument.stride, 1);
  } else {
    static_assert(std::is_arithmetic_v<T>, "a kernel takes numbers, pointers and views");
  }
}

}  // namespace emulation

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  using Call = std::pair<void (*)(Parameters...), std::tuple<Parameters...>>;
  const Call call{kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)};
  std::apply([](const auto&... values) { (emulation::check_argument(values), ...); }, call.second);
  const auto body = [](const void* context) {
    const auto& [function, values] = *static_cast<const Call*>(context);
    std::apply(function, values);
  };
  return emulation::run(*config, body, &call);
}

#define __syncthreads() emulation::barrier(__FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, offset) \
  emulation::shuffled((value), emulation::lane() ^ (offset), (mask), __FILE__, __LINE__)

namespace emulation {
template <class T>
T shuffled(T value, int from, unsigned mask, const char* file, int line) {
  static_assert(sizeof(T) <= 8);
  if (mask != 0xffffffffu) fault("shuffle", "a mask other than all lanes at %s:%d", file, line);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(bits, from, file, line);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
}  // namespace emulation

// Fibers do not interrupt one another, so plain operations are atomic.
template <class T>
T atomicOr(T* at, T value) {
  const T old = *at;
  *at |= value;
  return old;
}
template <class T>
T atomicMax(T* at, T value) {
  const T old = *at;
  if (value > old) *at = value;
  return old;
}
