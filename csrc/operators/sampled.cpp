#include "operators/sampled.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "backend/cpu/match.hpp"
#include "base/buffer.hpp"
#include "base/parallel.hpp"
#include "operators/points.hpp"

namespace eigencontext {
namespace {

using cpu::Code;
using points::ceil_div;

// map(code of row i, feature f) for all rows, side by side.
template <class S, class Map>
Buffer<S> pack_rows(MatrixView<const Code> X, const Map& map) {
  Buffer<S> out(X.rows * X.cols);
  points::for_rows(X.rows, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      for (Index f = 0; f < X.cols; ++f) out[i * X.cols + f] = map(X(i, f), f);
  });
  return out;
}

// Panels [panel][feature][panel_width<S>] (match.hpp) of map(code), zeros beyond the last row.
template <class S, class Map>
Buffer<Code> pack_codes(MatrixView<const Code> X, const Map& map) {
  constexpr Index width = cpu::panel_width<S>;
  const Index panels = ceil_div(X.rows, width);
  Buffer<Code> out(panels * width * X.cols);
  parallel_for(panels, [&](Index q, int) {
    Code* panel = out.data() + q * width * X.cols;
    for (Index j = 0; j < width; ++j) {
      const Index i = q * width + j;
      for (Index f = 0; f < X.cols; ++f) panel[f * width + j] = i < X.rows ? map(X(i, f)) : Code{0};
    }
  });
  return out;
}

constexpr auto same = [](Code code, Index) { return code; };

// Scores are sums of weights.
template <class S>
class Matches {
 public:
  Matches(const Codes& codes, MatrixView<const double> weights)
      : p_(codes.x.cols),
        x_(pack_rows<Code>(codes.x, same)),
        a_(pack_codes<S>(codes.a, [](Code code) { return code; })),
        weights_(pack_rows<S>(codes.x, [&](Code code, Index f) { return static_cast<S>(weights(f, code)); })) {}

  void operator()(Index i0, Index j0, Block<S> K) const {
    cpu::match_kernels<S>().matches(weights_.data() + i0 * p_, x_.data() + i0 * p_, K.rows, p_, a_.data() + j0 * p_,
                                    ceil_div(K.cols, cpu::panel_width<S>), K.data, K.stride);
  }
  double flops() const { return 2 * static_cast<double>(p_); }
  double bytes() const { return static_cast<double>(x_.size() + a_.size() + weights_.size() * Index{sizeof(S)}); }

 private:
  Index p_;
  Buffer<Code> x_, a_;
  Buffer<S> weights_;
};

// Scores are 0 or -infinity.
template <class S>
class Agreement {
 public:
  Agreement(const Codes& codes, MatrixView<const Code> visible)
      : p_(codes.x.cols),
        x_(pack_rows<Code>(codes.x, same)),
        a_(pack_codes<S>(codes.a, [](Code code) { return code; })),
        visible_(pack_codes<S>(visible, [](Code seen) { return seen ? Code{255} : Code{0}; })) {}

  void operator()(Index i0, Index j0, Block<S> K) const {
    cpu::match_kernels<S>().agreement(x_.data() + i0 * p_, K.rows, p_, a_.data() + j0 * p_, visible_.data() + j0 * p_,
                                      ceil_div(K.cols, cpu::panel_width<S>), K.data, K.stride);
  }
  double flops() const { return static_cast<double>(p_) / 4; }  // three operations on a word of bytes
  double bytes() const { return static_cast<double>(x_.size() + a_.size() + visible_.size()); }

 private:
  Index p_;
  Buffer<Code> x_, a_, visible_;
};

template <class T, class S, class Score>
class Sampled final : public tiled::Tiled<T, S>, public tiled::HasLogSums {
 public:
  Sampled(Index rows, Index cols, Score score, tiled::Offsets offsets, double keep)
      : tiled::Tiled<T, S>(rows, cols, false, keep),
        score_(std::move(score)),
        r_(tiled::converted<S>(offsets.rows, rows)),
        c_(tiled::converted<S>(offsets.cols, cols)) {}

  Cost cost(Index b) const override { return this->product_cost(b, score_.flops(), score_.bytes()); }

  void log_sums_of_rows(double* sums, double* effective) const override {
    this->stream_rows(exponents(), sums, effective);
  }
  void log_sums_of_columns(double* sums) const override { this->stream_columns(exponents(), sums); }

 private:
  void fill(Index i0, Index j0, Block<S> K) const override {
    score_(i0, j0, K);
    for (Index i = 0; i < K.rows; ++i) this->exponentials(r_[i0 + i], c_.data() + j0, K.row(i), K.cols);
  }
  auto exponents() const {
    return [this](Index i0, Index j0, Block<S> K) {
      score_(i0, j0, K);
      tiled::shift(r_.data() + i0, c_.data() + j0, K);
    };
  }

  Score score_;
  Buffer<S> r_, c_;
};

// The largest score that a row can have.
double largest_score(MatrixView<const Code> X, MatrixView<const double> weights) {
  Buffer<double> tops(ceil_div(X.rows, points::rows_per_chunk), 0.0);
  points::for_rows(X.rows, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      double sum = 0;
      for (Index f = 0; f < X.cols; ++f) sum += weights(f, X(i, f));
      tops[begin / points::rows_per_chunk] = std::max(tops[begin / points::rows_per_chunk], sum);
    }
  });
  return points::largest(tops);
}

template <class T, template <class> class Score, class Table>
OperatorPtr<Cpu, T> make(const Codes& codes, const Table& table, double score_size, tiled::Offsets offsets,
                         double keep) {
  const Index n = codes.x.rows, m = codes.a.rows;
  const auto in = [&](auto zero) -> OperatorPtr<Cpu, T> {
    using S = decltype(zero);
    return std::make_shared<Sampled<T, S, Score<S>>>(n, m, Score<S>(codes, table), offsets, keep);
  };
  const double size = score_size + tiled::largest(offsets.rows, n) + tiled::largest(offsets.cols, m);
  return tiled::cancels<T>(size) ? in(double{}) : in(T{});
}

}  // namespace

template <class T>
OperatorPtr<Cpu, T> make_matches(const Codes& codes, MatrixView<const double> weights, tiled::Offsets offsets,
                                 double keep) {
  return make<T, Matches>(codes, weights, largest_score(codes.x, weights), offsets, keep);
}

template <class T>
OperatorPtr<Cpu, T> make_agreement(const Codes& codes, MatrixView<const Code> visible, tiled::Offsets offsets,
                                   double keep) {
  return make<T, Agreement>(codes, visible, 0, offsets, keep);
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                                          \
  template OperatorPtr<Cpu, T> make_matches(const Codes&, MatrixView<const double>, tiled::Offsets, double); \
  template OperatorPtr<Cpu, T> make_agreement(const Codes&, MatrixView<const std::uint8_t>, tiled::Offsets, double);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
