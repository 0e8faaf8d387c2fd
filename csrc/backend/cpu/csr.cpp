// The CSR products: rows cut into chunks by shape (row lengths included) alone, kernels chosen by SIMD level.
#include "backend/cpu/csr.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/simd.hpp"
#include "base/parallel.hpp"

namespace eigencontext {
namespace {

using cpu::CsrKernels;
using cpu::CsrTask;
using cpu::SimdLevel;

constexpr Index row_work = 4;          // an empty row costs about as much as this many entries
constexpr Index chunk_work = 1 << 15;  // entries of a chunk of rows
constexpr Index max_groups = 8;        // private sums of a scattered product
constexpr Index band_bytes = 1 << 23;  // of 32 columns of the rows that one band of a transposed copy gathers
constexpr Index segment_entries = 16;  // average entries of a row of a band at least
constexpr Index max_bands = 64;
constexpr Index sum_rows = 2048;  // rows of Z whose private sums are added by one chunk

template <class T, class Int>
const CsrKernels<T, Int>& kernels() {
  static const CsrKernels<T, Int> chosen = [] {
#if defined(__x86_64__) || defined(_M_X64)
    if (cpu::simd_level() == SimdLevel::avx512) return cpu::csr_kernels_avx512<T, Int>();
    if (cpu::simd_level() == SimdLevel::avx2) return cpu::csr_kernels_avx2<T, Int>();
#endif
    return cpu::csr_kernels_baseline<T, Int>();
  }();
  return chosen;
}

template <class T, class Int>
Index entries(const CsrView<T, Int>& A) {
  return A.rows > 0 ? static_cast<Index>(A.offsets[A.rows]) : 0;
}

struct Rows {
  Index begin, end;
};

// Part c of `rows`, cut into `chunks` parts that hold about equally many entries.
template <class T, class Int>
Index first_row(const CsrView<T, Int>& A, Rows rows, Index chunks, Index c) {
  if (c >= chunks) return rows.end;
  const auto work_before = [&](Index i) { return static_cast<Index>(A.offsets[i]) + row_work * i; };
  const Index before = work_before(rows.begin), total = work_before(rows.end) - before;
  const Index target = before + total / chunks * c + total % chunks * c / chunks;
  Index low = rows.begin, high = rows.end;
  while (low < high) {
    const Index middle = low + (high - low) / 2;
    if (work_before(middle) < target)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

template <class T, class Int>
Rows chunk_rows(const CsrView<T, Int>& A, Rows rows, Index chunks, Index c) {
  return {first_row(A, rows, chunks, c), first_row(A, rows, chunks, c + 1)};
}

template <class T, class Int>
Index chunk_count(const CsrView<T, Int>& A, Rows rows) {
  const Index entries_within = static_cast<Index>(A.offsets[rows.end] - A.offsets[rows.begin]);
  return std::max<Index>(1, (entries_within + row_work * (rows.end - rows.begin)) / chunk_work);
}

// How many row groups scatter into sums of their own: each costs cols rows to clear and to add.
template <class T, class Int>
Index group_count(const CsrView<T, Int>& A) {
  if (entries(A) < chunk_work) return 1;
  return std::clamp<Index>(entries(A) / (32 * std::max<Index>(A.cols, 1)), 4, max_groups);
}

// The power of two that holds width, as the kernels pad it.
Index padded_width(Index width) {
  Index padded = 1;
  while (padded < width) padded *= 2;
  return padded;
}

void fill_zero(Block<float> X) {
  for (Index i = 0; i < X.rows; ++i) std::fill_n(X.row(i), X.cols, 0.0f);
}
void fill_zero(Block<double> X) {
  for (Index i = 0; i < X.rows; ++i) std::fill_n(X.row(i), X.cols, 0.0);
}

// Z = sum of the private sums, in group order and in float64.
template <class T>
void add_groups(const Buffer<T>& sums, Index groups, Index stride, Block<T> Z) {
  const Index group_size = Z.rows * stride;
  parallel_for((Z.rows + sum_rows - 1) / sum_rows, [&](Index chunk, int) {
    const Index end = std::min(Z.rows, (chunk + 1) * sum_rows);
    std::vector<double> total(static_cast<std::size_t>(stride));
    for (Index i = chunk * sum_rows; i < end; ++i) {
      std::fill(total.begin(), total.end(), 0.0);
      for (Index g = 0; g < groups; ++g) {
        const T* part = sums.data() + g * group_size + i * stride;
        for (Index j = 0; j < stride; ++j) total[static_cast<std::size_t>(j)] += static_cast<double>(part[j]);
      }
      for (Index j = 0; j < Z.cols; ++j) Z(i, j) = static_cast<T>(total[static_cast<std::size_t>(j)]);
    }
  });
}

// Z = sum over rows i of A(i, :)^T (what `kernel` makes of row i), panel by panel of columns. `point` sets the inputs
// of a task to the panel that starts at a column.
template <class T, class Int, class Kernel, class Point>
void scattered_product(CsrView<T, Int> A, Block<T> Z, Kernel kernel, Point point) {
  if (Z.cols == 0 || Z.rows == 0) return;
  if (entries(A) == 0) return fill_zero(Z);
  const Index panel = kernels<T, Int>().scatter_panel, groups = group_count(A);
  Buffer<T> sums(groups * A.cols * padded_width(std::min(panel, Z.cols)));
  for (Index column = 0; column < Z.cols; column += panel) {
    const Index width = std::min(panel, Z.cols - column), stride = padded_width(width);
    parallel_for(groups, [&](Index g, int) {
      CsrTask<T, Int> task{};
      task.A = A;
      const Rows rows = chunk_rows(A, {0, A.rows}, groups, g);
      task.row_begin = rows.begin;
      task.row_end = rows.end;
      task.sums = sums.data() + g * A.cols * stride;
      task.sums_stride = stride;
      task.width = width;
      std::fill_n(task.sums, A.cols * stride, T(0));
      point(task, column);
      kernel(task);
    });
    add_groups(sums, groups, stride, Z.col_range(column, width));
  }
}

}  // namespace

template <class T, class Int>
void Cpu::csr_multiply(CsrView<T, Int> A, Block<const T> X, Block<T> Y) {
  if (Y.cols == 0 || A.rows == 0) return;
  if (entries(A) == 0) return fill_zero(Y);
  const auto& kernel = kernels<T, Int>();
  const Index bands = A.rows / Y.rows, panels = (X.cols + kernel.multiply_panel - 1) / kernel.multiply_panel;
  const Index panel = std::min(X.cols, ((X.cols + panels - 1) / panels + 15) / 16 * 16);
  for (Index column = 0; column < X.cols; column += panel) {
    for (Index band = 0; band < bands; ++band) {
      const Rows all{band * Y.rows, (band + 1) * Y.rows};
      const Index chunks = chunk_count(A, all);
      parallel_for(chunks, [&](Index c, int) {
        const Rows rows = chunk_rows(A, all, chunks, c);
        CsrTask<T, Int> task{};
        task.A = A;
        task.A.offsets += all.begin;
        task.row_begin = rows.begin - all.begin;
        task.row_end = rows.end - all.begin;
        task.X = X.data + column;
        task.x_stride = X.stride;
        task.Y = Y.data + column;
        task.y_stride = Y.stride;
        task.add = band > 0;
        task.width = std::min(panel, X.cols - column);
        kernel.multiply(task);
      });
    }
  }
}

template <class T, class Int>
void Cpu::csr_multiply_transposed(CsrView<T, Int> A, Block<const T> Y, Block<T> Z) {
  scattered_product(A, Z, kernels<T, Int>().scatter, [&](CsrTask<T, Int>& task, Index column) {
    task.left = Y.data + column;
    task.left_stride = Y.stride;
  });
}

template <class T, class Int>
void Cpu::csr_multiply_fused(CsrView<T, Int> A, const double* w, Block<const T> X, Block<T> Z) {
  scattered_product(A, Z, kernels<T, Int>().fused, [&](CsrTask<T, Int>& task, Index column) {
    task.X = X.data + column;
    task.x_stride = X.stride;
    task.weights = w;
  });
}

namespace {

// The entries of A's `rows` by columns, into A.cols + 1 offsets that start at offsets[0]. Counting sort: each row group
// counts its entries per column, the counts become first positions (columns first, groups within a column), and each
// group writes its entries in row order.
template <class T, class Int>
void transpose_band(const CsrView<T, Int>& A, Rows rows, Buffer<Int>& position, Int* offsets, Int* indices, T* values) {
  const Index groups = position.size() / A.cols;
  const auto for_entries = [&](Index g, auto&& visit) {
    const Rows group = chunk_rows(A, rows, groups, g);
    for (Index i = group.begin; i < group.end; ++i)
      for (Int p = A.offsets[i]; p < A.offsets[i + 1]; ++p) visit(i, p);
  };
  parallel_for(groups, [&](Index g, int) {
    Int* count = position.data() + g * A.cols;
    std::fill_n(count, A.cols, Int(0));
    for_entries(g, [&](Index, Int p) { ++count[A.indices[p]]; });
  });
  Int next = offsets[0];
  for (Index j = 0; j < A.cols; ++j) {
    offsets[j] = next;
    for (Index g = 0; g < groups; ++g) {
      const Int count = position[g * A.cols + j];
      position[g * A.cols + j] = next;
      next += count;
    }
  }
  offsets[A.cols] = next;
  parallel_for(groups, [&](Index g, int) {
    Int* place = position.data() + g * A.cols;
    for_entries(g, [&](Index i, Int p) {
      const Int to = place[A.indices[p]]++;
      indices[to] = static_cast<Int>(i);
      values[to] = A.values[p];
    });
  });
}

}  // namespace

template <class T, class Int>
Cpu::CsrFaults Cpu::csr_check(CsrView<T, Int> A, Index capacity) {
  CsrFaults faults;
  faults.first = static_cast<Index>(A.offsets[0]);
  faults.entries = static_cast<Index>(A.offsets[A.rows]);
  constexpr Index piece = 1 << 16;
  std::atomic<Index> decrease{-1}, column{-1};
  parallel_for((A.rows + piece - 1) / piece, [&](Index c, int) {
    for (Index i = c * piece; i < std::min(A.rows, (c + 1) * piece); ++i)
      if (A.offsets[i] > A.offsets[i + 1]) decrease = i;
  });
  faults.decrease = decrease;
  if (faults.first != 0 || faults.decrease >= 0 || faults.entries > capacity) return faults;
  parallel_for((faults.entries + piece - 1) / piece, [&](Index c, int) {
    bool good = true;
    const Index end = std::min(faults.entries, (c + 1) * piece);
    for (Index p = c * piece; p < end; ++p) good &= A.indices[p] >= 0 && A.indices[p] < A.cols;
    if (!good) column = c * piece;
  });
  faults.column = column;
  return faults;
}

template <class T, class Int>
void Cpu::csr_transpose(CsrView<T, Int> A, Index bands, Int* offsets, Int* indices, T* values) {
  offsets[0] = 0;
  if (A.cols == 0) return;
  Buffer<Int> position(group_count(A) * A.cols);
  for (Index band = 0; band < bands; ++band) {
    const Rows rows{A.rows * band / bands, A.rows * (band + 1) / bands};
    transpose_band(A, rows, position, offsets + band * A.cols, indices, values);
  }
}

template <class T, class Int>
Index Cpu::csr_bands(CsrView<T, Int> A) {
  const Index band_rows = band_bytes / (32 * static_cast<Index>(sizeof(T)));
  const Index filled = entries(A) / (segment_entries * std::max<Index>(A.cols, 1));
  return std::clamp<Index>(std::min((A.rows + band_rows - 1) / band_rows, filled), 1, max_bands);
}

template <class T, class Int>
double Cpu::csr_scratch(CsrView<T, Int> A, Index b) {
  const Index width = padded_width(std::min(b, kernels<T, Int>().scatter_panel));
  return static_cast<double>(group_count(A)) * static_cast<double>(A.cols) * static_cast<double>(width) * sizeof(T);
}

#define EIGENCONTEXT_INSTANTIATE(T, Int)                                                           \
  template void Cpu::csr_multiply(CsrView<T, Int>, Block<const T>, Block<T>);                      \
  template void Cpu::csr_multiply_transposed(CsrView<T, Int>, Block<const T>, Block<T>);           \
  template void Cpu::csr_multiply_fused(CsrView<T, Int>, const double*, Block<const T>, Block<T>); \
  template void Cpu::csr_transpose(CsrView<T, Int>, Index, Int*, Int*, T*);                        \
  template Cpu::CsrFaults Cpu::csr_check(CsrView<T, Int>, Index);                                  \
  template Index Cpu::csr_bands(CsrView<T, Int>);                                                  \
  template double Cpu::csr_scratch(CsrView<T, Int>, Index);
EIGENCONTEXT_INSTANTIATE(float, std::int32_t)
EIGENCONTEXT_INSTANTIATE(float, std::int64_t)
EIGENCONTEXT_INSTANTIATE(double, std::int32_t)
EIGENCONTEXT_INSTANTIATE(double, std::int64_t)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
