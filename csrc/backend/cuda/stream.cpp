#include "backend/cuda/stream.hpp"

#include <algorithm>
#include <string>

#include "backend/cuda/runtime.cuh"
#include "base/errors.hpp"

namespace eigencontext::cuda {
namespace {

class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  void hold_up(cudaStream_t stream) { check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent"); }
  void wait() { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

 private:
  cudaEvent_t event_ = nullptr;
};

class CopyStream {
 public:
  CopyStream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~CopyStream() { cudaStreamDestroy(stream_); }
  CopyStream(const CopyStream&) = delete;
  CopyStream& operator=(const CopyStream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class PageLocked {
 public:
  explicit PageLocked(Index bytes) {
    const cudaError_t status = cudaMallocHost(&memory_, static_cast<std::size_t>(bytes));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw DeviceMemoryError("cudaMallocHost: " + std::to_string(bytes) + " bytes of page-locked memory asked for");
    }
    check(status, "cudaMallocHost");
  }
  ~PageLocked() { cudaFreeHost(memory_); }
  PageLocked(const PageLocked&) = delete;
  PageLocked& operator=(const PageLocked&) = delete;
  void* data() const { return memory_; }

 private:
  void* memory_ = nullptr;
};

// Before buffers are released or written again, however the caller is left.
struct Finish {
  cudaStream_t copies;
  ~Finish() { cudaStreamSynchronize(copies); }
};

}  // namespace

struct RowStream::Buffers {
  explicit Buffers(Index bytes) : host{PageLocked(bytes), PageLocked(bytes)} {}
  PageLocked host[2];
  CopyStream copies;
  Event copied[2], used[2];
};

RowStream::RowStream(Index row_bytes)
    : row_bytes_(std::max<Index>(row_bytes, 1)),
      group_(std::max<Index>(1, EIGENCONTEXT_CUDA_STREAM_BYTES / row_bytes_)),
      buffers_(std::make_unique<Buffers>(group_ * row_bytes_)) {}

RowStream::~RowStream() = default;

void RowStream::each(Index rows, const Fill& fill, const Work& work) {
  auto& [host, copies, copied, used] = *buffers_;
  const Index largest = std::min(group_, rows) * row_bytes_;
  Memory<unsigned char> device[2] = {Memory<unsigned char>(largest), Memory<unsigned char>(largest)};
  const Finish finish{copies};
  for (Event& event : used) event.record(stream());  // the buffers on the device are there from here on
  int b = 0;
  for (Index i = 0; i < rows; i += group_, b = 1 - b) {
    const Index count = std::min(group_, rows - i);
    const auto bytes = static_cast<std::size_t>(count * row_bytes_);
    copied[b].wait();
    fill(i, count, host[b].data());
    used[b].hold_up(copies);
    check(cudaMemcpyAsync(device[b].data(), host[b].data(), bytes, cudaMemcpyHostToDevice, copies), "cudaMemcpyAsync");
    copied[b].record(copies);
    copied[b].hold_up(stream());
    work(i, count, device[b].data());
    used[b].record(stream());
  }
}

}  // namespace eigencontext::cuda
