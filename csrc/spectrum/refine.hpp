// Rayleigh-Ritz from a right basis alone, by QR and never by squares, with true residuals; and what iterates it.
#pragma once

#include <numeric>

#include "spectrum/guarded.hpp"
#include "spectrum/run.hpp"

namespace eigencontext::spectrum {

// A v = s u (or A v = w v with left empty), values descending, in the units of the scaled operator.
template <class Backend, class Scalar>
struct Triplets {
  Array<Backend, Scalar> left, right, image;  // image: A^T U, or A V for eigenvalues
  std::vector<double> values, residuals;
  double largest = 0;
};

// residual_j = ||image_j - value_j right_j||.
template <class Backend, class Scalar>
std::vector<double> residual_norms(Block<const Scalar> image, Block<const Scalar> right,
                                   const std::vector<double>& values) {
  const Index k = image.cols;
  Array<Backend, Scalar> E(image.rows, k);
  copy<Backend, Scalar>(image, E.view());
  Backend::template update<Scalar>(-1.0, right, diagonal(k, values.data()).data(), 1.0, E.view());
  std::vector<double> norms(static_cast<std::size_t>(k));
  Backend::template column_squares<Scalar>(E.view(), norms.data());
  for (double& value : norms) value = std::sqrt(value);
  return norms;
}

// A V = U R, R = P S Q^T: triplets (U P, S, V Q). Columns of U where A V is 0 are completed orthonormally.
template <class Backend, class Scalar>
Triplets<Backend, Scalar> refine_svd(Guarded<Backend, Scalar>& A, Array<Backend, Scalar> V, Fresh& fresh) {
  const Index w = V.cols();
  Triplets<Backend, Scalar> t;
  t.left = Array<Backend, Scalar>(A.rows(), w);
  A.multiply(V.view(), t.left.view());
  Small squares(static_cast<std::size_t>(w)), R(static_cast<std::size_t>(w * w)), P(R.size()), Qt(R.size());
  Backend::template column_squares<Scalar>(t.left.view(), squares.data());
  const double drop =
      std::numeric_limits<Scalar>::epsilon() * std::sqrt(*std::max_element(squares.begin(), squares.end()));
  orthonormalise<Backend, Scalar>(t.left.view(), 0, w, drop, fresh, nullptr, R.data());
  t.values.resize(static_cast<std::size_t>(w));
  host::svd(w, w, R.data(), P.data(), t.values.data(), Qt.data());
  t.largest = t.values[0];
  Backend::template multiply_right<Scalar>(t.left.view(), P.data());
  Backend::template multiply_right<Scalar>(V.view(), leading_rows_transposed(w, Qt.data(), w).data());
  t.right = std::move(V);
  t.image = Array<Backend, Scalar>(A.cols(), w);
  A.multiply_transposed(std::as_const(t.left).view(), t.image.view());
  t.residuals = residual_norms<Backend, Scalar>(t.image.view(), t.right.view(), t.values);
  return t;
}

// T = V^T A V = S W S^T: pairs (V S, W).
template <class Backend, class Scalar>
Triplets<Backend, Scalar> refine_eigh(Guarded<Backend, Scalar>& A, Array<Backend, Scalar> V) {
  const Index w = V.cols();
  Triplets<Backend, Scalar> t;
  t.image = Array<Backend, Scalar>(A.rows(), w);
  A.multiply(V.view(), t.image.view());
  Small T(static_cast<std::size_t>(w * w)), S(T.size());
  Backend::template gram<Scalar>(V.view(), t.image.view(), T.data());
  for (Index i = 0; i < w; ++i)
    for (Index j = 0; j < w; ++j) S[i * w + j] = (T[i * w + j] + T[j * w + i]) / 2;
  t.values.resize(static_cast<std::size_t>(w));
  host::eigh(w, S.data(), t.values.data());
  std::reverse(t.values.begin(), t.values.end());
  for (Index i = 0; i < w; ++i) std::reverse(S.begin() + i * w, S.begin() + (i + 1) * w);
  t.largest = std::max(std::abs(t.values.front()), std::abs(t.values.back()));
  Backend::template multiply_right<Scalar>(V.view(), S.data());
  Backend::template multiply_right<Scalar>(t.image.view(), S.data());
  t.right = std::move(V);
  t.residuals = residual_norms<Backend, Scalar>(t.image.view(), t.right.view(), t.values);
  return t;
}

// V and, behind it, a block Krylov space of `steps` blocks of `width` random columns, all orthonormal.
template <bool singular, class Backend, class Scalar>
Array<Backend, Scalar> with_probe(Guarded<Backend, Scalar>& A, Block<const Scalar> V, Index width, Index steps,
                                  double norm, Fresh& fresh) {
  const double eps = std::numeric_limits<Scalar>::epsilon();
  Array<Backend, Scalar> X(V.rows, V.cols + steps * width), Y(singular ? A.rows() : 0, width);
  copy<Backend, Scalar>(V, X.view().col_range(0, V.cols));
  fresh.fill<Backend>(X.view().col_range(V.cols, width));
  orthonormalise<Backend, Scalar>(X.view(), V.cols, width, 30 * eps, fresh, nullptr, nullptr);
  for (Index used = V.cols + width; used < X.cols(); used += width) {
    const Block<Scalar> last = X.view().col_range(used - width, width), next = X.view().col_range(used, width);
    A.multiply(last, singular ? Y.view() : next);
    if (singular) A.multiply_transposed(std::as_const(Y).view(), next);
    orthonormalise<Backend, Scalar>(X.view(), used, width, 10 * eps * (singular ? norm * norm : norm), fresh, nullptr,
                                    nullptr);
  }
  return X;
}

template <bool singular, class Backend, class Scalar>
Triplets<Backend, Scalar> rayleigh_ritz(Guarded<Backend, Scalar>& A, Array<Backend, Scalar> V, Fresh& fresh) {
  if constexpr (singular)
    return refine_svd<Backend, Scalar>(A, std::move(V), fresh);
  else
    return refine_eigh<Backend, Scalar>(A, std::move(V));
}

// Subspace iteration (Halko, Martinsson, Tropp 2011, algorithm 4.4): V <- orth(A^T orth(A V)), with Rayleigh-Ritz and
// true residuals every sweep; eigenvalues: V <- orth((A + shift) V), after which the lowest is at most a third of those
// wanted.
// `total` is ||A||_F^2 where it is known. With `verify`, what has converged is compared with Rayleigh-Ritz on V and a
// Krylov space outside it: its k values have a larger sum if one was missed.
template <bool singular, class Backend, class Scalar>
Outcome subspace_iteration(Guarded<Backend, Scalar>& A, Array<Backend, Scalar> V, Run& run, Fresh& fresh,
                           Triplets<Backend, Scalar>& t, bool verify, double total = -1) {
  const double eps = std::numeric_limits<Scalar>::epsilon();
  const Index k = run.k, w = V.cols(), probe = probe_width(w), steps = singular ? 2 : 6;
  double lowest = HUGE_VAL;
  for (;;) {
    t = rayleigh_ritz<singular>(A, std::move(V), fresh);
    ++run.sweeps;
    lowest = std::min(lowest, t.values.back());
    if (total < 0)  // the first block is random: E ||A V||_F^2 = (w / m) ||A||_F^2
      total = sum_of_squares(t.values.data(), w) * static_cast<double>(A.cols()) / static_cast<double>(w);
    run.left_out = missed_mass(total, t.values, k);
    run.next_value = next_of(t.values, k);
    std::vector<double> residuals(t.residuals.begin(), t.residuals.begin() + k);
    for (double& r : residuals) r *= A.scale();
    if (run.report(t.right.cols(), residuals)) return Outcome::callback;
    const bool hold = run.all_hold(t.values, t.residuals, t.largest);
    if (hold && !run.options.keep_sweeps) {
      if (!verify) return Outcome::converged;
      if (t.right.cols() + steps * probe > std::min(A.rows(), A.cols())) return Outcome::no_room;
      Triplets<Backend, Scalar> wider = rayleigh_ritz<singular>(
          A, with_probe<singular>(A, std::as_const(t.right).view(), probe, steps, t.largest, fresh), fresh);
      const double kth = std::abs(t.values[k - 1]),
                   gain = std::accumulate(wider.values.begin(), wider.values.begin() + k, 0.0) -
                          std::accumulate(t.values.begin(), t.values.begin() + k, 0.0);
      run.next_value = next_of(wider.values, k);
      if (gain <= run.options.tol * kth + run.floor(wider.largest)) return Outcome::converged;
      lowest = std::min(lowest, wider.values.back());
      t = std::move(wider);
    }
    if (run.sweeps >= run.max_sweeps) return hold && !verify ? Outcome::converged : Outcome::max_sweeps;
    const Index next = std::min(t.right.cols(), w + probe);
    V = Array<Backend, Scalar>(A.cols(), next);
    copy<Backend, Scalar>(std::as_const(t.image).view().col_range(0, next), V.view());
    const double shift = singular ? 0.0 : std::max(0.0, -(3 * lowest + t.values[next - 1]) / 4);
    if (shift > 0)
      Backend::template add<Scalar>(shift, std::as_const(t.right).view().col_range(0, next), 1.0, V.view());
    orthonormalise<Backend, Scalar>(V.view(), 0, next, 10 * eps * t.largest, fresh, nullptr, nullptr);
  }
}

}  // namespace eigencontext::spectrum
