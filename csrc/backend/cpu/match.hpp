// Scores of points with small integer features, compiled for several instruction sets and chosen at run time.
#pragma once

#include <cstdint>

#include "backend/cpu/tiles.hpp"
#include "base/views.hpp"

namespace eigencontext::cpu {

using Code = std::uint8_t;

// Rows of p codes against panels [panel][feature][panel_width] of codes, 64-byte aligned. Whole panels are written: C
// has panels * panel_width columns, its rows are 64-byte aligned.
template <class T>
struct MatchKernels {
  // C(i, j) = sum_f w_if [x_if = a_jf]; w is stored like x.
  void (*matches)(const T* w, const Code* x, Index rows, Index p, const Code* panels, Index n_panels, T* C,
                  Index stride);

  // C(i, j) = 0 where x_if = a_jf for all f that are visible, else -infinity. visible: panels like those of the codes,
  // all bits of a visible feature's byte set, none of a hidden one's.
  void (*agreement)(const Code* x, Index rows, Index p, const Code* panels, const Code* visible, Index n_panels, T* C,
                    Index stride);
};

// The kernels of the level that simd_level() names.
template <class T>
const MatchKernels<T>& match_kernels();

}  // namespace eigencontext::cpu
