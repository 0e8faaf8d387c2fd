// Products and sums of blocks: tall, narrow and row-major. Rows are cut into chunks by shape alone, each chunk is one
// single-threaded BLAS call, and sums over chunks are added in float64 in chunk order: the same bits for any number of
// threads.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "backend/cpu/blas.hpp"
#include "backend/cpu/cpu.hpp"
#include "backend/cpu/rows.hpp"
#include "base/parallel.hpp"

namespace eigencontext {
namespace {

using blas::Op;

constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// Rows of a chunk where there is nothing to add up.
constexpr Index chunk_rows = 512;

template <class Body>
void for_row_chunks(Index rows, Index per_chunk, const Body& body) {  // body(begin, count, worker)
  parallel_for(ceil_div(rows, per_chunk), [&](Index chunk, int worker) {
    const Index begin = chunk * per_chunk;
    body(begin, std::min(per_chunk, rows - begin), worker);
  });
}

template <class T>
Buffer<T> rounded(double alpha, const double* C, Index size) {
  Buffer<T> result(size);
  for (Index i = 0; i < size; ++i) result[i] = static_cast<T>(alpha * C[i]);
  return result;
}

// --- gram ---

constexpr Index gram_tile = 384;  // G is computed in tiles of at most this side
constexpr Index gram_tasks = 32;  // at least so many where the rows suffice
template <class T>
constexpr Index gram_rows = std::is_same_v<T, float> ? 512 : 1024;  // float32 sums are at most this long

// The largest and the smallest non-zero of the columns' largest absolute values.
template <class T>
struct Range {
  double largest = 0, smallest = std::numeric_limits<double>::infinity();

