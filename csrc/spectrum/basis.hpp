// A wide row-major basis that grows by blocks of columns, and the few moves that restarting needs.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "spectrum/orthonormalise.hpp"

namespace eigencontext::spectrum {

// What Rayleigh-Ritz says of the current basis. values has one entry for each basis vector, residuals k or fewer.
struct Ritz {
  std::vector<double> values, residuals;
  double largest = 0;  // max |values|: what rounding is relative to
};

// One probe of what the basis leaves out.
struct Probe {
  bool found = false;   // a value above the limit
  double left_out = 0;  // estimate of ||A (I - V V^T)||_F^2
  double next = 0;      // the largest value besides the k wanted ones
};

// T = X[:, :Q.rows] Q in its own memory.
template <class Backend, class Scalar>
Array<Backend, Scalar> rotated(Block<const Scalar> X, Index used, const Small& Q, Index count) {
  Array<Backend, Scalar> T(X.rows, count);
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
  Array<Backend, Scalar> T(X.rows, count);
  copy<Backend, Scalar>(X.col_range(from, count), T.view());
  copy<Backend, Scalar>(T.view(), X.col_range(to, count));
}

template <class Backend, class Scalar>
Array<Backend, Scalar> columns(Block<const Scalar> X, Index from, Index count) {
  Array<Backend, Scalar> T(X.rows, count);
  copy<Backend, Scalar>(X.col_range(from, count), T.view());
  return T;
}

// Rayleigh-Ritz on the Ritz vectors after the k wanted ones (values `rest`) together with a probe's block X:
//   [ diag(rest)   cross ]      cross = (Ritz vectors)^T H X,  T = X^T H X.
//   [ cross^T        T   ]
// A missing vector may lie partly in either: each alone can be below the limit that both together exceed. Returns the X
// rows (X.cols x found) of the eigenvectors above `limit`, at most `most` of them; the wanted ones stay out, so
// rounding is relative to what is left. The largest eigenvalue goes to `top`.
inline Small above_limit(const Small& rest, const Small& cross, const Small& T, double limit, Index most, double& top) {
  const Index r = static_cast<Index>(rest.size()), c = static_cast<Index>(std::lround(std::sqrt(T.size()))), n = r + c;
  Small G(static_cast<std::size_t>(n * n), 0.0), theta(static_cast<std::size_t>(n));
  for (Index i = 0; i < r; ++i) {
    G[i * n + i] = rest[i];
    for (Index j = 0; j < c; ++j) G[i * n + r + j] = G[(r + j) * n + i] = cross[i * c + j];
  }
  for (Index i = 0; i < c; ++i)
    for (Index j = 0; j < c; ++j) G[(r + i) * n + r + j] = (T[i * c + j] + T[j * c + i]) / 2;
  host::eigh(n, G.data(), theta.data());
  top = theta.back();
  const Index count = std::count_if(theta.begin(), theta.end(), [&](double value) { return value > limit; });
  const Index found = std::min(count, most);
  Small Q(static_cast<std::size_t>(c * found));
  for (Index i = 0; i < c; ++i)
    for (Index j = 0; j < found; ++j) Q[i * found + j] = G[(r + i) * n + n - 1 - j];
  return Q;
}

// After a probe, whose block X of columns took the place of V_next: puts V_next back behind the `size` columns of V,
// and behind it X Q made orthogonal to all. Returns how many columns joined.
template <class Backend, class Scalar>
Index join_next(Block<Scalar> V, Index size, const Array<Backend, Scalar>& next, Block<const Scalar> X, const Small& Q,
                Fresh& fresh) {
  const Index width = next.cols(), found = static_cast<Index>(Q.size()) / X.cols;
  Array<Backend, Scalar> missing;
  if (found > 0) missing = rotated<Backend, Scalar>(X, X.cols, Q, found);
  copy<Backend, Scalar>(next.view(), V.col_range(size, width));
  if (found == 0) return 0;
  copy<Backend, Scalar>(std::as_const(missing).view(), V.col_range(size + width, found));
  // What lies in V_next to 99.9 % is in the next block already.
  orthonormalise<Backend, Scalar>(V, size + width, found, 0.03, fresh, nullptr, nullptr);
  return found;
}

template <class Backend, class Scalar>
void widen(Array<Backend, Scalar>& X, Index used, Index cols) {
  Array<Backend, Scalar> wider(X.rows(), cols);
  copy<Backend, Scalar>(std::as_const(X).view().col_range(0, used), wider.view().col_range(0, used));
  X = std::move(wider);
}

// The width of a probe, and the columns that a basis of `size` needs in memory: itself, the next block, and a probe of
// some steps.
inline Index probe_width(Index block) { return std::clamp<Index>(block, 8, 16); }
inline Index basis_memory(Index size, Index width, Index probe, Index steps) { return size + width + steps * probe; }

// B (leading dimension ld) is copied into a packed (n x n).
inline Small packed(const Small& B, Index ld, Index n) { return leading_columns(n, ld, B.data(), n); }

}  // namespace eigencontext::spectrum
