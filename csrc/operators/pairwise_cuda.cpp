// Pairwise operators on a CUDA device.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "base/errors.hpp"
#include "operators/pairwise.hpp"
#include "operators/tiled_cuda.hpp"

namespace eigencontext {
namespace {

using Kind = KernelOptions::Kind;
using tiled::cancels;
template <class T>
using Array = cuda::Array<T>;

std::vector<double> on_host(const Array<double>& x) {
  std::vector<double> values(static_cast<std::size_t>(x.rows() * x.cols()));
  Cuda::to_host<double>(x.view(), values.data());
  return values;
}

double largest(const Array<double>& x) {
  double top = 0;
  for (const double value : on_host(x))
    if (!(value <= top)) top = value;  // NaN wins
  return top;
}

template <class S>
struct Points {
  Array<S> rows;
  Array<S> offsets;  // rbf: of the exponents, -|x|^2 / 2 of the scaled, centred points among them
  bool differences = false;
};

// T: the blocks. S: the scores, float64 for float32 blocks where float32 would cancel.
template <class T, class S>
class Pairwise final : public tiled::TiledOnDevice<T, S>, public tiled::HasLogSums {
 public:
  Pairwise(Points<S> x, Points<S> a, std::vector<double> own, bool symmetric, const KernelOptions& options)
      : tiled::TiledOnDevice<T, S>(x.rows.rows(), symmetric ? x.rows.rows() : a.rows.rows(), symmetric),
        x_(std::move(x)),
        a_(std::move(a)),
        own_(std::move(own)),
        options_(options) {
    if (own_.empty()) return;
    own_on_device_ = Array<double>(this->rows(), 1);
    Cuda::from_host<double>(own_.data(), own_on_device_.view());
  }

  Cost cost(Index b) const override {
    const double p = static_cast<double>(x_.rows.cols());
    const double points = static_cast<double>(this->rows() + (this->symmetric() ? 0 : this->cols()));
    return this->product_cost(b, (x_.differences ? 3 : 2) * p, points * p * sizeof(S));
  }

  bool has_entries() const override { return this->symmetric() && options_.kind != Kind::polynomial; }
  void entries(const Index* rows, const Index* columns, Block<T> Y) const override {
    const Points<S> a = gathered(columns, Y.cols), some = rows ? gathered(rows, Y.rows) : Points<S>{};
    Array<S> K(Y.rows, Y.cols);
    map(rows ? some : x_, 0, a, 0, K.view());
    if constexpr (std::is_same_v<T, S>)
      Cuda::add<T>(1, K.view(), 0, Y);
    else
      cuda::convert<S, T>(K.view(), Y);
    if (!own_.empty()) cuda::set_own<T>(own_on_device_.data(), rows, columns, Y);
  }
  // The exponent of rbf, -|x - a|^2 / 2, is a difference of terms as large as |x|^2.
  void diagonal(double* d, double* rounding) const override {
    const auto n = static_cast<std::size_t>(this->rows());
    std::vector<double> terms(n, 0.0);
    if (x_.offsets.rows() > 0 && std::is_same_v<T, S>) Cuda::to_host<S>(x_.offsets.view(), terms.data());
    for (std::size_t i = 0; i < n; ++i) {
      d[i] = own_.empty() ? 1.0 : own_[i];
      rounding[i] = std::numeric_limits<T>::epsilon() * (1 - 4 * terms[i]);
    }
  }

  void log_sums_of_rows(double* sums, double* effective) const override {
    require_exponents();
    this->log_sums(exponents(), sums, effective, nullptr);
  }
  void log_sums_of_columns(double* sums) const override {
    require_exponents();
    this->log_sums(exponents(), nullptr, nullptr, sums);
  }

