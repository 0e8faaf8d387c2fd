// One pass over the rows of a tall basis V beside a narrow block X: X = X S - V C, then V^T X and X^T X of what is
// left.
//
// V comes from memory and is what takes the time, so each tile of its rows serves both products while it is in L1, and
// the next tile is fetched meanwhile. The kernels are those of the skinny products. Rows are cut into chunks and chunks
// into groups by shape alone; float32 sums are at most `chunk` rows long, everything above is float64, in chunk order.
#include <algorithm>
#include <limits>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/skinny.hpp"
#include "base/parallel.hpp"

namespace eigencontext {
namespace {

constexpr Index tile = 32, chunk = 512, most_groups = 32;  // rows, rows, private sums

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// Columns of X that one kernel takes together, padded to whole vectors.
struct Panel {
  Index first, cols, width, vectors;
};

std::vector<Panel> panels_of(Index cols, Index lanes, Index most) {
  const Index vectors = ceil_div(cols, lanes), count = ceil_div(vectors, most);
  std::vector<Panel> panels;
  for (Index p = 0; p < count; ++p) {
    const Index begin = p * vectors / count, size = (p + 1) * vectors / count - begin, first = begin * lanes;
    panels.push_back({first, std::min(cols - first, size * lanes), size * lanes, size});
  }
  return panels;
}

template <class T>
class Pass {
 public:
  Pass(Block<const T> V, const double* C, Block<T> X, const double* S, bool cross)
      : V_(V), X_(X), cross_(cross), table_(cpu::skinny_table<T>()) {
    panels_ = panels_of(X.cols, table_.lanes, table_.max_vectors);
    width_ = panels_.back().first + panels_.back().width;
    if (C) taken_ = packed(-1, C, V.cols);
    if (S) factor_ = packed(1, S, X.cols);
  }
  Index rows_of_sums() const { return (cross_ ? V_.cols : 0) + X_.cols; }
  Index size_of_sums() const { return rows_of_sums() * width_; }
  Index size_of_tile() const { return tile * width_; }

  // sums (rows_of_sums() x X.cols) += [V X]^T X of some rows.
  void run(Index begin, Index count, T* x, T* g, double* sums) const {
    std::fill_n(g, size_of_sums(), T(0));
    for (Index i = begin; i < begin + count; i += tile) step(i, std::min(tile, begin + count - i), x, g);
    for (const Panel& p : panels_)
      for (Index j = 0; j < rows_of_sums(); ++j)
        for (Index c = 0; c < p.cols; ++c)
          sums[j * X_.cols + p.first + c] += static_cast<double>(g[rows_of_sums() * p.first + j * p.width + c]);
  }

 private:
  // alpha C (rows x X.cols), panel after panel.
  Buffer<T> packed(double alpha, const double* C, Index rows) const {
    Buffer<T> result(rows * width_, T(0));
    for (const Panel& p : panels_)
      for (Index j = 0; j < rows; ++j)
        for (Index c = 0; c < p.cols; ++c)
          result[rows * p.first + j * p.width + c] = static_cast<T>(alpha * C[j * X_.cols + p.first + c]);
    return result;
  }

  // x = X S of some rows, packed.
  void load(Index begin, Index rows, T* x) const {
    for (const Panel& p : panels_) {
      T* out = x + tile * p.first;
      for (Index i = 0; i < rows; ++i) {
        const T* from = X_.row(begin + i) + p.first;
        __builtin_prefetch(from + tile * X_.stride);
        std::fill(factor_.size() ? out + i * p.width : std::copy_n(from, p.cols, out + i * p.width),
                  out + (i + 1) * p.width, T(0));
      }
      if (factor_.size())
        table_.along_rows[0][p.vectors - 1](rows, X_.cols, X_.row(begin), X_.stride, factor_.data() + X_.cols * p.first,
                                            out, 0);
    }
  }

  void step(Index begin, Index rows, T* x, T* g) const {
    const Index next = tile * V_.stride;
    load(begin, rows, x);
    for (const Panel& p : panels_) {
      if (!taken_.size()) break;
      T* out = x + tile * p.first;
      table_.along_rows[0][p.vectors - 1](rows, V_.cols, V_.row(begin), V_.stride, taken_.data() + V_.cols * p.first,
                                          out, next);
      for (Index i = 0; i < rows; ++i) std::copy_n(out + i * p.width, p.cols, X_.row(begin + i) + p.first);
    }
    for (const Panel& p : panels_) {
      const auto kernel = table_.along_columns[0][p.vectors - 1];
      T* sum = g + rows_of_sums() * p.first;
      if (cross_) kernel(V_.cols, rows, V_.row(begin), V_.stride, x + tile * p.first, sum, taken_.size() ? 0 : next);
      kernel(X_.cols, rows, X_.row(begin), X_.stride, x + tile * p.first, sum + (cross_ ? V_.cols * p.width : 0), 0);
    }
  }

  Block<const T> V_;
  Block<T> X_;
  bool cross_;
  const cpu::SkinnyTable<T>& table_;
  std::vector<Panel> panels_;
  Index width_;
  Buffer<T> taken_, factor_;  // -C and S
};

}  // namespace

template <class T>
bool Cpu::subtract(Block<const T> V, const double* C, Block<T> X, const double* S, double* VtX, double* XtX) {
  const Pass<T> pass(V, C, X, S, VtX != nullptr);
  const Index chunks = ceil_div(X.rows, chunk), groups = std::min(chunks, most_groups);
  const Index size = pass.rows_of_sums() * X.cols;
  Buffer<double> sums(groups * size, 0.0);
  Buffer<T> tiles(num_threads() * pass.size_of_tile()), partial(num_threads() * pass.size_of_sums());
  parallel_for(groups, [&](Index group, int worker) {
    for (Index c = group * chunks / groups; c < (group + 1) * chunks / groups; ++c)
      pass.run(c * chunk, std::min(chunk, X.rows - c * chunk), tiles.data() + worker * pass.size_of_tile(),
               partial.data() + worker * pass.size_of_sums(), sums.data() + group * size);
  });
  for (Index group = 1; group < groups; ++group)
    for (Index i = 0; i < size; ++i) sums[i] += sums[group * size + i];
  if (VtX) std::copy_n(sums.data(), V.cols * X.cols, VtX);
  std::copy_n(sums.data() + size - X.cols * X.cols, X.cols * X.cols, XtX);
  constexpr double least = sizeof(T) == 4 ? 1e-28 : 1e-280;
  for (Index j = 0; j < X.cols; ++j)
    if (const double square = XtX[j * X.cols + j]; !(square > least && square < 1 / least)) return false;
  return true;
}

template bool Cpu::subtract<float>(Block<const float>, const double*, Block<float>, const double*, double*, double*);
template bool Cpu::subtract<double>(Block<const double>, const double*, Block<double>, const double*, double*, double*);

}  // namespace eigencontext
