// Sparse products: a warp for each row. Where the block is narrow the lanes share the row's entries and add up by
// shuffles, so neither the order of sums nor the result depends on timing. Sums are float64.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "backend/cuda/kernel.cuh"

namespace eigencontext {
namespace cuda {
namespace {

// Lanes: `width` columns side by side (a power of two), 32 / width entries at a time.
template <class T, class Int>
__global__ void __launch_bounds__(128) csr(CsrView<T, Int> A, Block<const T> X, Block<T> Y, int width) {
  const int lane = static_cast<int>(threadIdx.x) % 32, slot = lane / width, slots = 32 / width;
  for (Index i = Index{blockIdx.x} * 4 + threadIdx.x / 32; i < A.rows; i += Index{gridDim.x} * 4) {
    const Index begin = A.offsets[i], end = A.offsets[i + 1];
    for (Index c0 = 0; c0 < X.cols; c0 += width) {
      const Index c = c0 + lane % width;
      double sum = 0;
      if (c < X.cols)
        for (Index p = begin + slot; p < end; p += slots)
          sum += static_cast<double>(A.values[p]) * static_cast<double>(X(A.indices[p], c));
      for (int offset = width; offset < 32; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
      if (slot == 0 && c < X.cols) Y(i, c) = static_cast<T>(sum);
    }
  }
}

// faults[0]: one more than a row after which offsets decrease; the largest such row.
template <class Int>
__global__ void __launch_bounds__(256) check_offsets(const Int* offsets, Index rows, unsigned long long* faults) {
  for (Index i = Index{blockIdx.x} * 256 + threadIdx.x; i < rows; i += Index{gridDim.x} * 256)
    if (offsets[i] > offsets[i + 1]) atomicMax(faults, static_cast<unsigned long long>(i + 1));
}

template <class Int>
__global__ void __launch_bounds__(256)
    check_indices(const Int* indices, Index entries, Index cols, unsigned long long* faults) {
  for (Index p = Index{blockIdx.x} * 256 + threadIdx.x; p < entries; p += Index{gridDim.x} * 256)
    if (indices[p] < 0 || indices[p] >= cols) atomicMax(faults, static_cast<unsigned long long>(p + 1));
}

inline dim3 blocks_for(Index count) { return dim3(static_cast<unsigned>(std::min<Index>(ceil_div(count, 256), 4096))); }

template <class U>
U downloaded(const U* from) {
  U value{};
  copy_rows(&value, sizeof(U), from, sizeof(U), sizeof(U), 1, Way::to_host);
  return value;
}

template <class U>
std::vector<U> downloaded(const U* from, Index count) {
  std::vector<U> values(static_cast<std::size_t>(count));
  const Index width = count * static_cast<Index>(sizeof(U));
  copy_rows(values.data(), width, from, width, width, 1, Way::to_host);
  return values;
}

template <class U>
void upload(const std::vector<U>& values, U* to) {
  const Index width = static_cast<Index>(values.size() * sizeof(U));
  copy_rows(to, width, values.data(), width, width, 1, Way::to_device);
}

}  // namespace
}  // namespace cuda

template <class T, class Int>
Cpu::CsrFaults Cuda::csr_check(CsrView<T, Int> A, Index capacity) {
  Cpu::CsrFaults faults;
  faults.first = static_cast<Index>(cuda::downloaded(A.offsets));
  faults.entries = static_cast<Index>(cuda::downloaded(A.offsets + A.rows));
  unsigned long long none = 0;
  auto found = Memory<unsigned long long>::from_host(&none, 1);
  cuda::launch("check_offsets", cuda::check_offsets<Int>, cuda::blocks_for(A.rows), dim3(256), 0, A.offsets, A.rows,
               found.data());
  faults.decrease = static_cast<Index>(cuda::downloaded(found.data())) - 1;
  if (faults.first != 0 || faults.decrease >= 0 || faults.entries > capacity) return faults;
  cuda::launch("check_indices", cuda::check_indices<Int>, cuda::blocks_for(faults.entries), dim3(256), 0, A.indices,
               faults.entries, A.cols, found.data());
  faults.column = static_cast<Index>(cuda::downloaded(found.data())) - 1;
  return faults;
}

template <class T, class Int>
void Cuda::csr_multiply(CsrView<T, Int> A, Block<const T> X, Block<T> Y) {
  if (X.cols == 0) return;
  int width = 1;
  while (width < 32 && width < X.cols) width *= 2;
  const dim3 grid(static_cast<unsigned>(std::min<Index>(cuda::ceil_div(A.rows, 4), 1 << 20)));
  cuda::launch("csr", cuda::csr<T, Int>, grid, dim3(128), 0, A, X, Y, width);
}

// Once for an operator, and the order of entries must be that of the rows: done on the host.
template <class T, class Int>
void Cuda::csr_transpose(CsrView<T, Int> A, Index bands, Int* offsets, Int* indices, T* values) {
  const std::vector<Int> own_offsets = cuda::downloaded(A.offsets, A.rows + 1);
  const Index entries = static_cast<Index>(own_offsets.back());
  const std::vector<Int> own_indices = cuda::downloaded(A.indices, entries);
  const std::vector<T> own_values = cuda::downloaded(A.values, entries);
  std::vector<Int> new_offsets(static_cast<std::size_t>(bands * A.cols + 1)), new_indices(own_indices.size());
  std::vector<T> new_values(own_values.size());
  Cpu::csr_transpose<T, Int>({own_offsets.data(), own_indices.data(), own_values.data(), A.rows, A.cols}, bands,
                             new_offsets.data(), new_indices.data(), new_values.data());
  cuda::upload(new_offsets, offsets);
  cuda::upload(new_indices, indices);
  cuda::upload(new_values, values);
}

#define EIGENCONTEXT_INSTANTIATE(T, Int)                                       \
  template Cpu::CsrFaults Cuda::csr_check(CsrView<T, Int>, Index);             \
  template void Cuda::csr_multiply(CsrView<T, Int>, Block<const T>, Block<T>); \
  template void Cuda::csr_transpose(CsrView<T, Int>, Index, Int*, Int*, T*);
EIGENCONTEXT_INSTANTIATE(float, std::int32_t)
EIGENCONTEXT_INSTANTIATE(float, std::int64_t)
EIGENCONTEXT_INSTANTIATE(double, std::int32_t)
EIGENCONTEXT_INSTANTIATE(double, std::int64_t)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
