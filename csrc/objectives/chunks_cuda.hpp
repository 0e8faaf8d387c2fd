// Rows of embeddings on a CUDA device, a chunk at a time, minus their mean: what moments_cuda.cpp and rows_cuda.cpp
// share. Everything is float64: a device of the kind that the backend asks for has it at half the rate of float32.
#pragma once

#include <algorithm>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "objectives/moments.hpp"

namespace eigencontext::objectives {

using cuda::Array;

// Rows of `width` numbers that fill a third of the L2 cache.
inline Index chunk_rows(Index rows, Index width) {
  constexpr Index numbers = cuda::tile_side * cuda::tile_side / 2;
  return std::min(rows, std::max(cuda::tile_side, numbers / std::max<Index>(1, width)));
}

// body(first row, rows) for chunk after chunk.
template <class Body>
void for_chunks(Index rows, Index chunk, const Body& body) {
  for (Index begin = 0; begin < rows; begin += chunk) body(begin, std::min(chunk, rows - begin));
}

// A small matrix of the host on the device; null: an empty one.
inline Array<double> uploaded(const double* values, Index rows, Index cols) {
  if (!values) return {};
  Array<double> array(rows, cols);
  Cuda::from_host<double>(values, array.view());
  return array;
}

// The rows of one side.
template <class T>
class Side {
 public:
  Side(MatrixView<const T> X, const double* mean, Index chunk)
      : X_(X), mean_(uploaded(mean, X.cols, 1)), room_(chunk, X.cols) {}
  Block<const double> load(Index begin, Index count) {
    const Block<double> out = room_.view().row_range(0, count);
    const MatrixView<const T> some{X_.data + begin * X_.row_stride, count, X_.cols, X_.row_stride, X_.col_stride};
    cuda::pack_points<double, T>(some, mean_.data(), 1, nullptr, out);
    return out;
  }

 private:
  MatrixView<const T> X_;
  Array<double> mean_, room_;
};

// Views of some inputs, one block of rows for each view.
template <class T>
class ViewRows {
 public:
  ViewRows(Views<const T> A, Index chunk) : A_(A), chunk_(chunk), room_(A.views * chunk, A.cols) {}
  void load(Index begin, Index count) {
    count_ = count;
    for (Index j = 0; j < A_.views; ++j) {
      const MatrixView<const T> x = A_.of(j);
      cuda::pack_points<double, T>({x.data + begin * x.row_stride, count, x.cols, x.row_stride, x.col_stride}, nullptr,
                                   1, nullptr, room_.view().row_range(j * chunk_, count));
    }
  }
  Block<const double> of(Index view) const { return room_.view().row_range(view * chunk_, count_); }

 private:
  Views<const T> A_;
  Index chunk_, count_ = 0;
  Array<double> room_;
};

// Weights of rows, ones where there are none.
class Weights {
 public:
  Weights(const double* w, Index rows, Index chunk) : given_(w != nullptr) {
    const std::vector<double> ones(given_ ? 0 : static_cast<std::size_t>(chunk), 1.0);
    w_ = uploaded(given_ ? w : ones.data(), given_ ? rows : chunk, 1);
  }
  Block<const double> of(Index begin, Index count) const { return w_.view().row_range(given_ ? begin : 0, count); }

 private:
  bool given_;
  Array<double> w_;
};

// M of Levels: (d x d).
inline std::vector<double> level_matrix(Levels levels, Index d) {
  std::vector<double> M(static_cast<std::size_t>(d * d));
  for (Index k = 0; k < d; ++k)
    for (Index j = 0; j < d; ++j)
      M[static_cast<std::size_t>(k * d + j)] = levels.joint ? levels.weights[std::max(k, j)] : k <= j ? 1.0 : 0.0;
  return M;
}

}  // namespace eigencontext::objectives
