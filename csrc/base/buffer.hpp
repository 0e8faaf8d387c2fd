// Buffer: the one owning array of the engine, 64-byte aligned, not initialised unless asked.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>

#include "base/views.hpp"

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
    return static_cast<T*>(::operator new[](static_cast<std::size_t>(size) * sizeof(T), std::align_val_t{alignment}));
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
