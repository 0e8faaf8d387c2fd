// Matrix products by cuBLAS. A row-major matrix is its transpose to cuBLAS, so C = op(A) op(B) is computed as C^T =
// op(B)^T op(A)^T.
#include <type_traits>
#include <vector>

#include "backend/cuda/blas.hpp"
#include "backend/cuda/runtime.cuh"

namespace eigencontext {
namespace cuda {
namespace {

// The bytes of A that one step of the fused product reads twice: a third of the L2 cache.
constexpr Index fused_bytes = Index{16} << 20;

// A matrix as cuBLAS takes it: row-major with a leading dimension, or the transpose of one.
template <class T>
struct Operand {
  const T* data;
  Index leading;
  bool transposed;
};

// Does cuBLAS take A (or its transpose) where it is?
template <class T>
bool row_major(MatrixView<const T> A) {
  return (A.col_stride == 1 || A.cols <= 1) && (A.row_stride >= A.cols || A.rows <= 1);
}

template <class T>
Operand<T> operand(MatrixView<const T> A, Array<std::remove_const_t<T>>& copy) {
  if (row_major(A)) return {A.data, std::max({A.rows > 1 ? A.row_stride : 0, A.cols, Index{1}}), false};
  if (row_major(A.transposed())) return {A.data, std::max({A.cols > 1 ? A.col_stride : 0, A.rows, Index{1}}), true};
  copy = Array<T>(A.rows, A.cols);
  pack_points<T, T>(A, nullptr, 1, nullptr, copy.view());
  return {copy.data(), std::max<Index>(A.cols, 1), false};
}

inline cublasStatus_t call(cublasHandle_t handle, cublasOperation_t a, cublasOperation_t b, Index m, Index n, Index k,
                           const float* alpha, const float* A, Index lda, const float* B, Index ldb, const float* beta,
                           float* C, Index ldc) {
  return cublasSgemm_64(handle, a, b, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc);
}
inline cublasStatus_t call(cublasHandle_t handle, cublasOperation_t a, cublasOperation_t b, Index m, Index n, Index k,
                           const double* alpha, const double* A, Index lda, const double* B, Index ldb,
                           const double* beta, double* C, Index ldc) {
  return cublasDgemm_64(handle, a, b, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc);
}

// C = alpha A B + beta C; with beta = 0 C is not read.
template <class T>
void gemm(T alpha, MatrixView<const T> A, MatrixView<const T> B, T beta, Block<T> C, bool rounds = false) {
  if (C.rows == 0 || C.cols == 0) return;
  if (A.cols == 0) return Cuda::add<T>(0, C, beta, C);
  Array<T> copy_A, copy_B;
  const Operand<T> a = operand<T>(A, copy_A), b = operand<T>(B, copy_B);
  const auto op = [](const Operand<T>& x) { return x.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  check(cublasSetMathMode(blas(), rounds && tf32() ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH),
        "cublasSetMathMode");
  check(call(blas(), op(b), op(a), C.cols, C.rows, A.cols, &alpha, b.data, b.leading, a.data, a.leading, &beta, C.data,
             std::max<Index>({C.rows > 1 ? C.stride : 0, C.cols, 1})),
        std::is_same_v<T, float> ? "cublasSgemm" : "cublasDgemm");
}

// alpha C (rows x cols) in T on the device.
template <class T>
Array<T> uploaded(double alpha, const double* C, Index rows, Index cols) {
  std::vector<double> scaled(C, C + rows * cols);
  for (double& c : scaled) c *= alpha;
  Array<T> result(rows, cols);
  Cuda::from_host<T>(scaled.data(), result.view());
  return result;
}

}  // namespace

template <class S>
void tile_scores(S alpha, Block<const S> A, Block<const S> B, Block<S> C) {
  gemm<S>(alpha, A.view(), B.view().transposed(), 0, C, true);
}

template <class T>
void tile_multiply(Block<const T> A, Block<const T> X, T beta, Block<T> Y) {
  gemm<T>(1, A.view(), X.view(), beta, Y, true);
}

template <class T>
void tile_multiply_transposed(Block<const T> A, Block<const T> Y, T beta, Block<T> Z) {
  gemm<T>(1, A.view().transposed(), Y.view(), beta, Z, true);
}

}  // namespace cuda

template <class T>
void Cuda::update(double alpha, Block<const T> X, const double* C, double beta, Block<T> Y) {
  const auto c = cuda::uploaded<T>(alpha, C, X.cols, Y.cols);
  cuda::gemm<T>(1, X.view(), c.view().view(), static_cast<T>(beta), Y);
}

template <class T>
void Cuda::multiply_right(Block<T> X, const double* C) {
  Array<T> copy(X.rows, X.cols);
  add<T>(1, X, 0, copy.view());
  update<T>(1, copy.view(), C, 0, X);
}

// Four products in place of the CPU's one pass over V: the sums are float64 whatever T is, so all results are trusted
// that float64 can hold.
template <class T>
bool Cuda::subtract(Block<const T> V, const double* C, Block<T> X, const double* S, double* VtX, double* XtX) {
  if (S) multiply_right<T>(X, S);
  if (C) update<T>(-1, V, C, 1, X);
  if (VtX) gram<T>(V, X, VtX);
  gram<T>(X, X, XtX);
  constexpr double least = 1e-280;
  for (Index j = 0; j < X.cols; ++j)
    if (const double square = XtX[j * X.cols + j]; !(square > least && square < 1 / least)) return false;
  return true;
}

template <class T>
void Cuda::multiply(MatrixView<const T> A, Block<const T> X, Block<T> Y) {
  cuda::gemm<T>(1, A, X.view(), 0, Y, true);
}

template <class T>
void Cuda::multiply_transposed(MatrixView<const T> A, Block<const T> Y, Block<T> Z) {
  cuda::gemm<T>(1, A.transposed(), Y.view(), 0, Z, true);
}

// A few rows of A at a time: the second product reads them from the L2 cache.
template <class T>
void Cuda::multiply_fused(MatrixView<const T> A, const double* w, Block<const T> X, Block<T> Z) {
  const Index row_bytes = std::max<Index>(1, A.cols * static_cast<Index>(sizeof(T)));
  const Index step = std::clamp<Index>(cuda::fused_bytes / row_bytes, 64, std::max<Index>(A.rows, 64));
  Array<T> Y(std::min(step, A.rows), X.cols);
  if (A.rows == 0) add<T>(0, Z, 0, Z);
  for (Index i = 0; i < A.rows; i += step) {
    const Index count = std::min(step, A.rows - i);
    const MatrixView<const T> some{A.data + i * A.row_stride, count, A.cols, A.row_stride, A.col_stride};
    const Block<T> y = Y.view().row_range(0, count);
    multiply<T>(some, X, y);
    if (w) scale_rows<T>(w + i, y, y);
    cuda::gemm<T>(1, some.transposed(), Block<const T>(y).view(), i == 0 ? 0 : 1, Z, true);
  }
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                                          \
  template void Cuda::update<T>(double, Block<const T>, const double*, double, Block<T>);                    \
  template void Cuda::multiply_right<T>(Block<T>, const double*);                                            \
  template bool Cuda::subtract<T>(Block<const T>, const double*, Block<T>, const double*, double*, double*); \
  template void Cuda::multiply<T>(MatrixView<const T>, Block<const T>, Block<T>);                            \
  template void Cuda::multiply_transposed<T>(MatrixView<const T>, Block<const T>, Block<T>);                 \
  template void Cuda::multiply_fused<T>(MatrixView<const T>, const double*, Block<const T>, Block<T>);       \
  template void cuda::tile_scores<T>(T, Block<const T>, Block<const T>, Block<T>);                           \
  template void cuda::tile_multiply<T>(Block<const T>, Block<const T>, T, Block<T>);                         \
  template void cuda::tile_multiply_transposed<T>(Block<const T>, Block<const T>, T, Block<T>);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
