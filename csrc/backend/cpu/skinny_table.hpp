// What each instruction set's unit of the skinny products exports. Plain declarations alone: this header is included by
// units compiled with different flags, so it must not define anything that the linker could merge.
#pragma once

#include <cstdint>

namespace eigencontext::cpu {

// out(r, :) += sum_k a(r, k) x(k, :) for r < rows, k < depth.
// x and out are packed and 64-byte aligned; one of the strides of `a` is 1, `stride` is the other. `ahead`: how far (in
// elements) the tile of a that comes next lies from this one; it is fetched meanwhile.
template <class T>
using SkinnyKernel = void (*)(std::int64_t rows, std::int64_t depth, const T* a, std::int64_t stride, const T* x,
                              T* out, std::int64_t ahead);

inline constexpr int skinny_max_vectors = 4;

// [pair - 1][v - 1]: kernels for panels of v vectors of lanes / pair columns. Pairs are there for float32 and 3 vectors
// at most. With pair = 1, x and out are row-major; with pair = 2 each vector holds every column in two lanes:
//   along rows     x: rows 2 k and 2 k + 1 zipped;  out: two sums, one of the even k, one of the odd
//   along columns  x: every row with itself;        out: rows 2 r and 2 r + 1 zipped
template <class T>
struct SkinnyTable {
  int lanes;                                             // elements in a vector
  int max_vectors;                                       // vectors in the widest panel
  SkinnyKernel<T> along_rows[2][skinny_max_vectors];     // a(r, k) = a[r * stride + k]
  SkinnyKernel<T> along_columns[2][skinny_max_vectors];  // a(r, k) = a[k * stride + r]
};

struct SkinnyTables {
  SkinnyTable<float> float32;
  SkinnyTable<double> float64;
};

extern const SkinnyTables skinny_baseline;
#if defined(__x86_64__)
extern const SkinnyTables skinny_avx2, skinny_avx512;
#elif defined(__aarch64__)
extern const SkinnyTables skinny_neon;
#endif

}  // namespace eigencontext::cpu
