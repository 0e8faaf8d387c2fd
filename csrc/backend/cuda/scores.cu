// Tiles of scores of pairs: what they become, and the sums over their rows and columns, in float64.
#include "backend/cuda/kernel.cuh"

namespace eigencontext::cuda {
namespace {

__device__ inline double exponential_of(float x) { return static_cast<double>(::exp(x)); }
__device__ inline double exponential_of(double x) { return ::exp(x); }

// A warp for each row.
template <class T>
__global__ void __launch_bounds__(128) rows_log_sums(Block<const T> Z, double* tops, double* sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (Index i = Index{blockIdx.x} * 4 + threadIdx.x / 32; i < Z.rows; i += Index{gridDim.x} * 4) {
    double top = tops[i], sum = 0;
    const double before = top;
    for (Index j = lane; j < Z.cols; j += 32) top = Z(i, j) > top ? static_cast<double>(Z(i, j)) : top;
    top = largest_in_warp(top);
    for (Index j = lane; j < Z.cols; j += 32) sum += exponential_of(static_cast<T>(static_cast<double>(Z(i, j)) - top));
    sum = over_warp(sum);
    if (lane == 0) {
      sums[i] = sums[i] * ::exp(before - top) + sum;
      tops[i] = top;
    }
  }
}

// A block of 32 x 8 threads for 32 columns.
constexpr std::size_t columns_shared = 8 * 32 * sizeof(double);

template <class T>
__global__ void __launch_bounds__(256) columns_log_sums(Block<const T> Z, double* tops, double* sums) {
  double* const shared = shared_memory<double>();
  const int at = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const Index j = Index{blockIdx.x} * 32 + threadIdx.x;
  const bool there = j < Z.cols;
  const double before = there ? tops[j] : 0.0;
  double top = before, sum = 0;
  for (Index i = row; there && i < Z.rows; i += 8) top = Z(i, j) > top ? static_cast<double>(Z(i, j)) : top;
  shared[row * 32 + at] = top;
  __syncthreads();
  for (int r = 0; r < 8; ++r) top = shared[r * 32 + at] > top ? shared[r * 32 + at] : top;
  __syncthreads();
  for (Index i = row; there && i < Z.rows; i += 8)
    sum += exponential_of(static_cast<T>(static_cast<double>(Z(i, j)) - top));
  shared[row * 32 + at] = sum;
  __syncthreads();
  if (row != 0 || !there) return;
  for (int r = 1; r < 8; ++r) sum += shared[r * 32 + at];
  sums[j] = sums[j] * ::exp(before - top) + sum;
  tops[j] = top;
}

template <class T>
__global__ void __launch_bounds__(256) pairs_of(Block<const T> Z, Index shift, double* pair) {
  for (Index i = first_row(); i < Z.rows; i += row_step())
    if (first_col() == 0 && i + shift >= 0 && i + shift < Z.cols) pair[i] = static_cast<double>(Z(i, i + shift));
}

template <class T>
__global__ void __launch_bounds__(256)
    softmaxes(Block<T> Z, const double* l, const double* m, const double* w, const double* v, Index shift) {
  for (Index i = first_row(); i < Z.rows; i += row_step()) {
    const double own = w ? w[i] : 1.0, log_sum = l[i];
#pragma unroll 1
    for (Index j = first_col(); j < Z.cols; j += col_step()) {
      const double z = static_cast<double>(Z(i, j));
      double g = own * exponential_of(static_cast<T>(z - log_sum));
      g += (v ? v[j] : 1.0) * exponential_of(static_cast<T>(z - m[j]));
      Z(i, j) = static_cast<T>(j == i + shift ? g - 2 * own : g);
    }
  }
}

// A warp for each row. losses[i] and gradients[i] are added to.
template <class T>
__global__ void __launch_bounds__(128) sigmoids(Block<T> Z, double bias, const double* w, const double* v, Index shift,
                                                double* losses, double* gradients) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (Index i = Index{blockIdx.x} * 4 + threadIdx.x / 32; i < Z.rows; i += Index{gridDim.x} * 4) {
    double loss = 0, gradient = 0;
    for (Index j = lane; j < Z.cols; j += 32) {
      const bool pair = j == i + shift;
      const double z = static_cast<double>(Z(i, j)) + bias, weight = w ? 0.5 * (w[i] + v[j]) : 1.0;
      const double s = pair ? -z : z;  // the loss is log(1 + exp(s)), without cancellation
      const double e = exponential_of(static_cast<T>(s > 0 ? -s : s));
      loss += weight * ((s > 0 ? s : 0.0) + ::log1p(e));
      const double g = weight * (s > 0 ? 1.0 : e) / (1 + e);
      const T rounded = static_cast<T>(pair ? -g : g);
      Z(i, j) = rounded;
      gradient += static_cast<double>(rounded);
    }
    loss = over_warp(loss);
    gradient = over_warp(gradient);
    if (lane == 0) {
      losses[i] += loss;
      gradients[i] += gradient;
    }
  }
}

// A warp for each row.
template <class T>
__global__ void __launch_bounds__(128) rows_tops(Block<const T> Z, Index shift, bool own, double* tops) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (Index i = Index{blockIdx.x} * 4 + threadIdx.x / 32; i < Z.rows; i += Index{gridDim.x} * 4) {
    double top = tops[i];
#pragma unroll 1
    for (Index j = lane; j < Z.cols; j += 32)
      if ((own || j != i + shift) && Z(i, j) > top) top = static_cast<double>(Z(i, j));
    top = largest_in_warp(top);
    if (lane == 0) tops[i] = top;
  }
}

