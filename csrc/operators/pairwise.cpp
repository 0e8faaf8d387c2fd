#include "operators/pairwise.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "backend/cpu/tiles.hpp"
#include "base/errors.hpp"
#include "base/parallel.hpp"
#include "operators/points.hpp"
#include "operators/tiled.hpp"

namespace eigencontext {
namespace {

using Kind = KernelOptions::Kind;
using points::ceil_div;
using tiled::cancels;
using tiled::padded;
using tiled::tile_cols;
using tiled::tile_rows;
using tiled::tile_stride;

// Up to so many features the scores are summed in registers and mapped there; beyond, the BLAS blocks the sum.
constexpr Index fused_features = 512;

// Points in the precision S of the scores.
template <class S>
struct Points {
  Index count = 0;
  Buffer<S> rows;            // packed rows of features
  Buffer<S> panels;          // laplacian, rbf: the same, feature by feature
  bool differences = false;  // distances are summed from differences
  // rbf: -|x|^2 / 2 of the scaled, centred points (but from differences), plus the caller's offsets; as long as panels
  Buffer<S> offsets;
};

// T: the blocks. S: the scores, float64 for float32 blocks where float32 would cancel.
template <class T, class S>
class Pairwise final : public tiled::Tiled<T, S>, public tiled::HasLogSums {
 public:
  Pairwise(Index features, Points<S> x, Points<S> a, bool symmetric, const KernelOptions& options, double keep)
      : tiled::Tiled<T, S>(x.count, symmetric ? x.count : a.count, symmetric, keep),
        p_(features),
        x_(std::move(x)),
        a_(std::move(a)),
        symmetric_(symmetric),
        options_(options) {}

  Cost cost(Index b) const override {
    const double p = static_cast<double>(p_), points = static_cast<double>(x_.count + a_.count);
    return this->product_cost(b, (from_differences() ? 3 : 2) * p, points * p * sizeof(S));
  }

  void log_sums_of_rows(double* sums, double* effective) const override {
    this->stream_rows(exponents(), sums, effective);
  }
  void log_sums_of_columns(double* sums) const override { this->stream_columns(exponents(), sums); }

  bool has_entries() const override { return symmetric_ && options_.kind != Kind::polynomial; }
  void entries(const Index* rows, const Index* columns, Block<T> Y) const override {
    const Points<S> some = rows ? gathered(rows, Y.rows) : Points<S>{}, a = gathered(columns, Y.cols);
    const Points<S>& x = rows ? some : x_;
    constexpr Index size = tile_rows * tile_stride<S>;
    Buffer<S> room(num_threads() * size);
    parallel_for(ceil_div(Y.rows, tile_rows), [&](Index chunk, int worker) {
      const Index i0 = chunk * tile_rows, ni = std::min(tile_rows, Y.rows - i0);
      for (Index j0 = 0; j0 < Y.cols; j0 += tile_cols<S>) {
        const Index nj = std::min(tile_cols<S>, Y.cols - j0);
        const Block<S> K{room.data() + worker * size, ni, nj, tile_stride<S>};
        values(x, i0, a, j0, K);
        for (Index i = 0; i < ni; ++i) std::copy_n(K.row(i), nj, Y.row(i0 + i) + j0);
      }
    });
    for (Index j = 0; j < Y.cols; ++j) {
      const T value = static_cast<T>(own_similarity(columns[j]));
      if (!rows) Y(columns[j], j) = value;
      for (Index i = 0; rows && i < Y.rows; ++i)
        if (rows[i] == columns[j]) Y(i, j) = value;
    }
  }
  // The exponent of rbf, -|x - a|^2 / 2, is a difference of terms as large as |x|^2.
  void diagonal(double* d, double* rounding) const override {
    for (Index i = 0; i < this->rows(); ++i) {
      d[i] = own_similarity(i);
      const double terms = x_.offsets.size() > 0 && std::is_same_v<T, S> ? -4.0 * x_.offsets[i] : 0.0;
      rounding[i] = std::numeric_limits<T>::epsilon() * (1 + terms);
    }
  }

 private:
  const Points<S>& columns() const { return symmetric_ ? x_ : a_; }
  // laplacian, and rbf where |x|^2 + |a|^2 - 2 x.a would cancel.
  bool from_differences() const { return x_.differences; }
  bool fused() const { return x_.panels.size() > 0 && !x_.differences; }

