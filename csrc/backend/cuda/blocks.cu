// Elementwise kernels over blocks, and what moves blocks between the host and the device.
#include <algorithm>
#include <numeric>
#include <vector>

#include "backend/cuda/kernel.cuh"

namespace eigencontext {
namespace cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(256) add(T a, Block<const T> X, T b, Block<T> Y) {
  for (Index i = first_row(); i < Y.rows; i += row_step())
    for (Index j = first_col(); j < Y.cols; j += col_step()) {
      const T x = a == T(0) ? T(0) : a * X(i, j);
      Y(i, j) = b == T(0) ? x : x + b * Y(i, j);  // with b = 0 Y may be anything, NaN too
    }
}

template <class T>
__global__ void __launch_bounds__(256) scale_rows(const double* w, Block<const T> X, Block<T> Y) {
  for (Index i = first_row(); i < Y.rows; i += row_step()) {
    const double factor = w[i];
    for (Index j = first_col(); j < Y.cols; j += col_step())
      Y(i, j) = static_cast<T>(factor * static_cast<double>(X(i, j)));
  }
}

template <class T>
__global__ void __launch_bounds__(256) scale_columns(const double* w, Block<T> Y) {
  for (Index i = first_row(); i < Y.rows; i += row_step())
    for (Index j = first_col(); j < Y.cols; j += col_step())
      Y(i, j) = static_cast<T>(w[j] * static_cast<double>(Y(i, j)));
}

// The exponent of NaN and infinity is all ones, so x - x is not 0.
template <class T>
__global__ void __launch_bounds__(256) find_nonfinite(MatrixView<const T> A, int* found) {
  bool bad = false;
  for (Index i = first_row(); i < A.rows; i += row_step())
    for (Index j = first_col(); j < A.cols; j += col_step()) bad |= !(A(i, j) - A(i, j) == T(0));
  if (bad) atomicOr(found, 1);
}

// Y(i, j) = A(rows[i], columns[j]).
template <class T>
__global__ void __launch_bounds__(256)
    gather(MatrixView<const T> A, const Index* rows, const Index* columns, Block<T> Y) {
  for (Index i = first_row(); i < Y.rows; i += row_step()) {
    const T* const from = A.data + rows[i] * A.row_stride;
    for (Index j = first_col(); j < Y.cols; j += col_step()) Y(i, j) = from[columns[j] * A.col_stride];
  }
}

template <class T>
__global__ void __launch_bounds__(256) exponential(Block<T> X) {
  for (Index i = first_row(); i < X.rows; i += row_step())
    for (Index j = first_col(); j < X.cols; j += col_step()) X(i, j) = ::exp(X(i, j));
}

template <class T>
void gather_on_device(MatrixView<const T> A, const Index* rows, const Index* columns, Block<T> Y) {
  const auto uploaded = [](const Index* indices, Index count) {  // null: all of them
    std::vector<Index> all(indices ? 0 : static_cast<std::size_t>(count));
    std::iota(all.begin(), all.end(), Index{0});
    return Memory<Index>::from_host(indices ? indices : all.data(), count);
  };
  const Memory<Index> r = uploaded(rows, Y.rows), c = uploaded(columns, Y.cols);
  const Shape shape = over(Y.rows, Y.cols);
  launch("gather", gather<T>, shape.grid, shape.block, 0, A, r.data(), c.data(), Y);
}

template <class T>
Index bytes(Index count) {
  return count * static_cast<Index>(sizeof(T));
}

template <class T>
OwnedBlock<T> downloaded(Block<const T> X) {
  OwnedBlock<T> host(X.rows, X.cols);
  copy_rows(host.data(), bytes<T>(X.cols), X.data, bytes<T>(X.stride), bytes<T>(X.cols), X.rows, Way::to_host);
  return host;
}

template <class T>
void upload(Block<const T> host, Block<T> X) {
  copy_rows(X.data, bytes<T>(X.stride), host.data, bytes<T>(host.stride), bytes<T>(X.cols), X.rows, Way::to_device);
}

}  // namespace
}  // namespace cuda

template <class T>
void Cuda::to_host(Block<const T> X, double* A) {
  const OwnedBlock<T> host = cuda::downloaded<T>(X);
  std::copy_n(host.data(), X.rows * X.cols, A);
}

