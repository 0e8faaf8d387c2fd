// Accelerated randomly pivoted Cholesky of a positive semidefinite operator: A ~ F F^T from rank + 1 columns' worth of
// entries (Chen, Epperly, Tropp, Webber 2022; in blocks: Epperly, Tropp, Webber 2024).
//
// A round proposes pivots in proportion to the diagonal of the residual A - F F^T as it is at its start, and accepts
// each with the probability (its residual now) / (its residual then), "now" after the pivots accepted before it: the
// law of the plain form, one pivot at a time. Only the proposals' own entries of A are needed for that; the accepted
// columns then join F in one product.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.hpp"
#include "base/parallel.hpp"
#include "base/philox.hpp"
#include "operators/operator.hpp"
#include "spectrum/orthonormalise.hpp"

namespace eigencontext::spectrum {

template <class Backend, class Scalar>
class PivotedCholesky {
 public:
  // Memory: F, sizeof(Scalar) n rank bytes, and three float64 vectors of length n.
  PivotedCholesky(const Operator<Backend, Scalar>& A, Index rank, std::uint64_t seed)
      : A_(A), seed_(seed), F_(A.rows(), rank), residual_(A.rows()), noise_(A.rows()), tolerated_(A.rows()) {
    A.diagonal(residual_.data(), noise_.data());
    for (Index i = 0; i < A.rows(); ++i) {
      if (!std::isfinite(residual_[i])) throw NonFiniteError("the diagonal of the operator contains NaN or inf");
      // A pivot above 32 roundings moves a residual by 2 f_i df_i <= 0.4 sqrt(a_ii rounding_i) at most, times what a
      // sum of many terms adds.
      tolerated_[i] = 4 * std::sqrt(std::max(residual_[i], noise_[i]) * noise_[i]);
      noise_[i] *= 32;
    }
    weigh();
    initial_trace_ = trace_;
    if (total_ == 0) require_zero();
  }

  // One round of `proposals`. False: what is left can't be told from rounding, and nothing was done.
  bool step(Index proposals) {
    if (!(total_ > std::numeric_limits<Scalar>::epsilon() * initial_trace_)) return false;
    check_stop();
    std::vector<double> levels;
    const std::vector<Index> proposed = draw(proposals, levels);
    append(accept(proposed, levels, F_.cols() - size()));
    weigh();
    return true;
  }

  Index size() const { return static_cast<Index>(pivots_.size()); }
  Block<const Scalar> factor() const { return F_.view().col_range(0, size()); }
  const std::vector<Index>& pivots() const { return pivots_; }
  // trace(A - F F^T): no eigenvalue of the residual is larger.
  double trace() const { return trace_; }

 private:
  static constexpr Index chunk_rows = 4096;

  struct Accepted {
    std::vector<Index> pivots;
    Small R;  // upper triangular, R^T R = the residual's entries between the pivots
  };

  // The chance of a pivot. What is below rounding is no pivot, though it counts in the trace.
  double weight(Index i) const { return residual_[i] > noise_[i] ? residual_[i] : 0.0; }

  void weigh() {
    const Index n = A_.rows(), chunks = (n + chunk_rows - 1) / chunk_rows;
    Buffer<double> traces(chunks, 0.0);
    Buffer<Index> negative(chunks, -1);
    sums_ = Buffer<double>(chunks, 0.0);
    parallel_for(chunks, [&](Index c, int) {
      for (Index i = c * chunk_rows; i < std::min(n, (c + 1) * chunk_rows); ++i) {
        if (residual_[i] < -tolerated_[i]) negative[c] = i;
        residual_[i] = std::max(residual_[i], 0.0);
        traces[c] += residual_[i];
        sums_[c] += weight(i);
      }
    });
    trace_ = total_ = 0;
    for (Index c = 0; c < chunks; ++c) {
      if (negative[c] >= 0)
        not_semidefinite("a negative residual on the diagonal at [" + std::to_string(negative[c]) + "]");
      trace_ += traces[c];
      total_ += sums_[c];
    }
  }

