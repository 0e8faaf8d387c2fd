// A wide row-major basis that grows by blocks of columns, and the few moves that restarting needs.
#pragma once

#include <utility>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "spectrum/orthonormalise.hpp"

namespace eigencontext::spectrum {

// What Rayleigh-Ritz says of the current basis. values has one entry for each basis vector, residuals k or fewer.
struct Ritz {
  std::vector<double> values, residuals;
  double largest = 0;  // max |values|: what rounding is relative to
};

// One probe of what the basis leaves out.
struct Probe {
  bool found = false;    // a value above the limit
  double left_out = 0;   // estimate of ||A (I - V V^T)||_F^2
};

// T = X[:, :Q.rows] Q in its own memory.
template <class Backend, class Scalar>
OwnedBlock<Scalar> rotated(Block<const Scalar> X, Index used, const Small& Q, Index count) {
  OwnedBlock<Scalar> T(X.rows, count);
  Backend::template update<Scalar>(1.0, X.col_range(0, used), Q.data(), 0.0, T.view());
  return T;
}

// X[:, :count] = X[:, :used] Q.
template <class Backend, class Scalar>
void rotate(Block<Scalar> X, Index used, const Small& Q, Index count) {
  const auto T = rotated<Backend, Scalar>(X, used, Q, count);
  copy<Backend, Scalar>(T.view(), X.col_range(0, count));
}

template <class Backend, class Scalar>
void move_columns(Block<Scalar> X, Index from, Index to, Index count) {
  if (from == to || count == 0) return;
  OwnedBlock<Scalar> T(X.rows, count);
  copy<Backend, Scalar>(X.col_range(from, count), T.view());
  copy<Backend, Scalar>(T.view(), X.col_range(to, count));
}

template <class Backend, class Scalar>
OwnedBlock<Scalar> columns(Block<const Scalar> X, Index from, Index count) {
  OwnedBlock<Scalar> T(X.rows, count);
  copy<Backend, Scalar>(X.col_range(from, count), T.view());
  return T;
}

// How many of the ascending values are above the limit.
inline Index count_above(const Small& ascending, double limit) {
  return std::count_if(ascending.begin(), ascending.end(), [&](double value) { return value > limit; });
}

// After a probe, whose block X of columns took the place of V_next: puts V_next back behind the `size` columns of V, and
// behind it the `above` leading vectors of X T (T from eigh: ascending), made orthogonal to all.
template <class Backend, class Scalar>
void join_next(Block<Scalar> V, Index size, const OwnedBlock<Scalar>& next, Block<const Scalar> X, const Small& T,
               Index above, Fresh& fresh) {
  const Index width = next.cols();
  OwnedBlock<Scalar> found;
  if (above > 0) {
    Small Q(static_cast<std::size_t>(X.cols * above));
    for (Index i = 0; i < X.cols; ++i)
      for (Index j = 0; j < above; ++j) Q[i * above + j] = T[i * X.cols + X.cols - 1 - j];
    found = rotated<Backend, Scalar>(X, X.cols, Q, above);
  }
  copy<Backend, Scalar>(next.view(), V.col_range(size, width));
  if (above == 0) return;
  copy<Backend, Scalar>(std::as_const(found).view(), V.col_range(size + width, above));
  // What lies in V_next to 99.9 % is in the next block already.
  orthonormalise<Backend, Scalar>(V, size + width, above, 0.03, fresh, nullptr, nullptr);
}

template <class Backend, class Scalar>
void widen(OwnedBlock<Scalar>& X, Index used, Index cols) {
  OwnedBlock<Scalar> wider(X.rows(), cols);
  copy<Backend, Scalar>(std::as_const(X).view().col_range(0, used), wider.view().col_range(0, used));
  X = std::move(wider);
}

// The width of a probe, and the columns that a basis of `size` needs in memory: itself, the next block, and a probe of
// some steps.
inline Index probe_width(Index block) { return std::clamp<Index>(block, 4, 16); }
inline Index basis_memory(Index size, Index width, Index probe, Index steps) { return size + width + steps * probe; }

// B (leading dimension ld) is copied into a packed (n x n).
inline Small packed(const Small& B, Index ld, Index n) { return leading_columns(n, ld, B.data(), n); }

}  // namespace eigencontext::spectrum