  void fill(Index i0, Index j0, Block<S> K) const override {
    values(x_, i0, columns(), j0, K);
    if (symmetric_ && i0 == j0) make_symmetric(i0, K);
  }

  // The exponents of rbf, not bounded by 0.
  auto exponents() const {
    if (symmetric_ || options_.kind != Kind::rbf) throw ArgumentError("kernel", "another", "rbf of two sets of points");
    return [this](Index i0, Index j0, Block<S> K) {
      score(x_, i0, a_, j0, K);
      tiled::shift(x_.offsets.data() + i0, a_.offsets.data() + j0, K);
    };
  }

  // k(x, x), exactly.
  double own_similarity(Index i) const { return options_.kind == Kind::cosine && is_zero(i) ? 0.5 : 1.0; }

  Points<S> gathered(const Index* which, Index count) const {
    Points<S> some;
    some.count = count;
    some.differences = x_.differences;
    some.rows = Buffer<S>(count * p_);
    for (Index i = 0; i < count; ++i) std::copy_n(x_.rows.data() + which[i] * p_, p_, some.rows.data() + i * p_);
    if (x_.offsets.size() > 0) {
      some.offsets = padded<S>(count);
      for (Index i = 0; i < count; ++i) some.offsets[i] = x_.offsets[which[i]];
    }
    if (x_.panels.size() > 0)
      some.panels = points::pack_panels<S>(MatrixView<const S>{some.rows.data(), count, p_, p_, 1}, 1);
    return some;
  }

  void values(const Points<S>& x, Index i0, const Points<S>& a, Index j0, Block<S> K) const {
    if (fused())
      return cpu::tile_kernels<S>().rbf(x.offsets.data() + i0, a.offsets.data() + j0, x.rows.data() + i0 * p_, K.rows,
                                        p_, a.panels.data() + j0 * p_, ceil_div(K.cols, cpu::panel_width<S>), K.data,
                                        K.stride);
    score(x, i0, a, j0, K);
    map(x, i0, a, j0, K);
  }

  // The exponent where distances are summed from differences. The others: alpha x.a.
  void score(const Points<S>& x, Index i0, const Points<S>& a, Index j0, Block<S> K) const {
    if (from_differences()) {
      constexpr Index width = cpu::panel_width<S>;
      const cpu::TileKernels<S>& kernels = cpu::tile_kernels<S>();
      const bool rbf = options_.kind == Kind::rbf;
      const auto distances = rbf ? kernels.squared_distances : kernels.l1_distances;
      distances(options_.exponent_scale<S>(), x.rows.data() + i0 * p_, K.rows, p_, a.panels.data() + j0 * p_,
                ceil_div(K.cols, width), K.data, K.stride);
      return;
    }
    S alpha = 1;
    if (options_.kind == Kind::cosine) alpha = S(0.5);
    if (options_.kind == Kind::polynomial) alpha = S(1) / static_cast<S>(std::max<Index>(p_, 1));
    const Block<const S> A{x.rows.data() + i0 * p_, K.rows, p_, p_};
    const Block<const S> B{a.rows.data() + j0 * p_, K.cols, p_, p_};
    Cpu::tile_scores<S>(alpha, A, B, S(0), K);
  }

  void map(const Points<S>& x, Index i0, const Points<S>& a, Index j0, Block<S> K) const {
    const cpu::TileKernels<S>& kernels = cpu::tile_kernels<S>();
    for (Index i = 0; i < K.rows; ++i) {
      S* row = K.row(i);
      switch (options_.kind) {
        case Kind::rbf:
          kernels.exponents(x.offsets[i0 + i], a.offsets.data() + j0, row, K.cols);
          Cpu::exp<S>(row, K.cols);
          break;
        case Kind::laplacian:
          Cpu::exp<S>(row, K.cols);
          break;
        case Kind::cosine:
          kernels.cosine(row, K.cols);
          break;
        case Kind::polynomial:
          kernels.power(static_cast<S>(options_.coef0), options_.degree, row, K.cols);
          break;
      }
    }
  }

  // A tile on the diagonal: exactly symmetric, and k(x, x) = 1 where the kernel says so.
  void make_symmetric(Index i0, Block<S> K) const {
    for (Index i = 0; i < K.rows; ++i) {
      for (Index j = 0; j < i; ++j) K(i, j) = K(j, i);
      if (options_.kind == Kind::rbf || options_.kind == Kind::cosine) K(i, i) = static_cast<S>(own_similarity(i0 + i));
    }
  }

