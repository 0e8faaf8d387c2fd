// The register-tiled kernels of the skinny products, compiled once for each instruction set.
//
// A tile of R rows of the output, V vectors wide, stays in registers; step k multiplies R broadcast entries of a by row
// k of x. With one vector a row, each multiply-add needs a load of its own and loads are the limit. So narrow blocks of
// float32 broadcast pairs of neighbouring entries: a vector then holds half as many columns, each twice, and a loaded
// pair serves two vectors as in a block twice as wide. See Layout for what the pairs mean.
//
// Everything has internal linkage: code compiled with AVX flags must never be merged with another unit's.
#pragma once

#include "backend/cpu/skinny_table.hpp"

namespace eigencontext::cpu {
namespace {

using Index = std::int64_t;

template <int N>
struct Constant {
  static constexpr int value = N;
};

template <class T, int Bytes>
struct Simd {
  typedef T Vector __attribute__((vector_size(Bytes), may_alias));
  typedef std::int64_t Words __attribute__((vector_size(Bytes), may_alias));
  static constexpr int lanes = Bytes / sizeof(T);
  static constexpr int line = 64 / sizeof(T);  // elements in a cache line

  // The pair at a in every pair of lanes; of one entry: with a zero beside it.
  static Vector pair(const T* a, int entries) {
    static_assert(2 * sizeof(T) == sizeof(std::int64_t));
    std::int64_t word = 0;
    __builtin_memcpy(&word, a, static_cast<std::size_t>(entries) * sizeof(T));
    return (Vector)(Words{} + word);
  }
};

// out += a x for R units of Pair rows (along columns) or of one row (along rows). Entries: how many of a unit are
// there.
template <class T, int Bytes, int V, int R, int Pair, int Entries, bool AlongRows>
inline __attribute__((always_inline)) void micro_tile(Index depth, const T* a, Index stride, const T* x, T* out,
                                                      Index ahead) {
  using S = Simd<T, Bytes>;
  using Vector = typename S::Vector;
  constexpr int width = V * S::lanes;
  Vector sum[R][V];
#pragma GCC unroll 64
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[r][v] = Vector{};

  const auto step = [&](const T* column, const T* row, auto entries) __attribute__((always_inline)) {
    Vector xk[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) xk[v] = *reinterpret_cast<const Vector*>(row + v * S::lanes);
#pragma GCC unroll 64
    for (int r = 0; r < R; ++r) {
      const T* entry = AlongRows ? column + r * stride : column + r * Pair;
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v)
        if constexpr (Pair == 1)
          sum[r][v] += *entry * xk[v];
        else
          sum[r][v] += S::pair(entry, entries.value) * xk[v];
    }
  };

  if constexpr (AlongRows) {
    constexpr int steps = S::line / Pair;  // in a line of a, and in its time the same line of the next tile is fetched
    Index k = 0;
    for (; k + S::line <= depth; k += S::line) {
#pragma GCC unroll 16
      for (int u = 0; u < steps; ++u) {
#pragma GCC unroll 16
        for (int r = u * R / steps; r < (u + 1) * R / steps; ++r) __builtin_prefetch(a + r * stride + k + ahead);
        step(a + k + u * Pair, x + (k / Pair + u) * width, Constant<Pair>{});
      }
    }
    for (; k + Pair <= depth; k += Pair) step(a + k, x + k / Pair * width, Constant<Pair>{});
    if (Pair > 1 && k < depth) step(a + k, x + k / Pair * width, Constant<1>{});
  } else {
#pragma GCC unroll 2
    for (Index k = 0; k < depth; ++k) {
#pragma GCC unroll 4
      for (int r = 0; r < R * Pair; r += S::line) __builtin_prefetch(a + k * stride + r + ahead);
      step(a + k * stride, x + k * width, Constant<Entries>{});
    }
  }

#pragma GCC unroll 64
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) *reinterpret_cast<Vector*>(out + r * width + v * S::lanes) += sum[r][v];
}

// All rows: as many tiles of R units as fit, then the rest in tiles of R / 2, ... 1, then half a unit.
template <class T, int Bytes, int V, int R, int Pair, bool AlongRows>
void panel(Index rows, Index depth, const T* a, Index stride, const T* x, T* out, Index ahead) {
  constexpr Index unit = AlongRows ? 1 : Pair, width = V * Simd<T, Bytes>::lanes;
  const Index row_step = AlongRows ? stride : 1;
  for (; rows >= R * unit; rows -= R * unit, a += R * unit * row_step, out += R * width)
    micro_tile<T, Bytes, V, R, Pair, Pair, AlongRows>(depth, a, stride, x, out, ahead);
  if (rows == 0) return;
  if constexpr (R > 1)
    panel<T, Bytes, V, R / 2, Pair, AlongRows>(rows, depth, a, stride, x, out, ahead);
  else if constexpr (unit > 1)
    micro_tile<T, Bytes, V, 1, Pair, 1, AlongRows>(depth, a, stride, x, out, ahead);
}

template <class T, int Bytes, int Pair, int V, int R>
constexpr void set_kernels(SkinnyTable<T>& table) {
  if constexpr (R > 0) {
    table.along_rows[Pair - 1][V - 1] = panel<T, Bytes, V, R, Pair, true>;
    table.along_columns[Pair - 1][V - 1] = panel<T, Bytes, V, R, Pair, false>;
  }
}

// R1 ... R4: units of the tile for panels of 1 ... 4 vectors; 0: panels that wide are not used.
template <class T, int Bytes, int R1, int R2, int R3, int R4>
constexpr SkinnyTable<T> make_table() {
  SkinnyTable<T> table{int{Bytes / sizeof(T)}, R4 ? 4 : R3 ? 3 : 2, {}, {}};
  set_kernels<T, Bytes, 1, 1, R1>(table);
  set_kernels<T, Bytes, 1, 2, R2>(table);
  set_kernels<T, Bytes, 1, 3, R3>(table);
  set_kernels<T, Bytes, 1, 4, R4>(table);
  if constexpr (sizeof(T) == 4) {
    set_kernels<T, Bytes, 2, 1, R1>(table);
    set_kernels<T, Bytes, 2, 2, R2>(table);
    set_kernels<T, Bytes, 2, 3, R3>(table);
  }
  return table;
}

template <int Bytes, int R1, int R2, int R3, int R4>
constexpr SkinnyTables make_tables() {
  return {make_table<float, Bytes, R1, R2, R3, R4>(), make_table<double, Bytes, R1, R2, R3, R4>()};
}

}  // namespace
}  // namespace eigencontext::cpu
