// Sums over rows, in float64 whatever the block holds. Rows are cut into groups by shape alone; a second kernel adds
// the groups' sums in order, so the same input gives the same bits.
#include <algorithm>
#include <utility>
#include <vector>

#include "backend/cuda/kernel.cuh"

namespace eigencontext {
namespace cuda {
namespace {

// --- gram: a block of 8 x 8 threads makes a tile of 32 x 32 entries, 4 x 4 for each thread

constexpr int gram_tile = 32, gram_step = 16;
constexpr std::size_t gram_shared = 2 * gram_tile * gram_step * sizeof(double);
constexpr Index gram_blocks = 1024;  // at least so many where the rows suffice

template <class T>
__device__ void load_step(Block<const T> X, Index row, Index end, Index col, double* to) {
  for (int s = static_cast<int>(threadIdx.y * 8 + threadIdx.x); s < gram_step * gram_tile; s += 64) {
    const Index i = row + s / gram_tile, j = col + s % gram_tile;
    to[s] = i < end && j < X.cols ? static_cast<double>(X(i, j)) : 0.0;
  }
}

// partial[group] (X.cols x Y.cols) = X^T Y over the rows of a group; `same`: the tiles on and above the diagonal only.
template <class T>
__global__ void __launch_bounds__(64)
    gram(Block<const T> X, Block<const T> Y, Index group_rows, bool same, double* partial) {
  if (same && blockIdx.x < blockIdx.y) return;
  double* const x = shared_memory<double>();
  double* const y = x + gram_step * gram_tile;
  const Index i0 = Index{blockIdx.y} * gram_tile, j0 = Index{blockIdx.x} * gram_tile;
  const Index begin = Index{blockIdx.z} * group_rows, last = begin + group_rows, end = last < X.rows ? last : X.rows;
  double sum[4][4] = {};
  for (Index row = begin; row < end; row += gram_step) {
    load_step(X, row, end, i0, x);
    load_step(Y, row, end, j0, y);
    __syncthreads();
    for (int k = 0; k < gram_step; ++k)
#pragma unroll
      for (int a = 0; a < 4; ++a)
#pragma unroll
        for (int b = 0; b < 4; ++b)
          sum[a][b] += x[k * gram_tile + 8 * a + threadIdx.y] * y[k * gram_tile + 8 * b + threadIdx.x];
    __syncthreads();
  }
  double* const out = partial + Index{blockIdx.z} * X.cols * Y.cols;
#pragma unroll
  for (int a = 0; a < 4; ++a)
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      const Index i = i0 + 8 * a + threadIdx.y, j = j0 + 8 * b + threadIdx.x;
      if (i < X.cols && j < Y.cols) out[i * Y.cols + j] = sum[a][b];
    }
}

// out (rows x cols) = the sum of `groups` partial ones. `same`: below the diagonal, where tiles were left out, the
// mirror image.
__global__ void __launch_bounds__(256)
    add_groups(const double* partial, Index groups, Index rows, Index cols, bool same, double* out) {
  for (Index i = first_row(); i < rows; i += row_step())
    for (Index j = first_col(); j < cols; j += col_step()) {
      const bool mirrored = same && j < i;
      const Index at = mirrored ? j * cols + i : i * cols + j;
      double sum = 0;
      for (Index g = 0; g < groups; ++g) sum += partial[g * rows * cols + at];
      out[i * cols + j] = sum;
    }
}

// --- sums of columns: 32 columns and 8 rows of threads

constexpr std::size_t column_shared = 8 * 32 * sizeof(double);

template <class T>
__global__ void __launch_bounds__(256)
    column_sums(MatrixView<const T> X, bool squares, Index group_rows, double* partial) {
  double* const sums = shared_memory<double>();
  const Index j = Index{blockIdx.x} * 32 + threadIdx.x;
  const Index begin = Index{blockIdx.y} * group_rows, last = begin + group_rows, end = last < X.rows ? last : X.rows;
  double sum = 0;
  if (j < X.cols)
    for (Index i = begin + threadIdx.y; i < end; i += 8) {
      const double x = static_cast<double>(X(i, j));
      sum += squares ? x * x : x;
    }
  sums[threadIdx.y * 32 + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || j >= X.cols) return;
  for (int r = 1; r < 8; ++r) sum += sums[r * 32 + threadIdx.x];
  partial[Index{blockIdx.y} * X.cols + j] = sum;
}

template <class T>
Array<double> sums_of_columns(MatrixView<const T> X, bool squares) {
  const Index groups = std::clamp<Index>(ceil_div(X.rows, 512), 1, 512), group_rows = ceil_div(X.rows, groups);
  Array<double> partial(groups, X.cols), sums(X.cols, 1);
  launch("column_sums", column_sums<T>,
         dim3(static_cast<unsigned>(ceil_div(X.cols, 32)), static_cast<unsigned>(groups)), dim3(32, 8), column_shared,
         X, squares, group_rows, partial.data());
  const Shape shape = over(1, X.cols);
  launch("add_groups", add_groups, shape.grid, shape.block, 0, partial.data(), groups, Index{1}, X.cols, false,
         sums.data());
  return sums;
}

// --- sums of rows: a warp for each row

// out[i] = sum_j (scale (X(i, j) - centre[j]))^2.
template <class T>
__global__ void __launch_bounds__(128)
    squares_of_rows(MatrixView<const T> X, const double* centre, double scale, double* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (Index i = Index{blockIdx.x} * 4 + threadIdx.x / 32; i < X.rows; i += Index{gridDim.x} * 4) {
    double sum = 0;
    for (Index j = lane; j < X.cols; j += 32) {
      const double x = scale * (static_cast<double>(X(i, j)) - (centre ? centre[j] : 0.0));
      sum += x * x;
    }
    sum = over_warp(sum);
    if (lane == 0) out[i] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(128) inverse_norms(MatrixView<const T> X, double* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (Index i = Index{blockIdx.x} * 4 + threadIdx.x / 32; i < X.rows; i += Index{gridDim.x} * 4) {
    double top = 0, sum = 0;
    for (Index j = lane; j < X.cols; j += 32) {
      const double x = fabs(static_cast<double>(X(i, j)));
      top = x > top ? x : top;
    }
    top = largest_in_warp(top);
    for (Index j = lane; j < X.cols && top > 0; j += 32) {
      const double x = static_cast<double>(X(i, j)) / top;
      sum += x * x;
    }
    sum = over_warp(sum);
    if (lane == 0) out[i] = top > 0 ? 1 / sqrt(sum) / top : 0.0;
  }
}

// --- signs: a block for each column

constexpr std::size_t sign_shared = 256 * (sizeof(double) + sizeof(Index));

// The largest magnitude, then the first row within 1e-6 of it.
template <class T>
__global__ void __launch_bounds__(256) find_signs(Block<const T> X, double* signs) {
  double* const tops = shared_memory<double>();
  Index* const rows = reinterpret_cast<Index*>(tops + 256);
  const int t = static_cast<int>(threadIdx.x);
  const Index j = blockIdx.x;
  T top = 0;
  for (Index i = t; i < X.rows; i += 256) {
    const T x = X(i, j) < 0 ? -X(i, j) : X(i, j);
    top = x > top ? x : top;
  }
  tops[t] = static_cast<double>(top);
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (t < half && tops[t + half] > tops[t]) tops[t] = tops[t + half];
    __syncthreads();
  }
  const T limit = static_cast<T>(tops[0]) * static_cast<T>(1 - 1e-6);
  Index first = X.rows;
  for (Index i = t; i < X.rows && first == X.rows; i += 256)
    if ((X(i, j) < 0 ? -X(i, j) : X(i, j)) >= limit) first = i;
  rows[t] = first;
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (t < half && rows[t + half] < rows[t]) rows[t] = rows[t + half];
    __syncthreads();
  }
  if (t == 0) signs[j] = rows[0] < X.rows && X(rows[0], j) < 0 ? -1.0 : 1.0;
}

}  // namespace

template <class T>
Array<double> column_means(MatrixView<const T> X) {
  Array<double> sums = sums_of_columns(X, false);
  Cuda::add<double>(0, sums.view(), 1 / static_cast<double>(std::max<Index>(X.rows, 1)), sums.view());
  return sums;
}

template <class T>
Array<double> row_squares(MatrixView<const T> X, const double* centre, double scale) {
  Array<double> out(X.rows, 1);
  launch("squares_of_rows", squares_of_rows<T>, warps_for(X.rows), dim3(128), 0, X, centre, scale, out.data());
  return out;
}

template <class T>
Array<double> inverse_row_norms(MatrixView<const T> X) {
  Array<double> out(X.rows, 1);
  launch("inverse_norms", inverse_norms<T>, warps_for(X.rows), dim3(128), 0, X, out.data());
  return out;
}

}  // namespace cuda

