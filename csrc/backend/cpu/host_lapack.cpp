// Small dense factorisations through LAPACK, without transposing: a row-major A is the column-major A^T, so A's SVD is
// that of A^T with U and V exchanged, A = Q R is the LQ factorisation of A^T, and an upper triangle is a lower one.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "backend/cpu/blas.hpp"
#include "backend/cpu/cpu.hpp"
#include "base/errors.hpp"

extern "C" {
void EIGENCONTEXT_BLAS(dsyevd_)(const char*, const char*, const int*, double*, const int*, double*, double*, const int*,
                                int*, const int*, int*);
void EIGENCONTEXT_BLAS(dsyev_)(const char*, const char*, const int*, double*, const int*, double*, double*, const int*,
                               int*);
void EIGENCONTEXT_BLAS(dgesdd_)(const char*, const int*, const int*, double*, const int*, double*, double*, const int*,
                                double*, const int*, double*, const int*, int*, int*);
void EIGENCONTEXT_BLAS(dgesvd_)(const char*, const char*, const int*, const int*, double*, const int*, double*, double*,
                                const int*, double*, const int*, double*, const int*, int*);
void EIGENCONTEXT_BLAS(dpotrf_)(const char*, const int*, double*, const int*, int*);
void EIGENCONTEXT_BLAS(dtrtri_)(const char*, const char*, const int*, double*, const int*, int*);
void EIGENCONTEXT_BLAS(dgelqf_)(const int*, const int*, double*, const int*, double*, double*, const int*, int*);
void EIGENCONTEXT_BLAS(dorglq_)(const int*, const int*, const int*, double*, const int*, const double*, double*,
                                const int*, int*);
}

