// The CPU backend: what the algorithms and operators may ask of a device. A second backend supplies the same members.
//
// Blocks are row-major; T is float or double. Small matrices (`double*`, row-major, packed) live on the host and are
// always float64; vectors as long as a block (`w`) live where blocks do. Every sum over rows is cut into chunks by
// shape alone and accumulated in float64 across chunks. BLAS calls below are single-threaded; the loops around them are
// ours.
#pragma once

#include <cstdint>
#include <string>

#include "base/buffer.hpp"
#include "base/views.hpp"

namespace eigencontext {

struct Cpu {
  template <class T>
  using Array = OwnedBlock<T>;
  template <class T>
  using Memory = Buffer<T>;

  // Between a block and a packed float64 matrix on the host, rounded where T is float.
  template <class T>
  static void to_host(Block<const T> X, double* A);
  template <class T>
  static void from_host(const double* A, Block<T> X);

  // X(i, j) = N(0, 1), a pure function of (seed, row0 + i, col0 + j); the same numbers, rounded, for float and double.
  template <class T>
  static void fill_gaussian(Block<T> X, std::uint64_t seed, Index row0 = 0, Index col0 = 0);

  // G = X^T Y, (X.cols x Y.cols), float64.
  template <class T>
  static void gram(Block<const T> X, Block<const T> Y, double* G);

  // Y = alpha X C + beta Y, C is (X.cols x Y.cols) on the host. X and Y must not overlap.
  template <class T>
  static void update(double alpha, Block<const T> X, const double* C, double beta, Block<T> Y);

  // X = X S - V C (S null: X - V C; both null: X stays), then VtX = V^T X (unless null) and XtX = X^T X in the same
  // read of V, for orthonormal V. Returns false where a column of X is so small or large that the sums may have left
  // the range of T.
  template <class T>
  static bool subtract(Block<const T> V, const double* C, Block<T> X, const double* S, double* VtX, double* XtX);

  // X = X C in place, C is (X.cols x X.cols).
  template <class T>
  static void multiply_right(Block<T> X, const double* C);

  // Y = alpha X + beta Y.
  template <class T>
  static void add(double alpha, Block<const T> X, double beta, Block<T> Y);

  // Y(i, :) = w[i] X(i, :); X may be Y.
  template <class T>
  static void scale_rows(const double* w, Block<const T> X, Block<T> Y);

  // Y(:, j) *= w[j].
  template <class T>
  static void scale_columns(const double* w, Block<T> Y);

  // d[i] -= sum_j X(i, j)^2, in float64.
  template <class T>
  static void subtract_row_squares(Block<const T> X, double* d);

  // out (count x X.cols, on the host) = X(rows[i], :).
  template <class T>
  static void gather_rows(Block<const T> X, const Index* rows, Index count, double* out);

  // sums[j] = sum_i X(i, j)^2 in float64: any float is safe, a double beyond 1e-150 .. 1e150 is to be scaled before.
  template <class T>
  static void column_squares(Block<const T> X, double* sums);

  // signs[j]: -1 where the entry of largest magnitude of X(:, j) is negative (on ties the first within 1e-6 of it),
  // else 1.
  template <class T>
  static void leading_signs(Block<const T> X, double* signs);

  // Are all entries finite?
  template <class T>
  static bool all_finite(MatrixView<const T> A);

  // Y(i, j) = A(rows[i], columns[j]), rows null: all of them. d[i] = A(i, i).
  template <class T>
  static void gather(MatrixView<const T> A, const Index* rows, const Index* columns, Block<T> Y);
  template <class T>
  static void diagonal(MatrixView<const T> A, double* d);

  // X = Q R in place by Householder's method in float64, R (X.cols x X.cols) on the host: for blocks too
  // ill-conditioned for Cholesky.
  template <class T>
  static void tall_qr(Block<T> X, double* R);

  // The skinny products, A large with any strides, X and Y blocks of any width.
  // Y = A X;  Z = A^T Y;  Z = A^T diag(w) A X in one read of A (w null: ones).
  template <class T>
  static void multiply(MatrixView<const T> A, Block<const T> X, Block<T> Y);
  template <class T>
  static void multiply_transposed(MatrixView<const T> A, Block<const T> Y, Block<T> Z);
  template <class T>
  static void multiply_fused(MatrixView<const T> A, const double* w, Block<const T> X, Block<T> Z);

