// Rows of gradients: small matrices (float64) and numbers in, one row of the gradient for every row of the embeddings.
#pragma once

#include "base/views.hpp"
#include "objectives/moments.hpp"

namespace eigencontext {

// What a row's own embedding is multiplied by: constant + weight w_i + dot t_i, t_i = <b_i, c_i>.
struct RowFactor {
  double constant = 0, weight = 0, dot = 0;
};

// out_i = b_i P + c_i Q + constant + factor_phi_i (b_i o columns_phi) + factor_psi_i (c_i o columns_psi)
//         + level_factor ((b_i o c_i) M) o (the other side's row: c_i for dPhi, b_i for dPsi).
// Null pointers: no such term (columns: ones).
struct RowTerms {
  const double* P = nullptr;         // (p x out.cols)
  const double* Q = nullptr;         // (q x out.cols)
  const double* constant = nullptr;  // (out.cols)
  RowFactor phi, psi;
  const double* columns_phi = nullptr;
  const double* columns_psi = nullptr;
  double level_factor = 0;
};

// Both sides of one gradient, in one read of Phi and Psi. b_i = phi_i - mean_phi, c_i = psi_i - mean_psi (null: no
// shift). An `out` without data is not computed; accumulate: out += ... in place of out = .... Returns whether every
// entry is finite in T.
template <class T>
struct GradientRows {
  MatrixView<const T> phi, psi;  // psi may be empty
  const double* mean_phi = nullptr;
  const double* mean_psi = nullptr;
  const double* weights = nullptr;
  Levels levels;
  RowTerms phi_terms, psi_terms;
  MatrixView<T> phi_out, psi_out;
  bool accumulate = false;
};

template <class T>
bool gradient_rows(const GradientRows<T>& rows);

// out_ij = a_ij P + sum_k (pair w_i [k != j] + square <a_ij, a_ik>) a_ik for views a_ij of N inputs.
template <class T>
bool view_rows(Views<const T> A, const double* weights, const double* P, double pair, double square, Views<T> out);

// What every device's file instantiates.
#define EIGENCONTEXT_INSTANTIATE_ROWS(T)                  \
  template bool gradient_rows<T>(const GradientRows<T>&); \
  template bool view_rows<T>(Views<const T>, const double*, const double*, double, double, Views<T>);

}  // namespace eigencontext