template <class T>
void Cuda::gram(Block<const T> X, Block<const T> Y, double* G) {
  const Index p = X.cols, q = Y.cols;
  if (p == 0 || q == 0) return;
  const bool same = X.data == Y.data && X.stride == Y.stride && p == q;
  const Index rows = cuda::ceil_div(p, cuda::gram_tile), cols = cuda::ceil_div(q, cuda::gram_tile);
  const Index most = std::max<Index>(1, cuda::gram_blocks / (rows * cols));
  const Index groups = std::clamp<Index>(cuda::ceil_div(X.rows, 256), 1, most);
  const Index group_rows = std::max<Index>(1, cuda::ceil_div(X.rows, groups));
  Array<double> partial(groups, p * q), sums(p, q);
  cuda::launch("gram", cuda::gram<T>,
               dim3(static_cast<unsigned>(cols), static_cast<unsigned>(rows), static_cast<unsigned>(groups)),
               dim3(8, 8), cuda::gram_shared, X, Y, group_rows, same, partial.data());
  const cuda::Shape shape = cuda::over(p, q);
  cuda::launch("add_groups", cuda::add_groups, shape.grid, shape.block, 0, partial.data(), groups, p, q, same,
               sums.data());
  to_host<double>(sums.view(), G);
}

template <class T>
void Cuda::column_squares(Block<const T> X, double* sums) {
  if (X.cols == 0) return;
  to_host<double>(cuda::sums_of_columns(X.view(), true).view(), sums);
}