 private:
  void require_exponents() const {
    if (options_.kind != Kind::rbf || this->symmetric())
      throw ArgumentError("operator", "one without offsets", "rbf of two sets of points");
  }
  auto exponents() const {
    return [this](Index i, Index j, Block<S> K) {
      scores(x_, i, a_, j, false, K);
      cuda::map_shift<S>(offsets(x_, i), offsets(a_, j), K);
    };
  }
  static const S* offsets(const Points<S>& x, Index i) { return x.offsets.rows() > 0 ? x.offsets.data() + i : nullptr; }

  const Points<S>& columns() const { return this->symmetric() ? x_ : a_; }

  Points<S> gathered(const Index* which, Index count) const {
    Points<S> some{Array<S>(count, x_.rows.cols()), Array<S>(x_.offsets.rows() > 0 ? count : 0, 1), x_.differences};
    const std::vector<Index> all = identity(x_.rows.cols()), first{0};
    Cuda::gather<S>(x_.rows.view().view(), which, all.data(), some.rows.view());
    if (x_.offsets.rows() > 0) Cuda::gather<S>(x_.offsets.view().view(), which, first.data(), some.offsets.view());
    return some;
  }
  static std::vector<Index> identity(Index count) {
    std::vector<Index> numbers(static_cast<std::size_t>(count));
    for (Index i = 0; i < count; ++i) numbers[static_cast<std::size_t>(i)] = i;
    return numbers;
  }

  void fill(Index i, Index j, Block<S> K) const override {
    map(x_, i, columns(), j, K);
    if (!this->symmetric() || i != j) return;
    const bool exact = options_.kind == Kind::rbf || options_.kind == Kind::cosine;
    cuda::make_symmetric<S>(exact ? own_on_device_.data() + i : nullptr, K);
  }

  // Products of points; where they are summed from differences, exponents without offsets, or their exponentials.
  void scores(const Points<S>& x, Index i, const Points<S>& a, Index j, bool exponential, Block<S> K) const {
    const Block<const S> A = x.rows.view().row_range(i, K.rows), B = a.rows.view().row_range(j, K.cols);
    if (x.differences)
      return cuda::distances<S>(options_.kind == Kind::rbf, exponential, options_.exponent_scale<S>(), A, B, K);
    S alpha = 1;
    if (options_.kind == Kind::cosine) alpha = S(0.5);
    if (options_.kind == Kind::polynomial) alpha = S(1) / static_cast<S>(std::max<Index>(A.cols, 1));
    cuda::tile_scores<S>(alpha, A, B, K);
  }

  // K(u, v) = k(x_{i + u}, a_{j + v}).
  void map(const Points<S>& x, Index i, const Points<S>& a, Index j, Block<S> K) const {
    const S *r = offsets(x, i), *c = offsets(a, j);
    const bool mapped = !x.differences || r || c;
    scores(x, i, a, j, !mapped, K);
    if (options_.kind == Kind::rbf && mapped) cuda::map_rbf<S>(r, c, K);
    if (options_.kind == Kind::cosine) cuda::map_cosine<S>(K);
    if (options_.kind == Kind::polynomial) cuda::map_power<S>(static_cast<S>(options_.coef0), options_.degree, K);
  }

