// Elementwise kernels of the tile engine, compiled for several instruction sets and chosen at run time.
#pragma once

#include <cstdint>

#include "base/views.hpp"

namespace eigencontext::cpu {

// Columns of a panel of the distance kernels: points stored feature by feature, 128 bytes of them side by side.
template <class T>
inline constexpr Index panel_width = 128 / sizeof(T);

template <class T>
struct TileKernels {
  // C(i, j) = scale * |a_i - b_j|_1, and scale * |a_i - b_j|_2^2 summed from differences, which never cancels. A: rows
  // of p features. panels: B as panels [panel][feature][panel_width], 64-byte aligned. Whole panels are written: C has
  // panels * panel_width columns, its rows are 64-byte aligned.
  using Distances = void(T scale, const T* A, Index rows, Index p, const T* panels, Index n_panels, T* C, Index stride);
  Distances *l1_distances, *squared_distances;

  // x_j = min(0, x_j + r + c_j): exponents, never above 0.
  void (*exponents)(T r, const T* c, T* x, Index n);

  // x_j = max(0, x_j + shift)^degree, degree >= 0; 0^0 = 1.
  void (*power)(T shift, int degree, T* x, Index n);

  // x_j = min(1, max(0, x_j + 1/2)): (1 + cos) / 2 from cos / 2.
  void (*cosine)(T* x, Index n);

  // Writes the j with not (x_j + c_j > limit), ascending, to `found`; returns how many.
  Index (*select)(T limit, const T* c, const T* x, Index n, std::int32_t* found);
};

// The kernels of the level that simd_level() names.
template <class T>
const TileKernels<T>& tile_kernels();

}  // namespace eigencontext::cpu