// A warp for each row. pairs[i], others[i] and sums[i] (may be null) are added to.
template <class T>
__global__ void __launch_bounds__(128)
    exponentials(Block<T> Z, const double* r, const double* c, Index first, Index group, Index shift, bool same,
                 double pair_factor, const double* w, double times, double* pairs, double* others, double* sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (Index i = Index{blockIdx.x} * 4 + threadIdx.x / 32; i < Z.rows; i += Index{gridDim.x} * 4) {
    const Index begin = i + shift - (first + i) % group;  // of the columns of the same input
    const double weight = w ? w[i] : 1.0;
    double own = 0, other = 0, sum = 0;
#pragma unroll 1
    for (Index j = lane; j < Z.cols; j += 32) {
      double z = static_cast<double>(Z(i, j)), g = 0;
      if (r) z = z + r[i] + c[j] < 0 ? z + r[i] + c[j] : 0.0;
      if (j < begin || j >= begin + group) {
        g = exponential_of(static_cast<T>(z));
        other += g;
      } else if (!same || j != i + shift) {  // f, whose square may vanish where it does not
        const double f = weight * ::exp(0.5 * z);
        own += f;
        g = -pair_factor * f;
      }
      Z(i, j) = static_cast<T>(g);
      sum += g;
    }
    own = over_warp(own);
    other = over_warp(other);
    sum = over_warp(sum);
    if (lane != 0) continue;
    pairs[i] += times * own;
    others[i] += times * other;
    if (sums) sums[i] += sum;
  }
}

// A block of 32 x 8 threads for 32 columns.
template <class T>
__global__ void __launch_bounds__(256) columns_sums(Block<const T> Z, double* sums) {
  double* const shared = shared_memory<double>();
  const int at = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const Index j = Index{blockIdx.x} * 32 + threadIdx.x;
  double sum = 0;
  for (Index i = row; j < Z.cols && i < Z.rows; i += 8) sum += static_cast<double>(Z(i, j));
  shared[row * 32 + at] = sum;
  __syncthreads();
  if (row != 0 || j >= Z.cols) return;
  for (int k = 1; k < 8; ++k) sum += shared[k * 32 + at];
  sums[j] += sum;
}

}  // namespace

template <class T>
void raise_log_sums(Block<const T> Z, double* row_tops, double* row_sums, double* column_tops, double* column_sums) {
  launch("rows_log_sums", rows_log_sums<T>, warps_for(Z.rows), dim3(128), 0, Z, row_tops, row_sums);
  launch("columns_log_sums", columns_log_sums<T>, dim3(static_cast<unsigned>(ceil_div(Z.cols, 32))), dim3(32, 8),
         columns_shared, Z, column_tops, column_sums);
}

template <class T>
void pick_pairs(Block<const T> Z, Index shift, double* pair) {
  const Shape shape = over(Z.rows, 1);
  launch("pairs_of", pairs_of<T>, shape.grid, shape.block, 0, Z, shift, pair);
}

template <class T>
void map_softmaxes(const double* l, const double* m, const double* w, const double* v, Index shift, Block<T> Z) {
  const Shape shape = over(Z.rows, Z.cols);
  launch("softmaxes", softmaxes<T>, shape.grid, shape.block, 0, Z, l, m, w, v, shift);
}

template <class T>
void map_sigmoids(double bias, const double* w, const double* v, Index shift, double* losses, double* gradients,
                  Block<T> Z) {
  launch("sigmoids", sigmoids<T>, warps_for(Z.rows), dim3(128), 0, Z, bias, w, v, shift, losses, gradients);
}

template <class T>
void raise_tops(Block<const T> Z, Index shift, bool own, double* tops) {
  launch("rows_tops", rows_tops<T>, warps_for(Z.rows), dim3(128), 0, Z, shift, own, tops);
}

template <class T>
void map_exponentials(const double* r, const double* c, Index first, Index group, Index shift, bool same,
                      double pair_factor, const double* w, double times, double* pairs, double* others, double* sums,
                      Block<T> Z) {
  launch("exponentials", exponentials<T>, warps_for(Z.rows), dim3(128), 0, Z, r, c, first, group, shift, same,
         pair_factor, w, times, pairs, others, sums);
}

template <class T>
void add_column_sums(Block<const T> Z, double* sums) {
  launch("columns_sums", columns_sums<T>, dim3(static_cast<unsigned>(ceil_div(Z.cols, 32))), dim3(32, 8),
         columns_shared, Z, sums);
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                                                 \
  template void raise_log_sums<T>(Block<const T>, double*, double*, double*, double*);                              \
  template void pick_pairs<T>(Block<const T>, Index, double*);                                                      \
  template void map_softmaxes<T>(const double*, const double*, const double*, const double*, Index, Block<T>);      \
  template void map_sigmoids<T>(double, const double*, const double*, Index, double*, double*, Block<T>);           \
  template void raise_tops<T>(Block<const T>, Index, bool, double*);                                                \
  template void map_exponentials<T>(const double*, const double*, Index, Index, Index, bool, double, const double*, \
                                    double, double*, double*, double*, Block<T>);                                   \
  template void add_column_sums<T>(Block<const T>, double*);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext::cuda
