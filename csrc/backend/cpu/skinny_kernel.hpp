// The register-tiled kernels of the skinny products, compiled once for each instruction set.
//
// A tile of R rows of the output, V vectors wide, stays in registers; step k multiplies the R scalars a(:, k),
// broadcast, by row k of x. R is chosen so that R * V accumulators fill the register file: at 2 FMAs a cycle that hides
// their latency, and loads (R scalars and V vectors for R * V FMAs) stay below 2 a cycle.
//
// Everything has internal linkage: code compiled with AVX flags must never be merged with another unit's.
#pragma once

#include "backend/cpu/skinny_table.hpp"

namespace eigencontext::cpu {
namespace {

using Index = std::int64_t;

// out(0:R, :) += a x, see SkinnyKernel. Bytes: size of a vector; V: vectors in a row.
template <class T, int Bytes, int V, int R, bool AlongRows>
inline __attribute__((always_inline)) void micro_tile(Index depth, const T* a, Index stride, const T* x, T* out,
                                                      Index ahead, int fetch) {
  typedef T Vector __attribute__((vector_size(Bytes), may_alias));
  constexpr int lanes = Bytes / sizeof(T);
  constexpr int line = 64 / sizeof(T);  // elements in a cache line
  Vector sum[R][V];
#pragma GCC unroll 64
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[r][v] = Vector{};

  const auto step = [&](const T* column, const T* row) __attribute__((always_inline)) {
    Vector xk[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) xk[v] = *reinterpret_cast<const Vector*>(row + v * lanes);
#pragma GCC unroll 64
    for (int r = 0; r < R; ++r) {
      const T scalar = AlongRows ? column[r * stride] : column[r];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[r][v] += scalar * xk[v];
    }
  };

  // Four steps at once, for tiles with more rows than there are registers for their addresses: rows by fours.
  const auto four_steps = [&](const T* column, const T* row) __attribute__((always_inline)) {
    Vector xk[4][V];
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u)
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) xk[u][v] = *reinterpret_cast<const Vector*>(row + (u * V + v) * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r += 4, column += 4 * stride) {
      asm("" : "+r"(column));  // an address made by adding, not one more register that holds r * stride
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u)
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q)
#pragma GCC unroll 8
          for (int v = 0; v < V; ++v) sum[r + q][v] += column[q * stride + u] * xk[u][v];
    }
  };

  if constexpr (AlongRows) {
    Index k = 0;
    for (; k + line <= depth; k += line) {
      const T* next = a + k + ahead;
      if (fetch & fetch_even)
#pragma GCC unroll 16
        for (int r = 0; r < R; r += 2) __builtin_prefetch(next + r * stride, 0, 2);
      if (fetch & fetch_odd)
#pragma GCC unroll 16
        for (int r = 1; r < R; r += 2) __builtin_prefetch(next + r * stride, 0, 2);
      if constexpr (R > 12 && R % 4 == 0) {
#pragma GCC unroll 1
        for (int u = 0; u < line; u += 4) four_steps(a + k + u, x + (k + u) * (V * lanes));
        continue;
      }
#pragma GCC unroll 4
      for (int u = 0; u < line; ++u) step(a + k + u, x + (k + u) * (V * lanes));
    }
    for (; k < depth; ++k) step(a + k, x + k * (V * lanes));
  } else {
    const auto prefetch = [&](Index k) __attribute__((always_inline)) {
      __builtin_prefetch(a + k * stride + ahead, 0, 2);
      if constexpr (R > line) __builtin_prefetch(a + k * stride + ahead + (R - 1), 0, 2);
    };
    Index k = 0;
#pragma GCC unroll 2
    for (; k + 2 <= depth; k += 2) {
      if (fetch & fetch_even) prefetch(k);
      step(a + k * stride, x + k * (V * lanes));
      if (fetch & fetch_odd) prefetch(k + 1);
      step(a + (k + 1) * stride, x + (k + 1) * (V * lanes));
    }
    if (k < depth) step(a + k * stride, x + k * (V * lanes));
  }

#pragma GCC unroll 64
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) *reinterpret_cast<Vector*>(out + (r * V + v) * lanes) += sum[r][v];
}

// All rows: as many tiles of R as fit, then the rest in tiles of R / 2, ... 1.
template <class T, int Bytes, int V, int R, bool AlongRows>
void panel(Index rows, Index depth, const T* a, Index stride, const T* x, T* out, Index ahead, int fetch) {
  constexpr Index width = V * (Bytes / sizeof(T));
  const Index row_step = AlongRows ? stride : 1;
  for (; rows >= R; rows -= R, a += R * row_step, out += R * width)
    micro_tile<T, Bytes, V, R, AlongRows>(depth, a, stride, x, out, ahead, fetch);
  if constexpr (R > 1)
    if (rows > 0) panel<T, Bytes, V, R / 2, AlongRows>(rows, depth, a, stride, x, out, ahead, fetch);
}

// R1 ... R4: rows of the tile for panels of 1 ... 4 vectors; 0: panels that wide are not used.
template <class T, int Bytes, int R1, int R2, int R3, int R4>
constexpr SkinnyTable<T> make_table() {
  constexpr int widest = R4 ? 4 : R3 ? 3 : 2;
  SkinnyTable<T> table{int{Bytes / sizeof(T)}, widest, {}, {}};
  table.along_rows[0] = panel<T, Bytes, 1, R1, true>;
  table.along_columns[0] = panel<T, Bytes, 1, R1, false>;
  table.along_rows[1] = panel<T, Bytes, 2, R2, true>;
  table.along_columns[1] = panel<T, Bytes, 2, R2, false>;
  if constexpr (R3 > 0) {
    table.along_rows[2] = panel<T, Bytes, 3, R3, true>;
    table.along_columns[2] = panel<T, Bytes, 3, R3, false>;
  }
  if constexpr (R4 > 0) {
    table.along_rows[3] = panel<T, Bytes, 4, R4, true>;
    table.along_columns[3] = panel<T, Bytes, 4, R4, false>;
  }
  return table;
}

template <int Bytes, int R1, int R2, int R3, int R4>
constexpr SkinnyTables make_tables() {
  return {make_table<float, Bytes, R1, R2, R3, R4>(), make_table<double, Bytes, R1, R2, R3, R4>()};
}

}  // namespace
}  // namespace eigencontext::cpu