  // A diagonal of zeros: the operator is 0, or not positive semidefinite. |A(i, j)| <= sqrt(noise_i noise_j) shows in
  // one product.
  void require_zero() const {
    const Index n = A_.rows();
    Array<Backend, Scalar> X(n, 1), Y(n, 1);
    Fresh{seed_}.template fill<Backend>(X.view());
    A_.multiply(std::as_const(X).view(), Y.view());
    Small x(static_cast<std::size_t>(n)), y(x.size());
    Backend::template to_host<Scalar>(X.view(), x.data());
    Backend::template to_host<Scalar>(Y.view(), y.data());
    double sum = 0;
    for (Index i = 0; i < n; ++i) sum += std::sqrt(noise_[i]) * std::abs(x[i]);
    for (Index i = 0; i < n; ++i)
      if (std::abs(y[i]) > std::sqrt(noise_[i]) * sum) not_semidefinite("zeros on the diagonal only");
  }

  [[noreturn]] static void not_semidefinite(const std::string& seen) {
    throw ArgumentError("a", "an operator that is not positive semidefinite (" + seen + ")",
                        "positive semidefinite operators for method rpcholesky");
  }

  // Independent indices in proportion to their weights, and for each the level in [0, 1) that decides on it.
  std::vector<Index> draw(Index count, std::vector<double>& levels) {
    const auto uniform = [](std::uint32_t low, std::uint32_t high) {
      return static_cast<double>((low | std::uint64_t{high} << 32) >> 11) * 0x1p-53;
    };
    constexpr std::uint32_t stream = 0x70766f74;  // apart from the counters of Gaussian blocks
    const PhiloxKey key{static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)};
    std::vector<Index> indices;
    for (Index j = 0; j < count; ++j, ++drawn_) {
      const PhiloxCounter bits =
          philox({static_cast<std::uint32_t>(drawn_), static_cast<std::uint32_t>(drawn_ >> 32), 0, stream}, key);
      indices.push_back(at(uniform(bits[0], bits[1]) * total_));
      levels.push_back(uniform(bits[2], bits[3]));
    }
    return indices;
  }

  // The index at which the running sum of weights passes `target`; the last one with a weight where rounding prevents
  // it.
  Index at(double target) const {
    Index chunk = 0, found = -1;
    for (Index c = 0; c < sums_.size(); ++c) {
      if (sums_[c] == 0) continue;
      chunk = c;
      if (target < sums_[c]) break;
      target -= sums_[c];
    }
    for (Index i = chunk * chunk_rows; i < std::min(A_.rows(), (chunk + 1) * chunk_rows); ++i) {
      if (weight(i) == 0) continue;
      found = i;
      target -= weight(i);
      if (target < 0) break;
    }
    return found;
  }

  // The residual's entries between the proposals, in float64.
  Small residual_block(const std::vector<Index>& proposed) const {
    const Index b = static_cast<Index>(proposed.size()), r = size();
    Array<Backend, Scalar> block(b, b);
    A_.entries(proposed.data(), proposed.data(), block.view());
    Small entries(static_cast<std::size_t>(b * b));
    Backend::template to_host<Scalar>(block.view(), entries.data());
    Small rows(static_cast<std::size_t>(b * r));
    Backend::template gather_rows<Scalar>(factor(), proposed.data(), b, rows.data());
    Small H = product(b, r, b, rows.data(), leading_rows_transposed(r, rows.data(), b).data());
    for (Index i = 0; i < b; ++i) {
      for (Index j = 0; j < b; ++j) H[i * b + j] = entries[i * b + j] - H[i * b + j];
      H[i * b + i] = residual_[proposed[i]];
    }
    return H;
  }

  // Rejection sampling within a round: Cholesky of the proposals' block, leaving out those that are not accepted.
  Accepted accept(const std::vector<Index>& proposed, const std::vector<double>& levels, Index room) const {
    const Index b = static_cast<Index>(proposed.size());
    Small H = residual_block(proposed), columns;
    std::vector<Index> places;
    Accepted accepted;
    for (Index j = 0; j < b && static_cast<Index>(places.size()) < room; ++j) {
      const Index pivot = proposed[j];
      const double now = H[j * b + j];
      const bool again = std::find(accepted.pivots.begin(), accepted.pivots.end(), pivot) != accepted.pivots.end();
      if (again || !(now > levels[j] * residual_[pivot]) || now <= noise_[pivot]) continue;
      Small column(static_cast<std::size_t>(b), 0.0);
      for (Index i = j; i < b; ++i) column[i] = H[i * b + j] / std::sqrt(now);
      for (Index i = j + 1; i < b; ++i)
        for (Index l = j + 1; l < b; ++l) H[i * b + l] -= column[i] * column[l];
      columns.insert(columns.end(), column.begin(), column.end());
      places.push_back(j);
      accepted.pivots.push_back(pivot);
    }
    const Index t = static_cast<Index>(places.size());
    accepted.R.assign(static_cast<std::size_t>(t * t), 0.0);
    for (Index i = 0; i < t; ++i)
      for (Index j = i; j < t; ++j) accepted.R[i * t + j] = columns[i * b + places[j]];
    return accepted;
  }

