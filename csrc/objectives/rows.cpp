#include "objectives/rows.hpp"

#include <atomic>
#include <limits>
#include <type_traits>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "base/parallel.hpp"
#include "objectives/tile.hpp"

namespace eigencontext {
namespace {

using cpu::row_kernels;
using objectives::ceil_div;
using objectives::Shift;
using objectives::side_by_side;

constexpr Index tile_rows = 512;

// Where float32 intermediates of a gradient row could overflow or vanish although the row fits, the tile is computed in
// float64. Entries within these bounds are safe: |embedding|, |small matrix|, |factor of a row|, |columns|.
struct Bounds {
  double low, high;
  bool hold(double x) const { return x == 0 || (x >= low && x <= high); }
};
constexpr Bounds embedding_bounds{1e-15, 1e15}, matrix_bounds{1e-20, 1e15}, factor_bounds{1e-20, 1e15},
    column_bounds{1e-12, 1e12};

// The largest entry of each column of A must be within bounds, or 0.
bool columns_hold(const double* A, Index rows, Index cols, Bounds bounds) {
  for (Index j = 0; A && j < cols; ++j) {
    double peak = 0;
    for (Index i = 0; i < rows; ++i) peak = std::max(peak, std::abs(A[i * cols + j]));
    if (!bounds.hold(peak)) return false;
  }
  return true;
}

template <class S>
Buffer<S> rounded(const double* v, Index size, double otherwise) {
  Buffer<S> out(size, static_cast<S>(otherwise));
  for (Index i = 0; v && i < size; ++i) out[i] = static_cast<S>(v[i]);
  return out;
}

// The small matrices and vectors of one output in the precision S.
template <class S>
struct Factors {
  Buffer<S> P, Q, constant, columns_phi, columns_psi;
  Factors(const RowTerms& t, Index p, Index q, Index cols)
      : P(rounded<S>(t.P, t.P ? p * cols : 0, 0)),
        Q(rounded<S>(t.Q, t.Q ? q * cols : 0, 0)),
        constant(rounded<S>(t.constant, cols, 0)),
        columns_phi(rounded<S>(t.columns_phi, cols, 1)),
        columns_psi(rounded<S>(t.columns_psi, cols, 1)) {}
};

template <class T>
struct Output {
  RowTerms terms;
  MatrixView<T> out;
  bool phi_side;

  Index cols() const { return out.cols; }
  bool uses_dots() const { return terms.phi.dot != 0 || terms.psi.dot != 0; }
  bool safe(Index p, Index q) const {
    return columns_hold(terms.P, p, cols(), matrix_bounds) && columns_hold(terms.Q, q, cols(), matrix_bounds) &&
           columns_hold(terms.columns_phi, 1, cols(), column_bounds) &&
           columns_hold(terms.columns_psi, 1, cols(), column_bounds);
  }
};

// Everything that a call computes in the precision S: T itself, or float64 where that is not safe.
template <class T, class S>
class Computation {
 public:
  Computation(const GradientRows<T>& rows, const std::vector<Output<T>>& outputs)
      : rows_(rows),
        outputs_(outputs),
        p_(rows.phi.cols),
        q_(rows.psi.cols),
        m_(rows.mean_phi, p_),
        k_(rows.mean_psi, q_),
        levels_(rounded<S>(rows.levels.weights, rows.levels.weights ? p_ : 0, 0)) {
    for (const Output<T>& o : outputs) {
      factors_.emplace_back(o.terms, p_, q_, o.cols());
      safe_ = safe_ && (std::is_same_v<S, double> || o.safe(p_, q_));
    }
  }

  struct Scratch {
    Buffer<S> b, c, product, y, f, g, row;
    Buffer<T> copy;
    Buffer<double> t;
  };

  enum class Answer { finite, not_finite, not_safe };

