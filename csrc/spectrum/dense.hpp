// Where the small side is small: the Gram matrix A^T A once, or the whole matrix, made by multiplying identity blocks.
#pragma once

#include "spectrum/refine.hpp"

namespace eigencontext::spectrum {

// Columns [j, j + E.cols) of the identity.
template <class Backend, class Scalar>
void fill_identity(Index j, Block<Scalar> E) {
  Small unit(static_cast<std::size_t>(E.rows * E.cols), 0.0);
  for (Index l = 0; l < E.cols; ++l) unit[(j + l) * E.cols + l] = 1;
  Backend::template from_host<Scalar>(unit.data(), E);
}

// body(first column, E) for blocks E of consecutive columns of the identity of order m.
template <class Backend, class Scalar, class Body>
void for_identity_blocks(Index m, Body&& body) {
  constexpr Index widest = 64;
  for (Index j = 0; j < m; j += widest) {
    Array<Backend, Scalar> E(m, std::min(widest, m - j));
    fill_identity<Backend, Scalar>(j, E.view());
    body(j, E);
  }
}

// A(:, j : j + Y.cols) = Y, A (Y.rows x cols) on the host.
template <class Backend, class Scalar>
void store_columns(Block<const Scalar> Y, double* A, Index cols, Index j) {
  Small packed(static_cast<std::size_t>(Y.rows * Y.cols));
  Backend::template to_host<Scalar>(Y, packed.data());
  for (Index i = 0; i < Y.rows; ++i) std::copy_n(packed.data() + i * Y.cols, Y.cols, A + i * cols + j);
}

// The dense matrix in float64.
template <class Backend, class Scalar>
Small materialise(Guarded<Backend, Scalar>& A) {
  const Index n = A.rows(), m = A.cols();
  A.measure();
  Small dense(static_cast<std::size_t>(n * m));
  for_identity_blocks<Backend, Scalar>(m, [&](Index j, const Array<Backend, Scalar>& E) {
    Array<Backend, Scalar> Y(n, E.cols());
    A.multiply(E.view(), Y.view());
    store_columns<Backend, Scalar>(Y.view(), dense.data(), m, j);
  });
  return dense;
}

template <class Backend, class Scalar>
Array<Backend, Scalar> rounded(Index rows, Index cols, const Small& A) {
  Array<Backend, Scalar> X(rows, cols);
  Backend::template from_host<Scalar>(A.data(), X.view());
  return X;
}

// The last `count` columns of A (n x n), the last one first: eigenvectors in descending order.
inline Small last_columns(Index n, const double* A, Index count) {
  Small B(static_cast<std::size_t>(n * count));
  for (Index i = 0; i < n; ++i) std::reverse_copy(A + (i + 1) * n - count, A + (i + 1) * n, B.data() + i * count);
  return B;
}

template <class Backend, class Scalar>
Triplets<Backend, Scalar> full_svd(Guarded<Backend, Scalar>& A, Run& run) {
  const Index n = A.rows(), m = A.cols(), k = run.k;  // n >= m
  Small M = materialise(A);
  const double total = sum_of_squares(M.data(), n * m);
  Small U(static_cast<std::size_t>(n * m)), s(static_cast<std::size_t>(m)), Vt(static_cast<std::size_t>(m * m));
  host::svd(n, m, M.data(), U.data(), s.data(), Vt.data());
  Triplets<Backend, Scalar> t;
  t.left = rounded<Backend, Scalar>(n, k, leading_columns(n, m, U.data(), k));
  t.right = rounded<Backend, Scalar>(m, k, leading_rows_transposed(m, Vt.data(), k));
  t.values.assign(s.begin(), s.begin() + k);
  t.largest = s[0];
  // The residual promised is that of the left vectors of the matrix asked for.
  if (A.transposed()) {
    t.image = Array<Backend, Scalar>(n, k);
    A.multiply(std::as_const(t.right).view(), t.image.view());
    t.residuals = residual_norms<Backend, Scalar>(t.image.view(), t.left.view(), t.values);
  } else {
    t.image = Array<Backend, Scalar>(m, k);
    A.multiply_transposed(std::as_const(t.left).view(), t.image.view());
    t.residuals = residual_norms<Backend, Scalar>(t.image.view(), t.right.view(), t.values);
  }
  run.left_out = missed_mass(total, s, k);
  run.next_value = next_of(s, k);
  run.sweeps += 1;
  return t;
}

template <class Backend, class Scalar>
Triplets<Backend, Scalar> full_eigh(Guarded<Backend, Scalar>& A, Run& run) {
  const Index n = A.rows(), k = run.k;
  Small M = materialise(A), w(static_cast<std::size_t>(n));
  const double total = sum_of_squares(M.data(), n * n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < i; ++j) M[i * n + j] = M[j * n + i] = (M[i * n + j] + M[j * n + i]) / 2;
  host::eigh(n, M.data(), w.data());
  std::reverse(w.begin(), w.end());
  Triplets<Backend, Scalar> t;
  t.right = rounded<Backend, Scalar>(n, k, last_columns(n, M.data(), k));
  t.values.assign(w.begin(), w.begin() + k);
  t.largest = std::max(std::abs(w.front()), std::abs(w.back()));
  t.image = Array<Backend, Scalar>(n, k);
  A.multiply(std::as_const(t.right).view(), t.image.view());
  t.residuals = residual_norms<Backend, Scalar>(t.image.view(), t.right.view(), t.values);
  run.left_out = missed_mass(total, w, k);
  run.next_value = next_of(w, k);
  run.sweeps += 1;
  return t;
}

// eigh(A^T A) squares the values; what it gives is a start block only, which subspace iteration (usually one sweep)
// makes triplets of.
template <class Backend, class Scalar>
Array<Backend, Scalar> gram_vectors(Guarded<Backend, Scalar>& A, Index count, double& total) {
  const Index n = A.rows(), m = A.cols();
  A.measure();
  Small G(static_cast<std::size_t>(m * m)), theta(static_cast<std::size_t>(m));
  for_identity_blocks<Backend, Scalar>(m, [&](Index j, const Array<Backend, Scalar>& E) {
    Array<Backend, Scalar> Y(n, E.cols()), Z(m, E.cols());
    A.multiply(E.view(), Y.view());
    A.multiply_transposed(std::as_const(Y).view(), Z.view());
    store_columns<Backend, Scalar>(Z.view(), G.data(), m, j);
  });
  total = 0;
  for (Index i = 0; i < m; ++i) {
    total += G[i * m + i];
    for (Index j = 0; j < i; ++j) G[i * m + j] = G[j * m + i] = (G[i * m + j] + G[j * m + i]) / 2;
  }
  host::eigh(m, G.data(), theta.data());
  return rounded<Backend, Scalar>(m, count, last_columns(m, G.data(), count));
}

}  // namespace eigencontext::spectrum
