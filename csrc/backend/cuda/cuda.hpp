// The CUDA backend: the members of Cpu that operators and the solver ask for, on blocks in device memory. See cpu.hpp
// for what each of them does; `double*` arguments that are small matrices are on the host, vectors as long as a block
// (`w`) on the device.
#pragma once

#include <cstdint>

#include "backend/cpu/cpu.hpp"
#include "backend/cuda/memory.hpp"
#include "base/views.hpp"

namespace eigencontext {

struct Cuda {
  template <class T>
  using Array = cuda::Array<T>;
  template <class T>
  using Memory = cuda::Memory<T>;

  template <class T>
  static void to_host(Block<const T> X, double* A);
  template <class T>
  static void from_host(const double* A, Block<T> X);

  template <class T>
  static void fill_gaussian(Block<T> X, std::uint64_t seed, Index row0 = 0, Index col0 = 0);
  template <class T>
  static void gram(Block<const T> X, Block<const T> Y, double* G);
  template <class T>
  static void update(double alpha, Block<const T> X, const double* C, double beta, Block<T> Y);
  template <class T>
  static bool subtract(Block<const T> V, const double* C, Block<T> X, const double* S, double* VtX, double* XtX);
  template <class T>
  static void multiply_right(Block<T> X, const double* C);
  template <class T>
  static void add(double alpha, Block<const T> X, double beta, Block<T> Y);
  template <class T>
  static void scale_rows(const double* w, Block<const T> X, Block<T> Y);
  template <class T>
  static void scale_columns(const double* w, Block<T> Y);
  template <class T>
  static void subtract_row_squares(Block<const T> X, double* d);
  template <class T>
  static void gather_rows(Block<const T> X, const Index* rows, Index count, double* out);
  template <class T>
  static void column_squares(Block<const T> X, double* sums);
  template <class T>
  static void leading_signs(Block<const T> X, double* signs);
  template <class T>
  static bool all_finite(MatrixView<const T> A);
  template <class T>
  static void gather(MatrixView<const T> A, const Index* rows, const Index* columns, Block<T> Y);
  template <class T>
  static void diagonal(MatrixView<const T> A, double* d);
  template <class T>
  static void tall_qr(Block<T> X, double* R);
  template <class T>
  static void exp(T* x, Index n);

  template <class T>
  static void multiply(MatrixView<const T> A, Block<const T> X, Block<T> Y);
  template <class T>
  static void multiply_transposed(MatrixView<const T> A, Block<const T> Y, Block<T> Z);
  template <class T>
  static void multiply_fused(MatrixView<const T> A, const double* w, Block<const T> X, Block<T> Z);

