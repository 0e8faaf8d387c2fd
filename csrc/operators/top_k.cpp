#include "operators/top_k.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/tiles.hpp"
#include "base/errors.hpp"
#include "base/parallel.hpp"
#include "operators/points.hpp"

namespace eigencontext {
namespace {

using points::ceil_div;

constexpr Index tile_rows = 256, tile_cols = 512;

// A candidate's measure: squared distance, or 1 - cos. `exact` values come from the rows themselves in float64; the
// others from a matrix product, within `error` of the truth.
struct Candidate {
  double value;
  Index index;
  bool exact;
};

// A type, not a function: the sorting routines inline it.
struct Nearer {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.value < b.value || (a.value == b.value && a.index < b.index);
  }
};

// What the search reads, and the exact measure.
template <class T>
struct Problem {
  MatrixView<const T> X, A;
  bool cosine, exclude_self, self;
  Index k;
  Buffer<double> centre;                // euclidean: subtracted before products
  double scale = 1;                     // euclidean: a power of two that brings the data to about 1
  Buffer<double> x_scale, a_scale;      // cosine: 1 / |x|, 0 for a zero vector
  Buffer<double> x_squares, a_squares;  // euclidean: |scale (x - centre)|^2
  Buffer<T> x, a;                       // packed: centred or normalised
  double a_top = 0;                     // the largest of a_squares

  const Buffer<double>& candidate_squares() const { return self ? x_squares : a_squares; }
  const Buffer<double>& candidate_scale() const { return self ? x_scale : a_scale; }

  // |scale (x - a)|^2, or 1 - cos = |x / |x| - a / |a||^2 / 2, which is exactly 0 for equal rows.
  double exact(Index i, Index j) const {
    double sum = 0;
    if (!cosine) {
      for (Index f = 0; f < X.cols; ++f) {
        const double d = scale * static_cast<double>(X(i, f)) - scale * static_cast<double>(A(j, f));
        sum += d * d;
      }
      return sum;
    }
    const double sx = x_scale[i], sa = candidate_scale()[j];
    if (sx == 0 || sa == 0) return 1;
    for (Index f = 0; f < X.cols; ++f) {
      const double d = static_cast<double>(X(i, f)) * sx - static_cast<double>(A(j, f)) * sa;
      sum += d * d;
    }
    return 0.5 * sum;
  }
};

// The candidates of one row: at least the k nearest of those seen, and few more.
template <class T>
class Shortlist {
 public:
  static Index capacity(Index k) { return 2 * k + 64; }

  void start(const Problem<T>* problem, Index row, double error) {
    problem_ = problem;
    row_ = row;
    error_ = error;
    limit_ = std::numeric_limits<double>::infinity();
    list_.clear();
    list_.reserve(static_cast<std::size_t>(capacity(problem->k)));
  }

  // No approximate value above it can belong to the k nearest.
  double limit() const { return limit_; }
  Index exact_values() const { return exact_values_; }

  void add(double value, Index index) {
    if (value > limit_) return;
    if (static_cast<Index>(list_.size()) == capacity(problem_->k)) {
      shrink();
      if (value > limit_) return;
    }
    list_.push_back({value, index, false});
  }

  // The k nearest, in order.
  const std::vector<Candidate>& finish() {
    if (static_cast<Index>(list_.size()) > problem_->k) cut();
    refine();
    return list_;
  }

 private:
  // The k-th smallest value bounds the k-th distance by value + error, so what exceeds it by two errors is out.
  void cut() {
    const auto kth = list_.begin() + (problem_->k - 1);
    std::nth_element(list_.begin(), kth, list_.end(),
                     [](const Candidate& a, const Candidate& b) { return a.value < b.value; });
    limit_ = std::min(limit_, kth->value + 2 * error_);
    std::erase_if(list_, [&](const Candidate& c) { return c.value > limit_; });
  }

