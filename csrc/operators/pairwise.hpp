// Pairwise operators: K(i, j) = k(x_i, a_j), made a tile at a time in cache, used, and forgotten, or kept for the next
// product while a budget lasts. Memory O((n + m) p) beside what is kept.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "backend/backend.hpp"
#include "base/errors.hpp"
#include "operators/operator.hpp"
#include "operators/tiled.hpp"

namespace eigencontext {

// rbf: exp(-|x - a|_2^2 / (2 h^2)); laplacian: exp(-|x - a|_1 / h), h = bandwidth;
// cosine: (1 + cos(x, a)) / 2, cos = 0 for a zero vector; polynomial: max(0, x.a / p + coef0)^degree, p features.
struct KernelOptions {
  enum class Kind { rbf, laplacian, cosine, polynomial };
  Kind kind = Kind::rbf;
  double bandwidth = 1;
  int degree = 3;
  double coef0 = 1;

  // Throws ArgumentError for a bandwidth or a degree that is not allowed.
  void check() const {
    if ((kind == Kind::rbf || kind == Kind::laplacian) && !(bandwidth > 0 && std::isfinite(1 / bandwidth)))
      throw ArgumentError("bandwidth", std::to_string(bandwidth), "a positive number");
    if (kind == Kind::polynomial && degree < 0)
      throw ArgumentError("degree", std::to_string(degree), "an integer of at least 0");
  }

  // A power of two near 1 / h: points in these units lose no bit, and their squares stay in range.
  double unit() const { return std::ldexp(1.0, std::clamp(-std::ilogb(bandwidth), -1022, 1023)); }

  // Times a distance summed from differences (rbf: squared, in units): the exponent. Finite: infinity times 0 is NaN.
  template <class S>
  S exponent_scale() const {
    const double h = bandwidth * (kind == Kind::rbf ? unit() : 1);
    return static_cast<S>(
        std::max<double>(kind == Kind::rbf ? -0.5 / (h * h) : -1 / h, std::numeric_limits<S>::lowest()));
  }
};

// The operator with entries k(x_i, a_j). A with 0 rows: A = X, a symmetric operator that computes each pair of tiles
// once. X and A are copied. `keep`: bytes for tiles that stay in memory between products. Throws ArgumentError for a
// bandwidth that is not a positive number or so small that the scaled data overflow (where the kernel has one), and for
// a negative degree. rbf of two sets of points takes offsets r and c of its exponents, both or none: entries
// exp(min(0, -|x_i - a_j|^2 / (2 h^2) + r_i + c_j)), and has log-sum-exps (tiled.hpp).
template <class T>
OperatorPtr<Device, T> make_pairwise(MatrixView<const T> X, MatrixView<const T> A, const KernelOptions& options,
                                     double keep = 0, tiled::Offsets offsets = {});

}  // namespace eigencontext