  // A transposed copy is always kept: scattering would add in an order that nobody knows.
  static constexpr bool csr_scatters = false;
  template <class T, class Int>
  static Cpu::CsrFaults csr_check(CsrView<T, Int> A, Index capacity);
  template <class T, class Int>
  static void csr_multiply(CsrView<T, Int> A, Block<const T> X, Block<T> Y);
  template <class T, class Int>
  static void csr_transpose(CsrView<T, Int> A, Index bands, Int* offsets, Int* indices, T* values);
  template <class T, class Int>
  static Index csr_bands(CsrView<T, Int>) {
    return 1;
  }
};

// What kernel operators ask for beside: points packed in the precision S of their scores, and tiles of entries.
namespace cuda {

// The side of a square tile of entries: one in float32 takes 16 MiB and stays in the L2 cache (A100: 40, H100: 50 MiB)
// from the product that makes it to the one that uses it.
#ifndef EIGENCONTEXT_CUDA_TILE
#define EIGENCONTEXT_CUDA_TILE 2048
#endif
inline constexpr Index tile_side = EIGENCONTEXT_CUDA_TILE;

// means (X.cols x 1).
template <class T>
Array<double> column_means(MatrixView<const T> X);
// sum_f (scale (x_if - centre_f))^2, centre (X.cols, on the device) may be null.
template <class T>
Array<double> row_squares(MatrixView<const T> X, const double* centre, double scale);
// 1 / |x_i|, 0 for a zero vector; safe for values whose squares leave float64's range.
template <class T>
Array<double> inverse_row_norms(MatrixView<const T> X);
// out(i, f) = scale rows[i] (x_if - centre_f), computed in float64; centre and rows may be null.
template <class S, class T>
void pack_points(MatrixView<const T> X, const double* centre, double scale, const double* rows, Block<S> out);

// C = alpha A B^T.
template <class S>
void tile_scores(S alpha, Block<const S> A, Block<const S> B, Block<S> C);
// Y = A X + beta Y and Z = A^T Y + beta Z for a tile.
template <class T>
void tile_multiply(Block<const T> A, Block<const T> X, T beta, Block<T> Y);
template <class T>
void tile_multiply_transposed(Block<const T> A, Block<const T> Y, T beta, Block<T> Z);

// K(i, j) = exp(min(0, K(i, j) + r[i] + c[j])), and K(i, j) += r[i] + c[j]; null: zeros.
template <class S>
void map_rbf(const S* r, const S* c, Block<S> K);
template <class S>
void map_shift(const S* r, const S* c, Block<S> K);
// K(i, j) = min(1, max(0, K(i, j) + 1/2)).
template <class S>
void map_cosine(Block<S> K);
// K(i, j) = max(0, K(i, j) + shift)^degree.
template <class S>
void map_power(S shift, int degree, Block<S> K);
// K(i, j) = scale sum_f |a_if - b_jf|, or of the squares; or the exponential of that.
template <class S>
void distances(bool squared, bool exponential, S scale, Block<const S> A, Block<const S> B, Block<S> K);

// Points with small integer features, four to a word, features beyond the last 0. `masks`: 255 where a code is not 0.
void pack_codes(bool masks, MatrixView<const std::uint8_t> X, Block<std::uint32_t> words);
// out(i, f) = table(f, x_if), 0 beyond the last feature.
template <class S>
void pack_weights(MatrixView<const std::uint8_t> X, MatrixView<const double> table, Block<S> out);
// K(i, j) = sum_f w_if [x_if = a_jf].
template <class S>
void match_scores(Block<const S> w, Block<const std::uint32_t> X, Block<const std::uint32_t> A, Block<S> K);
// K(i, j) = 0 where x and a agree in all that the masks of a_j show, else -infinity.
template <class S>
void agreement_scores(Block<const std::uint32_t> X, Block<const std::uint32_t> A, Block<const std::uint32_t> masks,
                      Block<S> K);
// The lower triangle from the upper one; K(i, i) = own[i], unless null.
template <class S>
void make_symmetric(const double* own, Block<S> K);
// Y(i, j) = own[columns[j]] where rows[i] == columns[j]; rows null: i itself. The indices are on the host.
template <class T>
void set_own(const double* own, const Index* rows, const Index* columns, Block<T> Y);
// out[i] = alpha x[i], rounded.
template <class S>
void round_vector(double alpha, Block<const double> x, S* out);
// Y = X, rounded.
template <class S, class T>
void convert(Block<const S> X, Block<T> Y);

// Rows of embeddings, in float64. out = alpha X o Y + beta out (0: out is not read).
void multiply_elements(double alpha, Block<const double> X, Block<const double> Y, double beta, Block<double> out);
// t[i] = <X(i, :), Y(i, :)>.
void row_dots(Block<const double> X, Block<const double> Y, double* t);
// f[i] = constant + weight w[i] + dot t[i]; w null: ones, t null: zeros.
void row_factors(Index rows, double constant, double weight, const double* w, double dot, const double* t, double* f);
// out = product + constant + f b o columns_b + g c o columns_c (+ out where accumulate), rounded once. Null: no
// constant, no such term, ones in place of columns.
template <class T>
void combine(Block<const double> product, const double* constant, const double* f, Block<const double> b,
             const double* columns_b, const double* g, Block<const double> c, const double* columns_c, bool accumulate,
             MatrixView<T> out);

// Tiles of scores; the pair of row i is column i + shift. Vectors are on the device, float64.
// Raises the log-sum-exps (top, sum of exp(z - top)) of the rows and of the columns.
template <class T>
void raise_log_sums(Block<const T> Z, double* row_tops, double* row_sums, double* column_tops, double* column_sums);
// pair[i] = the score of the pair, where it is in the tile.
template <class T>
void pick_pairs(Block<const T> Z, Index shift, double* pair);
// Z = w_i exp(z - l_i) + v_j exp(z - m_j) - 2 w_i [pair]; w, v null: ones.
template <class T>
void map_softmaxes(const double* l, const double* m, const double* w, const double* v, Index shift, Block<T> Z);
// With z + bias, s = 1 for the pair, -1 else, u = (w_i + v_j) / 2: Z = -u s sigmoid(-s z), losses[i] += u log(1 +
// exp(-s z)), gradients[i] += Z(i, j).
template <class T>
void map_sigmoids(double bias, const double* w, const double* v, Index shift, double* losses, double* gradients,
                  Block<T> Z);
// tops[i] = max(tops[i], Z(i, j)); without `own` the pair does not count.
template <class T>
void raise_tops(Block<const T> Z, Index shift, bool own, double* tops);
// With z = Z + r_i + c_j, at most 0 (r, c null: z = Z): Z = exp(z) between inputs, -pair_factor w_i exp(z / 2) within
// one; 0 for the pair where `same`. An input has `group` rows, row 0 is its row number first % group. pairs[i] +=
// times sum w_i exp(z / 2), others[i] += times sum exp(z), sums[i] += sum Z(i, j) unless null.
template <class T>
void map_exponentials(const double* r, const double* c, Index first, Index group, Index shift, bool same,
                      double pair_factor, const double* w, double times, double* pairs, double* others, double* sums,
                      Block<T> Z);
// sums[j] += sum_i Z(i, j).
template <class T>
void add_column_sums(Block<const T> Z, double* sums);

}  // namespace cuda
}  // namespace eigencontext
