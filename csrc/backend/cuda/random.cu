// Gaussian blocks, one thread for each pair of columns. Compiled without contraction to fma: the CPU's bits.
#include "backend/cuda/kernel.cuh"
#include "base/normal.hpp"
#include "base/philox.hpp"

namespace eigencontext {
namespace cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(256)
    gaussian(Block<T> X, std::uint32_t key0, std::uint32_t key1, Index row0, Index col0, Index first, Index pairs) {
  for (Index i = first_row(); i < X.rows; i += row_step())
    for (Index p = first_col(); p < pairs; p += col_step()) {
      const auto row = static_cast<std::uint64_t>(row0 + i), pair = static_cast<std::uint64_t>(first + p);
      const PhiloxCounter r = philox({static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(row >> 32),
                                      static_cast<std::uint32_t>(pair), static_cast<std::uint32_t>(pair >> 32)},
                                     {key0, key1});
      double even, odd;
      normal_pair((r[0] | std::uint64_t{r[1]} << 32) & mantissa_mask,
                  (r[2] | std::uint64_t{r[3]} << 32) & mantissa_mask, even, odd);
      const Index j = 2 * (first + p) - col0;
      if (j >= 0) X(i, j) = static_cast<T>(even);
      if (j + 1 < X.cols) X(i, j + 1) = static_cast<T>(odd);
    }
}

}  // namespace
}  // namespace cuda

template <class T>
void Cuda::fill_gaussian(Block<T> X, std::uint64_t seed, Index row0, Index col0) {
  if (X.rows == 0 || X.cols == 0) return;
  const Index first = col0 >> 1, pairs = ((col0 + X.cols - 1) >> 1) - first + 1;
  const cuda::Shape shape = cuda::over(X.rows, pairs);
  cuda::launch("gaussian", cuda::gaussian<T>, shape.grid, shape.block, 0, X, static_cast<std::uint32_t>(seed),
               static_cast<std::uint32_t>(seed >> 32), row0, col0, first, pairs);
}

template void Cuda::fill_gaussian<float>(Block<float>, std::uint64_t, Index, Index);
template void Cuda::fill_gaussian<double>(Block<double>, std::uint64_t, Index, Index);

}  // namespace eigencontext