  // C = alpha A B^T + beta C for one tile on the calling thread: scores of the tile engine. A (m x p), B (n x p).
  template <class T>
  static void tile_scores(T alpha, Block<const T> A, Block<const T> B, T beta, Block<T> C);
  // Y = A X + beta Y for one tile on the calling thread; A (m x n). And Z += A^T Y.
  template <class T>
  static void tile_multiply(Block<const T> A, Block<const T> X, Block<T> Y, T beta = 1);
  template <class T>
  static void tile_multiply_transposed(Block<const T> A, Block<const T> Y, Block<T> Z);

  // G += X^T Y for one tile of at most 512 rows on the calling thread, in float64 where float32 could not hold the
  // products; X = Y: the upper triangle alone. The scratch memory is allocated when first needed.
  struct TileGramScratch {
    Buffer<float> product;
    Buffer<double> wide;
  };
  template <class T>
  static void tile_gram(Block<const T> X, Block<const T> Y, Block<double> G, TileGramScratch& scratch);

  // x[i] = exp(x[i]), vectorised, at most 2 ulp, exact at -inf (0), +inf and NaN; overflow gives inf.
  template <class T>
  static void exp(T* x, Index n);

  // CSR. A by rows; entry order within a row is free, repeated entries add up. Indices are the caller's promise.
  // What is wrong with the structure of A, if anything is: the first offset, a row after which offsets decrease, an
  // entry from which on a column is out of range (-1: none). `capacity` entries are there.
  struct CsrFaults {
    Index first = 0, decrease = -1, entries = 0, column = -1;
  };
  template <class T, class Int>
  static CsrFaults csr_check(CsrView<T, Int> A, Index capacity);
  // Can A^T Y do without a transposed copy?
  static constexpr bool csr_scatters = true;
  // Y = A X, where A may be a stack of A.rows / Y.rows matrices whose products add up (banded transposes);
  // Z = A^T Y;  Z = A^T diag(w) A X (w null: ones).
  template <class T, class Int>
  static void csr_multiply(CsrView<T, Int> A, Block<const T> X, Block<T> Y);
  template <class T, class Int>
  static void csr_multiply_transposed(CsrView<T, Int> A, Block<const T> Y, Block<T> Z);
  template <class T, class Int>
  static void csr_multiply_fused(CsrView<T, Int> A, const double* w, Block<const T> X, Block<T> Z);
  // The transposes of `bands` parts of A's rows, stacked: bands * A.cols + 1 offsets. Column numbers stay those of A's
  // rows. A product then gathers from one part of Y after the other, each of which stays in the cache.
  template <class T, class Int>
  static void csr_transpose(CsrView<T, Int> A, Index bands, Int* offsets, Int* indices, T* values);
  template <class T, class Int>
  static Index csr_bands(CsrView<T, Int> A);  // how many parts serve A best
  // Bytes of scratch memory of the transposed and fused products with b columns.
  template <class T, class Int>
  static double csr_scratch(CsrView<T, Int> A, Index b);

  // "baseline", "avx2", "avx512" or "neon": the level in use (EIGENCONTEXT_SIMD forces one, an unknown or unsupported
  // one is an ArgumentError at first use).
  static std::string simd_level();
  static std::string blas_version();
};

// Small dense factorisations in float64 on the host (LAPACK), row-major and packed. Throw FactorizationError.
namespace host {
// A = V diag(w) V^T, w ascending; A (n x n) is overwritten by V (columns are eigenvectors).
void eigh(Index n, double* A, double* w);
// A (m x n) = U diag(s) Vt, s descending, r = min(m, n): U (m x r), Vt (r x n). A is destroyed.
void svd(Index m, Index n, double* A, double* U, double* s, double* Vt);
// G = R^T R, R upper triangular in G (zeros below). Returns false if G is not numerically positive definite.
bool cholesky(Index n, double* G);
// R upper triangular -> R^{-1} in place.
void invert_upper(Index n, double* R);
// A (m x n), m >= n, Householder QR: A is overwritten by Q (m x n), R (n x n) upper triangular with zeros below.
void qr(Index m, Index n, double* A, double* R);
}  // namespace host

}  // namespace eigencontext
