// What each instruction set's unit of the skinny products exports. Plain declarations alone: this header is included by
// units compiled with different flags, so it must not define anything that the linker could merge.
#pragma once

#include <cstdint>

namespace eigencontext::cpu {

enum Fetch : int { fetch_none = 0, fetch_even = 1, fetch_odd = 2, fetch_all = 3 };

// out(r, :) += sum_k a(r, k) x(k, :) for r < rows, k < depth.
// x (depth x width) and out (rows x width) are packed, row-major and 64-byte aligned; one of the strides of `a` is 1,
// `stride` is the other. `ahead` (in elements) is the way from here to the tile that comes next; `fetch` says which of
// its lines are prefetched meanwhile.
template <class T>
using SkinnyKernel = void (*)(std::int64_t rows, std::int64_t depth, const T* a, std::int64_t stride, const T* x,
                              T* out, std::int64_t ahead, int fetch);

inline constexpr int skinny_max_vectors = 4;

template <class T>
struct SkinnyTable {
  int lanes;                                          // elements in a vector
  int max_vectors;                                    // vectors in the widest panel
  SkinnyKernel<T> along_rows[skinny_max_vectors];     // a(r, k) = a[r * stride + k]; [v - 1]: panels of v vectors
  SkinnyKernel<T> along_columns[skinny_max_vectors];  // a(r, k) = a[k * stride + r]
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