template <class T>
void Cuda::subtract_row_squares(Block<const T> X, double* d) {
  std::vector<double> squares(static_cast<std::size_t>(X.rows));
  to_host<double>(cuda::row_squares<T>(X.view(), nullptr, 1).view(), squares.data());
  for (Index i = 0; i < X.rows; ++i) d[i] -= squares[static_cast<std::size_t>(i)];
}

template <class T>
void Cuda::leading_signs(Block<const T> X, double* signs) {
  Array<double> found(X.cols, 1);
  cuda::launch("find_signs", cuda::find_signs<T>, dim3(static_cast<unsigned>(X.cols)), dim3(256), cuda::sign_shared, X,
               found.data());
  to_host<double>(found.view(), signs);
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                           \
  template void Cuda::gram<T>(Block<const T>, Block<const T>, double*);                       \
  template void Cuda::column_squares<T>(Block<const T>, double*);                             \
  template void Cuda::subtract_row_squares<T>(Block<const T>, double*);                       \
  template void Cuda::leading_signs<T>(Block<const T>, double*);                              \
  template cuda::Array<double> cuda::column_means(MatrixView<const T>);                       \
  template cuda::Array<double> cuda::row_squares(MatrixView<const T>, const double*, double); \
  template cuda::Array<double> cuda::inverse_row_norms(MatrixView<const T>);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
