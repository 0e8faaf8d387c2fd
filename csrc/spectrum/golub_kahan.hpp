// Randomised block Golub-Kahan with full reorthogonalisation on both sides:
//   A V = U B                      (B holds every coefficient that orthogonalisation took away)
//   A^T U = V B^T + V_next R E^T   (E picks the last block)
// SVD B = P S Q^T gives triplets (U p, s, V q) with A v = s u exactly and ||A^T u - s v|| = ||R p_last||, free of
// charge. B is bidiagonal up to rounding and restarts; its SVD squares nothing, so small values keep their accuracy.
// (Golub, Luk, Overton 1981; randomised start and gap-free bounds: Musco, Musco 2015; thick restart: Baglama, Reichel
// 2005.)
#pragma once

#include <limits>
#include <numeric>

#include "spectrum/basis.hpp"
#include "spectrum/guarded.hpp"

namespace eigencontext::spectrum {

template <class Backend, class Scalar>
class GolubKahan {
 public:
  static constexpr bool squared = false;  // works on A itself
  static constexpr Index probe_steps = 2;

  // `start` has A.cols() rows and `block` columns and is overwritten.
  GolubKahan(Guarded<Backend, Scalar>& A, Block<const Scalar> start, Index max_basis, std::uint64_t seed)
      : A_(A),
        max_basis_(max_basis),
        width_(start.cols),
        probe_(probe_width(start.cols)),
        right_{seed ^ 0x9e3779b97f4a7c15u},
        left_{seed ^ 0xc2b2ae3d27d4eb4fu} {
    allocate();
    copy<Backend, Scalar>(start, V_.view().col_range(0, width_));
    orthonormalise<Backend, Scalar>(V_.view(), 0, width_, 30 * eps, right_, nullptr, nullptr);
  }

  Index size() const { return size_; }
  Index width() const { return width_; }
  bool full() const { return size_ + width_ > max_basis_; }

  // One product with A and one with A^T.
  void step() {
    expand_left();
    const Block<Scalar> V = V_.view(), last_U = U_.view().col_range(size_, width_);
    A_.multiply_transposed(last_U, V.col_range(size_ + width_, width_));
    R_.resize(static_cast<std::size_t>(width_ * width_));
    dropped_ += orthonormalise<Backend, Scalar>(V, size_ + width_, width_, drop(), right_, nullptr, R_.data());
    last_ = width_;
    size_ += width_;
  }

  // The product with A alone: V_next enters the basis, and residuals are unknown until refine().
  void half_step() {
    expand_left();
    size_ += width_;
    last_ = 0;
  }

  Ritz ritz(Index k) {
    const Index J = size_;
    P_.assign(static_cast<std::size_t>(J * J), 0.0);
    Qt_ = P_;
    Ritz ritz;
    ritz.values.resize(static_cast<std::size_t>(J));
    Small B = packed(B_, max_basis_, J);
    host::svd(J, J, B.data(), P_.data(), ritz.values.data(), Qt_.data());
    values_ = ritz.values;
    ritz.largest = largest_ = std::max(largest_, ritz.values[0]);
    const Small RP = product(last_, last_, J, R_.data(), P_.data() + (J - last_) * J);
    for (Index i = 0; i < std::min(k, J); ++i) {
      double square = dropped_;
      for (Index l = 0; l < last_; ++l) square += RP[l * J + i] * RP[l * J + i];
      ritz.residuals.push_back(std::sqrt(square));
    }
    return ritz;
  }

