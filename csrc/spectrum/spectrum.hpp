// Truncated singular value and symmetric eigenvalue decompositions of operators, with certificates.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "operators/operator.hpp"

namespace eigencontext {

enum class Method { krylov, subspace, gram, full, rpcholesky };

struct Progress {
  Index sweep = 0, basis_size = 0;
  const std::vector<double>* residuals = nullptr;  // of the current k leading triplets
  double elapsed = 0;                              // seconds
};

// 0 means "choose" for block_size, max_basis, max_sweeps; choose_options() fills them in.
struct SpectrumOptions {
  Method method = Method::krylov;
  double tol = 1e-3;
  Index block_size = 0, max_basis = 0, max_sweeps = 0;
  bool verify = true;
  bool squared = false;      // work on A^T A, with a basis of one side alone (krylov on SVD only)
  bool keep_sweeps = false;  // do exactly max_sweeps sweeps, never stop early (randomized_svd with n_iter a number)
  std::uint64_t seed = 0;
  std::vector<double> start;                      // optional first start column (length cols)
  std::function<bool(const Progress&)> callback;  // true stops
};

template <class Backend, class Scalar>
struct SpectrumResult {
  using Array = typename Backend::template Array<Scalar>;
  std::vector<double> values;     // descending (svd) or descending algebraic (eigh)
  Array left, right;              // (rows x k), (cols x k); eigh: left is empty
  std::vector<double> residuals;  // absolute 2-norms
  std::vector<char> converged;
  double missed = 0;  // estimate of ||A||_F^2 - sum s^2
  Index sweeps = 0, matvecs = 0;
  Method method = Method::krylov;     // what gave the result: not always what was asked for
  std::string stop_reason;            // "converged" | "max_sweeps" | "max_basis" | "callback"
  std::vector<std::string> warnings;  // e.g. a value within its error of the next one
};

// A = U diag(s) V^T, the k largest; k <= min(rows, cols). Rayleigh-Ritz in the basis of a randomised block Krylov
// space (THEORY: Musco-Musco 2015), or the method asked for.
template <class Backend, class Scalar>
SpectrumResult<Backend, Scalar> svd(const Operator<Backend, Scalar>& A, Index k, const SpectrumOptions& options);

// A V = V diag(w), the k largest algebraic eigenvalues of a symmetric operator. Method::rpcholesky takes an operator
// that gives its entries: w and V are those of F F^T, max_basis (2 k) is the rank of F, block_size the proposals of a
// round; every residual is trace(A - F F^T), sweeps counts rounds, matvecs the columns evaluated.
template <class Backend, class Scalar>
SpectrumResult<Backend, Scalar> eigh(const Operator<Backend, Scalar>& A, Index k, const SpectrumOptions& options);

}  // namespace eigencontext
