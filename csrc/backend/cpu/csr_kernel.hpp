// The CSR kernels, written once over GCC/Clang vector types and compiled for each SIMD level by csr_<level>.cpp, which
// defines EIGENCONTEXT_VECTOR_BYTES. Everything here has internal linkage and calls nothing from the standard library,
// so no code of one level can be picked by the linker for another.
//
// A row of A gathers rows of X into vectors that stay in registers: `vectors` of them with `lanes` columns each, two
// sets in turn where they fit, to hide the latency of the additions. If width is no multiple of `lanes`, the last
// vector overlaps the one before it and computes some columns twice, which is cheaper than masks or a second pass.
#pragma once

#include "backend/cpu/csr.hpp"

#if defined(__clang__)
#define EIGENCONTEXT_UNROLL
#else
#define EIGENCONTEXT_UNROLL _Pragma("GCC unroll 8")
#endif
#define EIGENCONTEXT_INLINE inline __attribute__((always_inline))

namespace eigencontext::cpu {
namespace {

constexpr Index segment_length = 1024;     // longer sums go on in float64
constexpr Index prefetch_bytes = 1 << 14;  // of rows of X or of the sums, asked for ahead of their use
constexpr Index stream_distance = 512;     // entries of A, asked for ahead of their use
constexpr int max_vectors = 8;
constexpr int scatter_panel_bytes = 128;  // two cache lines of a row of the sums

template <class T>
constexpr int full_lanes = EIGENCONTEXT_VECTOR_BYTES / static_cast<int>(sizeof(T));

template <class T>
constexpr int scatter_panel = scatter_panel_bytes / static_cast<int>(sizeof(T));

template <class T, int lanes>
struct VectorOf {
  typedef T type __attribute__((vector_size(lanes * sizeof(T))));
};
template <class T, int lanes>
using Vector = typename VectorOf<T, lanes>::type;

template <class V, class T>
EIGENCONTEXT_INLINE void load(const T* p, V& v) {
  __builtin_memcpy(&v, p, sizeof(V));
}
template <class V, class T>
EIGENCONTEXT_INLINE void store(const V& v, T* p) {
  __builtin_memcpy(p, &v, sizeof(V));
}

// How many entries ahead of its use a row of so many bytes is prefetched.
constexpr Index prefetch_distance(Index row_bytes) {
  const Index fits = prefetch_bytes / row_bytes;
  return fits > 128 ? 128 : fits;
}

template <int bytes, class T>
EIGENCONTEXT_INLINE void prefetch_for_read(const T* p) {
  const char* line = reinterpret_cast<const char*>(p);
  EIGENCONTEXT_UNROLL
  for (int offset = 0; offset < bytes; offset += 64) __builtin_prefetch(line + offset, 0, 3);
}
template <int bytes, class T>
EIGENCONTEXT_INLINE void prefetch_for_write(const T* p) {
  const char* line = reinterpret_cast<const char*>(p);
  EIGENCONTEXT_UNROLL
  for (int offset = 0; offset < bytes; offset += 64) __builtin_prefetch(line + offset, 1, 3);
}

// The entries of A themselves: the random reads between them keep the processor from seeing that they are a stream.
template <class T, class Int>
EIGENCONTEXT_INLINE void prefetch_entries(const CsrView<T, Int>& A, Index p) {
  __builtin_prefetch(A.indices + p + stream_distance, 0, 0);
  __builtin_prefetch(A.values + p + stream_distance, 0, 0);
}

// Where vector v of a row of `width` columns starts.
template <int lanes, int vectors>
EIGENCONTEXT_INLINE Index column_of(int v, Index width) {
  return v + 1 < vectors ? static_cast<Index>(v) * lanes : width - lanes;
}

// out[0 .. vectors * lanes) = sum over entries p in [begin, end) of values[p] X(indices[p], :). `last` is the last
// entry that may be looked at for prefetching.
template <class T, class Int, int lanes, int vectors>
EIGENCONTEXT_INLINE void gather(const CsrTask<T, Int>& task, Index begin, Index end, Index last, T* out) {
  constexpr int sets = vectors <= 4 ? 2 : 1;
  constexpr int row_bytes = lanes * vectors * static_cast<int>(sizeof(T));
  constexpr Index distance = prefetch_distance(row_bytes);
  using V = Vector<T, lanes>;
  V sums[sets][vectors];
  EIGENCONTEXT_UNROLL
  for (int v = 0; v < vectors; ++v)
    for (int s = 0; s < sets; ++s) sums[s][v] = V{};

  const auto step = [&](Index p, V* sum) __attribute__((always_inline)) {
    const Index ahead = p + distance < last ? p + distance : last;
    prefetch_for_read<row_bytes>(task.X + static_cast<Index>(task.A.indices[ahead]) * task.x_stride);
    const T* x = task.X + static_cast<Index>(task.A.indices[p]) * task.x_stride;
    const T a = task.A.values[p];
    EIGENCONTEXT_UNROLL
    for (int v = 0; v < vectors; ++v) {
      V entry;
      load(x + column_of<lanes, vectors>(v, task.width), entry);
      sum[v] += entry * a;
    }
  };
  Index p = begin;
  for (; p + sets <= end; p += sets) {
    prefetch_entries(task.A, p);
    step(p, sums[0]);
    if constexpr (sets == 2) step(p + 1, sums[1]);
  }
  if (p < end) step(p, sums[0]);

  EIGENCONTEXT_UNROLL
  for (int v = 0; v < vectors; ++v) {
    if constexpr (sets == 2) sums[0][v] += sums[1][v];
    store(sums[0][v], out + v * lanes);
  }
}

// y = A(row, :) X or y += A(row, :) X; a long row is cut into segments whose sums are added in float64.
template <class T, class Int, int lanes, int vectors>
EIGENCONTEXT_INLINE void row_product(const CsrTask<T, Int>& task, Index row, Index last, T* y, bool add) {
  const Index begin = task.A.offsets[row], end = task.A.offsets[row + 1];
  alignas(64) T packed[lanes * vectors];
  if (end - begin <= segment_length) {
    gather<T, Int, lanes, vectors>(task, begin, end, last, packed);
  } else {
    double total[lanes * vectors] = {};
    for (Index p = begin; p < end; p += segment_length) {
      gather<T, Int, lanes, vectors>(task, p, p + segment_length < end ? p + segment_length : end, last, packed);
      for (int j = 0; j < lanes * vectors; ++j) total[j] += static_cast<double>(packed[j]);
    }
    for (int j = 0; j < lanes * vectors; ++j) packed[j] = static_cast<T>(total[j]);
  }
  if (add) {
    // All of y before any of it is written: the last vector may overlap the one before it.
    T before[lanes * vectors];
    EIGENCONTEXT_UNROLL
    for (int v = 0; v < vectors; ++v)
      __builtin_memcpy(before + v * lanes, y + column_of<lanes, vectors>(v, task.width), lanes * sizeof(T));
    for (int j = 0; j < lanes * vectors; ++j) packed[j] += before[j];
  }
  EIGENCONTEXT_UNROLL
  for (int v = 0; v < vectors; ++v) {
    Vector<T, lanes> entry;
    load(packed + v * lanes, entry);
    store(entry, y + column_of<lanes, vectors>(v, task.width));
  }
}

// sums(j, :) += values[p] y for the entries p of a row, j = indices[p].
template <class T, class Int, int lanes, int vectors>
EIGENCONTEXT_INLINE void row_scatter(const CsrTask<T, Int>& task, Index row, Index last, const T* y) {
  constexpr int row_bytes = lanes * vectors * static_cast<int>(sizeof(T));
  constexpr Index distance = prefetch_distance(row_bytes);
  using V = Vector<T, lanes>;
  V factor[vectors];
  EIGENCONTEXT_UNROLL
  for (int v = 0; v < vectors; ++v) load(y + v * lanes, factor[v]);
  const Index end = task.A.offsets[row + 1];
  for (Index p = task.A.offsets[row]; p < end; ++p) {
    if (p % 4 == 0) prefetch_entries(task.A, p);
    const Index ahead = p + distance < last ? p + distance : last;
    prefetch_for_write<row_bytes>(task.sums + static_cast<Index>(task.A.indices[ahead]) * task.sums_stride);
    T* sum = task.sums + static_cast<Index>(task.A.indices[p]) * task.sums_stride;
    const T a = task.A.values[p];
    EIGENCONTEXT_UNROLL
    for (int v = 0; v < vectors; ++v) {
      V entry;
      load(sum + v * lanes, entry);
      entry += factor[v] * a;
      store(entry, sum + v * lanes);
    }
  }
}

template <class T, class Int>
EIGENCONTEXT_INLINE Index last_entry(const CsrTask<T, Int>& task) {
  return static_cast<Index>(task.A.offsets[task.row_end]) - 1;
}

template <class T, class Int, int lanes, int vectors>
void multiply_rows(const CsrTask<T, Int>& task) {
  const Index last = last_entry(task);
  for (Index i = task.row_begin; i < task.row_end; ++i)
    row_product<T, Int, lanes, vectors>(task, i, last, task.Y + i * task.y_stride, task.add);
}

template <class T, class Int, int lanes, int vectors>
void scatter_rows(const CsrTask<T, Int>& task) {
  const Index last = last_entry(task);
  alignas(64) T y[lanes * vectors] = {};
  for (Index i = task.row_begin; i < task.row_end; ++i) {
    for (Index j = 0; j < task.width; ++j) y[j] = task.left[i * task.left_stride + j];
    row_scatter<T, Int, lanes, vectors>(task, i, last, y);
  }
}

// `lanes` x `vectors` columns are scattered (a power of two, padded with zeros), task.width are gathered.
template <class T, class Int, int lanes, int vectors, int gather_lanes, int gather_vectors>
void fused_rows(const CsrTask<T, Int>& task) {
  const Index last = last_entry(task);
  alignas(64) T y[lanes * vectors] = {};
  for (Index i = task.row_begin; i < task.row_end; ++i) {
    row_product<T, Int, gather_lanes, gather_vectors>(task, i, last, y, false);
    if (task.weights)
      for (int j = 0; j < lanes * vectors; ++j) y[j] = static_cast<T>(task.weights[i] * static_cast<double>(y[j]));
    row_scatter<T, Int, lanes, vectors>(task, i, last, y);
  }
}

// ---- From a width to the instance for it.

template <class T, class Int, int vectors = 1>
void multiply_wide(const CsrTask<T, Int>& task) {
  if constexpr (vectors < max_vectors) {
    if (task.width > vectors * full_lanes<T>) return multiply_wide<T, Int, vectors + 1>(task);
  }
  multiply_rows<T, Int, full_lanes<T>, vectors>(task);
}

template <class T, class Int, int lanes = full_lanes<T>>
void multiply(const CsrTask<T, Int>& task) {
  if constexpr (lanes == full_lanes<T>) {
    if (task.width >= lanes) return multiply_wide<T, Int>(task);
  }
  if constexpr (lanes > 1) {
    if (task.width < lanes) return multiply<T, Int, lanes / 2>(task);
  }
  if (task.width == lanes) return multiply_rows<T, Int, lanes, 1>(task);
  return multiply_rows<T, Int, lanes, 2>(task);
}

template <int a, int b>
constexpr int smaller = a < b ? a : b;

// padded: the power of two that holds width.
template <class T, class Int, int padded = scatter_panel<T>>
void scatter(const CsrTask<T, Int>& task) {
  if constexpr (padded > 1) {
    if (2 * task.width <= padded) return scatter<T, Int, padded / 2>(task);
  }
  constexpr int lanes = smaller<padded, full_lanes<T>>;
  scatter_rows<T, Int, lanes, padded / lanes>(task);
}

// The number of vectors that hold width.
template <class T, class Int, int lanes, int vectors, int gather_lanes, int gather_vectors>
void fused_gather(const CsrTask<T, Int>& task) {
  if constexpr (gather_lanes * gather_vectors < lanes * vectors) {
    if (task.width > gather_lanes * gather_vectors)
      return fused_gather<T, Int, lanes, vectors, gather_lanes, gather_vectors + 1>(task);
  }
  fused_rows<T, Int, lanes, vectors, gather_lanes, gather_vectors>(task);
}

template <class T, class Int, int padded = scatter_panel<T>>
void fused(const CsrTask<T, Int>& task) {
  if constexpr (padded > 1) {
    if (2 * task.width <= padded) return fused<T, Int, padded / 2>(task);
  }
  constexpr int lanes = smaller<padded, full_lanes<T>>, vectors = padded / lanes;
  if (task.width == padded) return fused_rows<T, Int, lanes, vectors, lanes, vectors>(task);
  // padded / 2 < width < padded: gather with vectors of half the size, so that at least one is full.
  if constexpr (padded > 1) {
    constexpr int half = smaller<padded / 2, full_lanes<T>>;
    fused_gather<T, Int, lanes, vectors, half, padded / half / 2 + 1>(task);
  }
}

template <class T, class Int>
CsrKernels<T, Int> kernels() {
  return {static_cast<Index>(max_vectors) * full_lanes<T>, scatter_panel<T>, multiply<T, Int>, scatter<T, Int>,
          fused<T, Int>};
}

}  // namespace
}  // namespace eigencontext::cpu
