// Block Lanczos with full reorthogonalisation on a symmetric H: H V = V T + V_next R E^T, eigh(T).
// H = A for eigenvalues (values w, residual ||A v - w v|| = ||R s_last||), or H = A^T A, fused where the operator
// prefers it (values s = sqrt(theta), residual ||A^T u - s v|| = ||R s_last|| / s): no left basis, half the traffic of
// a sweep, and the condition number squared, so its results are refined or handed to GolubKahan.
#pragma once

#include <limits>
#include <numeric>

#include "spectrum/basis.hpp"
#include "spectrum/guarded.hpp"

namespace eigencontext::spectrum {

template <class Backend, class Scalar, bool fused>
class Lanczos {
 public:
  static constexpr bool squared = fused;  // works on A^T A
  // At most: see steps_of_probe.
  static constexpr Index probe_steps = fused ? 2 : 6;

  Lanczos(Guarded<Backend, Scalar>& A, Block<const Scalar> start, Index max_basis, std::uint64_t seed)
      : A_(A),
        max_basis_(max_basis),
        width_(start.cols),
        probe_(probe_width(start.cols)),
        fresh_{seed ^ 0x9e3779b97f4a7c15u} {
    V_ = Array<Backend, Scalar>(A_.cols(), basis_memory(max_basis_, width_, probe_, probe_steps));
    T_.assign(static_cast<std::size_t>(max_basis_ * max_basis_), 0.0);
    copy<Backend, Scalar>(start, V_.view().col_range(0, width_));
    orthonormalise<Backend, Scalar>(V_.view(), 0, width_, 30 * eps, fresh_, nullptr, nullptr);
  }

  Index size() const { return size_; }
  Index width() const { return width_; }
  bool full() const { return size_ + width_ > max_basis_; }

  void step() {
    const Index J = size_, w = width_;
    const Block<Scalar> V = V_.view(), Z = V.col_range(J + w, w);
    apply(V.col_range(J, w), Z);
    if (J == 0) {
      Small squares(static_cast<std::size_t>(w));
      Backend::template column_squares<Scalar>(Z, squares.data());
      norm_ = std::sqrt(*std::max_element(squares.begin(), squares.end()));
      first_mass_ = std::accumulate(squares.begin(), squares.end(), 0.0);
    }
    Small C(static_cast<std::size_t>((J + w) * w));
    R_.resize(static_cast<std::size_t>(w * w));
    dropped_ +=
        orthonormalise<Backend, Scalar>(V, J + w, w, (fused ? 2 : 10) * eps * norm_, fresh_, C.data(), R_.data());
    for (Index i = 0; i < J + w; ++i)
      for (Index j = 0; j < w; ++j) T_[i * max_basis_ + J + j] = C[i * w + j];
    last_ = w;
    size_ += w;
  }

  Ritz ritz(Index k) {
    const Index J = size_;
    S_.resize(static_cast<std::size_t>(J * J));
    for (Index i = 0; i < J; ++i)
      for (Index j = i; j < J; ++j) {  // diagonal blocks hold both halves, the rest only the upper one
        S_[i * J + j] = T_[i * max_basis_ + j];
        S_[j * J + i] = S_[i * J + j];
      }
    Small theta(static_cast<std::size_t>(J));
    host::eigh(J, S_.data(), theta.data());
    for (Index i = 0; i < J; ++i) std::reverse(S_.begin() + i * J, S_.begin() + (i + 1) * J);
    std::reverse(theta.begin(), theta.end());
    theta_ = theta;
    lowest_ = std::min(lowest_, theta_.back());
    norm_ = std::max({norm_, std::abs(theta.front()), std::abs(theta.back())});
    Ritz ritz;
    ritz.largest = fused ? std::sqrt(norm_) : norm_;
    ritz.values = theta;
    if constexpr (fused)
      for (double& value : ritz.values) value = std::sqrt(std::max(value, 0.0));
    const Small RS = product(last_, last_, J, R_.data(), S_.data() + (J - last_) * J);
    for (Index i = 0; i < std::min(k, J); ++i) {
      double square = dropped_;
      for (Index l = 0; l < last_; ++l) square += RS[l * J + i] * RS[l * J + i];
      const double divisor = fused ? std::max(ritz.values[i], eps * ritz.largest) : 1.0;
      ritz.residuals.push_back(std::sqrt(square) / divisor);
    }
    return ritz;
  }

  Ritz monitor(Index k, double /*tol*/) { return ritz(k); }

  void restart(Index keep) {
    ritz(0);
    rotate<Backend, Scalar>(V_.view(), size_, leading_columns(size_, size_, S_.data(), keep), keep);
    move_columns<Backend, Scalar>(V_.view(), size_, keep, width_);
    std::fill(T_.begin(), T_.end(), 0.0);
    for (Index i = 0; i < keep; ++i) T_[i * max_basis_ + i] = theta_[i];
    size_ = keep;
    last_ = 0;
  }

