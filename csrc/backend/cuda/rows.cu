// Rows of embeddings and of gradients, in float64.
#include "backend/cuda/kernel.cuh"

namespace eigencontext::cuda {
namespace {

__global__ void __launch_bounds__(256)
    products(double alpha, Block<const double> X, Block<const double> Y, double beta, Block<double> out) {
  for (Index i = first_row(); i < out.rows; i += row_step())
    for (Index j = first_col(); j < out.cols; j += col_step()) {
      const double product = alpha * (X(i, j) * Y(i, j));
      out(i, j) = beta == 0 ? product : product + beta * out(i, j);
    }
}

// A warp for each row.
__global__ void __launch_bounds__(128) dots(Block<const double> X, Block<const double> Y, double* t) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (Index i = Index{blockIdx.x} * 4 + threadIdx.x / 32; i < X.rows; i += Index{gridDim.x} * 4) {
    double sum = 0;
    for (Index j = lane; j < X.cols; j += 32) sum += X(i, j) * Y(i, j);
    sum = over_warp(sum);
    if (lane == 0) t[i] = sum;
  }
}

__global__ void __launch_bounds__(256)
    factors(Index rows, double constant, double weight, const double* w, double dot, const double* t, double* f) {
  for (Index i = first_row(); i < rows; i += row_step())
    if (first_col() == 0) f[i] = constant + weight * (w ? w[i] : 1.0) + (t ? dot * t[i] : 0.0);
}

template <class T>
__global__ void __launch_bounds__(256)
    combination(Block<const double> product, const double* constant, const double* f, Block<const double> b,
                const double* columns_b, const double* g, Block<const double> c, const double* columns_c,
                bool accumulate, MatrixView<T> out) {
  for (Index i = first_row(); i < out.rows; i += row_step())
#pragma unroll 1
    for (Index j = first_col(); j < out.cols; j += col_step()) {
      double x = product(i, j) + (constant ? constant[j] : 0.0);
      if (f) x += f[i] * b(i, j) * (columns_b ? columns_b[j] : 1.0);
      if (g) x += g[i] * c(i, j) * (columns_c ? columns_c[j] : 1.0);
      if (accumulate) x += static_cast<double>(out(i, j));
      out(i, j) = static_cast<T>(x);
    }
}

}  // namespace

void multiply_elements(double alpha, Block<const double> X, Block<const double> Y, double beta, Block<double> out) {
  const Shape shape = over(out.rows, out.cols);
  launch("products", products, shape.grid, shape.block, 0, alpha, X, Y, beta, out);
}

void row_dots(Block<const double> X, Block<const double> Y, double* t) {
  launch("dots", dots, warps_for(X.rows), dim3(128), 0, X, Y, t);
}

void row_factors(Index rows, double constant, double weight, const double* w, double dot, const double* t, double* f) {
  const Shape shape = over(rows, 1);
  launch("factors", factors, shape.grid, shape.block, 0, rows, constant, weight, w, dot, t, f);
}

template <class T>
void combine(Block<const double> product, const double* constant, const double* f, Block<const double> b,
             const double* columns_b, const double* g, Block<const double> c, const double* columns_c, bool accumulate,
             MatrixView<T> out) {
  const Shape shape = over(out.rows, out.cols);
  launch("combination", combination<T>, shape.grid, shape.block, 0, product, constant, f, b, columns_b, g, c, columns_c,
         accumulate, out);
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                                               \
  template void combine<T>(Block<const double>, const double*, const double*, Block<const double>, const double*, \
                           const double*, Block<const double>, const double*, bool, MatrixView<T>);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext::cuda