  Answer tile(Index begin, Index count, Scratch& s) const {
    if (!safe_) return Answer::not_safe;
    if (s.b.size() == 0) allocate(s);
    if (!load(rows_.phi, m_, begin, count, s.b.data(), s) || !load(rows_.psi, k_, begin, count, s.c.data(), s))
      return Answer::not_safe;
    if (needs_dots()) row_kernels<S>().dots(s.b.data(), s.c.data(), count, p_, s.t.data());
    for (std::size_t o = 0; o < outputs_.size(); ++o)
      if (!(factor(outputs_[o].terms.phi, begin, count, s, s.f) && factor(outputs_[o].terms.psi, begin, count, s, s.g)))
        return Answer::not_safe;
    if (levels_.size())
      row_kernels<S>().level_products(s.b.data(), s.c.data(), count, p_, levels_.data(), rows_.levels.joint,
                                      s.y.data() + tile_rows * p_, s.y.data());
    bool finite = true;
    for (std::size_t o = 0; o < outputs_.size(); ++o) finite &= write(outputs_[o], factors_[o], begin, count, s);
    return finite ? Answer::finite : Answer::not_finite;
  }

 private:
  void allocate(Scratch& s) const {
    const Index widest = std::max(p_, q_);
    s.b = Buffer<S>(tile_rows * p_);
    s.c = Buffer<S>(tile_rows * q_);
    s.product = Buffer<S>(tile_rows * widest);
    s.y = Buffer<S>(levels_.size() ? tile_rows * p_ + 32 * (p_ + 16) : 0, S(0));
    s.f = Buffer<S>(tile_rows);
    s.g = Buffer<S>(tile_rows);
    s.row = Buffer<S>(widest);
    s.copy = Buffer<T>(tile_rows * widest);
    s.t = Buffer<double>(tile_rows);
  }

  // The shifted tile of one side; whether the largest entry of each column is within bounds.
  bool load(MatrixView<const T> X, const Shift<S>& shift, Index begin, Index count, S* out, Scratch& s) const {
    if (X.cols == 0) return true;
    const Block<const T> x = side_by_side(X, begin, count, s.copy.data());
    const auto moved = row_kernels<S>().shift;
    if constexpr (!std::is_same_v<T, S>) {
      for (Index i = 0; i < count; ++i) std::copy_n(x.row(i), X.cols, out + i * X.cols);
      moved(out, X.cols, count, X.cols, shift.high(), shift.low(), out, nullptr, nullptr);
      return true;
    } else {
      std::fill_n(s.row.data(), X.cols, S(0));
      moved(x.data, x.stride, count, X.cols, shift.high(), shift.low(), out, nullptr, s.row.data());
      return std::is_same_v<S, double> || std::all_of(s.row.data(), s.row.data() + X.cols, [](S peak) {
               return embedding_bounds.hold(static_cast<double>(peak));
             });
    }
  }

  bool needs_dots() const {
    return std::any_of(outputs_.begin(), outputs_.end(), [](const Output<T>& o) { return o.uses_dots(); });
  }

  // The factor of each row; whether the largest is within bounds.
  bool factor(const RowFactor& f, Index begin, Index count, Scratch& s, Buffer<S>& out) const {
    double peak = 0;
    for (Index i = 0; i < count; ++i) {
      double x = f.constant + f.weight * (rows_.weights ? rows_.weights[begin + i] : 1.0);
      if (f.dot != 0) x += f.dot * s.t[i];
      out[i] = static_cast<S>(x);
      peak = std::max(peak, std::abs(x));
    }
    return std::is_same_v<S, double> || factor_bounds.hold(peak);
  }

