// The genuinely pairwise losses: tiles of scores Z = scale Phi Psi^T + ..., made in cache, mapped, reduced, forgotten.
//
// Blocks of rows meet blocks of columns as in a Latin square: in round r block I meets block I + r. No two threads
// write one block, and every sum has one order. Everything is added to what is there, so a batch may be handed over as
// chunks of rows against chunks of columns, in a fixed order. Memory: a tile a thread, and packed copies of strided
// rows.
#pragma once

#include "base/views.hpp"

namespace eigencontext {

// Some rows of Phi and of Psi; row i of Phi and row i of Psi, counted from the beginning of the batch, are a pair.
template <class T>
struct ScoreRows {
  MatrixView<const T> phi, psi;
  Index phi_begin = 0, psi_begin = 0;
  double scale = 1;
};

// For every row: the largest score z, sum exp(z - largest), and the score of its pair. Start with -infinity, 0.
struct LogSums {
  double *top, *sum;
};

// Raises the log-sum-exps of the rows and of the columns; pair[i] = z_ii.
template <class T>
void log_sums(const ScoreRows<T>& rows, LogSums of_phi, LogSums of_psi, double* pair);

// The largest score; without `own` that of pairs i = j does not count.
template <class T>
double largest_score(const ScoreRows<T>& rows, bool own);

// Where a sweep adds G Psi and G^T Phi; blocks without data are not computed.
template <class T>
struct ScoreOutputs {
  Block<T> phi, psi;
};

// Weights of the samples that the rows of each side belong to; null, both of them: ones.
struct SampleWeights {
  const double *phi = nullptr, *psi = nullptr;
};

// G = w_i exp(z_ij - l_i) + w_j exp(z_ij - m_j) - 2 w_i [i = j], from the log-sum-exps of rows and columns.
template <class T>
void softmax_products(const ScoreRows<T>& rows, const double* phi_log_sums, const double* psi_log_sums,
                      SampleWeights weights, ScoreOutputs<T> out);

struct SigmoidSums {
  double loss = 0, gradient = 0;  // sum w_ij log(1 + exp(-s z)), sum G
};

// With z + bias, s = 1 for pairs and -1 else, w_ij = (w_i + w_j) / 2: G = -w_ij s sigmoid(-s z).
template <class T>
SigmoidSums sigmoid_products(const ScoreRows<T>& rows, double bias, SampleWeights weights, ScoreOutputs<T> out);

// Exponentials w = exp(z_ij + r_i + c_j), the squares of f; `group` rows that follow each other belong to one input.
struct ExponentialOptions {
  const double* phi_offsets = nullptr;  // r; null, like c: none, and then z must not overflow
  const double* psi_offsets = nullptr;
  Index group = 1;
  // Phi and Psi are rows of the same side: i = j is no pair. Where they are also the same rows, each pair of tiles is
  // made once, and everything goes to the outputs and sums of phi.
  bool same = false;
  double pair_factor = 1;           // G = -pair_factor weight_i f within an input
  const double* weights = nullptr;  // of each row of phi within its input; null: ones
};
struct ExponentialSums {
  double pairs = 0, others = 0;  // sum of weight_i f within inputs, sum of w = f^2 between them
};

// G = w between inputs. phi_sums and psi_sums get G 1 and G^T 1 (null: not wanted).
template <class T>
ExponentialSums exponential_products(const ScoreRows<T>& rows, const ExponentialOptions& options, ScoreOutputs<T> out,
                                     double* phi_sums, double* psi_sums);

// What every device's file instantiates.
#define EIGENCONTEXT_INSTANTIATE_SCORES(T)                                                                          \
  template void log_sums<T>(const ScoreRows<T>&, LogSums, LogSums, double*);                                        \
  template double largest_score<T>(const ScoreRows<T>&, bool);                                                      \
  template void softmax_products<T>(const ScoreRows<T>&, const double*, const double*, SampleWeights,               \
                                    ScoreOutputs<T>);                                                               \
  template SigmoidSums sigmoid_products<T>(const ScoreRows<T>&, double, SampleWeights, ScoreOutputs<T>);            \
  template ExponentialSums exponential_products<T>(const ScoreRows<T>&, const ExponentialOptions&, ScoreOutputs<T>, \
                                                   double*, double*);

}  // namespace eigencontext
