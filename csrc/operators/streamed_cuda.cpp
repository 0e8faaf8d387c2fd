#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "backend/cuda/cuda.hpp"
#include "backend/cuda/stream.hpp"
#include "base/parallel.hpp"
#include "operators/streamed.hpp"

namespace eigencontext {
namespace {

constexpr Index piece_bytes = 1 << 20;  // that one thread packs at a time

template <class T>
class Streamed final : public Operator<Cuda, T> {
 public:
  Streamed(MatrixView<const T> A, bool symmetric, std::shared_ptr<const void> keep_alive)
      : A_(A),
        symmetric_(symmetric),
        keep_alive_(std::move(keep_alive)),
        stream_(A.cols * static_cast<Index>(sizeof(T))) {}

  Index rows() const override { return A_.rows; }
  Index cols() const override { return A_.cols; }
  bool symmetric() const override { return symmetric_; }
  Cost cost(Index b) const override {
    const double entries = static_cast<double>(A_.rows) * static_cast<double>(A_.cols);
    const double together = static_cast<double>(std::min(stream_.group(), A_.rows) * (2 * A_.cols + b));
    return {2 * entries * static_cast<double>(b), entries * sizeof(T), together * sizeof(T)};
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    each([&](Index i, MatrixView<const T> some) { Cuda::multiply<T>(some, X, Y.row_range(i, some.rows)); });
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    each([&](Index i, MatrixView<const T> some) { add_transposed(i, some, Y.row_range(i, some.rows), Z); });
  }

  bool has_fused() const override { return true; }
  bool prefers_fused() const override { return true; }
  void multiply_fused(const double* w, Block<const T> X, Block<T> Z) const override {
    cuda::Array<T> room;
    each([&](Index i, MatrixView<const T> some) {
      if (room.rows() < some.rows) room = cuda::Array<T>(some.rows, X.cols);
      const Block<T> y = room.view().row_range(0, some.rows);
      Cuda::multiply<T>(some, X, y);
      if (w) Cuda::scale_rows<T>(w + i, y, y);
      add_transposed(i, some, y, Z);
    });
  }

  Index reads() const override { return reads_; }

 private:
  static void add_transposed(Index i, MatrixView<const T> some, Block<const T> Y, Block<T> Z) {
    cuda::tile_multiply_transposed<T>({some.data, some.rows, some.cols, some.row_stride}, Y, i == 0 ? 0 : 1, Z);
  }

  // work(first row, rows on the device) for all groups in order.
  template <class Work>
  void each(const Work& work) const {
    const std::lock_guard lock(mutex_);
    ++reads_;
    const auto fill = [this](Index i, Index count, void* to) {
      T* const packed = static_cast<T*>(to);
      const Index step = std::max<Index>(1, piece_bytes / std::max<Index>(1, A_.cols * static_cast<Index>(sizeof(T))));
      parallel_for((count + step - 1) / step, [&](Index piece, int) {
        const Index begin = piece * step, end = std::min(count, begin + step);
        if (A_.col_stride == 1) {
          for (Index r = begin; r < end; ++r) std::copy_n(&A_(i + r, 0), A_.cols, packed + r * A_.cols);
        } else {  // columns outside: they may be what is contiguous
          for (Index j = 0; j < A_.cols; ++j)
            for (Index r = begin; r < end; ++r) packed[r * A_.cols + j] = A_(i + r, j);
        }
      });
    };
    stream_.each(A_.rows, fill, [&](Index i, Index count, const void* rows) {
      work(i, MatrixView<const T>{static_cast<const T*>(rows), count, A_.cols, A_.cols, 1});
    });
  }

  MatrixView<const T> A_;
  bool symmetric_;
  std::shared_ptr<const void> keep_alive_;
  mutable std::atomic<Index> reads_{0};
  mutable std::mutex mutex_;
  mutable cuda::RowStream stream_;
};

}  // namespace

template <class T>
OperatorPtr<Cuda, T> make_streamed(MatrixView<const T> A, bool symmetric, std::shared_ptr<const void> keep_alive) {
  return std::make_shared<const Streamed<T>>(A, symmetric, std::move(keep_alive));
}

template OperatorPtr<Cuda, float> make_streamed(MatrixView<const float>, bool, std::shared_ptr<const void>);
template OperatorPtr<Cuda, double> make_streamed(MatrixView<const double>, bool, std::shared_ptr<const void>);

}  // namespace eigencontext