  explicit Range(Block<const T> X) {
    T peak[gram_tile] = {};
    // Rows that follow each other without a gap are read several at a time, so that short rows are vectors too.
    const Index group = X.stride == X.cols ? std::max<Index>(1, 64 / X.cols) : 1;
    const Index groups = X.rows / group;
    const auto raise = cpu::row_kernels<T>().peaks;
    raise(X.data, group * X.stride, groups, group * X.cols, peak);
    raise(X.row(groups * group), X.stride, X.rows - groups * group, X.cols, peak);
    for (Index j = 0; j < X.cols; ++j) {
      T highest = peak[j];
      for (Index k = 1; k < group; ++k) highest = std::max(highest, peak[k * X.cols + j]);
      if (highest == 0) continue;
      largest = std::max(largest, static_cast<double>(highest));
      smallest = std::min(smallest, static_cast<double>(highest));
    }
  }
};

// Do the products of float32 entries and their sums over a chunk stay well inside float32?
bool products_fit(const Range<float>& x, const Range<float>& y) {
  return x.largest * y.largest * gram_rows<float> < 1e37 && !(x.smallest * y.smallest < 1e-24);
}

void widen(Block<const float> X, double* wide) {
  for (Index i = 0; i < X.rows; ++i) std::copy_n(X.row(i), X.cols, wide + i * X.cols);
}

using Scratch = Cpu::TileGramScratch;

// G += X^T Y for one chunk and tile; `same`: X is Y, and only the upper triangle is computed.
void add_chunk(Block<const double> X, Block<const double> Y, bool same, Block<double> G, Scratch*) {
  if (same) return blas::gram_upper<double>(1, X, 1, G);
  blas::gemm<double>(Op::transpose, Op::none, 1, X, Y, 1, G);
}

void add_chunk(Block<const float> X, Block<const float> Y, bool same, Block<double> G, Scratch* scratch) {
  const Range<float> x_range(X);
  if (!products_fit(x_range, same ? x_range : Range<float>(Y))) {
    constexpr Index room = gram_rows<float> * gram_tile;
    if (scratch->wide.size() == 0) scratch->wide = Buffer<double>(2 * room);
    double* const wide_x = scratch->wide.data();
    double* const wide_y = wide_x + room;
    widen(X, wide_x);
    if (!same) widen(Y, wide_y);
    const Block<const double> x{wide_x, X.rows, X.cols, X.cols};
    return add_chunk(x, same ? x : Block<const double>{wide_y, Y.rows, Y.cols, Y.cols}, same, G, nullptr);
  }
  if (scratch->product.size() == 0) scratch->product = Buffer<float>(gram_tile * gram_tile);
  const Block<float> product{scratch->product.data(), X.cols, Y.cols, Y.cols};
  if (same)
    blas::gram_upper<float>(1, X, 0, product);
  else
    blas::gemm<float>(Op::transpose, Op::none, 1, X, Y, 0, product);
  for (Index i = 0; i < X.cols; ++i) {
    const Index first = same ? i : 0;
    cpu::row_kernels<float>().accumulate(product.row(i) + first, Y.cols - first, G.row(i) + first);
  }
}

// --- finiteness ---

// The exponent of NaN and infinity is all ones.
template <class T>
bool finite_run(const T* x, Index n, Index stride) {
  using Bits = std::conditional_t<std::is_same_v<T, float>, std::uint32_t, std::uint64_t>;
  constexpr Bits exponent = std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
  Bits found = 0;
  if (stride == 1)
    for (Index i = 0; i < n; ++i) found |= static_cast<Bits>((std::bit_cast<Bits>(x[i]) & exponent) == exponent);
  else
    for (Index i = 0; i < n; ++i)
      found |= static_cast<Bits>((std::bit_cast<Bits>(x[i * stride]) & exponent) == exponent);
  return found == 0;
}

}  // namespace

// The rows are divided into groups, G into tiles; a task is one tile of one group, and walks the chunks of its group in
// order. Memory: groups x tiles <= about 32 tiles of float64, whatever the number of rows.
template <class T>
void Cpu::gram(Block<const T> X, Block<const T> Y, double* G) {
  const Index rows = X.rows, p = X.cols, q = Y.cols;
  if (p == 0 || q == 0) return;
  const bool same = X.data == Y.data && X.stride == Y.stride && p == q;
  const Index tile_rows = ceil_div(p, gram_tile), tile_cols = ceil_div(q, gram_tile), tiles = tile_rows * tile_cols;
  const Index chunks = ceil_div(rows, gram_rows<T>);
  const Index groups = std::clamp<Index>(ceil_div(gram_tasks, tiles), 1, std::max<Index>(1, chunks));

  Buffer<double> partial(groups * p * q, 0.0);
  std::vector<Scratch> scratch(static_cast<std::size_t>(num_threads()));
  parallel_for(groups * tiles, [&](Index task, int worker) {
    const Index group = task / tiles, tile_row = task % tiles / tile_cols, tile_col = task % tile_cols;
    if (same && tile_col < tile_row) return;
    const Index i0 = tile_row * gram_tile, j0 = tile_col * gram_tile;
    const Index height = std::min(gram_tile, p - i0), width = std::min(gram_tile, q - j0);
    const Block<double> g{partial.data() + group * p * q + i0 * q + j0, height, width, q};
    for (Index chunk = group * chunks / groups; chunk < (group + 1) * chunks / groups; ++chunk) {
      const Index begin = chunk * gram_rows<T>, count = std::min(gram_rows<T>, rows - begin);
      add_chunk(X.row_range(begin, count).col_range(i0, height), Y.row_range(begin, count).col_range(j0, width),
                same && tile_row == tile_col, g, &scratch[static_cast<std::size_t>(worker)]);
    }
  });

  std::copy_n(partial.data(), p * q, G);
  for (Index group = 1; group < groups; ++group)
    for (Index i = 0; i < p * q; ++i) G[i] += partial[group * p * q + i];
  if (!same) return;
  for (Index i = 0; i < p; ++i)
    for (Index j = 0; j < i; ++j) G[i * q + j] = G[j * q + i];
}

template <class T>
void Cpu::update(double alpha, Block<const T> X, const double* C, double beta, Block<T> Y) {
  const Buffer<T> c = rounded<T>(alpha, C, X.cols * Y.cols);
  for_row_chunks(Y.rows, chunk_rows, [&](Index begin, Index count, int) {
    blas::gemm<T>(Op::none, Op::none, 1, X.row_range(begin, count), {c.data(), X.cols, Y.cols, Y.cols},
                  static_cast<T>(beta), Y.row_range(begin, count));
  });
}

template <class T>
void Cpu::multiply_right(Block<T> X, const double* C) {
  if (X.rows == 0 || X.cols == 0) return;
  const Buffer<T> c = rounded<T>(1, C, X.cols * X.cols);
  const Index rows = std::min(chunk_rows, X.rows);
  Buffer<T> copies(num_threads() * rows * X.cols);
  for_row_chunks(X.rows, rows, [&](Index begin, Index count, int worker) {
    const Block<T> copy{copies.data() + worker * rows * X.cols, count, X.cols, X.cols};
    const Block<T> x = X.row_range(begin, count);
    for (Index i = 0; i < count; ++i) std::copy_n(x.row(i), X.cols, copy.row(i));
    blas::gemm<T>(Op::none, Op::none, 1, copy, {c.data(), X.cols, X.cols, X.cols}, 0, x);
  });
}

template <class T>
void Cpu::add(double alpha, Block<const T> X, double beta, Block<T> Y) {
  const T a = static_cast<T>(alpha), b = static_cast<T>(beta);
  for_row_chunks(Y.rows, chunk_rows, [&](Index begin, Index count, int) {
    for (Index i = begin; i < begin + count; ++i) {
      const T* x = X.row(i);
      T* y = Y.row(i);
      if (b == 0)
        for (Index j = 0; j < Y.cols; ++j) y[j] = a * x[j];  // Y may be anything, NaN too
      else
        for (Index j = 0; j < Y.cols; ++j) y[j] = a * x[j] + b * y[j];
    }
  });
}

template <class T>
void Cpu::scale_rows(const double* w, Block<const T> X, Block<T> Y) {
  for_row_chunks(Y.rows, chunk_rows, [&](Index begin, Index count, int) {
    for (Index i = begin; i < begin + count; ++i) {
      const double factor = w[i];
      const T* x = X.row(i);
      T* y = Y.row(i);
      for (Index j = 0; j < Y.cols; ++j) y[j] = static_cast<T>(factor * static_cast<double>(x[j]));
    }
  });
}

template <class T>
void Cpu::scale_columns(const double* w, Block<T> Y) {
  for_row_chunks(Y.rows, chunk_rows, [&](Index begin, Index count, int) {
    for (Index i = begin; i < begin + count; ++i) {
      T* y = Y.row(i);
      for (Index j = 0; j < Y.cols; ++j) y[j] = static_cast<T>(w[j] * static_cast<double>(y[j]));
    }
  });
}

template <class T>
void Cpu::subtract_row_squares(Block<const T> X, double* d) {
  for_row_chunks(X.rows, chunk_rows, [&](Index begin, Index count, int) {
    for (Index i = begin; i < begin + count; ++i) {
      const T* x = X.row(i);
      double sum = 0;
      for (Index j = 0; j < X.cols; ++j) sum += static_cast<double>(x[j]) * static_cast<double>(x[j]);
      d[i] -= sum;
    }
  });
}

template <class T>
void Cpu::gather_rows(Block<const T> X, const Index* rows, Index count, double* out) {
  for (Index i = 0; i < count; ++i) std::copy_n(X.row(rows[i]), X.cols, out + i * X.cols);
}

// By row chunks: X_c = Q_c R_c, then [R_1; R_2; ...] = Q' R, X_c <- Q_c Q'_c.
template <class T>
void Cpu::tall_qr(Block<T> X, double* R) {
  const Index b = X.cols, chunks = std::max<Index>(1, X.rows / std::max<Index>(4 * b, 1024));
  const auto begin = [&](Index c) { return c * X.rows / chunks; };
  Buffer<double> Rs(chunks * b * b);
  parallel_for(chunks, [&](Index c, int) {
    const Block<T> part = X.row_range(begin(c), begin(c + 1) - begin(c));
    Buffer<double> Q(part.rows * b);
    Cpu::to_host<T>(part, Q.data());
    host::qr(part.rows, b, Q.data(), Rs.data() + c * b * b);
    Cpu::from_host<T>(Q.data(), part);
  });
  if (chunks == 1) {
    std::copy_n(Rs.data(), b * b, R);
    return;
  }
  host::qr(chunks * b, b, Rs.data(), R);
  parallel_for(chunks, [&](Index c, int) {
    std::vector<double> row(static_cast<std::size_t>(b));
    for (Index i = begin(c); i < begin(c + 1); ++i) {
      std::fill(row.begin(), row.end(), 0.0);
      for (Index l = 0; l < b; ++l)
        for (Index j = 0; j < b; ++j) row[j] += static_cast<double>(X(i, l)) * Rs[(c * b + l) * b + j];
      for (Index j = 0; j < b; ++j) X(i, j) = static_cast<T>(row[j]);
    }
  });
}

template <class T>
void Cpu::to_host(Block<const T> X, double* A) {
  for (Index i = 0; i < X.rows; ++i) std::copy_n(X.row(i), X.cols, A + i * X.cols);
}

template <class T>
void Cpu::from_host(const double* A, Block<T> X) {
  for (Index i = 0; i < X.rows; ++i)
    for (Index j = 0; j < X.cols; ++j) X(i, j) = static_cast<T>(A[i * X.cols + j]);
}

template <class T>
void Cpu::leading_signs(Block<const T> X, double* signs) {
  std::vector<T> largest(static_cast<std::size_t>(X.cols), T(0));
  std::fill_n(signs, X.cols, 0.0);
  for (Index i = 0; i < X.rows; ++i)
    for (Index j = 0; j < X.cols; ++j) largest[j] = std::max(largest[j], std::abs(X(i, j)));
  for (Index i = 0; i < X.rows; ++i)
    for (Index j = 0; j < X.cols; ++j)
      if (signs[j] == 0 && std::abs(X(i, j)) >= largest[j] * static_cast<T>(1 - 1e-6)) signs[j] = X(i, j) < 0 ? -1 : 1;
}

template <class T>
void Cpu::gather(MatrixView<const T> A, const Index* rows, const Index* columns, Block<T> Y) {
  for_row_chunks(Y.rows, chunk_rows, [&](Index begin, Index count, int) {
    for (Index i = begin; i < begin + count; ++i)
      for (Index j = 0; j < Y.cols; ++j) Y(i, j) = A(rows ? rows[i] : i, columns[j]);
  });
}

template <class T>
void Cpu::diagonal(MatrixView<const T> A, double* d) {
  for (Index i = 0; i < A.rows; ++i) d[i] = static_cast<double>(A(i, i));
}

template <class T>
void Cpu::column_squares(Block<const T> X, double* sums) {
  constexpr Index rows = 4096;
  const Index chunks = ceil_div(X.rows, rows);
  Buffer<double> partial(chunks * X.cols, 0.0);
  for_row_chunks(X.rows, rows, [&](Index begin, Index count, int) {
    double* sum = partial.data() + begin / rows * X.cols;
    for (Index i = begin; i < begin + count; ++i) {
      const T* x = X.row(i);
      for (Index j = 0; j < X.cols; ++j) sum[j] += static_cast<double>(x[j]) * static_cast<double>(x[j]);
    }
  });
  std::fill_n(sums, X.cols, 0.0);
  for (Index chunk = 0; chunk < chunks; ++chunk)
    for (Index j = 0; j < X.cols; ++j) sums[j] += partial[chunk * X.cols + j];
}

template <class T>
bool Cpu::all_finite(MatrixView<const T> A) {
  if (A.rows == 0 || A.cols == 0) return true;
  if (std::abs(A.row_stride) < std::abs(A.col_stride)) A = A.transposed();  // along the closer neighbours
  constexpr Index run = 65536;
  const Index runs = ceil_div(A.cols, run), rows = std::max<Index>(1, run / A.cols);  // many rows, or parts of one
  std::atomic<bool> finite{true};
  parallel_for(ceil_div(A.rows, rows) * runs, [&](Index chunk, int) {
    const Index first = chunk / runs * rows, begin = chunk % runs * run;
    for (Index i = first; i < std::min(A.rows, first + rows) && finite.load(std::memory_order_relaxed); ++i)
      if (!finite_run(&A(i, begin), std::min(run, A.cols - begin), A.col_stride)) finite.store(false);
  });
  return finite.load();
}

template <class T>
void Cpu::tile_scores(T alpha, Block<const T> A, Block<const T> B, T beta, Block<T> C) {
  blas::gemm<T>(Op::none, Op::transpose, alpha, A, B, beta, C);
}

template <class T>
void Cpu::tile_multiply(Block<const T> A, Block<const T> X, Block<T> Y, T beta) {
  blas::gemm<T>(Op::none, Op::none, 1, A, X, beta, Y);
}

template <class T>
void Cpu::tile_multiply_transposed(Block<const T> A, Block<const T> Y, Block<T> Z) {
  blas::gemm<T>(Op::transpose, Op::none, 1, A, Y, 1, Z);
}

template <class T>
void Cpu::tile_gram(Block<const T> X, Block<const T> Y, Block<double> G, TileGramScratch& scratch) {
  const bool same = X.data == Y.data && X.stride == Y.stride && X.cols == Y.cols;
  for (Index i = 0; i < X.cols; i += gram_tile)
    for (Index j = same ? i : 0; j < Y.cols; j += gram_tile) {
      const Index height = std::min(gram_tile, X.cols - i), width = std::min(gram_tile, Y.cols - j);
      add_chunk(X.col_range(i, height), Y.col_range(j, width), same && i == j,
                G.row_range(i, height).col_range(j, width), &scratch);
    }
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                         \
  template void Cpu::gram<T>(Block<const T>, Block<const T>, double*);                      \
  template void Cpu::update<T>(double, Block<const T>, const double*, double, Block<T>);    \
  template void Cpu::multiply_right<T>(Block<T>, const double*);                            \
  template void Cpu::add<T>(double, Block<const T>, double, Block<T>);                      \
  template void Cpu::scale_rows<T>(const double*, Block<const T>, Block<T>);                \
  template void Cpu::scale_columns<T>(const double*, Block<T>);                             \
  template void Cpu::subtract_row_squares<T>(Block<const T>, double*);                      \
  template void Cpu::gather_rows<T>(Block<const T>, const Index*, Index, double*);          \
  template void Cpu::column_squares<T>(Block<const T>, double*);                            \
  template void Cpu::to_host<T>(Block<const T>, double*);                                   \
  template void Cpu::from_host<T>(const double*, Block<T>);                                 \
  template void Cpu::leading_signs<T>(Block<const T>, double*);                             \
  template void Cpu::gather<T>(MatrixView<const T>, const Index*, const Index*, Block<T>);  \
  template void Cpu::diagonal<T>(MatrixView<const T>, double*);                             \
  template void Cpu::tall_qr<T>(Block<T>, double*);                                         \
  template bool Cpu::all_finite<T>(MatrixView<const T>);                                    \
  template void Cpu::tile_scores<T>(T, Block<const T>, Block<const T>, T, Block<T>);        \
  template void Cpu::tile_multiply<T>(Block<const T>, Block<const T>, Block<T>, T);         \
  template void Cpu::tile_multiply_transposed<T>(Block<const T>, Block<const T>, Block<T>); \
  template void Cpu::tile_gram<T>(Block<const T>, Block<const T>, Block<double>, TileGramScratch&);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