namespace eigencontext::host {
namespace {

int lapack_int(Index n) {
  if (n > std::numeric_limits<int>::max())
    throw FactorizationError("a dimension of " + std::to_string(n) + " is too large for LAPACK");
  return static_cast<int>(n);
}

void require_finite(const double* A, Index size, const char* what) {
  if (!std::all_of(A, A + size, [](double a) { return std::isfinite(a); }))
    throw FactorizationError(std::string(what) + ": the matrix has NaN or infinite entries");
}

void require(int info, const char* routine) {
  if (info != 0) throw FactorizationError(std::string(routine) + " failed: info = " + std::to_string(info));
}

// Runs call(work, size, info) twice: LAPACK first says how much workspace it wants.
template <class Call>
int with_workspace(Call call) {
  double wanted = 0;
  int info = 0;
  call(&wanted, -1, &info);
  if (info != 0) return info;
  Buffer<double> work(std::max<Index>(1, static_cast<Index>(wanted)));
  call(work.data(), lapack_int(work.size()), &info);
  return info;
}

// Divide and conquer needs squares of workspace, which LAPACK counts in 32 bits without noticing an overflow; QR
// iteration needs rows of it.
bool workspace_fits(double squares, Index side, Index longest) {
  const double n = static_cast<double>(side);
  return squares * n * n + 10 * n + static_cast<double>(longest) <= std::numeric_limits<int>::max();
}

int eigh_divide_and_conquer(int n, double* A, double* w) {
  Buffer<int> iwork(3 + 5 * static_cast<Index>(n));
  const int iwork_size = lapack_int(iwork.size());
  return with_workspace([&](double* work, int size, int* info) {
    EIGENCONTEXT_BLAS(dsyevd_)("V", "L", &n, A, &n, w, work, &size, iwork.data(), &iwork_size, info);
  });
}

int eigh_qr_iteration(int n, double* A, double* w) {
  return with_workspace(
      [&](double* work, int size, int* info) { EIGENCONTEXT_BLAS(dsyev_)("V", "L", &n, A, &n, w, work, &size, info); });
}

// The SVD of the column-major (rows x cols) A.
int svd_divide_and_conquer(int rows, int cols, double* A, double* s, double* U, double* Vt) {
  const int r = std::min(rows, cols);
  Buffer<int> iwork(8 * static_cast<Index>(r));
  return with_workspace([&](double* work, int size, int* info) {
    EIGENCONTEXT_BLAS(dgesdd_)("S", &rows, &cols, A, &rows, s, U, &rows, Vt, &r, work, &size, iwork.data(), info);
  });
}

int svd_qr_iteration(int rows, int cols, double* A, double* s, double* U, double* Vt) {
  const int r = std::min(rows, cols);
  return with_workspace([&](double* work, int size, int* info) {
    EIGENCONTEXT_BLAS(dgesvd_)("S", "S", &rows, &cols, A, &rows, s, U, &rows, Vt, &r, work, &size, info);
  });
}

void transpose_square(Index n, double* A) {
  constexpr Index tile = 32;
  for (Index i0 = 0; i0 < n; i0 += tile)
    for (Index j0 = i0; j0 < n; j0 += tile)
      for (Index i = i0; i < std::min(n, i0 + tile); ++i)
        for (Index j = std::max(j0, i + 1); j < std::min(n, j0 + tile); ++j) std::swap(A[i * n + j], A[j * n + i]);
}

void clear_below_diagonal(Index n, double* R) {
  for (Index i = 1; i < n; ++i) std::fill_n(R + i * n, i, 0.0);
}

}  // namespace

void eigh(Index n, double* A, double* w) {
  if (n == 0) return;
  require_finite(A, n * n, "eigh");
  const int size = lapack_int(n);
  bool done = false;
  if (workspace_fits(2, n, 0)) {
    Buffer<double> copy(n * n);
    std::copy_n(A, n * n, copy.data());
    done = eigh_divide_and_conquer(size, A, w) == 0;
    if (!done) std::copy_n(copy.data(), n * n, A);  // rare; the slower method does not share its failures
  }
  if (!done) require(eigh_qr_iteration(size, A, w), "dsyev");
  transpose_square(n, A);
}

void svd(Index m, Index n, double* A, double* U, double* s, double* Vt) {
  if (m == 0 || n == 0) return;
  require_finite(A, m * n, "svd");
  const int rows = lapack_int(n), cols = lapack_int(m);  // of A^T, whose left vectors are A's right ones
  bool done = false;
  if (workspace_fits(5, std::min(m, n), std::max(m, n))) {
    Buffer<double> copy(m * n);
    std::copy_n(A, m * n, copy.data());
    done = svd_divide_and_conquer(rows, cols, A, s, Vt, U) == 0;
    if (!done) std::copy_n(copy.data(), m * n, A);
  }
  if (!done) require(svd_qr_iteration(rows, cols, A, s, Vt, U), "dgesvd");
}

bool cholesky(Index n, double* G) {
  if (n == 0) return true;
  const int size = lapack_int(n);
  Buffer<double> diagonal(n);
  for (Index i = 0; i < n; ++i) diagonal[i] = G[i * n + i];
  int info = 0;
  EIGENCONTEXT_BLAS(dpotrf_)("L", &size, G, &size, &info);
  if (info < 0) require(info, "dpotrf");
  if (info > 0) return false;
  // r_ii^2 is what is left of g_ii once the columns before are projected out; of rounding size it means nothing.
  const double tolerance = static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  for (Index i = 0; i < n; ++i) {
    const double r = G[i * n + i];
    if (!(r * r > tolerance * diagonal[i]) || !std::isfinite(r)) return false;  // NaN too
  }
  clear_below_diagonal(n, G);
  return true;
}

void invert_upper(Index n, double* R) {
  if (n == 0) return;
  const int size = lapack_int(n);
  int info = 0;
  EIGENCONTEXT_BLAS(dtrtri_)("L", "N", &size, R, &size, &info);
  require(info, "dtrtri");
}

void qr(Index m, Index n, double* A, double* R) {
  if (m < n) throw FactorizationError("qr: needs at least as many rows as columns");
  if (n == 0) return;
  require_finite(A, m * n, "qr");
  const int rows = lapack_int(n), cols = lapack_int(m);  // of A^T = R^T Q^T
  Buffer<double> tau(n);
  require(with_workspace([&](double* work, int size, int* info) {
            EIGENCONTEXT_BLAS(dgelqf_)(&rows, &cols, A, &rows, tau.data(), work, &size, info);
          }),
          "dgelqf");
  std::copy_n(A, n * n, R);
  clear_below_diagonal(n, R);
  require(with_workspace([&](double* work, int size, int* info) {
            EIGENCONTEXT_BLAS(dorglq_)(&rows, &cols, &rows, A, &rows, tau.data(), work, &size, info);
          }),
          "dorglq");
}

}  // namespace eigencontext::host
