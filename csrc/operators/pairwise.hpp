// Pairwise operators: K(i, j) = k(x_i, a_j), made a tile at a time in cache, used, and forgotten, or kept for the next
// product while a budget lasts. Memory O((n + m) p) beside what is kept.
#pragma once

#include "backend/cpu/cpu.hpp"
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
};

// The operator with entries k(x_i, a_j). A with 0 rows: A = X, a symmetric operator that computes each pair of tiles
// once. X and A are copied. `keep`: bytes for tiles that stay in memory between products. Throws ArgumentError for a
// bandwidth that is not a positive number or so small that the scaled data overflow (where the kernel has one), and for
// a negative degree. rbf of two sets of points takes offsets r and c of its exponents, both or none: entries
// exp(min(0, -|x_i - a_j|^2 / (2 h^2) + r_i + c_j)), and has log-sum-exps (tiled.hpp).
template <class T>
OperatorPtr<Cpu, T> make_pairwise(MatrixView<const T> X, MatrixView<const T> A, const KernelOptions& options,
                                  double keep = 0, tiled::Offsets offsets = {});

}  // namespace eigencontext