  // Exact values, the k nearest only. Later candidates have higher indices, so a tie does not let them in.
  void refine() {
    for (Candidate& c : list_)
      if (!c.exact) {
        c = {problem_->exact(row_, c.index), c.index, true};
        ++exact_values_;
      }
    std::sort(list_.begin(), list_.end(), Nearer{});
    if (static_cast<Index>(list_.size()) >= problem_->k) {
      list_.resize(static_cast<std::size_t>(problem_->k));
      limit_ = std::min(limit_, list_.back().value + error_);
    }
  }

  void shrink() {
    cut();
    if (static_cast<Index>(list_.size()) > capacity(problem_->k) - 32) refine();
  }

  const Problem<T>* problem_ = nullptr;
  Index row_ = 0, exact_values_ = 0;
  double error_ = 0, limit_ = 0;
  std::vector<Candidate> list_;
};

template <class T, class S>
struct Room {
  Buffer<S> tile{tile_rows * tile_cols}, offsets{tile_cols};
  Buffer<S> x, a;  // copies of a tile's points in S, where T differs
  std::vector<std::int32_t> found = std::vector<std::int32_t>(tile_cols);
};

// `count` packed points from `begin`, in S.
template <class S, class T>
Block<const S> points_of(const Problem<T>& problem, bool candidates, Index begin, Index count, Buffer<S>& room) {
  const MatrixView<const T>& rows = candidates ? problem.A : problem.X;
  const Index p = rows.cols;
  if constexpr (std::is_same_v<S, T>) {
    const Buffer<T>& packed = candidates && !problem.self ? problem.a : problem.x;
    return {packed.data() + begin * p, count, p, p};
  } else {
    if (room.size() < count * p) room = Buffer<S>(std::max(tile_rows, tile_cols) * p);
    const Buffer<double>& scale = candidates ? problem.candidate_scale() : problem.x_scale;
    for (Index i = 0; i < count; ++i)
      points::pack_row(rows, begin + i, problem.cosine ? nullptr : problem.centre.data(),
                       problem.cosine ? scale[begin + i] : problem.scale, room.data() + i * p);
    return {room.data(), count, p, p};
  }
}

// The error of a measure from scores in S: p + a few roundings of terms that add up to at most (|x| + |a|)^2.
template <class S, class T>
double error_bound(const Problem<T>& problem, Index i) {
  const double unit = 0.5 * std::numeric_limits<S>::epsilon();
  const double size = problem.cosine ? 2 : std::sqrt(problem.x_squares[i]) + std::sqrt(problem.a_top);
  const double terms = static_cast<double>(problem.X.cols + 12);
  return terms * (unit * size * size + static_cast<double>(std::numeric_limits<S>::min()));  // the latter: underflow
}

// The search for rows [i0, i0 + ni). False: scores in S tell too little apart, so too many exact values were needed.
template <class S, class T>
bool search(const Problem<T>& problem, Index i0, Index ni, std::vector<Shortlist<T>>& lists, bool may_give_up) {
  Room<T, S> room;
  const Index m = problem.A.rows;
  const S alpha = problem.cosine ? S(-1) : S(-2);
  const Block<const S> x = points_of<S>(problem, false, i0, ni, room.x);
  for (Index i = 0; i < ni; ++i) lists[i].start(&problem, i0 + i, error_bound<S>(problem, i0 + i));
  Index exact_before = 0, exact_now = 0;
  for (const Shortlist<T>& list : lists) exact_before += list.exact_values();

  for (Index j0 = 0; j0 < m; j0 += tile_cols) {
    const Index nj = std::min(tile_cols, m - j0);
    const Block<S> tile{room.tile.data(), ni, nj, tile_cols};
    Cpu::tile_scores<S>(alpha, x, points_of<S>(problem, true, j0, nj, room.a), S(0), tile);
    for (Index j = 0; j < nj; ++j)
      room.offsets[j] = problem.cosine ? S(1) : static_cast<S>(problem.candidate_squares()[j0 + j]);
    for (Index i = 0; i < ni; ++i) {
      const double own = problem.cosine ? 0.0 : problem.x_squares[i0 + i];  // d^2 = |x|^2 + (|a|^2 - 2 x.a)
      // Rounding of the limit itself is part of the error bound.
      const S limit = static_cast<S>(lists[i].limit() - own);
      const Index count = cpu::tile_kernels<S>().select(limit, room.offsets.data(), tile.row(i), nj, room.found.data());
      for (Index q = 0; q < count; ++q) {
        const Index j = room.found[q];
        if (problem.exclude_self && i0 + i == j0 + j) continue;
        lists[i].add(own + (static_cast<double>(room.offsets[j]) + static_cast<double>(tile(i, j))), j0 + j);
      }
    }
    if (may_give_up) {
      exact_now = 0;
      for (const Shortlist<T>& list : lists) exact_now += list.exact_values();
      if (exact_now - exact_before > ni * (16 * problem.k + m / 16)) return false;
    }
  }
  return true;
}

template <class T>
Problem<T> prepare(MatrixView<const T> X, MatrixView<const T> A, Index k, bool cosine, bool exclude_self) {
  Problem<T> problem{};
  problem.self = A.rows == 0;
  problem.X = X;
  problem.A = problem.self ? X : A;
  problem.cosine = cosine;
  problem.exclude_self = exclude_self;
  problem.k = k;
  const bool own = !problem.self;
  if (cosine) {
    problem.x_scale = points::inverse_norms(X);
    problem.x = points::pack_normalised<T>(X);
    if (own) problem.a_scale = points::inverse_norms(A);
    if (own) problem.a = points::pack_normalised<T>(A);
    return problem;
  }
  problem.centre = points::mean(problem.A);
  const double* centre = problem.centre.data();
  const double size = std::max(points::largest_deviation(X, centre), points::largest_deviation(problem.A, centre));
  if (size > 0) problem.scale = std::ldexp(1.0, -std::clamp(std::ilogb(size), -1000, 1000));
  problem.x_squares = points::squared_norms(X, centre, problem.scale);
  problem.x = points::pack<T>(X, centre, problem.scale);
  if (own) problem.a_squares = points::squared_norms(A, centre, problem.scale);
  if (own) problem.a = points::pack<T>(A, centre, problem.scale);
  problem.a_top = points::largest(problem.candidate_squares());
  return problem;
}

}  // namespace

