// Buffer: the one owning array of the engine, 64-byte aligned, not initialised unless asked.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>

#include "base/views.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace eigencontext {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index size) : size_(size), data_(allocate(size)) {}
  Buffer(Index size, T value) : Buffer(size) { std::fill_n(data(), size, value); }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  Index size() const { return size_; }
  T& operator[](Index i) { return data_[static_cast<std::size_t>(i)]; }
  const T& operator[](Index i) const { return data_[static_cast<std::size_t>(i)]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

 private:
  static constexpr std::size_t alignment = 64;
  struct Free {
    void operator()(T* p) const { ::operator delete[](p, std::align_val_t{alignment}); }
  };
  static T* allocate(Index size) {
    if (size < 0 || size > std::numeric_limits<Index>::max() / static_cast<Index>(sizeof(T))) throw std::bad_alloc();
    const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T);
    void* p = ::operator new[](bytes, std::align_val_t{alignment});
    ask_for_huge_pages(p, bytes);
    return static_cast<T*>(p);
  }
  // Fewer page faults when a large array is first written, fewer TLB misses when its rows are gathered. Only a hint.
  static void ask_for_huge_pages([[maybe_unused]] void* p, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::size_t large = std::size_t{1} << 22, page = 4096;
    if (bytes < large) return;
    const std::size_t skip = page - reinterpret_cast<std::uintptr_t>(p) % page;
    ::madvise(static_cast<char*>(p) + skip, bytes - skip, MADV_HUGEPAGE);
#endif
  }
  Index size_ = 0;
  std::unique_ptr<T[], Free> data_;
};

// A buffer that is a row-major block.
template <class T>
class OwnedBlock {
 public:
  OwnedBlock() = default;
  OwnedBlock(Index rows, Index cols) : rows_(rows), cols_(cols), buffer_(rows * cols) {}
  Block<T> view() { return {buffer_.data(), rows_, cols_, cols_}; }
  Block<const T> view() const { return {buffer_.data(), rows_, cols_, cols_}; }
  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  T* data() { return buffer_.data(); }
  const T* data() const { return buffer_.data(); }
  T& operator()(Index i, Index j) { return buffer_[i * cols_ + j]; }
  const T& operator()(Index i, Index j) const { return buffer_[i * cols_ + j]; }

 private:
  Index rows_ = 0, cols_ = 0;
  Buffer<T> buffer_;
};

}  // namespace eigencontext