  bool is_zero(Index i) const {
    const S* x = x_.rows.data() + i * p_;
    return std::all_of(x, x + p_, [](S value) { return value == S(0); });
  }

  Index p_;
  Points<S> x_, a_;
  bool symmetric_;
  KernelOptions options_;
};

// `squares`: |x - centre|^2 of the scaled points; empty for differences of the points as they are. `offsets` (rbf):
// added to the exponents; may be null.
template <class T, class S>
Points<S> pack(MatrixView<const T> X, const KernelOptions& options, const double* centre, const Buffer<double>& squares,
               const double* offsets) {
  Points<S> out;
  out.count = X.rows;
  switch (options.kind) {
    case Kind::rbf:
      if (squares.size() == 0) {
        out.differences = true;
        out.panels = points::pack_panels<S>(X, options.unit());
        out.rows = points::pack<S>(X, nullptr, options.unit());
        out.offsets = tiled::converted<S>(offsets, X.rows);
        break;
      }
      out.rows = points::pack<S>(X, centre, 1 / options.bandwidth);
      if (X.cols <= fused_features && cpu::tile_kernels<S>().rbf)
        out.panels = points::pack_panels<S>(MatrixView<const S>{out.rows.data(), X.rows, X.cols, X.cols, 1}, 1);
      out.offsets = padded<S>(X.rows);
      for (Index i = 0; i < X.rows; ++i)
        out.offsets[i] = static_cast<S>((offsets ? offsets[i] : 0.0) - 0.5 * squares[i]);
      break;
    case Kind::laplacian:
      out.differences = true;
      out.panels = points::pack_panels<S>(X, 1);
      [[fallthrough]];
    case Kind::polynomial:
      out.rows = points::pack<S>(X, nullptr, 1);
      break;
    case Kind::cosine:
      out.rows = points::pack_normalised<S>(X);
      break;
  }
  return out;
}

}  // namespace

template <class T>
OperatorPtr<Cpu, T> make_pairwise(MatrixView<const T> X, MatrixView<const T> A, const KernelOptions& options,
                                  double keep, tiled::Offsets offsets) {
  options.check();
  const bool symmetric = A.rows == 0;
  Buffer<double> centre, x_squares, a_squares;
  double size = 0;  // bound of the terms of a score
  if (options.kind == Kind::rbf) {
    centre = points::mean(symmetric ? X : A);
    x_squares = points::squared_norms(X, centre.data(), 1 / options.bandwidth);
    if (!symmetric) a_squares = points::squared_norms(A, centre.data(), 1 / options.bandwidth);
    const double x = points::largest(x_squares), a = symmetric ? x : points::largest(a_squares);
    size = std::sqrt(x * a) + 0.5 * x + 0.5 * a;  // |x.a| + |x|^2 / 2 + |a|^2 / 2
    if (!std::isfinite(size))
      throw ArgumentError("bandwidth", std::to_string(options.bandwidth), "one that does not overflow for these data");
    if (cancels<double>(size)) {  // to pack(): differences
      x_squares = Buffer<double>();
      a_squares = Buffer<double>();
    }
    size += tiled::largest(offsets.rows, X.rows) + tiled::largest(offsets.cols, A.rows);
  } else if (options.kind == Kind::polynomial) {
    const double x = std::sqrt(points::largest(points::squared_norms(X, nullptr, 1)));
    const double a = symmetric ? x : std::sqrt(points::largest(points::squared_norms(A, nullptr, 1)));
    size = x * a / static_cast<double>(std::max<Index>(X.cols, 1)) + std::abs(options.coef0);
  }
  const auto make = [&](auto zero) -> OperatorPtr<Cpu, T> {
    using S = decltype(zero);
    Points<S> x = pack<T, S>(X, options, centre.data(), x_squares, offsets.rows), a;
    if (!symmetric) a = pack<T, S>(A, options, centre.data(), a_squares, offsets.cols);
    return std::make_shared<Pairwise<T, S>>(X.cols, std::move(x), std::move(a), symmetric, options, keep);
  };
  return cancels<T>(size) ? make(double{}) : make(T{});
}

template OperatorPtr<Cpu, float> make_pairwise(MatrixView<const float>, MatrixView<const float>, const KernelOptions&,
                                               double, tiled::Offsets);
template OperatorPtr<Cpu, double> make_pairwise(MatrixView<const double>, MatrixView<const double>,
                                                const KernelOptions&, double, tiled::Offsets);

}  // namespace eigencontext
