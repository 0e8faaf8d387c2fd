// Device memory that owns itself. Nothing here needs the CUDA headers.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "base/views.hpp"

namespace eigencontext::cuda {

// Memory of the driver's pool, in the order of this thread's stream: what is released is handed out again without a
// call to the operating system. Throws DeviceMemoryError.
void* allocate(std::size_t bytes);
void release(void* memory) noexcept;

// Bytes of the device that are not in use; what the pool keeps for later counts as free.
Index free_memory();

// Waits for what this thread has asked of the device.
void synchronize();

// Waits for everything on the device, whoever asked for it; errors are left to those who ask next.
void wait_for_everybody() noexcept;

// Why there is no device to work on, or "".
std::string unavailable();
std::string device_name();

// Throws ArgumentError unless `memory` is on the device that is in use.
void require_on_device(const void* memory, const char* argument);

// What was asked of `stream` (an integer as in __cuda_array_interface__) comes before what this thread asks from now.
void wait_for(std::uintptr_t stream);

// `rows` runs of `width` bytes each. To the host it waits for the copy. From the host it waits until pageable memory
// has been read, not for the copy to arrive; page-locked memory must not change before the stream is waited for.
enum class Way { to_host, to_device, on_device };
void copy_rows(void* to, Index to_pitch, const void* from, Index from_pitch, Index width, Index rows, Way way);

// While alive, products of this thread's operators may round float32 to TF32.
class Tf32Scope {
 public:
  explicit Tf32Scope(bool on);
  ~Tf32Scope();
  Tf32Scope(const Tf32Scope&) = delete;
  Tf32Scope& operator=(const Tf32Scope&) = delete;

 private:
  bool previous_;
};

template <class T>
class Memory {
 public:
  Memory() = default;
  explicit Memory(Index size) : size_(size), data_(static_cast<T*>(allocate(bytes(size)))) {}
  ~Memory() { release(data_); }
  Memory(Memory&& other) noexcept : size_(std::exchange(other.size_, 0)), data_(std::exchange(other.data_, nullptr)) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  Index size() const { return size_; }

  static Memory from_host(const T* values, Index size) {
    Memory memory(size);
    const Index width = size * static_cast<Index>(sizeof(T));
    copy_rows(memory.data(), width, values, width, width, 1, Way::to_device);
    return memory;
  }
  void to_host(T* values) const {
    const Index width = size_ * static_cast<Index>(sizeof(T));
    copy_rows(values, width, data_, width, width, 1, Way::to_host);
  }

 private:
  static std::size_t bytes(Index size) { return static_cast<std::size_t>(size) * sizeof(T); }
  Index size_ = 0;
  T* data_ = nullptr;
};

// A row-major block in device memory, not initialised.
template <class T>
class Array {
 public:
  Array() = default;
  Array(Index rows, Index cols) : rows_(rows), cols_(cols), memory_(rows * cols) {}

  Block<T> view() { return {memory_.data(), rows_, cols_, cols_}; }
  Block<const T> view() const { return {memory_.data(), rows_, cols_, cols_}; }
  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  T* data() { return memory_.data(); }
  const T* data() const { return memory_.data(); }

 private:
  Index rows_ = 0, cols_ = 0;
  Memory<T> memory_;
};

}  // namespace eigencontext::cuda
