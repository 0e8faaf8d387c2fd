// Points and tiles of kernel operators.
#include <algorithm>

#include "backend/cuda/kernel.cuh"

namespace eigencontext::cuda {
namespace {

template <class S, class T>
__global__ void __launch_bounds__(256)
    pack(MatrixView<const T> X, const double* centre, double scale, const double* rows, Block<S> out) {
  for (Index i = first_row(); i < out.rows; i += row_step()) {
    const double factor = rows ? scale * rows[i] : scale;
    for (Index j = first_col(); j < out.cols; j += col_step())
      out(i, j) = static_cast<S>(factor * (static_cast<double>(X(i, j)) - (centre ? centre[j] : 0.0)));
  }
}

template <class S>
__global__ void __launch_bounds__(256) rbf(const S* r, const S* c, Block<S> K) {
  for (Index i = first_row(); i < K.rows; i += row_step())
    for (Index j = first_col(); j < K.cols; j += col_step()) {
      const S exponent = K(i, j) + ((r ? r[i] : S(0)) + (c ? c[j] : S(0)));
      K(i, j) = ::exp(exponent > S(0) ? S(0) : exponent);
    }
}

template <class S>
__global__ void __launch_bounds__(256) shift(const S* r, const S* c, Block<S> K) {
  for (Index i = first_row(); i < K.rows; i += row_step())
    for (Index j = first_col(); j < K.cols; j += col_step()) K(i, j) += (r ? r[i] : S(0)) + (c ? c[j] : S(0));
}

template <class S>
__global__ void __launch_bounds__(256) cosine(Block<S> K) {
  for (Index i = first_row(); i < K.rows; i += row_step())
    for (Index j = first_col(); j < K.cols; j += col_step()) {
      const S x = K(i, j) + S(0.5);
      K(i, j) = x < S(0) ? S(0) : x > S(1) ? S(1) : x;
    }
}

template <class S>
__global__ void __launch_bounds__(256) power(S shift, int degree, Block<S> K) {
  for (Index i = first_row(); i < K.rows; i += row_step())
    for (Index j = first_col(); j < K.cols; j += col_step()) {
      S base = K(i, j) + shift, result = S(1);
      base = base < S(0) ? S(0) : base;
      for (int bits = degree; bits > 0; bits >>= 1) {
        if (bits & 1) result *= base;
        base *= base;
      }
      K(i, j) = result;
    }
}

// A block of 8 x 8 threads makes a tile of 32 x 32 entries, 4 x 4 for each thread, from 16 features at a time.
constexpr int side = 32, step = 16;
template <class S>
constexpr std::size_t distance_shared = 2 * side * (step + 1) * sizeof(S);

template <class S>
__device__ void load_features(Block<const S> A, Index row, Index feature, S* to) {
  for (int s = static_cast<int>(threadIdx.y * 8 + threadIdx.x); s < side * step; s += 64) {
    const Index i = row + s / step, f = feature + s % step;
    to[s / step * (step + 1) + s % step] = i < A.rows && f < A.cols ? A(i, f) : S(0);
  }
}

template <bool squared, class S>
__global__ void __launch_bounds__(64)
    distance_tile(bool exponential, S scale, Block<const S> A, Block<const S> B, Block<S> K) {
  S* const a = shared_memory<S>();
  S* const b = a + side * (step + 1);
  const Index i0 = Index{blockIdx.y} * side, j0 = Index{blockIdx.x} * side;
  S sum[4][4] = {};
  for (Index f = 0; f < A.cols; f += step) {
    load_features(A, i0, f, a);
    load_features(B, j0, f, b);
    __syncthreads();
    for (int k = 0; k < step; ++k)
#pragma unroll
      for (int u = 0; u < 4; ++u)
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          const S d = a[(8 * u + threadIdx.y) * (step + 1) + k] - b[(8 * v + threadIdx.x) * (step + 1) + k];
          sum[u][v] += squared ? d * d : fabs(d);
        }
    __syncthreads();
  }
#pragma unroll
  for (int u = 0; u < 4; ++u)
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const Index i = i0 + 8 * u + threadIdx.y, j = j0 + 8 * v + threadIdx.x;
      if (i < K.rows && j < K.cols) K(i, j) = exponential ? ::exp(scale * sum[u][v]) : scale * sum[u][v];
    }
}

template <class S>
__global__ void __launch_bounds__(256) mirror(const double* own, Block<S> K) {
  for (Index i = first_row(); i < K.rows; i += row_step())
    for (Index j = first_col(); j <= i; j += col_step()) {
      if (j < i) K(i, j) = K(j, i);
      if (j == i && own) K(i, i) = static_cast<S>(own[i]);
    }
}

