// Operators of sampled contexts whose features are small integers: exp(min(0, g_ij + r_i + c_j)) with integer
// comparisons for the scores g, made a tile at a time. (That of Gaussian noise is pairwise.hpp's rbf with offsets.)
#pragma once

#include <cstdint>

#include "backend/backend.hpp"
#include "operators/operator.hpp"
#include "operators/tiled.hpp"

namespace eigencontext {

// Rows of codes: inputs x (n x p) and context values a (m x p), any strides.
struct Codes {
  MatrixView<const std::uint8_t> x, a;
};

// g_ij = sum_f [x_if = a_jf] w_f(x_if) with weights >= 0: a row of 256 for each feature. Memory O(n p) scores, m p
// bytes. `keep`: as in make_pairwise. Both operators have log-sum-exps (tiled.hpp).
template <class T>
OperatorPtr<Device, T> make_matches(const Codes& codes, MatrixView<const double> weights, tiled::Offsets offsets,
                                    double keep = 0);

// g_ij = 0 where x_if = a_jf for all f with visible(j, f) != 0, else -infinity. Memory (n + 2 m) p bytes.
template <class T>
OperatorPtr<Device, T> make_agreement(const Codes& codes, MatrixView<const std::uint8_t> visible,
                                      tiled::Offsets offsets, double keep = 0);

}  // namespace eigencontext
