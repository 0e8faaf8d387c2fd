#include "operators/csr.hpp"

#include <atomic>
#include <limits>
#include <string>
#include <utility>

#include "base/errors.hpp"

namespace eigencontext {
namespace {

template <class T, class Int>
CsrView<T, Int> view_of(const CsrArrays<T>& A) {
  return {static_cast<const Int*>(A.offsets), static_cast<const Int*>(A.indices), A.values, A.rows, A.cols};
}

// A parameter, so that what a device lacks is not looked for.
template <class T, class Int, class Backend = Device>
class Csr final : public Operator<Backend, T> {
 public:
  Csr(CsrView<T, Int> A, Index entries, bool transpose_copy, bool symmetric, std::shared_ptr<const void> keep_alive)
      : A_(A), entries_(entries), symmetric_(symmetric), keep_alive_(std::move(keep_alive)) {
    if ((transpose_copy || !Backend::csr_scatters) && !symmetric) store_transpose();
  }

  Index rows() const override { return A_.rows; }
  Index cols() const override { return A_.cols; }
  Cost cost(Index b) const override {
    const double entries = static_cast<double>(entries_);
    Cost cost{2 * entries * static_cast<double>(b), entries * (sizeof(T) + sizeof(Int)), 0};
    if constexpr (Backend::csr_scatters)
      if (scatters()) cost.workspace = Backend::csr_scratch(A_, b);
    return cost;
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    ++reads_;
    Backend::csr_multiply(A_, X, Y);
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    ++reads_;
    if (!scatters()) return Backend::csr_multiply(symmetric_ ? A_ : transpose_, Y, Z);
    if constexpr (Backend::csr_scatters) Backend::csr_multiply_transposed(A_, Y, Z);
  }

  // Without a transposed copy both ways scatter, and this one reads A once; gathering from a copy is faster than
  // either.
  bool has_fused() const override { return Backend::csr_scatters; }
  bool prefers_fused() const override { return scatters(); }
  void multiply_fused(const double* w, Block<const T> X, Block<T> Z) const override {
    ++reads_;
    if constexpr (Backend::csr_scatters) Backend::csr_multiply_fused(A_, w, X, Z);
  }

  Index reads() const override { return reads_; }

  bool symmetric() const override { return symmetric_; }

 private:
  template <class U>
  using Memory = typename Backend::template Memory<U>;

  bool scatters() const { return !symmetric_ && !transpose_.offsets; }

  void store_transpose() {
    const Index bands = Backend::csr_bands(A_);
    offsets_ = Memory<Int>(bands * A_.cols + 1);
    indices_ = Memory<Int>(entries_);
    values_ = Memory<T>(entries_);
    Backend::csr_transpose(A_, bands, offsets_.data(), indices_.data(), values_.data());
    transpose_ = {offsets_.data(), indices_.data(), values_.data(), bands * A_.cols, A_.rows};
  }

  CsrView<T, Int> A_, transpose_;
  Index entries_;
  Memory<Int> offsets_, indices_;
  Memory<T> values_;
  bool symmetric_;
  mutable std::atomic<Index> reads_{0};
  std::shared_ptr<const void> keep_alive_;
};

template <class T, class Int>
void check(CsrArrays<T>& A) {
  const Index limit = std::numeric_limits<Int>::max();
  if (A.rows > limit || A.cols > limit)
    throw ArgumentError("indices", "a shape beyond the range of their type", "int64 indices for such a shape");
  const Cpu::CsrFaults faults = Device::csr_check(view_of<T, Int>(A), A.entries);
  if (faults.first != 0) throw ArgumentError("indptr", "first entry " + std::to_string(faults.first), "0");
  if (faults.decrease >= 0)
    throw ArgumentError("indptr", "a decrease after row " + std::to_string(faults.decrease), "no decrease");
  if (faults.entries > A.entries)
    throw ArgumentError("indptr", "last entry " + std::to_string(faults.entries),
                        "at most the number of indices, " + std::to_string(A.entries));
  if (faults.column >= 0)
    throw ArgumentError("indices", "a column out of range among the entries from " + std::to_string(faults.column),
                        "0 to " + std::to_string(A.cols - 1));
  A.entries = faults.entries;
}

template <class T, class Int>
OperatorPtr<Device, T> make(const CsrArrays<T>& A, bool transpose_copy, bool symmetric,
                            std::shared_ptr<const void> keep_alive) {
  return std::make_shared<const Csr<T, Int>>(view_of<T, Int>(A), A.entries, transpose_copy, symmetric,
                                             std::move(keep_alive));
}

void check_index_bytes(int bytes) {
  if (bytes != 4 && bytes != 8)
    throw ArgumentError("indices", std::to_string(bytes) + "-byte integers", "int32, int64");
}

}  // namespace

template <class T>
void check_csr(CsrArrays<T>& A) {
  check_index_bytes(A.index_bytes);
  return A.index_bytes == 4 ? check<T, std::int32_t>(A) : check<T, std::int64_t>(A);
}

template <class T>
OperatorPtr<Device, T> make_csr(const CsrArrays<T>& A, bool transpose_copy, bool symmetric,
                                std::shared_ptr<const void> keep_alive) {
  check_index_bytes(A.index_bytes);
  return A.index_bytes == 4 ? make<T, std::int32_t>(A, transpose_copy, symmetric, std::move(keep_alive))
                            : make<T, std::int64_t>(A, transpose_copy, symmetric, std::move(keep_alive));
}

template void check_csr(CsrArrays<float>&);
template void check_csr(CsrArrays<double>&);
template OperatorPtr<Device, float> make_csr(const CsrArrays<float>&, bool, bool, std::shared_ptr<const void>);
template OperatorPtr<Device, double> make_csr(const CsrArrays<double>&, bool, bool, std::shared_ptr<const void>);

}  // namespace eigencontext
