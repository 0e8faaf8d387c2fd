#include "operators/dense.hpp"

#include <atomic>
#include <cmath>
#include <limits>
#include <utility>

namespace eigencontext {
namespace {

template <class T>
class Dense final : public Operator<Device, T> {
 public:
  Dense(MatrixView<const T> A, bool symmetric, std::shared_ptr<const void> keep_alive)
      : A_(A), symmetric_(symmetric), keep_alive_(std::move(keep_alive)) {}

  Index rows() const override { return A_.rows; }
  Index cols() const override { return A_.cols; }
  Cost cost(Index b) const override {
    const double entries = static_cast<double>(A_.rows) * static_cast<double>(A_.cols);
    return {2 * entries * static_cast<double>(b), entries * sizeof(T), 0};
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    ++reads_;
    Device::multiply<T>(A_, X, Y);
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    ++reads_;
    Device::multiply_transposed<T>(A_, Y, Z);
  }

  bool has_fused() const override { return true; }
  bool prefers_fused() const override { return true; }
  void multiply_fused(const double* w, Block<const T> X, Block<T> Z) const override {
    ++reads_;
    Device::multiply_fused<T>(A_, w, X, Z);
  }

  Index reads() const override { return reads_; }

  bool symmetric() const override { return symmetric_; }

  bool has_entries() const override { return symmetric_; }
  void entries(const Index* rows, const Index* columns, Block<T> Y) const override {
    Device::gather<T>(A_, rows, columns, Y);
  }
  void diagonal(double* d, double* rounding) const override {
    Device::diagonal<T>(A_, d);
    for (Index i = 0; i < A_.rows; ++i) rounding[i] = std::numeric_limits<T>::epsilon() * std::abs(d[i]);
  }

 private:
  MatrixView<const T> A_;
  bool symmetric_;
  mutable std::atomic<Index> reads_{0};
  std::shared_ptr<const void> keep_alive_;
};

}  // namespace

template <class T>
OperatorPtr<Device, T> make_dense(MatrixView<const T> A, bool symmetric, std::shared_ptr<const void> keep_alive) {
  return std::make_shared<const Dense<T>>(A, symmetric, std::move(keep_alive));
}

template OperatorPtr<Device, float> make_dense(MatrixView<const float>, bool, std::shared_ptr<const void>);
template OperatorPtr<Device, double> make_dense(MatrixView<const double>, bool, std::shared_ptr<const void>);

}  // namespace eigencontext
