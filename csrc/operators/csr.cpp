#include "operators/csr.hpp"

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <utility>

#include "base/errors.hpp"
#include "base/parallel.hpp"

namespace eigencontext {
namespace {

template <class T, class Int>
CsrView<T, Int> view_of(const CsrArrays<T>& A) {
  return {static_cast<const Int*>(A.offsets), static_cast<const Int*>(A.indices), A.values, A.rows, A.cols};
}

template <class T, class Int>
class Csr final : public Operator<Cpu, T> {
 public:
  Csr(CsrView<T, Int> A, bool transpose_copy, bool symmetric, std::shared_ptr<const void> keep_alive)
      : A_(A), symmetric_(symmetric), keep_alive_(std::move(keep_alive)) {
    if (transpose_copy && !symmetric) store_transpose();
  }

  Index rows() const override { return A_.rows; }
  Index cols() const override { return A_.cols; }
  Cost cost(Index b) const override {
    const double entries = static_cast<double>(A_.offsets[A_.rows]);
    const bool scatters = !symmetric_ && !transpose_.offsets;
    return {2 * entries * static_cast<double>(b), entries * (sizeof(T) + sizeof(Int)),
            scatters ? Cpu::csr_scratch(A_, b) : 0.0};
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    ++reads_;
    Cpu::csr_multiply(A_, X, Y);
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    ++reads_;
    if (symmetric_) return Cpu::csr_multiply(A_, Y, Z);
    if (transpose_.offsets) return Cpu::csr_multiply(transpose_, Y, Z);
    Cpu::csr_multiply_transposed(A_, Y, Z);
  }

  // Without a transposed copy both ways scatter, and this one reads A once; gathering from a copy is faster than
  // either.
  bool has_fused() const override { return true; }
  bool prefers_fused() const override { return !symmetric_ && !transpose_.offsets; }
  void multiply_fused(const double* w, Block<const T> X, Block<T> Z) const override {
    ++reads_;
    Cpu::csr_multiply_fused(A_, w, X, Z);
  }

  Index reads() const override { return reads_; }

  bool symmetric() const override { return symmetric_; }

 private:
  void store_transpose() {
    const Index entries = static_cast<Index>(A_.offsets[A_.rows]), bands = Cpu::csr_bands(A_);
    offsets_ = Buffer<Int>(bands * A_.cols + 1);
    indices_ = Buffer<Int>(entries);
    values_ = Buffer<T>(entries);
    Cpu::csr_transpose(A_, bands, offsets_.data(), indices_.data(), values_.data());
    transpose_ = {offsets_.data(), indices_.data(), values_.data(), bands * A_.cols, A_.rows};
  }

  CsrView<T, Int> A_, transpose_;
  Buffer<Int> offsets_, indices_;
  Buffer<T> values_;
  bool symmetric_;
  mutable std::atomic<Index> reads_{0};
  std::shared_ptr<const void> keep_alive_;
};

template <class T, class Int>
void check(const CsrArrays<T>& A) {
  const Index limit = std::numeric_limits<Int>::max();
  if (A.rows > limit || A.cols > limit)
    throw ArgumentError("indices", "a shape beyond the range of their type", "int64 indices for such a shape");
  const auto view = view_of<T, Int>(A);
  if (view.offsets[0] != 0) throw ArgumentError("indptr", "first entry " + std::to_string(view.offsets[0]), "0");
  constexpr Index piece = 1 << 16;
  std::atomic<Index> bad_row{-1}, bad_entry{-1};
  parallel_for((A.rows + piece - 1) / piece, [&](Index c, int) {
    for (Index i = c * piece; i < std::min(A.rows, (c + 1) * piece); ++i)
      if (view.offsets[i] > view.offsets[i + 1]) bad_row = i;
  });
  if (bad_row >= 0) throw ArgumentError("indptr", "a decrease after row " + std::to_string(bad_row), "no decrease");
  const Index entries = static_cast<Index>(view.offsets[A.rows]);
  if (entries > A.entries)
    throw ArgumentError("indptr", "last entry " + std::to_string(entries),
                        "at most the number of indices, " + std::to_string(A.entries));
  parallel_for((entries + piece - 1) / piece, [&](Index c, int) {
    bool good = true;
    const Index end = std::min(entries, (c + 1) * piece);
    for (Index p = c * piece; p < end; ++p) good &= view.indices[p] >= 0 && view.indices[p] < A.cols;
    if (!good) bad_entry = c * piece;
  });
  if (bad_entry >= 0)
    throw ArgumentError("indices", "a column out of range among the entries from " + std::to_string(bad_entry),
                        "0 to " + std::to_string(A.cols - 1));
}

template <class T, class Int>
OperatorPtr<Cpu, T> make(const CsrArrays<T>& A, bool transpose_copy, bool symmetric,
                         std::shared_ptr<const void> keep_alive) {
  return std::make_shared<const Csr<T, Int>>(view_of<T, Int>(A), transpose_copy, symmetric, std::move(keep_alive));
}

void check_index_bytes(int bytes) {
  if (bytes != 4 && bytes != 8)
    throw ArgumentError("indices", std::to_string(bytes) + "-byte integers", "int32, int64");
}

}  // namespace

template <class T>
void check_csr(const CsrArrays<T>& A) {
  check_index_bytes(A.index_bytes);
  return A.index_bytes == 4 ? check<T, std::int32_t>(A) : check<T, std::int64_t>(A);
}

template <class T>
OperatorPtr<Cpu, T> make_csr(const CsrArrays<T>& A, bool transpose_copy, bool symmetric,
                             std::shared_ptr<const void> keep_alive) {
  check_index_bytes(A.index_bytes);
  return A.index_bytes == 4 ? make<T, std::int32_t>(A, transpose_copy, symmetric, std::move(keep_alive))
                            : make<T, std::int64_t>(A, transpose_copy, symmetric, std::move(keep_alive));
}

template void check_csr(const CsrArrays<float>&);
template void check_csr(const CsrArrays<double>&);
template OperatorPtr<Cpu, float> make_csr(const CsrArrays<float>&, bool, bool, std::shared_ptr<const void>);
template OperatorPtr<Cpu, double> make_csr(const CsrArrays<double>&, bool, bool, std::shared_ptr<const void>);

}  // namespace eigencontext
