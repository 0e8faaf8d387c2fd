// Sums over the rows of embeddings, in float64, from one read of the data.
//
// Rows are cut into tiles by shape alone. A tile is shifted by (about) its own mean in the precision of the data,
// multiplied in that precision, and added in float64; what lies between the means of the tiles is added exactly at the
// end. So nothing cancels, however large the means are, and no sweep is needed to find them.
#pragma once

#include <vector>

#include "base/views.hpp"

namespace eigencontext {

// What of Moments is wanted.
enum MomentFlags : unsigned {
  moment_pp = 1,       // B^T B
  moment_pq = 2,       // B^T C
  moment_qq = 4,       // C^T C
  moment_squares = 8,  // the diagonals of B^T B and C^T C alone
  moment_pairs = 16,   // the sums over pairs of columns, p = q
};

// B and C are the centred rows (phi_i - mean_phi, psi_i - mean_psi). Matrices are row-major and packed, empty where not
// asked for. Without weights w_i = 1.
struct Moments {
  std::vector<double> mean_phi, mean_psi;          // (p), (q)
  std::vector<double> pp, pq, qq;                  // (p x p), (p x q), (q x q)
  std::vector<double> squares_phi, squares_psi;    // (p), (q)
  double weight = 0;                               // sum w_i
  std::vector<double> weighted_phi, weighted_psi;  // (p): sum w_i b_i, sum w_i c_i
  std::vector<double> products;                    // (p): sum w_i b_ij c_ij
  std::vector<double> differences;                 // (p): sum w_i (b_ij - c_ij)^2
};

// Psi may be empty (no rows) when only pp and squares are asked for; weights may be null.
template <class T>
Moments moments(MatrixView<const T> Phi, MatrixView<const T> Psi, const double* weights, unsigned flags);

// Sums over the dot products t_i = <b_i, c_i>, b and c shifted by the given means (null: by nothing).
struct DiagonalSums {
  // Without levels: (1) sum t_i^2. With: (d) the same of the leading columns, sum_i (sum_{k <= l} b_ik c_ik)^2.
  std::vector<double> squares;
  // With means, (d): sum_i t_i b_i and sum_i t_i c_i; with level weights W sum_i ((b_i o c_i) M) o b_i and ... o c_i
  // (rows.hpp).
  std::vector<double> phi, psi;
};

// How levels (leading columns) are weighted: (x M)_j = sum_k x_k M_kj with M_kj = W_max(j,k) (joint) or [k <= j].
struct Levels {
  const double* weights = nullptr;  // W, (d); null: no levels
  bool joint = true;
};

template <class T>
DiagonalSums diagonal_sums(MatrixView<const T> Phi, const double* mean_phi, MatrixView<const T> Psi,
                           const double* mean_psi, Levels levels);

// Views a_ij, j < r, of N inputs: row i r + j of the view's arrays is reached by strides.
template <class T>
struct Views {
  T* data = nullptr;
  Index inputs = 0, views = 0, cols = 0;
  Index input_stride = 0, view_stride = 0, col_stride = 1;
  MatrixView<T> of(Index j) const { return {data + j * view_stride, inputs, cols, input_stride, col_stride}; }
};

struct ViewSums {
  double weight = 0, pairs = 0;  // sum w_i,  sum_i w_i sum_{j != k} <a_ij, a_ik>
  double squares = 0;            // sum_i sum_{j, k} <a_ij, a_ik>^2
};

template <class T>
ViewSums view_sums(Views<const T> A, const double* weights);

// What every device's file instantiates.
#define EIGENCONTEXT_INSTANTIATE_MOMENTS(T)                                                                      \
  template Moments moments<T>(MatrixView<const T>, MatrixView<const T>, const double*, unsigned);                \
  template DiagonalSums diagonal_sums<T>(MatrixView<const T>, const double*, MatrixView<const T>, const double*, \
                                         Levels);                                                                \
  template ViewSums view_sums<T>(Views<const T>, const double*);

}  // namespace eigencontext
