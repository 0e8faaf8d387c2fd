// Pairwise operators on a CUDA device: square tiles, made by cuBLAS and a kernel that maps the scores, used by cuBLAS
// while they are in the L2 cache. One stream does all of it, so sums have one order.
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

namespace eigencontext {
namespace {

using Kind = KernelOptions::Kind;
template <class T>
using Array = cuda::Array<T>;

template <class T>
bool cancels(double size) {
  return 2 * std::numeric_limits<T>::epsilon() * size > 1e-4;
}

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
  Array<S> offsets;  // rbf, but from differences: -|x|^2 / 2 of the scaled, centred points
};

// T: the blocks. S: the scores, float64 for float32 blocks where float32 would cancel.
template <class T, class S>
class Pairwise final : public Operator<Cuda, T> {
 public:
  Pairwise(Points<S> x, Points<S> a, std::vector<double> own, bool symmetric, const KernelOptions& options)
      : x_(std::move(x)), a_(std::move(a)), own_(std::move(own)), symmetric_(symmetric), options_(options) {
    if (own_.empty()) return;
    own_on_device_ = Array<double>(rows(), 1);
    Cuda::from_host<double>(own_.data(), own_on_device_.view());
  }

  Index rows() const override { return x_.rows.rows(); }
  Index cols() const override { return columns().rows.rows(); }
  bool symmetric() const override { return symmetric_; }

  Cost cost(Index b) const override {
    const double n = static_cast<double>(rows()), m = static_cast<double>(cols());
    const double p = static_cast<double>(x_.rows.cols()), tile = static_cast<double>(cuda::tile_side);
    Cost cost;
    cost.flops = n * m * ((from_differences() ? 3 : 2) * p * (symmetric_ ? 0.5 : 1.0) + 2.0 * static_cast<double>(b));
    cost.bytes = (n + (symmetric_ ? 0 : m)) * p * sizeof(S);
    cost.workspace = std::min(n, tile) * std::min(m, tile) * (sizeof(S) + (std::is_same_v<T, S> ? 0 : sizeof(T)));
    return cost;
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    if (X.cols == 0) return;
    Room room(*this);
    for (Index i = 0; i < rows(); i += cuda::tile_side)
      for (Index j = symmetric_ ? i : 0; j < cols(); j += cuda::tile_side) {
        const Block<const T> K = tile(i, j, room);
        const Block<T> here = Y.row_range(i, K.rows);
        // Rows of Y that earlier tiles have written, as mirror images, are added to.
        cuda::tile_multiply<T>(K, X.row_range(j, K.cols), j == 0 ? 0 : 1, here);
        if (symmetric_ && j > i)
          cuda::tile_multiply_transposed<T>(K, X.row_range(i, K.rows), i == 0 ? 0 : 1, Y.row_range(j, K.cols));
      }
  }

  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    if (symmetric_) return multiply(Y, Z);
    if (Y.cols == 0) return;
    Room room(*this);
    for (Index j = 0; j < cols(); j += cuda::tile_side)
      for (Index i = 0; i < rows(); i += cuda::tile_side) {
        const Block<const T> K = tile(i, j, room);
        cuda::tile_multiply_transposed<T>(K, Y.row_range(i, K.rows), i == 0 ? 0 : 1, Z.row_range(j, K.cols));
      }
  }

  bool has_entries() const override { return symmetric_ && options_.kind != Kind::polynomial; }
  void entries(const Index* rows, const Index* columns, Block<T> Y) const override {
    const Points<S> a = gathered(columns, Y.cols), some = rows ? gathered(rows, Y.rows) : Points<S>{};
    Array<S> K(Y.rows, Y.cols);
    fill(rows ? some : x_, 0, a, 0, K.view());
    if constexpr (std::is_same_v<T, S>)
      Cuda::add<T>(1, K.view(), 0, Y);
    else
      cuda::convert<S, T>(K.view(), Y);
    if (!own_.empty()) cuda::set_own<T>(own_on_device_.data(), rows, columns, Y);
  }
  // The exponent of rbf, -|x - a|^2 / 2, is a difference of terms as large as |x|^2.
  void diagonal(double* d, double* rounding) const override {
    std::vector<double> terms(static_cast<std::size_t>(rows()), 0.0);
    if (x_.offsets.rows() > 0 && std::is_same_v<T, S>) Cuda::to_host<S>(x_.offsets.view(), terms.data());
    for (Index i = 0; i < rows(); ++i) {
      d[i] = own_.empty() ? 1.0 : own_[static_cast<std::size_t>(i)];
      rounding[i] = std::numeric_limits<T>::epsilon() * (1 - 4 * terms[static_cast<std::size_t>(i)]);
    }
  }

