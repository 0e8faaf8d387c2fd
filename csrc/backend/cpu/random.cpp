// Gaussian blocks: Philox at counter (row, column / 2) gives 128 bits, which become two normals, of the even and of the
// odd column.
#include <algorithm>
#include <cstdint>

#include "backend/cpu/cpu.hpp"
#include "base/normal.hpp"
#include "base/parallel.hpp"
#include "base/philox.hpp"

namespace eigencontext {
namespace {

constexpr int batch = 128;

struct Batch {
  std::uint32_t row_low[batch], row_high[batch], pair_low[batch], pair_high[batch];
  double even[batch], odd[batch];
};

// One loop for each stage: plain arrays, no branches.
void draw(PhiloxKey key, Batch& b) {
  std::uint64_t k[batch], l[batch];
  for (int i = 0; i < batch; ++i) {
    const PhiloxCounter r = philox({b.row_low[i], b.row_high[i], b.pair_low[i], b.pair_high[i]}, key);
    k[i] = (r[0] | std::uint64_t{r[1]} << 32) & mantissa_mask;
    l[i] = (r[2] | std::uint64_t{r[3]} << 32) & mantissa_mask;
  }
  for (int i = 0; i < batch; ++i) normal_pair(k[i], l[i], b.even[i], b.odd[i]);
}

// Fills the rows [begin, end) of X.
template <class T>
void fill_rows(Block<T> X, PhiloxKey key, Index begin, Index end, Index row0, Index col0) {
  const Index first_pair = col0 >> 1, pairs = ((col0 + X.cols - 1) >> 1) - first_pair + 1;
  const Index total = (end - begin) * pairs;
  Batch b;
  for (Index start = 0; start < total; start += batch) {
    const int count = static_cast<int>(std::min<Index>(batch, total - start));
    Index i = begin + start / pairs, p = start % pairs;
    for (int s = 0; s < batch; ++s) {  // past `count`: computed and dropped
      const auto row = static_cast<std::uint64_t>(row0 + i), pair = static_cast<std::uint64_t>(first_pair + p);
      b.row_low[s] = static_cast<std::uint32_t>(row);
      b.row_high[s] = static_cast<std::uint32_t>(row >> 32);
      b.pair_low[s] = static_cast<std::uint32_t>(pair);
      b.pair_high[s] = static_cast<std::uint32_t>(pair >> 32);
      if (++p == pairs) p = 0, ++i;
    }
    draw(key, b);
    i = begin + start / pairs, p = start % pairs;
    for (int s = 0; s < count; ++s) {
      const Index j = 2 * (first_pair + p) - col0;
      if (j >= 0) X(i, j) = static_cast<T>(b.even[s]);
      if (j + 1 < X.cols) X(i, j + 1) = static_cast<T>(b.odd[s]);
      if (++p == pairs) p = 0, ++i;
    }
  }
}

}  // namespace

template <class T>
void Cpu::fill_gaussian(Block<T> X, std::uint64_t seed, Index row0, Index col0) {
  if (X.rows == 0 || X.cols == 0) return;
  const PhiloxKey key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  const Index rows = std::max<Index>(1, 16384 / X.cols);
  parallel_for((X.rows + rows - 1) / rows, [&](Index chunk, int) {
    fill_rows(X, key, chunk * rows, std::min(X.rows, (chunk + 1) * rows), row0, col0);
  });
}

template void Cpu::fill_gaussian<float>(Block<float>, std::uint64_t, Index, Index);
template void Cpu::fill_gaussian<double>(Block<double>, std::uint64_t, Index, Index);

}  // namespace eigencontext