template <class T>
void Cuda::from_host(const double* A, Block<T> X) {
  OwnedBlock<T> host(X.rows, X.cols);
  std::transform(A, A + X.rows * X.cols, host.data(), [](double a) { return static_cast<T>(a); });
  cuda::upload<T>(host.view(), X);
}

template <class T>
void Cuda::add(double alpha, Block<const T> X, double beta, Block<T> Y) {
  const cuda::Shape shape = cuda::over(Y.rows, Y.cols);
  cuda::launch("add", cuda::add<T>, shape.grid, shape.block, 0, static_cast<T>(alpha), X, static_cast<T>(beta), Y);
}

template <class T>
void Cuda::scale_rows(const double* w, Block<const T> X, Block<T> Y) {
  const cuda::Shape shape = cuda::over(Y.rows, Y.cols);
  cuda::launch("scale_rows", cuda::scale_rows<T>, shape.grid, shape.block, 0, w, X, Y);
}

template <class T>
void Cuda::scale_columns(const double* w, Block<T> Y) {
  const auto factors = Memory<double>::from_host(w, Y.cols);
  const cuda::Shape shape = cuda::over(Y.rows, Y.cols);
  cuda::launch("scale_columns", cuda::scale_columns<T>, shape.grid, shape.block, 0, factors.data(), Y);
}

template <class T>
bool Cuda::all_finite(MatrixView<const T> A) {
  if (A.rows == 0 || A.cols == 0) return true;
  int found = 0;
  const auto flag = Memory<int>::from_host(&found, 1);
  const cuda::Shape shape = cuda::over(A.rows, A.cols);
  cuda::launch("find_nonfinite", cuda::find_nonfinite<T>, shape.grid, shape.block, 0, A, const_cast<int*>(flag.data()));
  flag.to_host(&found);
  return found == 0;
}

template <class T>
void Cuda::gather(MatrixView<const T> A, const Index* rows, const Index* columns, Block<T> Y) {
  cuda::gather_on_device<T>(A, rows, columns, Y);
}

template <class T>
void Cuda::gather_rows(Block<const T> X, const Index* rows, Index count, double* out) {
  Array<T> picked(count, X.cols);
  cuda::gather_on_device<T>(X.view(), rows, nullptr, picked.view());
  to_host<T>(picked.view(), out);
}

template <class T>
void Cuda::diagonal(MatrixView<const T> A, double* d) {
  Array<T> entries(A.rows, 1);
  const MatrixView<const T> along{A.data, A.rows, 1, A.row_stride + A.col_stride, 1};
  cuda::gather_on_device<T>(along, nullptr, nullptr, entries.view());
  to_host<T>(entries.view(), d);
}

// Rarely needed, and small beside a product: done on the host.
template <class T>
void Cuda::tall_qr(Block<T> X, double* R) {
  OwnedBlock<T> host = cuda::downloaded<T>(X);
  Cpu::tall_qr<T>(host.view(), R);
  cuda::upload<T>(host.view(), X);
}

template <class T>
void Cuda::exp(T* x, Index n) {
  const cuda::Shape shape = cuda::over(n, 1);
  cuda::launch("exponential", cuda::exponential<T>, shape.grid, shape.block, 0, Block<T>{x, n, 1, 1});
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                         \
  template void Cuda::to_host<T>(Block<const T>, double*);                                  \
  template void Cuda::from_host<T>(const double*, Block<T>);                                \
  template void Cuda::add<T>(double, Block<const T>, double, Block<T>);                     \
  template void Cuda::scale_rows<T>(const double*, Block<const T>, Block<T>);               \
  template void Cuda::scale_columns<T>(const double*, Block<T>);                            \
  template bool Cuda::all_finite<T>(MatrixView<const T>);                                   \
  template void Cuda::gather<T>(MatrixView<const T>, const Index*, const Index*, Block<T>); \
  template void Cuda::gather_rows<T>(Block<const T>, const Index*, Index, double*);         \
  template void Cuda::diagonal<T>(MatrixView<const T>, double*);                            \
  template void Cuda::tall_qr<T>(Block<T>, double*);                                        \
  template void Cuda::exp<T>(T*, Index);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