 private:
  struct Room {
    explicit Room(const Pairwise& op)
        : scores(std::min(op.rows(), cuda::tile_side) * std::min(op.cols(), cuda::tile_side), 1) {
      if (!std::is_same_v<T, S>) entries = Array<T>(scores.rows(), 1);
    }
    Array<S> scores;
    Array<T> entries;
  };

  const Points<S>& columns() const { return symmetric_ ? x_ : a_; }
  bool from_differences() const {
    return options_.kind == Kind::laplacian || (options_.kind == Kind::rbf && x_.offsets.rows() == 0);
  }

  Points<S> gathered(const Index* which, Index count) const {
    Points<S> some{Array<S>(count, x_.rows.cols()), Array<S>(x_.offsets.rows() > 0 ? count : 0, 1)};
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

  // The tile whose first entry is (i, j).
  Block<const T> tile(Index i, Index j, Room& room) const {
    const Index ni = std::min(cuda::tile_side, rows() - i), nj = std::min(cuda::tile_side, cols() - j);
    const Block<S> K{room.scores.data(), ni, nj, nj};
    fill(x_, i, columns(), j, K);
    if (symmetric_ && i == j) {
      const bool exact = options_.kind == Kind::rbf || options_.kind == Kind::cosine;
      cuda::make_symmetric<S>(exact ? own_on_device_.data() + i : nullptr, K);
    }
    if constexpr (std::is_same_v<T, S>) {
      return K;
    } else {
      const Block<T> rounded{room.entries.data(), ni, nj, nj};
      cuda::convert<S, T>(K, rounded);
      return rounded;
    }
  }

  // K(u, v) = k(x_{i + u}, a_{j + v}).
  void fill(const Points<S>& x, Index i, const Points<S>& a, Index j, Block<S> K) const {
    const Block<const S> A = x.rows.view().row_range(i, K.rows), B = a.rows.view().row_range(j, K.cols);
    if (from_differences()) {
      return cuda::exp_distances<S>(options_.kind == Kind::rbf, options_.exponent_scale<S>(), A, B, K);
    }
    S alpha = 1;
    if (options_.kind == Kind::cosine) alpha = S(0.5);
    if (options_.kind == Kind::polynomial) alpha = S(1) / static_cast<S>(std::max<Index>(A.cols, 1));
    cuda::tile_scores<S>(alpha, A, B, K);
    if (options_.kind == Kind::rbf) cuda::map_rbf<S>(x.offsets.data() + i, a.offsets.data() + j, K);
    if (options_.kind == Kind::cosine) cuda::map_cosine<S>(K);
    if (options_.kind == Kind::polynomial) cuda::map_power<S>(static_cast<S>(options_.coef0), options_.degree, K);
  }

  Points<S> x_, a_;
  std::vector<double> own_;  // k(x, x) of a symmetric operator, where it is known exactly
  Array<double> own_on_device_;
  bool symmetric_;
  KernelOptions options_;
};

// `squares`: |x - centre|^2 of the scaled points; empty for differences of the points as they are.
template <class S, class T>
Points<S> pack(MatrixView<const T> X, const KernelOptions& options, const double* centre,
               const Array<double>& squares) {
  Points<S> out{Array<S>(X.rows, X.cols), {}};
  const Block<S> rows = out.rows.view();
  if (options.kind == Kind::cosine) {
    cuda::pack_points<S, T>(X, nullptr, 1, cuda::inverse_row_norms<T>(X).data(), rows);
  } else if (options.kind == Kind::rbf && squares.rows() > 0) {
    cuda::pack_points<S, T>(X, centre, 1 / options.bandwidth, nullptr, rows);
    out.offsets = Array<S>(X.rows, 1);
    cuda::round_vector<S>(-0.5, squares.view(), out.offsets.data());
  } else {
    cuda::pack_points<S, T>(X, nullptr, options.kind == Kind::rbf ? options.unit() : 1, nullptr, rows);
  }
  return out;
}

}  // namespace

template <class T>
OperatorPtr<Cuda, T> make_pairwise(MatrixView<const T> X, MatrixView<const T> A, const KernelOptions& options,
                                   double keep, tiled::Offsets offsets) {
  options.check();
  if (offsets.rows || offsets.cols) throw ArgumentError("offsets", "some", "none on a CUDA device");
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
    Points<S> x = pack<S, T>(X, options, centre.data(), x_squares), a;
    if (!symmetric) a = pack<S, T>(A, options, centre.data(), a_squares);
    return std::make_shared<Pairwise<T, S>>(std::move(x), std::move(a), own, symmetric, options);
  };
  return cancels<T>(size) ? make(double{}) : make(T{});
}

template OperatorPtr<Cuda, float> make_pairwise(MatrixView<const float>, MatrixView<const float>, const KernelOptions&,
                                                double, tiled::Offsets);
template OperatorPtr<Cuda, double> make_pairwise(MatrixView<const double>, MatrixView<const double>,
                                                 const KernelOptions&, double, tiled::Offsets);

}  // namespace eigencontext
