// Exact nearest neighbours by tiles: nothing n x m is stored.
#pragma once

#include "base/views.hpp"

namespace eigencontext {

// The k rows of A nearest to each row of X; indices and values are row-major n x k, nearest first, ties to the lower
// index. values: euclidean distances, or 1 - cos (cos = 0 for a zero vector). exclude_self: row i is not its own
// neighbour (for A = X). A with 0 rows: A = X. Throws ArgumentError unless 1 <= k <= the number of candidates.
template <class T>
void top_k(MatrixView<const T> X, MatrixView<const T> A, Index k, bool cosine, bool exclude_self, Index* indices,
           T* values);

}  // namespace eigencontext