template <class T>
__global__ void __launch_bounds__(256)
    own_entries(const double* own, const Index* rows, const Index* columns, Block<T> Y) {
  for (Index i = first_row(); i < Y.rows; i += row_step()) {
    const Index row = rows ? rows[i] : i;
    const T value = static_cast<T>(own[row]);
#pragma unroll 1  // unrolled it spills
    for (Index j = first_col(); j < Y.cols; j += col_step())
      if (row == columns[j]) Y(i, j) = value;
  }
}

template <class S>
__global__ void __launch_bounds__(256) rounded(double alpha, Block<const double> x, S* out) {
  for (Index i = first_row(); i < x.rows; i += row_step())
    if (first_col() == 0) out[i] = static_cast<S>(alpha * x(i, 0));
}

template <class S, class T>
__global__ void __launch_bounds__(256) converted(Block<const S> X, Block<T> Y) {
  for (Index i = first_row(); i < Y.rows; i += row_step())
    for (Index j = first_col(); j < Y.cols; j += col_step()) Y(i, j) = static_cast<T>(X(i, j));
}

}  // namespace

template <class S, class T>
void pack_points(MatrixView<const T> X, const double* centre, double scale, const double* rows, Block<S> out) {
  const Shape shape = over(out.rows, out.cols);
  launch("pack", pack<S, T>, shape.grid, shape.block, 0, X, centre, scale, rows, out);
}

template <class S>
void map_rbf(const S* r, const S* c, Block<S> K) {
  const Shape shape = over(K.rows, K.cols);
  launch("rbf", rbf<S>, shape.grid, shape.block, 0, r, c, K);
}

template <class S>
void map_shift(const S* r, const S* c, Block<S> K) {
  const Shape shape = over(K.rows, K.cols);
  launch("shift", shift<S>, shape.grid, shape.block, 0, r, c, K);
}

template <class S>
void map_cosine(Block<S> K) {
  const Shape shape = over(K.rows, K.cols);
  launch("cosine", cosine<S>, shape.grid, shape.block, 0, K);
}

template <class S>
void map_power(S shift, int degree, Block<S> K) {
  const Shape shape = over(K.rows, K.cols);
  launch("power", power<S>, shape.grid, shape.block, 0, shift, degree, K);
}

template <class S>
void distances(bool squared, bool exponential, S scale, Block<const S> A, Block<const S> B, Block<S> K) {
  const dim3 grid(static_cast<unsigned>(ceil_div(K.cols, side)), static_cast<unsigned>(ceil_div(K.rows, side)));
  launch("distances", squared ? distance_tile<true, S> : distance_tile<false, S>, grid, dim3(8, 8), distance_shared<S>,
         exponential, scale, A, B, K);
}

template <class S>
void make_symmetric(const double* own, Block<S> K) {
  const Shape shape = over(K.rows, K.cols);
  launch("mirror", mirror<S>, shape.grid, shape.block, 0, own, K);
}

template <class T>
void set_own(const double* own, const Index* rows, const Index* columns, Block<T> Y) {
  const Memory<Index> r = rows ? Memory<Index>::from_host(rows, Y.rows) : Memory<Index>();
  const Memory<Index> c = Memory<Index>::from_host(columns, Y.cols);
  const Shape shape = over(Y.rows, Y.cols);
  launch("own_entries", own_entries<T>, shape.grid, shape.block, 0, own, r.data(), c.data(), Y);
}

template <class S>
void round_vector(double alpha, Block<const double> x, S* out) {
  const Shape shape = over(x.rows, 1);
  launch("rounded", rounded<S>, shape.grid, shape.block, 0, alpha, x, out);
}

template <class S, class T>
void convert(Block<const S> X, Block<T> Y) {
  const Shape shape = over(Y.rows, Y.cols);
  launch("converted", converted<S, T>, shape.grid, shape.block, 0, X, Y);
}

#define EIGENCONTEXT_INSTANTIATE(S)                                                                               \
  template void pack_points<S, float>(MatrixView<const float>, const double*, double, const double*, Block<S>);   \
  template void pack_points<S, double>(MatrixView<const double>, const double*, double, const double*, Block<S>); \
  template void map_rbf(const S*, const S*, Block<S>);                                                            \
  template void map_shift(const S*, const S*, Block<S>);                                                          \
  template void map_cosine(Block<S>);                                                                             \
  template void map_power(S, int, Block<S>);                                                                      \
  template void distances(bool, bool, S, Block<const S>, Block<const S>, Block<S>);                               \
  template void make_symmetric(const double*, Block<S>);                                                          \
  template void set_own(const double*, const Index*, const Index*, Block<S>);                                     \
  template void round_vector(double, Block<const double>, S*);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE
template void convert<double, float>(Block<const double>, Block<float>);

}  // namespace eigencontext::cuda