  // As GolubKahan::probe: Rayleigh-Ritz of H on [X, H X, H^2 X, ...] orthonormalised, X random and outside the basis.
  Probe probe(Index k, double limit) {
    const Index c = probe_, steps = steps_of_probe(limit);
    const Block<Scalar> V = V_.view(), X = V.col_range(size_, steps * c);
    const Array<Backend, Scalar> next = columns<Backend, Scalar>(V, size_, width_);
    Array<Backend, Scalar> Y(V.rows, steps * c);
    Small Rx(static_cast<std::size_t>(c * c));
    fresh_.template fill<Backend>(X.col_range(0, c));
    orthonormalise<Backend, Scalar>(V, size_, c, 30 * eps, fresh_, nullptr, Rx.data());
    Probe probe;
    for (Index used = 0; used < X.cols; used += c) {
      if (used > 0) {
        copy<Backend, Scalar>(Y.view().col_range(used - c, c), X.col_range(used, c));
        orthonormalise<Backend, Scalar>(V, size_ + used, c, 10 * eps * norm_, fresh_, nullptr, nullptr);
      }
      apply(X.col_range(used, c), Y.view().col_range(used, c));
      if (used == 0) probe.left_out = left_out(X.col_range(0, c), Y.view().col_range(0, c), Rx);
    }
    const Index r = size_ - k;
    Small T(static_cast<std::size_t>(X.cols * X.cols)), VtY(static_cast<std::size_t>(size_ * X.cols));
    Backend::template gram<Scalar>(X, Y.view(), T.data());
    Backend::template gram<Scalar>(V.col_range(0, size_), Y.view(), VtY.data());
    const Small rest(theta_.begin() + k, theta_.end());
    Small S(static_cast<std::size_t>(r * size_));
    for (Index i = 0; i < r; ++i)
      for (Index j = 0; j < size_; ++j) S[i * size_ + j] = S_[j * size_ + k + i];
    const Small cross = product(r, size_, X.cols, S.data(), VtY.data());
    const Small Q = above_limit(rest, cross, T, fused ? limit * limit : limit, c, probe.next);
    if (fused) probe.next = std::sqrt(std::max(probe.next, 0.0));
    const Index joined = join_next<Backend, Scalar>(V, size_, next, X, Q, fresh_);
    width_ += joined;
    probe.found = joined > 0;
    return probe;
  }

  // ||A V||_F^2: the trace of T for H = A^T A, else ||T||_F^2.
  double basis_mass() const {
    double mass = 0;
    for (Index i = 0; i < static_cast<Index>(theta_.size()); ++i) mass += fused ? theta_[i] : theta_[i] * theta_[i];
    return mass;
  }
  double first_mass() const { return first_mass_; }

  bool fits(Index k) {
    const Index needed = std::max(max_basis_, k + 3 * width_);
    if (basis_memory(needed, width_, probe_, probe_steps) > A_.cols()) return false;
    if (needed == max_basis_ && V_.cols() >= basis_memory(needed, width_, probe_, probe_steps)) return true;
    widen<Backend, Scalar>(V_, size_ + width_, basis_memory(needed, width_, probe_, probe_steps));
    Small T(static_cast<std::size_t>(needed * needed), 0.0);
    for (Index i = 0; i < size_; ++i) std::copy_n(T_.data() + i * max_basis_, size_, T.data() + i * needed);
    T_ = std::move(T);
    max_basis_ = needed;
    return true;
  }

  // After ritz(): the `count` leading Ritz vectors.
  Array<Backend, Scalar> right(Index count) const {
    return rotated<Backend, Scalar>(V_.view(), size_, leading_columns(size_, size_, S_.data(), count), count);
  }

 private:
  // Values below -limit hide those near the top from a short Krylov space. They lie at the other end of the spectrum,
  // so the basis has found them. A product with A is half a fused one.
  Index steps_of_probe(double limit) const { return fused ? 2 : lowest_ < -limit ? probe_steps : 3; }

  static constexpr double eps = std::numeric_limits<Scalar>::epsilon();

  void apply(Block<const Scalar> X, Block<Scalar> Z) {
    if constexpr (fused)
      A_.multiply_fused(X, Z);
    else
      A_.multiply(X, Z);
  }

  // Hutchinson: the mean of ||A x||^2 over the Gaussian columns x = X Rx, and what A V has outside V.
  double left_out(Block<const Scalar> X, Block<const Scalar> HX, const Small& Rx) const {
    const Index c = X.cols;
    Small G(static_cast<std::size_t>(c * c));
    Backend::template gram<Scalar>(fused ? X : HX, HX, G.data());
    const Small GR = product(c, c, c, G.data(), Rx.data());
    double sum = 0;
    for (Index i = 0; i < c * c; ++i) sum += Rx[i] * GR[i];
    return sum / static_cast<double>(c) + (fused ? 0.0 : sum_of_squares(R_.data(), last_ * last_));
  }

  Guarded<Backend, Scalar>& A_;
  Index max_basis_, width_, probe_;
  Index size_ = 0, last_ = 0;
  Array<Backend, Scalar> V_;
  Small T_, R_, S_, theta_;
  double norm_ = 0, dropped_ = 0, first_mass_ = 0, lowest_ = 0;
  Fresh fresh_;
};

}  // namespace eigencontext::spectrum
