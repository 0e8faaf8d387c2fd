// The operator as the algorithms see it: turned so that it is tall, scaled so that squares stay in range, its products
// counted, checked for NaN and inf, and interruptible.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/buffer.hpp"
#include "base/errors.hpp"
#include "base/parallel.hpp"
#include "operators/operator.hpp"
#include "spectrum/orthonormalise.hpp"

namespace eigencontext::spectrum {

// Thrown by measure(): the product with a Gaussian column is exactly 0 (with probability 1 the operator is 0).
struct ZeroOperator {};

template <class Backend, class Scalar>
class Guarded {
 public:
  Guarded(const Operator<Backend, Scalar>& A, bool transposed, std::uint64_t seed)
      : A_(A), transposed_(transposed), seed_(seed) {}

  Index rows() const { return transposed_ ? A_.cols() : A_.rows(); }
  Index cols() const { return transposed_ ? A_.rows() : A_.cols(); }
  bool transposed() const { return transposed_; }
  void turn() { transposed_ = !transposed_; }
  double scale() const { return scale_; }
  Index matvecs() const { return matvecs_; }

  // Y = A X / scale. The first block multiplied sets the scale, unless it is all in the null space.
  void multiply(Block<const Scalar> X, Block<Scalar> Y) {
    const bool first = !measured_;
    require_finite(apply(transposed_ ? Kind::right : Kind::left, 1, X, Y));
    if (first) eigencontext::spectrum::scale<Backend>(1 / choose_scale(X, Y), Y);
  }
  void multiply_transposed(Block<const Scalar> Y, Block<Scalar> Z) {
    require_finite(apply(transposed_ ? Kind::left : Kind::right, 1, Y, Z));
  }
  // Z = A^T A X / scale^2, in one read where the operator prefers that; the input scaled before and the output after,
  // so that nothing leaves the range between. The first block is tried as it is: where Z is of ordinary size, nothing
  // has to be measured.
  void multiply_fused(Block<const Scalar> X, Block<Scalar> Z) {
    if (!measured_ && apply(Kind::fused, 1, X, Z)) {
      const double ratio = largest_column(Z) / largest_column(X);
      measured_ = ratio > 0x1p-32 && ratio < 0x1p32;
      if (measured_) return;
    }
    measure();
    require_finite(apply(Kind::fused, 1 / scale_, X, Z));
  }

  // Sets the scale by the product with one Gaussian column, unless it is known.
  void measure() {
    if (measured_) return;
    Array<Backend, Scalar> x(cols(), 1), y(rows(), 1);
    Fresh{seed_ + 0x6d656173u}.template fill<Backend>(x.view());
    eigencontext::spectrum::scale<Backend>(1 / std::sqrt(static_cast<double>(cols())), x.view());
    gaussian_ = true;
    multiply(x.view(), y.view());
    gaussian_ = false;
  }

 private:
  enum class Kind { left, right, fused };

  static void require_finite(bool finite) {
    if (!finite) throw NonFiniteError("a product with the operator contains NaN or inf");
  }

  // A packed block in memory that is kept, because fresh pages cost as much as the copy.
  static Block<Scalar> packed(Array<Backend, Scalar>& memory, Index rows, Index cols) {
    if (memory.rows() < rows * cols) memory = Array<Backend, Scalar>(rows * cols, 1);
    return {memory.data(), rows, cols, cols};
  }

  // Outputs and inputs that are parts of a wide basis go through packed blocks: products read them row by row. Returns
  // whether all of Y is finite.
  bool apply(Kind kind, double before, Block<const Scalar> X, Block<Scalar> Y) {
    check_stop();
    matvecs_ += kind == Kind::fused ? 2 * X.cols : X.cols;
    if (X.stride != X.cols || before != 1) {
      const Block<Scalar> copy = packed(packed_X_, X.rows, X.cols);
      Backend::template add<Scalar>(before, X, 0.0, copy);
      X = copy;
    }
    const Block<Scalar> out = Y.stride == Y.cols ? Y : packed(packed_Y_, Y.rows, Y.cols);
    if (kind == Kind::left) A_.multiply(X, out);
    if (kind == Kind::right) A_.multiply_transposed(X, out);
    if (kind == Kind::fused) square(X, out);
    if (!Backend::template all_finite<Scalar>(out.view())) return false;
    if (out.data != Y.data)
      Backend::template add<Scalar>(1 / scale_, out, 0.0, Y);
    else if (scale_ != 1)
      eigencontext::spectrum::scale<Backend>(1 / scale_, Y);
    return true;
  }

  void square(Block<const Scalar> X, Block<Scalar> Z) {
    if (!transposed_ && A_.prefers_fused()) return A_.multiply_fused(nullptr, X, Z);
    const Block<Scalar> Y = packed(packed_AX_, rows(), X.cols);
    transposed_ ? A_.multiply_transposed(X, Y) : A_.multiply(X, Y);
    transposed_ ? A_.multiply(Y, Z) : A_.multiply_transposed(Y, Z);
  }

  // A power of two near the norm, or 1 where the values are ordinary; so scaling never rounds.
  double choose_scale(Block<const Scalar> X, Block<Scalar> Y) {
    const double norm = largest_column(Y) / std::max(largest_column(X), std::numeric_limits<double>::min());
    measured_ = true;
    if (norm == 0) {
      if (gaussian_) throw ZeroOperator();
      measured_ = false;  // a start column of the caller's may hide it: ask a Gaussian one
      measure();
      return 1;  // Y is 0 anyway
    }
    constexpr int most = std::numeric_limits<Scalar>::max_exponent - 8;  // 1 / scale is a Scalar too
    const int exponent = std::clamp(static_cast<int>(std::lround(std::log2(norm))), -most, most);
    scale_ = std::abs(exponent) > 16 ? std::ldexp(1.0, exponent) : 1.0;
    return scale_;
  }
  static double largest_column(Block<const Scalar> X) {
    Small sums(static_cast<std::size_t>(X.cols));
    const auto norm = [&](Block<const Scalar> Y) {
      Backend::template column_squares<Scalar>(Y, sums.data());
      return std::sqrt(*std::max_element(sums.begin(), sums.end()));
    };
    const double ordinary = norm(X);
    if (sizeof(Scalar) < sizeof(double) || (ordinary > 1e-140 && std::isfinite(ordinary))) return ordinary;
    const double factor = std::ldexp(1.0, ordinary < 1 ? 600 : -600);  // squares beyond the range of float64
    Array<Backend, Scalar> Y(X.rows, X.cols);
    Backend::template add<Scalar>(factor, X, 0.0, Y.view());
    return norm(Y.view()) / factor;
  }

  const Operator<Backend, Scalar>& A_;
  bool transposed_;
  std::uint64_t seed_;
  double scale_ = 1;
  bool measured_ = false, gaussian_ = false;
  Index matvecs_ = 0;
  Array<Backend, Scalar> packed_X_, packed_Y_, packed_AX_;
};

}  // namespace eigencontext::spectrum