template <class T>
void top_k(MatrixView<const T> X, MatrixView<const T> A, Index k, bool cosine, bool exclude_self, Index* indices,
           T* values) {
  const Index candidates = (A.rows == 0 ? X.rows : A.rows) - (exclude_self ? 1 : 0);
  if (X.rows == 0) return;
  if (k < 1 || k > candidates)
    throw ArgumentError("k", std::to_string(k), "1 to " + std::to_string(candidates) + ", the number of candidates");
  const Problem<T> problem = prepare(X, A, k, cosine, exclude_self);

  const Index memory_rows = std::clamp<Index>((Index{1} << 20) / Shortlist<T>::capacity(k), 1, tile_rows);
  const Index block = std::clamp<Index>(ceil_div(X.rows, 16), 1, memory_rows);
  parallel_for(ceil_div(X.rows, block), [&](Index chunk, int) {
    const Index i0 = chunk * block, ni = std::min(block, X.rows - i0);
    std::vector<Shortlist<T>> lists(static_cast<std::size_t>(ni));
    if (!search<T>(problem, i0, ni, lists, !std::is_same_v<T, double>)) search<double>(problem, i0, ni, lists, false);
    for (Index i = 0; i < ni; ++i) {
      Index rank = (i0 + i) * k;
      for (const Candidate& c : lists[i].finish()) {
        indices[rank] = c.index;
        values[rank++] = static_cast<T>(cosine ? std::max(0.0, c.value) : std::sqrt(c.value) / problem.scale);
      }
    }
  });
}

template void top_k(MatrixView<const float>, MatrixView<const float>, Index, bool, bool, Index*, float*);
template void top_k(MatrixView<const double>, MatrixView<const double>, Index, bool, bool, Index*, double*);

}  // namespace eigencontext
