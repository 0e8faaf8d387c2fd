// The only declarations of BLAS symbols: the Fortran interface, which every BLAS has, seen row-major.
//
// A row-major matrix is its transpose to Fortran, so C = op(A) op(B) is computed as C^T = op(B)^T op(A)^T. Every call
// is single-threaded (blas.cpp sees to that once, at load); the loops around the calls are ours.
#pragma once

#include <algorithm>
#include <string>

#include "base/views.hpp"

#ifdef EIGENCONTEXT_BLAS_PREFIX_SCIPY
#define EIGENCONTEXT_BLAS(symbol) scipy_##symbol
#else
#define EIGENCONTEXT_BLAS(symbol) symbol
#endif

extern "C" {
void EIGENCONTEXT_BLAS(sgemm_)(const char*, const char*, const int*, const int*, const int*, const float*, const float*,
                               const int*, const float*, const int*, const float*, float*, const int*);
void EIGENCONTEXT_BLAS(dgemm_)(const char*, const char*, const int*, const int*, const int*, const double*,
                               const double*, const int*, const double*, const int*, const double*, double*,
                               const int*);
void EIGENCONTEXT_BLAS(ssyrk_)(const char*, const char*, const int*, const int*, const float*, const float*, const int*,
                               const float*, float*, const int*);
void EIGENCONTEXT_BLAS(dsyrk_)(const char*, const char*, const int*, const int*, const double*, const double*,
                               const int*, const double*, double*, const int*);
}

namespace eigencontext::blas {

enum class Op { none, transpose };

// The version of the library, or "system BLAS" when it does not say.
std::string version();

namespace detail {

inline void gemm(const char* ta, const char* tb, int m, int n, int k, float alpha, const float* A, int lda,
                 const float* B, int ldb, float beta, float* C, int ldc) {
  EIGENCONTEXT_BLAS(sgemm_)(ta, tb, &m, &n, &k, &alpha, A, &lda, B, &ldb, &beta, C, &ldc);
}
inline void gemm(const char* ta, const char* tb, int m, int n, int k, double alpha, const double* A, int lda,
                 const double* B, int ldb, double beta, double* C, int ldc) {
  EIGENCONTEXT_BLAS(dgemm_)(ta, tb, &m, &n, &k, &alpha, A, &lda, B, &ldb, &beta, C, &ldc);
}
inline void syrk(int n, int k, float alpha, const float* A, int lda, float beta, float* C, int ldc) {
  EIGENCONTEXT_BLAS(ssyrk_)("L", "N", &n, &k, &alpha, A, &lda, &beta, C, &ldc);
}
inline void syrk(int n, int k, double alpha, const double* A, int lda, double beta, double* C, int ldc) {
  EIGENCONTEXT_BLAS(dsyrk_)("L", "N", &n, &k, &alpha, A, &lda, &beta, C, &ldc);
}

// The stride of a block of at most one row is not looked at by anybody, so it may be anything.
inline int leading(Index stride, Index cols) { return static_cast<int>(std::max<Index>({stride, cols, 1})); }

}  // namespace detail

// C = alpha op(A) op(B) + beta C, row-major, on the calling thread. Empty shapes are fine; with beta = 0 C is not read.
template <class T>
void gemm(Op op_a, Op op_b, T alpha, Block<const T> A, Block<const T> B, T beta, Block<T> C) {
  const Index inner = op_a == Op::none ? A.cols : A.rows;
  if (C.rows == 0 || C.cols == 0) return;
  if (inner == 0) {
    for (Index i = 0; i < C.rows; ++i)
      for (Index j = 0; j < C.cols; ++j) C(i, j) = beta == T(0) ? T(0) : beta * C(i, j);
    return;
  }
  detail::gemm(op_b == Op::none ? "N" : "T", op_a == Op::none ? "N" : "T", static_cast<int>(C.cols),
               static_cast<int>(C.rows), static_cast<int>(inner), alpha, B.data, detail::leading(B.stride, B.cols),
               A.data, detail::leading(A.stride, A.cols), beta, C.data, detail::leading(C.stride, C.cols));
}

// The upper triangle of C = alpha A^T A + beta C, row-major, on the calling thread.
template <class T>
void gram_upper(T alpha, Block<const T> A, T beta, Block<T> C) {
  if (A.cols == 0) return;
  if (A.rows == 0) return gemm<T>(Op::transpose, Op::none, alpha, A, A, beta, C);
  detail::syrk(static_cast<int>(A.cols), static_cast<int>(A.rows), alpha, A.data, detail::leading(A.stride, A.cols),
               beta, C.data, detail::leading(C.stride, C.cols));
}

}  // namespace eigencontext::blas
