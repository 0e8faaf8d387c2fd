#include "operators/callback.hpp"

#include <utility>

namespace eigencontext {
namespace {

template <class T>
class Callback final : public Operator<Device, T> {
 public:
  Callback(Index rows, Index cols, BlockFunction<T> multiply, BlockFunction<T> multiply_transposed, bool symmetric)
      : rows_(rows),
        cols_(cols),
        multiply_(std::move(multiply)),
        multiply_transposed_(std::move(multiply_transposed)),
        symmetric_(symmetric) {}

  Index rows() const override { return rows_; }
  Index cols() const override { return cols_; }
  // What the functions do is unknown; what goes in and out is not.
  Cost cost(Index b) const override {
    return {0, (static_cast<double>(rows_) + static_cast<double>(cols_)) * static_cast<double>(b) * sizeof(T), 0};
  }
  void multiply(Block<const T> X, Block<T> Y) const override { multiply_(X, Y); }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override { multiply_transposed_(Y, Z); }
  bool symmetric() const override { return symmetric_; }

 private:
  Index rows_, cols_;
  BlockFunction<T> multiply_, multiply_transposed_;
  bool symmetric_;
};

}  // namespace

template <class T>
OperatorPtr<Device, T> make_callback(Index rows, Index cols, BlockFunction<T> multiply,
                                     BlockFunction<T> multiply_transposed, bool symmetric) {
  return std::make_shared<const Callback<T>>(rows, cols, std::move(multiply), std::move(multiply_transposed),
                                             symmetric);
}

template OperatorPtr<Device, float> make_callback(Index, Index, BlockFunction<float>, BlockFunction<float>, bool);
template OperatorPtr<Device, double> make_callback(Index, Index, BlockFunction<double>, BlockFunction<double>, bool);

}  // namespace eigencontext
