// A sparse matrix by rows (CSR) in memory, not copied.
#pragma once

#include <memory>

#include "backend/backend.hpp"
#include "operators/operator.hpp"

namespace eigencontext {

// The arrays as a user hands them in: offsets (rows + 1) and indices (offsets[rows]) of one integer type, int32 or
// int64 by index_bytes. The type becomes a template parameter inside csr.cpp and nowhere else.
template <class T>
struct CsrArrays {
  const void* offsets = nullptr;
  const void* indices = nullptr;
  int index_bytes = 4;
  const T* values = nullptr;
  Index rows = 0, cols = 0, entries = 0;  // entries: the length of indices and of values
};

// Throws ArgumentError unless offsets start at 0, never decrease and end within `entries`, and 0 <= index < cols;
// `entries` becomes where they end.
template <class T>
void check_csr(CsrArrays<T>& A);

// transpose_copy: keep A^T by rows as well (twice the memory), so that A^T Y is as fast as A X. Without it A^T Y is
// scattered into private sums, on devices that can; others keep it always. A symmetric A needs neither. The arrays must
// have passed check_csr.
template <class T>
OperatorPtr<Device, T> make_csr(const CsrArrays<T>& A, bool transpose_copy, bool symmetric,
                                std::shared_ptr<const void> keep_alive);

}  // namespace eigencontext