  bool write(const Output<T>& o, const Factors<S>& f, Index begin, Index count, Scratch& s) const {
    const Index cols = o.cols();
    // Nothing to multiply by: one row of zeros serves every row.
    const bool none = !o.terms.P && !o.terms.Q && o.terms.level_factor == 0;
    const Block<S> product{s.product.data(), count, cols, none ? 0 : cols};
    if (!o.terms.P) std::fill_n(product.data, (none ? 1 : count) * cols, S(0));
    if (o.terms.P) Cpu::tile_multiply<S>({s.b.data(), count, p_, p_}, {f.P.data(), p_, cols, cols}, product, 0);
    if (o.terms.Q) Cpu::tile_multiply<S>({s.c.data(), count, q_, q_}, {f.Q.data(), q_, cols, cols}, product);
    if (o.terms.level_factor != 0)
      row_kernels<S>().add_products(static_cast<S>(o.terms.level_factor), s.y.data(),
                                    o.phi_side ? s.c.data() : s.b.data(), count * cols, product.data);
    factor(o.terms.phi, begin, count, s, s.f);
    factor(o.terms.psi, begin, count, s, s.g);
    // A side that is not there, or has another width, is not looked at: its factor is 0.
    const bool phi_fits = p_ == cols, psi_fits = q_ == cols;
    bool finite = true;
    for (Index i = 0; i < count; ++i)
      finite &= write_row(o, f, product.row(i), s.f[i], phi_fits ? s.b.data() + i * p_ : product.row(i), s.g[i],
                          psi_fits ? s.c.data() + i * q_ : product.row(i), begin + i, s.row.data());
    return finite;
  }

  bool write_row(const Output<T>& o, const Factors<S>& f, const S* product, S a, const S* b, S g, const S* c, Index i,
                 S* row) const {
    const auto combine = row_kernels<S>().combine;
    const Index cols = o.cols();
    if constexpr (std::is_same_v<T, S>)
      if (o.out.col_stride == 1)
        return combine(product, f.constant.data(), a, b, f.columns_phi.data(), g, c, f.columns_psi.data(), cols,
                       rows_.accumulate, &o.out(i, 0));
    combine(product, f.constant.data(), a, b, f.columns_phi.data(), g, c, f.columns_psi.data(), cols, false, row);
    bool finite = true;
    for (Index j = 0; j < cols; ++j) {
      T& out = o.out(i, j);
      out = static_cast<T>(rows_.accumulate ? row[j] + static_cast<S>(out) : row[j]);
      finite &= std::isfinite(out);
    }
    return finite;
  }

  const GradientRows<T>& rows_;
  const std::vector<Output<T>>& outputs_;
  Index p_, q_;
  Shift<S> m_, k_;
  Buffer<S> levels_;
  std::vector<Factors<S>> factors_;
  bool safe_ = true;
};

// Computes every tile by `first`, and by `second` where that is not safe; returns whether all is finite.
template <class First, class Second>
bool for_tiles(Index rows, const First& first, const Second& second) {
  std::vector<typename First::Scratch> scratch(static_cast<std::size_t>(num_threads()));
  std::vector<typename Second::Scratch> wide(scratch.size());
  std::atomic<bool> finite{true};
  parallel_for(ceil_div(rows, tile_rows), [&](Index tile, int worker) {
    const Index begin = tile * tile_rows, count = std::min(tile_rows, rows - begin);
    const auto w = static_cast<std::size_t>(worker);
    if (const auto answer = first.tile(begin, count, scratch[w]); answer != First::Answer::not_safe) {
      if (answer == First::Answer::not_finite) finite.store(false);
    } else if (second.tile(begin, count, wide[w]) != Second::Answer::finite) {
      finite.store(false);
    }
  });
  return finite.load();
}

// Views: out_ij = a_ij P + sum_k (...) a_ik.
template <class T, class S>
class ViewComputation {
 public:
  ViewComputation(Views<const T> A, const double* weights, const double* P, double pair, double square, Views<T> out)
      : A_(A),
        weights_(weights),
        P_(rounded<S>(P, A.cols * A.cols, 0)),
        pair_(pair),
        square_(square),
        out_(out),
        safe_(std::is_same_v<S, double> || columns_hold(P, A.cols, A.cols, matrix_bounds)) {}

