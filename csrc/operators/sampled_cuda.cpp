// Operators of sampled contexts with integer features on a CUDA device.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/cuda.hpp"
#include "base/errors.hpp"
#include "operators/sampled.hpp"
#include "operators/tiled_cuda.hpp"

namespace eigencontext {
namespace {

template <class T>
using Array = cuda::Array<T>;
using Codes32 = Array<std::uint32_t>;

Index words(Index features) { return (features + 3) / 4; }

Codes32 packed(MatrixView<const std::uint8_t> X, bool masks = false) {
  Codes32 out(X.rows, words(X.cols));
  cuda::pack_codes(masks, X, out.view());
  return out;
}

template <class S>
Array<S> weights_of(MatrixView<const std::uint8_t> X, MatrixView<const double> table) {
  Array<S> out(X.rows, 4 * words(X.cols));
  cuda::pack_weights<S>(X, table, out.view());
  return out;
}

// Scores are sums of weights.
template <class S>
class Matches {
 public:
  Matches(const Codes& codes, MatrixView<const double> table)
      : x_(packed(codes.x)), a_(packed(codes.a)), weights_(weights_of<S>(codes.x, table)) {}

  void operator()(Index i, Index j, Block<S> K) const {
    cuda::match_scores<S>(weights_.view().row_range(i, K.rows), x_.view().row_range(i, K.rows),
                          a_.view().row_range(j, K.cols), K);
  }
  double flops() const { return 3 * static_cast<double>(weights_.cols()); }
  double bytes() const {
    return 4.0 * static_cast<double>((x_.rows() + a_.rows()) * x_.cols()) +
           static_cast<double>(weights_.rows() * weights_.cols()) * sizeof(S);
  }

 private:
  Codes32 x_, a_;
  Array<S> weights_;
};

// Scores are 0 or -infinity.
template <class S>
class Agreement {
 public:
  Agreement(const Codes& codes, MatrixView<const std::uint8_t> visible)
      : x_(packed(codes.x)), a_(packed(codes.a)), masks_(packed(visible, true)) {}

  void operator()(Index i, Index j, Block<S> K) const {
    cuda::agreement_scores<S>(x_.view().row_range(i, K.rows), a_.view().row_range(j, K.cols),
                              masks_.view().row_range(j, K.cols), K);
  }
  double flops() const { return 3 * static_cast<double>(x_.cols()); }
  double bytes() const { return 4.0 * static_cast<double>((x_.rows() + 2 * a_.rows()) * x_.cols()); }

 private:
  Codes32 x_, a_, masks_;
};

template <class S>
Array<S> rounded(const double* x, Index n) {
  if (!x) return {};
  Array<S> out(n, 1);
  Cuda::from_host<S>(x, out.view());
  return out;
}

template <class T, class S, class Score>
class Sampled final : public tiled::TiledOnDevice<T, S>, public tiled::HasLogSums {
 public:
  Sampled(Index rows, Index cols, Score score, tiled::Offsets offsets)
      : tiled::TiledOnDevice<T, S>(rows, cols, false),
        score_(std::move(score)),
        r_(rounded<S>(offsets.rows, rows)),
        c_(rounded<S>(offsets.cols, cols)) {}

  Cost cost(Index b) const override { return this->product_cost(b, score_.flops(), score_.bytes()); }

  void log_sums_of_rows(double* sums, double* effective) const override {
    this->log_sums(exponents(), sums, effective, nullptr);
  }
  void log_sums_of_columns(double* sums) const override { this->log_sums(exponents(), nullptr, nullptr, sums); }

 private:
  static const S* at(const Array<S>& x, Index i) { return x.rows() > 0 ? x.data() + i : nullptr; }
  void fill(Index i, Index j, Block<S> K) const override {
    score_(i, j, K);
    cuda::map_rbf<S>(at(r_, i), at(c_, j), K);
  }
  auto exponents() const {
    return [this](Index i, Index j, Block<S> K) {
      score_(i, j, K);
      cuda::map_shift<S>(at(r_, i), at(c_, j), K);
    };
  }

  Score score_;
  Array<S> r_, c_;
};

// The largest score that a row can have.
double largest_score(MatrixView<const std::uint8_t> X, MatrixView<const double> table) {
  const Array<double> weights = weights_of<double>(X, table);
  Array<double> sums(X.rows, 1), ones(weights.cols(), 1);
  const std::vector<double> one(static_cast<std::size_t>(weights.cols()), 1.0);
  Cuda::from_host<double>(one.data(), ones.view());
  Cuda::multiply<double>(weights.view().view(), ones.view(), sums.view());
  std::vector<double> on_host(static_cast<std::size_t>(X.rows));
  Cuda::to_host<double>(sums.view(), on_host.data());
  return on_host.empty() ? 0 : *std::max_element(on_host.begin(), on_host.end());
}

template <class T, template <class> class Score, class Table>
OperatorPtr<Cuda, T> make(const Codes& codes, const Table& table, double score_size, tiled::Offsets offsets,
                          double keep) {
  if (keep != 0) throw ArgumentError("keep", std::to_string(keep), "0: tiles are not kept on a CUDA device");
  const Index n = codes.x.rows, m = codes.a.rows;
  const auto in = [&](auto zero) -> OperatorPtr<Cuda, T> {
    using S = decltype(zero);
    return std::make_shared<Sampled<T, S, Score<S>>>(n, m, Score<S>(codes, table), offsets);
  };
  const double size = score_size + tiled::largest(offsets.rows, n) + tiled::largest(offsets.cols, m);
  return tiled::cancels<T>(size) ? in(double{}) : in(T{});
}

}  // namespace

template <class T>
OperatorPtr<Cuda, T> make_matches(const Codes& codes, MatrixView<const double> weights, tiled::Offsets offsets,
                                  double keep) {
  return make<T, Matches>(codes, weights, largest_score(codes.x, weights), offsets, keep);
}

template <class T>
OperatorPtr<Cuda, T> make_agreement(const Codes& codes, MatrixView<const std::uint8_t> visible, tiled::Offsets offsets,
                                    double keep) {
  return make<T, Agreement>(codes, visible, 0, offsets, keep);
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                                           \
  template OperatorPtr<Cuda, T> make_matches(const Codes&, MatrixView<const double>, tiled::Offsets, double); \
  template OperatorPtr<Cuda, T> make_agreement(const Codes&, MatrixView<const std::uint8_t>, tiled::Offsets, double);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