  // ritz() for a look: values and residuals by eigh(B^T B), cheaper than the SVD, where values and limits are far
  // above the square root's losses; P_last = B_last Q / s.
  Ritz monitor(Index k, double tol) {
    const Index J = size_;
    if (J < k) return ritz(k);
    Small B = packed(B_, max_basis_, J), G(static_cast<std::size_t>(J * J)), theta(static_cast<std::size_t>(J));
    Cpu::gram<double>({B.data(), J, J, J}, {B.data(), J, J, J}, G.data());  // small matrices live on the host
    host::eigh(J, G.data(), theta.data());
    Ritz ritz;
    for (Index i = J; i-- > 0;) ritz.values.push_back(std::sqrt(std::max(theta[i], 0.0)));
    const double s1 = ritz.values[0], kth = ritz.values[k - 1];
    if (!(kth > 1e-4 * s1 && std::max(tol * kth, eps * s1) > 1e-8 * s1)) return this->ritz(k);
    ritz.largest = largest_ = std::max(largest_, s1);
    const Small RB = product(last_, last_, J, R_.data(), B.data() + (J - last_) * J);
    for (Index i = 0; i < k; ++i) {
      double square = dropped_;
      for (Index l = 0; l < last_; ++l) {
        double entry = 0;
        for (Index j = 0; j < J; ++j) entry += RB[l * J + j] * G[j * J + J - 1 - i];
        square += entry * entry / (ritz.values[i] * ritz.values[i]);
      }
      ritz.residuals.push_back(std::sqrt(square));
    }
    return ritz;
  }

  // Keeps the `keep` leading triplets and V_next, which holds all that A^T U has outside V.
  void restart(Index keep) {
    Ritz now = ritz(0);
    rotate<Backend, Scalar>(V_.view(), size_, leading_rows_transposed(size_, Qt_.data(), keep), keep);
    rotate<Backend, Scalar>(U_.view(), size_, leading_columns(size_, size_, P_.data(), keep), keep);
    move_columns<Backend, Scalar>(V_.view(), size_, keep, width_);
    std::fill(B_.begin(), B_.end(), 0.0);
    for (Index i = 0; i < keep; ++i) B_[i * max_basis_ + i] = now.values[i];
    size_ = keep;
    last_ = 0;
  }

  // After ritz(). A fresh random block X orthogonal to the basis; Rayleigh-Ritz on [X, orth(A^T A X)] and the vectors
  // after the k wanted ones, three products. A value above `limit` is one that the k triplets do not have: its x joins
  // the next block. V_next steps aside meanwhile: it may hold, unseen by the residuals, just the directions that are
  // missing (a replaced column of U brings them in).
  Probe probe(Index k, double limit) {
    const Index o = size_, c = probe_;
    const Block<Scalar> V = V_.view(), X = V.col_range(o, 2 * c);
    const Array<Backend, Scalar> next = columns<Backend, Scalar>(V, size_, width_);
    Small Rx(static_cast<std::size_t>(c * c));
    right_.template fill<Backend>(X.col_range(0, c));
    orthonormalise<Backend, Scalar>(V, o, c, 30 * eps, right_, nullptr, Rx.data());
    Array<Backend, Scalar> Y(A_.rows(), 2 * c);
    A_.multiply(X.col_range(0, c), Y.view().col_range(0, c));
    A_.multiply_transposed(std::as_const(Y).view().col_range(0, c), X.col_range(c, c));
    orthonormalise<Backend, Scalar>(V, o + c, c, 10 * eps * limit * limit, right_, nullptr, nullptr);
    A_.multiply(X.col_range(c, c), Y.view().col_range(c, c));
    Small T(static_cast<std::size_t>(4 * c * c)), UtY(static_cast<std::size_t>(size_ * 2 * c));
    Backend::template gram<Scalar>(Y.view(), Y.view(), T.data());
    Backend::template gram<Scalar>(std::as_const(U_).view().col_range(0, size_), Y.view(), UtY.data());
    Probe probe;
    probe.left_out = trace_RtTR(Rx, T, c) / static_cast<double>(c);
    // H = A^T A; A V q_i = s_i U p_i, so q_i^T V^T H X = s_i p_i^T U^T Y.
    const Index r = size_ - k;
    Small rest(static_cast<std::size_t>(r)), P(static_cast<std::size_t>(r * size_));
    for (Index i = 0; i < r; ++i) {
      rest[i] = values_[k + i] * values_[k + i];
      for (Index j = 0; j < size_; ++j) P[i * size_ + j] = values_[k + i] * P_[j * size_ + k + i];
    }
    const Small Q = above_limit(rest, product(r, size_, 2 * c, P.data(), UtY.data()), T, limit * limit, c, probe.next);
    probe.next = std::sqrt(std::max(probe.next, 0.0));
    const Index joined = join_next<Backend, Scalar>(V, size_, next, X, Q, right_);
    width_ += joined;
    probe.found = joined > 0;
    return probe;
  }

