// X = V C + Q R: the last columns of a basis made orthonormal, among themselves and against the first ones.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/backend.hpp"
#include "base/errors.hpp"
#include "base/parallel.hpp"
#include "spectrum/small.hpp"

namespace eigencontext::spectrum {

template <class Backend, class Scalar>
using Array = typename Backend::template Array<Scalar>;

// Gaussian columns that no one has drawn before: a pure function of the seed and of how many were drawn.
struct Fresh {
  std::uint64_t seed = 0;
  Index drawn = 0;

  template <class Backend, class Scalar>
  void fill(Block<Scalar> X) {
    Backend::template fill_gaussian<Scalar>(X, seed, 0, drawn);
    drawn += X.cols;
  }
};

template <class Backend, class Scalar>
void copy(Block<const Scalar> X, Block<Scalar> Y) {
  Backend::template add<Scalar>(1.0, X, 0.0, Y);
}
template <class Backend, class Scalar>
void scale(double alpha, Block<Scalar> Y) {
  Backend::template add<Scalar>(0.0, Y, alpha, Y);
}

// Cholesky QR, X = Q R, with the columns scaled to norm 1 first (so graded columns do no harm). H: X^T X. With `later`,
// and R well-conditioned, X stays as it is and H becomes R^{-1}, still to be applied; otherwise H is emptied. Returns
// false, X untouched, where a direction is not clearly above `threshold` or the Gram matrix is too close to singular:
// its smallest pivot must stand above the rounding of the Gram matrix, which is eps in the block's own precision.
template <class Backend, class Scalar>
bool cholesky_qr(Block<Scalar> X, double threshold, double* R, Small& H, bool later) {
  const Index b = X.cols;
  Small G = std::exchange(H, {}), norms(static_cast<std::size_t>(b));
  for (Index j = 0; j < b; ++j) {
    if (!std::isfinite(G[j * b + j])) throw NonFiniteError("a product with the operator contains NaN or inf");
    norms[j] = std::sqrt(G[j * b + j]);
    if (!(norms[j] > 10 * threshold)) return false;
  }
  for (Index i = 0; i < b; ++i)
    for (Index j = 0; j < b; ++j) G[i * b + j] /= norms[i] * norms[j];
  if (!host::cholesky(b, G.data())) return false;
  const double smallest = std::sqrt(10.0 * std::numeric_limits<Scalar>::epsilon() * std::sqrt(static_cast<double>(b)));
  double pivot = 1;
  for (Index j = 0; j < b; ++j) {
    pivot = std::min(pivot, G[j * b + j]);
    if (!(pivot > smallest && G[j * b + j] * norms[j] > 10 * threshold)) return false;
  }
  for (Index i = 0; i < b; ++i)
    for (Index j = 0; j < b; ++j) R[i * b + j] = G[i * b + j] * norms[j];
  host::invert_upper(b, G.data());
  for (Index i = 0; i < b; ++i)
    for (Index j = 0; j < b; ++j) G[i * b + j] /= norms[i];
  if (later && pivot > 0.1)
    H = std::move(G);
  else
    Backend::template multiply_right<Scalar>(X, G.data());
  return true;
}

// X = Q R with the directions of singular value <= threshold last; returns how many are above it. H and `later` as in
// cholesky_qr.
template <class Backend, class Scalar>
Index factor_block(Block<Scalar> X, double threshold, double* R, Small& H, bool later) {
  if (cholesky_qr<Backend, Scalar>(X, threshold, R, H, later)) return X.cols;
  const Index b = X.cols;
  Backend::template tall_qr<Scalar>(X, R);
  Small P(static_cast<std::size_t>(b * b)), s(static_cast<std::size_t>(b)), Qt(static_cast<std::size_t>(b * b));
  host::svd(b, b, R, P.data(), s.data(), Qt.data());
  Backend::template multiply_right<Scalar>(X, P.data());
  for (Index i = 0; i < b; ++i)
    for (Index j = 0; j < b; ++j) R[i * b + j] = s[i] * Qt[i * b + j];
  return std::count_if(s.begin(), s.end(), [&](double value) { return value > threshold; });
}

// X = X S - V c and H = X^T X of what is left; `next` = V^T X of that too, unless null. Where S is empty, c = V^T X is
// found first, by one more read of V; otherwise it is given. Returns whether `next` can be used.
template <class Backend, class Scalar>
bool subtract_projection(Block<const Scalar> V, Block<Scalar> X, const Small& S, Small& c, Small* next, Small& H) {
  if (S.empty() && !Backend::template subtract<Scalar>(V, nullptr, X, nullptr, c.data(), H.data()))
    Backend::template gram<Scalar>(V, X, c.data());
  const double* factor = S.empty() ? nullptr : S.data();
  if (Backend::template subtract<Scalar>(V, c.data(), X, factor, next ? next->data() : nullptr, H.data()))
    return next != nullptr;
  Backend::template gram<Scalar>(X, X, H.data());
  return false;
}

// Columns [done, done + width) of `basis`, X = V C + Q R, V the columns before them; X becomes Q. Two passes, more
// where a pass still took much away. Directions of X below `drop` are replaced by fresh random ones (rows of R are 0
// there). C (done x width) and R (width x width) may be null. Returns the sum of squares of what was dropped, so that
// a certificate can account for it. Needs done + width <= basis.rows. The first pass also reads off what the second one
// has to take away, and the second applies the R^{-1} of the first: V is read three times and not four.
template <class Backend, class Scalar>
double orthonormalise(Block<Scalar> basis, Index done, Index width, double drop, Fresh& fresh, double* C, double* R) {
  if (done + width > basis.rows) throw FactorizationError("a basis with more columns than rows was asked for");
  const Block<Scalar> V = basis.col_range(0, done);
  Small coefficients(static_cast<std::size_t>(done * width), 0.0), total = identity(width);
  double dropped = 0;
  Index active = width;
  bool clean = false;
  Small factor, next(static_cast<std::size_t>(done * active));
  for (int pass = 0; active > 0 && pass < 5 && !(pass >= 2 && clean); ++pass) {
    const Block<Scalar> X = basis.col_range(done, active);
    clean = true;
    bool later = false;
    Small H(static_cast<std::size_t>(active * active));
    if (done > 0) {
      Small c = factor.empty() ? Small(static_cast<std::size_t>(done * active)) : next;
      later = subtract_projection<Backend, Scalar>(V, X, factor, c, pass == 0 ? &next : nullptr, H);
      const Small share = product(done, active, width, c.data(), total.data());
      for (std::size_t i = 0; i < share.size(); ++i) coefficients[i] += share[i];
      clean = std::sqrt(sum_of_squares(c.data(), done * active)) < 0.1;
    } else {
      Backend::template gram<Scalar>(X, X, H.data());
    }
    Small step(static_cast<std::size_t>(active * active));
    // From the second pass on columns have norm 1: what loses 99 % of it was rounding.
    const Index kept = factor_block<Backend, Scalar>(X, pass == 0 ? drop : 1e-2, step.data(), H, later);
    if (!H.empty()) next = product(done, active, active, next.data(), H.data());
    factor = std::move(H);
    total = product(active, active, width, step.data(), total.data());
    dropped += sum_of_squares(total.data() + kept * width, (active - kept) * width);
    total.resize(static_cast<std::size_t>(kept * width));
    for (Index j = 0; j < kept; ++j) clean = clean && step[j * active + j] > 0.5 && step[j * active + j] < 2;
    active = kept;
  }
  if (C) std::copy(coefficients.begin(), coefficients.end(), C);
  total.resize(static_cast<std::size_t>(width * width), 0.0);
  if (R) std::copy(total.begin(), total.end(), R);
  if (active < width) {
    const Block<Scalar> lost = basis.col_range(done + active, width - active);
    fresh.fill<Backend>(lost);
    scale<Backend>(1 / std::sqrt(static_cast<double>(basis.rows)), lost);
    orthonormalise<Backend, Scalar>(basis, done + active, width - active, 30.0 * std::numeric_limits<Scalar>::epsilon(),
                                    fresh, nullptr, nullptr);
  }
  return dropped;
}

}  // namespace eigencontext::spectrum
