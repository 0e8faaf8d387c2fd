// Where the small side is small: the Gram matrix A^T A once, or the whole matrix, made by multiplying identity blocks.
#pragma once

#include "spectrum/refine.hpp"

namespace eigencontext::spectrum {

// body(first column, E) for blocks E of consecutive columns of the identity of order m.
template <class Scalar, class Body>
void for_identity_blocks(Index m, Body&& body) {
  constexpr Index widest = 64;
  for (Index j = 0; j < m; j += widest) {
    const Index b = std::min(widest, m - j);
    OwnedBlock<Scalar> E(m, b);
    std::fill_n(E.data(), m * b, Scalar(0));
    for (Index l = 0; l < b; ++l) E(j + l, l) = Scalar(1);
    body(j, E);
  }
}

// The dense matrix in float64.
template <class Backend, class Scalar>
Small materialise(Guarded<Backend, Scalar>& A) {
  const Index n = A.rows(), m = A.cols();
  A.measure();
  Small dense(static_cast<std::size_t>(n * m));
  for_identity_blocks<Scalar>(m, [&](Index j, const OwnedBlock<Scalar>& E) {
    OwnedBlock<Scalar> Y(n, E.cols());
    A.multiply(E.view(), Y.view());
    for (Index i = 0; i < n; ++i)
      for (Index l = 0; l < E.cols(); ++l) dense[i * m + j + l] = static_cast<double>(Y(i, l));
  });
  return dense;
}

// The first k of `cols` columns, rounded.
template <class Scalar>
OwnedBlock<Scalar> rounded(Index rows, Index cols, const double* A, Index k) {
  OwnedBlock<Scalar> X(rows, k);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < k; ++j) X(i, j) = static_cast<Scalar>(A[i * cols + j]);
  return X;
}

template <class Backend, class Scalar>
Triplets<Scalar> full_svd(Guarded<Backend, Scalar>& A, Run& run) {
  const Index n = A.rows(), m = A.cols(), k = run.k;  // n >= m
  Small M = materialise(A);
  const double total = sum_of_squares(M.data(), n * m);
  Small U(static_cast<std::size_t>(n * m)), s(static_cast<std::size_t>(m)), Vt(static_cast<std::size_t>(m * m));
  host::svd(n, m, M.data(), U.data(), s.data(), Vt.data());
  Triplets<Scalar> t;
  t.left = rounded<Scalar>(n, m, U.data(), k);
  t.right = rounded<Scalar>(m, k, leading_rows_transposed(m, Vt.data(), k).data(), k);
  t.values.assign(s.begin(), s.begin() + k);
  t.largest = s[0];
  // The residual promised is that of the left vectors of the matrix asked for.
  if (A.transposed()) {
    t.image = OwnedBlock<Scalar>(n, k);
    A.multiply(std::as_const(t.right).view(), t.image.view());
    t.residuals = residual_norms<Backend, Scalar>(t.image.view(), t.left.view(), t.values);
  } else {
    t.image = OwnedBlock<Scalar>(m, k);
    A.multiply_transposed(std::as_const(t.left).view(), t.image.view());
    t.residuals = residual_norms<Backend, Scalar>(t.image.view(), t.right.view(), t.values);
  }
  run.left_out = missed_mass(total, s, k);
  run.next_value = next_of(s, k);
  run.sweeps += 1;
  return t;
}

template <class Backend, class Scalar>
Triplets<Scalar> full_eigh(Guarded<Backend, Scalar>& A, Run& run) {
  const Index n = A.rows(), k = run.k;
  Small M = materialise(A), w(static_cast<std::size_t>(n));
  const double total = sum_of_squares(M.data(), n * n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < i; ++j) M[i * n + j] = M[j * n + i] = (M[i * n + j] + M[j * n + i]) / 2;
  host::eigh(n, M.data(), w.data());
  std::reverse(w.begin(), w.end());
  Triplets<Scalar> t;
  t.right = OwnedBlock<Scalar>(n, k);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < k; ++j) t.right(i, j) = static_cast<Scalar>(M[i * n + n - 1 - j]);
  t.values.assign(w.begin(), w.begin() + k);
  t.largest = std::max(std::abs(w.front()), std::abs(w.back()));
  t.image = OwnedBlock<Scalar>(n, k);
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
OwnedBlock<Scalar> gram_vectors(Guarded<Backend, Scalar>& A, Index count, double& total) {
  const Index n = A.rows(), m = A.cols();
  A.measure();
  Small G(static_cast<std::size_t>(m * m)), theta(static_cast<std::size_t>(m));
  for_identity_blocks<Scalar>(m, [&](Index j, const OwnedBlock<Scalar>& E) {
    OwnedBlock<Scalar> Y(n, E.cols()), Z(m, E.cols());
    A.multiply(E.view(), Y.view());
    A.multiply_transposed(std::as_const(Y).view(), Z.view());
    for (Index i = 0; i < m; ++i)
      for (Index l = 0; l < E.cols(); ++l) G[i * m + j + l] = static_cast<double>(Z(i, l));
  });
  total = 0;
  for (Index i = 0; i < m; ++i) {
    total += G[i * m + i];
    for (Index j = 0; j < i; ++j) G[i * m + j] = G[j * m + i] = (G[i * m + j] + G[j * m + i]) / 2;
  }
  host::eigh(m, G.data(), theta.data());
  OwnedBlock<Scalar> V(m, count);
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < count; ++j) V(i, j) = static_cast<Scalar>(G[i * m + m - 1 - j]);
  return V;
}

}  // namespace eigencontext::spectrum