  struct Scratch {
    Buffer<S> views, product, f;
    Buffer<T> copy;
    Buffer<double> t;
  };
  enum class Answer { finite, not_finite, not_safe };

  Answer tile(Index begin, Index count, Scratch& s) const {
    const Index d = A_.cols, size = tile_rows * d;
    if (!safe_) return Answer::not_safe;
    if (s.views.size() == 0) {
      s.views = Buffer<S>(A_.views * size);
      s.product = Buffer<S>(size);
      s.copy = Buffer<T>(size);
      s.f = Buffer<S>(tile_rows);
      s.t = Buffer<double>(tile_rows);
    }
    for (Index j = 0; j < A_.views; ++j) {
      const Block<const T> x = side_by_side(A_.of(j), begin, count, s.copy.data());
      for (Index i = 0; i < count; ++i) std::copy_n(x.row(i), d, s.views.data() + j * size + i * d);
      if (!std::is_same_v<S, double> && !holds(s.views.data() + j * size, count)) return Answer::not_safe;
    }
    bool finite = true;
    for (Index j = 0; j < A_.views; ++j) {
      const S* a = s.views.data() + j * size;
      Cpu::tile_multiply<S>({a, count, d, d}, {P_.data(), d, d, d}, {s.product.data(), count, d, d}, 0);
      for (Index k = 0; k < A_.views; ++k) {
        const S* other = s.views.data() + k * size;
        row_kernels<S>().dots(a, other, count, d, s.t.data());
        for (Index i = 0; i < count; ++i) {
          const double pair = k == j ? 0.0 : pair_ * (weights_ ? weights_[begin + i] : 1.0);
          s.f[i] = static_cast<S>(pair + square_ * s.t[i]);
        }
        row_kernels<S>().add(s.f.data(), other, count, d, s.product.data());
      }
      finite &= store(s.product.data(), count, begin, out_.of(j));
    }
    return finite ? Answer::finite : Answer::not_finite;
  }

 private:
  static bool store(const S* rows, Index count, Index begin, MatrixView<T> out) {
    bool finite = true;
    for (Index i = 0; i < count; ++i)
      for (Index l = 0; l < out.cols; ++l) {
        const T x = static_cast<T>(rows[i * out.cols + l]);
        finite &= x - x == T(0);
        out(begin + i, l) = x;
      }
    return finite;
  }

  // The products of two views and the factor must fit too, so the embeddings' bounds are narrower.
  bool holds(const S* tile, Index count) const {
    Buffer<S> peaks(A_.cols, S(0));
    row_kernels<S>().peaks(tile, A_.cols, count, A_.cols, peaks.data());
    constexpr Bounds narrow{1e-8, 1e8};
    return std::all_of(peaks.begin(), peaks.end(), [&](S peak) { return narrow.hold(static_cast<double>(peak)); });
  }

  Views<const T> A_;
  const double* weights_;
  Buffer<S> P_;
  double pair_, square_;
  Views<T> out_;
  bool safe_;
};

}  // namespace

template <class T>
bool gradient_rows(const GradientRows<T>& rows) {
  std::vector<Output<T>> outputs;
  if (rows.phi_out.data) outputs.push_back({rows.phi_terms, rows.phi_out, true});
  if (rows.psi_out.data) outputs.push_back({rows.psi_terms, rows.psi_out, false});
  const Computation<T, T> usual(rows, outputs);
  const Computation<T, double> wide(rows, outputs);
  return for_tiles(rows.phi.rows, usual, wide);
}

template <class T>
bool view_rows(Views<const T> A, const double* weights, const double* P, double pair, double square, Views<T> out) {
  const ViewComputation<T, T> usual(A, weights, P, pair, square, out);
  const ViewComputation<T, double> wide(A, weights, P, pair, square, out);
  return for_tiles(A.inputs, usual, wide);
}

EIGENCONTEXT_INSTANTIATE_ROWS(float)
EIGENCONTEXT_INSTANTIATE_ROWS(double)

}  // namespace eigencontext