  // F gets the columns (A(:, T) - F F(T, :)^T) R^{-1}, T the accepted pivots.
  void append(Accepted accepted) {
    const Index r = size(), t = static_cast<Index>(accepted.pivots.size());
    const Block<Scalar> Y = F_.view().col_range(r, t);
    A_.entries(nullptr, accepted.pivots.data(), Y);
    if (!Backend::template all_finite<Scalar>(Block<const Scalar>(Y).view()))
      throw NonFiniteError("a column of the operator contains NaN or inf");
    Small rows(static_cast<std::size_t>(t * r));
    Backend::template gather_rows<Scalar>(factor(), accepted.pivots.data(), t, rows.data());
    if (r > 0)
      Backend::template update<Scalar>(-1.0, factor(), leading_rows_transposed(r, rows.data(), t).data(), 1.0, Y);
    host::invert_upper(t, accepted.R.data());
    Backend::template multiply_right<Scalar>(Y, accepted.R.data());
    Backend::template subtract_row_squares<Scalar>(Y, residual_.data());
    for (const Index pivot : accepted.pivots) residual_[pivot] = 0;
    pivots_.insert(pivots_.end(), accepted.pivots.begin(), accepted.pivots.end());
  }

  const Operator<Backend, Scalar>& A_;
  std::uint64_t seed_, drawn_ = 0;
  Array<Backend, Scalar> F_;
  Buffer<double> residual_, noise_, tolerated_, sums_;  // sums_: the weights of each chunk
  std::vector<Index> pivots_;
  double trace_ = 0, total_ = 0, initial_trace_ = 0;
};

// The leading eigenpairs of F F^T, and all of its eigenvalues in `spectrum` (descending, to rounding of the largest).
// F^T F is only asked for a start: Rayleigh-Ritz in the space of F Z is by the SVD of F^T Q, which squares nothing.
// Where F has fewer than k columns, the values are 0 and the vectors are completed orthonormally.
template <class Backend, class Scalar>
void factor_eigenpairs(Block<const Scalar> F, Array<Backend, Scalar>& V, std::vector<double>& values, Small& spectrum,
                       Fresh& fresh) {
  const Index r = F.cols, k = V.cols(), have = std::min(k, r);
  Small G(static_cast<std::size_t>(r * r));
  spectrum.resize(static_cast<std::size_t>(r));
  Backend::template gram<Scalar>(F, F, G.data());
  host::eigh(r, G.data(), spectrum.data());
  std::reverse(spectrum.begin(), spectrum.end());
  for (Index i = 0; i < r; ++i) std::reverse(G.begin() + i * r, G.begin() + (i + 1) * r);
  const Block<Scalar> Q = V.view().col_range(0, have);
  values.assign(static_cast<std::size_t>(k), 0.0);
  if (have > 0) {
    Backend::template update<Scalar>(1.0, F, leading_columns(r, r, G.data(), have).data(), 0.0, Q);
    const double drop = std::numeric_limits<Scalar>::epsilon() * std::sqrt(std::max(spectrum[0], 0.0));
    orthonormalise<Backend, Scalar>(V.view(), 0, have, drop, fresh, nullptr, nullptr);
    Small B(static_cast<std::size_t>(r * have)), P(B.size()), Qt(static_cast<std::size_t>(have * have));
    Backend::template gram<Scalar>(F, Q, B.data());
    host::svd(r, have, B.data(), P.data(), values.data(), Qt.data());
    Backend::template multiply_right<Scalar>(Q, leading_rows_transposed(have, Qt.data(), have).data());
    for (Index i = 0; i < have; ++i) values[i] *= values[i];
  }
  if (have < k) {
    fresh.fill<Backend>(V.view().col_range(have, k - have));
    orthonormalise<Backend, Scalar>(V.view(), have, k - have, 1e-3, fresh, nullptr, nullptr);
  }
}

}  // namespace eigencontext::spectrum