  Points<S> x_, a_;
  std::vector<double> own_;  // k(x, x) of a symmetric operator, where it is known exactly
  Array<double> own_on_device_;
  KernelOptions options_;
};

// `squares`: |x - centre|^2 of the scaled points; empty for differences of the points as they are. `offsets` is null or
// as long as there are points.
template <class S, class T>
Points<S> pack(MatrixView<const T> X, const KernelOptions& options, const double* centre, const Array<double>& squares,
               const double* offsets) {
  Points<S> out{Array<S>(X.rows, X.cols), {}};
  const Block<S> rows = out.rows.view();
  if (options.kind == Kind::cosine) {
    cuda::pack_points<S, T>(X, nullptr, 1, cuda::inverse_row_norms<T>(X).data(), rows);
  } else if (options.kind == Kind::rbf && squares.rows() > 0) {
    cuda::pack_points<S, T>(X, centre, 1 / options.bandwidth, nullptr, rows);
  } else {
    out.differences = options.kind == Kind::laplacian || options.kind == Kind::rbf;
    cuda::pack_points<S, T>(X, nullptr, options.kind == Kind::rbf ? options.unit() : 1, nullptr, rows);
  }
  if (options.kind != Kind::rbf || (squares.rows() == 0 && !offsets)) return out;
  Array<double> sum(X.rows, 1);
  if (offsets) Cuda::from_host<double>(offsets, sum.view());
  if (squares.rows() > 0) Cuda::add<double>(-0.5, squares.view(), offsets ? 1 : 0, sum.view());
  out.offsets = Array<S>(X.rows, 1);
  cuda::round_vector<S>(1, sum.view(), out.offsets.data());
  return out;
}

}  // namespace

template <class T>
OperatorPtr<Cuda, T> make_pairwise(MatrixView<const T> X, MatrixView<const T> A, const KernelOptions& options,
                                   double keep, tiled::Offsets offsets) {
  options.check();
  if (keep != 0) throw ArgumentError("keep", std::to_string(keep), "0: tiles are not kept on a CUDA device");
  const bool symmetric = A.rows == 0;
  Array<double> centre, x_squares, a_squares;
  double size = 0;  // bound of the terms of a score
  if (options.kind == Kind::rbf) {
    centre = cuda::column_means<T>(symmetric ? X : A);
    x_squares = cuda::row_squares<T>(X, centre.data(), 1 / options.bandwidth);
    if (!symmetric) a_squares = cuda::row_squares<T>(A, centre.data(), 1 / options.bandwidth);
    const double x = largest(x_squares), a = symmetric ? x : largest(a_squares);
    size = std::sqrt(x * a) + 0.5 * x + 0.5 * a;  // |x.a| + |x|^2 / 2 + |a|^2 / 2
    if (!std::isfinite(size))
      throw ArgumentError("bandwidth", std::to_string(options.bandwidth), "one that does not overflow for these data");
    if (cancels<double>(size)) {  // to pack(): differences
      x_squares = Array<double>();
      a_squares = Array<double>();
    }
    size += tiled::largest(offsets.rows, X.rows) + tiled::largest(offsets.cols, A.rows);
  } else if (options.kind == Kind::polynomial) {
    const double x = std::sqrt(largest(cuda::row_squares<T>(X, nullptr, 1)));
    const double a = symmetric ? x : std::sqrt(largest(cuda::row_squares<T>(A, nullptr, 1)));
    size = x * a / static_cast<double>(std::max<Index>(X.cols, 1)) + std::abs(options.coef0);
  }
  std::vector<double> own;
  if (symmetric && options.kind != Kind::polynomial) own.assign(static_cast<std::size_t>(X.rows), 1.0);
  if (symmetric && options.kind == Kind::cosine) {
    const std::vector<double> norms = on_host(cuda::inverse_row_norms<T>(X));
    std::transform(norms.begin(), norms.end(), own.begin(), [](double norm) { return norm == 0 ? 0.5 : 1.0; });
  }
  const auto make = [&](auto zero) -> OperatorPtr<Cuda, T> {
    using S = decltype(zero);
    Points<S> x = pack<S, T>(X, options, centre.data(), x_squares, offsets.rows), a;
    if (!symmetric) a = pack<S, T>(A, options, centre.data(), a_squares, offsets.cols);
    return std::make_shared<Pairwise<T, S>>(std::move(x), std::move(a), own, symmetric, options);
  };
  return cancels<T>(size) ? make(double{}) : make(T{});
}

template OperatorPtr<Cuda, float> make_pairwise(MatrixView<const float>, MatrixView<const float>, const KernelOptions&,
                                                double, tiled::Offsets);
template OperatorPtr<Cuda, double> make_pairwise(MatrixView<const double>, MatrixView<const double>,
                                                 const KernelOptions&, double, tiled::Offsets);

}  // namespace eigencontext