  double basis_mass() const { return sum_of_squares(B_.data(), static_cast<Index>(B_.size())); }
  // ||A V_1||_F^2 of the first block.
  double first_mass() const { return first_mass_; }
  // Can blocks of this width go on with k wanted, in a space of this many dimensions?
  bool fits(Index k) {
    const Index needed = std::max(max_basis_, k + 3 * width_);
    if (basis_memory(needed, width_, probe_, probe_steps) > std::min(A_.rows(), A_.cols())) return false;
    grow(needed);
    return true;
  }

  Array<Backend, Scalar> right(Index k) const {
    return rotated<Backend, Scalar>(V_.view(), size_, leading_rows_transposed(size_, Qt_.data(), k), k);
  }
  Array<Backend, Scalar> left(Index k) const {
    return rotated<Backend, Scalar>(U_.view(), size_, leading_columns(size_, size_, P_.data(), k), k);
  }

 private:
  static constexpr double eps = std::numeric_limits<Scalar>::epsilon();
  double drop() const { return 10 * eps * largest_; }

  void allocate() {
    V_ = Array<Backend, Scalar>(A_.cols(), basis_memory(max_basis_, width_, probe_, probe_steps));
    U_ = Array<Backend, Scalar>(A_.rows(), max_basis_);
    B_.assign(static_cast<std::size_t>(max_basis_ * max_basis_), 0.0);
  }

  // U_j R_jj = A V_j - U (U^T A V_j), the coefficients into the columns of B.
  void expand_left() {
    const Index J = size_, w = width_;
    const Block<Scalar> U = U_.view(), W = U.col_range(J, w);
    A_.multiply(std::as_const(V_).view().col_range(J, w), W);
    if (J == 0) {  // the largest ||A v|| of an orthonormal block is a first lower bound of s_1
      Small squares(static_cast<std::size_t>(w));
      Backend::template column_squares<Scalar>(W, squares.data());
      largest_ = std::sqrt(*std::max_element(squares.begin(), squares.end()));
      first_mass_ = std::accumulate(squares.begin(), squares.end(), 0.0);
    }
    Small C(static_cast<std::size_t>(J * w)), R(static_cast<std::size_t>(w * w));
    dropped_ += orthonormalise<Backend, Scalar>(U, J, w, drop(), left_, C.data(), R.data());
    for (Index i = 0; i < J; ++i) std::copy_n(C.data() + i * w, w, B_.data() + i * max_basis_ + J);
    for (Index i = 0; i < w; ++i) std::copy_n(R.data() + i * w, w, B_.data() + (J + i) * max_basis_ + J);
  }

  static double trace_RtTR(const Small& R, const Small& T, Index c) {
    double trace = 0;
    for (Index j = 0; j < c; ++j)
      for (Index a = 0; a < c; ++a)
        for (Index b = 0; b < c; ++b) trace += R[a * c + j] * T[a * 2 * c + b] * R[b * c + j];
    return trace;
  }
  void grow(Index needed) {
    if (needed == max_basis_ && V_.cols() >= basis_memory(needed, width_, probe_, probe_steps)) return;
    widen<Backend, Scalar>(V_, size_ + width_, basis_memory(needed, width_, probe_, probe_steps));
    if (needed == max_basis_) return;
    widen<Backend, Scalar>(U_, size_, needed);
    Small B(static_cast<std::size_t>(needed * needed), 0.0);
    for (Index i = 0; i < size_; ++i) std::copy_n(B_.data() + i * max_basis_, size_, B.data() + i * needed);
    B_ = std::move(B);
    max_basis_ = needed;
  }

  Guarded<Backend, Scalar>& A_;
  Index max_basis_, width_, probe_;
  Index size_ = 0, last_ = 0;  // columns in the basis; columns of the block that R belongs to
  Array<Backend, Scalar> V_, U_;
  Small B_, R_;            // A V = U B (leading dimension max_basis); the last residual block's coefficients
  Small P_, Qt_, values_;  // of the last ritz()
  double largest_ = 0, dropped_ = 0, first_mass_ = 0;
  Fresh right_, left_;
};

}  // namespace eigencontext::spectrum
