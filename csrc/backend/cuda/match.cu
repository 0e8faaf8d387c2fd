// Scores of points with small integer features, for sampled contexts.
#include <cstdint>

#include "backend/cuda/kernel.cuh"

namespace eigencontext::cuda {
namespace {

using Code = std::uint8_t;
using Word = std::uint32_t;

__global__ void __launch_bounds__(256) words_of(bool masks, MatrixView<const Code> X, Block<Word> words) {
  for (Index i = first_row(); i < words.rows; i += row_step())
    for (Index j = first_col(); j < words.cols; j += col_step()) {
      Word word = 0;
      for (int byte = 0; byte < 4; ++byte)
        if (const Index f = 4 * j + byte; f < X.cols) {
          const Word code = X(i, f);
          word |= (masks ? (code ? Word{255} : Word{0}) : code) << (8 * byte);
        }
      words(i, j) = word;
    }
}

template <class S>
__global__ void __launch_bounds__(256)
    weights_of(MatrixView<const Code> X, MatrixView<const double> table, Block<S> out) {
  for (Index i = first_row(); i < out.rows; i += row_step())
#pragma unroll 1
    for (Index f = first_col(); f < out.cols; f += col_step())
      out(i, f) = f < X.cols ? static_cast<S>(table(f, X(i, f))) : S(0);
}

// A block of 8 x 8 threads makes a tile of 32 x 32 entries, 4 x 4 for each thread, from 4 words (16 features) at a
// time.
constexpr int side = 32, step = 4;
constexpr int words_apart = step + 1;  // rows of shared memory, so that neighbours do not share a bank
constexpr std::size_t word_bytes = side * words_apart * sizeof(Word);
template <class S>
constexpr std::size_t match_shared = side * (4 * step + 1) * sizeof(S) + 2 * word_bytes;
constexpr std::size_t agreement_shared = 3 * word_bytes;

template <int count, int apart, class U>
__device__ void load(Block<const U> A, Index row, Index first, U* to) {
  for (int s = static_cast<int>(threadIdx.y * 8 + threadIdx.x); s < side * count; s += 64) {
    const Index i = row + s / count, j = first + s % count;
    to[s / count * apart + s % count] = i < A.rows && j < A.cols ? A(i, j) : U(0);
  }
}

template <class S>
__global__ void __launch_bounds__(64)
    match_tile(Block<const S> w, Block<const Word> X, Block<const Word> A, Block<S> K) {
  S* const weights = shared_memory<S>();
  Word* const x = reinterpret_cast<Word*>(weights + side * (4 * step + 1));
  Word* const a = x + side * words_apart;
  const Index i0 = Index{blockIdx.y} * side, j0 = Index{blockIdx.x} * side;
  S sum[4][4] = {};
  for (Index first = 0; first < X.cols; first += step) {
    load<4 * step, 4 * step + 1>(w, i0, 4 * first, weights);
    load<step, words_apart>(X, i0, first, x);
    load<step, words_apart>(A, j0, first, a);
    __syncthreads();
#pragma unroll 1
    for (int k = 0; k < step; ++k)
#pragma unroll
      for (int byte = 0; byte < 4; ++byte)
#pragma unroll
        for (int u = 0; u < 4; ++u) {
          const int row = 8 * u + static_cast<int>(threadIdx.y);
          const S weight = weights[row * (4 * step + 1) + 4 * k + byte];
          const Word code = x[row * words_apart + k];
#pragma unroll
          for (int v = 0; v < 4; ++v) {
            const Word other = a[(8 * v + threadIdx.x) * words_apart + k];
            if (((code ^ other) >> (8 * byte) & 255) == 0) sum[u][v] += weight;
          }
        }
    __syncthreads();
  }
#pragma unroll
  for (int u = 0; u < 4; ++u)
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const Index i = i0 + 8 * u + threadIdx.y, j = j0 + 8 * v + threadIdx.x;
      if (i < K.rows && j < K.cols) K(i, j) = sum[u][v];
    }
}

template <class S>
__global__ void __launch_bounds__(64)
    agreement_tile(Block<const Word> X, Block<const Word> A, Block<const Word> masks, Block<S> K) {
  Word* const x = shared_memory<Word>();
  Word* const a = x + side * words_apart;
  Word* const seen = a + side * words_apart;
  const Index i0 = Index{blockIdx.y} * side, j0 = Index{blockIdx.x} * side;
  Word differ[4][4] = {};
  for (Index first = 0; first < X.cols; first += step) {
    load<step, words_apart>(X, i0, first, x);
    load<step, words_apart>(A, j0, first, a);
    load<step, words_apart>(masks, j0, first, seen);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < step; ++k)
#pragma unroll
      for (int u = 0; u < 4; ++u)
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          const int column = (8 * v + static_cast<int>(threadIdx.x)) * words_apart + k;
          differ[u][v] |= (x[(8 * u + threadIdx.y) * words_apart + k] ^ a[column]) & seen[column];
        }
    __syncthreads();
  }
#pragma unroll
  for (int u = 0; u < 4; ++u)
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const Index i = i0 + 8 * u + threadIdx.y, j = j0 + 8 * v + threadIdx.x;
      if (i < K.rows && j < K.cols) K(i, j) = differ[u][v] ? static_cast<S>(-HUGE_VAL) : S(0);
    }
}

template <class S>
dim3 tiles_of(Block<S> K) {
  return dim3(static_cast<unsigned>(ceil_div(K.cols, side)), static_cast<unsigned>(ceil_div(K.rows, side)));
}

}  // namespace

void pack_codes(bool masks, MatrixView<const Code> X, Block<Word> words) {
  const Shape shape = over(words.rows, words.cols);
  launch("words_of", words_of, shape.grid, shape.block, 0, masks, X, words);
}

template <class S>
void pack_weights(MatrixView<const Code> X, MatrixView<const double> table, Block<S> out) {
  const Shape shape = over(out.rows, out.cols);
  launch("weights_of", weights_of<S>, shape.grid, shape.block, 0, X, table, out);
}

template <class S>
void match_scores(Block<const S> w, Block<const Word> X, Block<const Word> A, Block<S> K) {
  launch("match_tile", match_tile<S>, tiles_of(K), dim3(8, 8), match_shared<S>, w, X, A, K);
}

template <class S>
void agreement_scores(Block<const Word> X, Block<const Word> A, Block<const Word> masks, Block<S> K) {
  launch("agreement_tile", agreement_tile<S>, tiles_of(K), dim3(8, 8), agreement_shared, X, A, masks, K);
}

#define EIGENCONTEXT_INSTANTIATE(S)                                                           \
  template void pack_weights(MatrixView<const Code>, MatrixView<const double>, Block<S>);     \
  template void match_scores(Block<const S>, Block<const Word>, Block<const Word>, Block<S>); \
  template void agreement_scores(Block<const Word>, Block<const Word>, Block<const Word>, Block<S>);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext::cuda
