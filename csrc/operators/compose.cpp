#include "operators/compose.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

#include "backend/backend.hpp"

namespace eigencontext {
namespace {

Cost operator+(Cost a, Cost b) { return {a.flops + b.flops, a.bytes + b.bytes, std::max(a.workspace, b.workspace)}; }

std::vector<double> gathered(const std::vector<double>& x, const Index* which, Index count) {
  std::vector<double> y(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) y[i] = x[which[i]];
  return y;
}

// x as a block of one column.
template <class Backend, class T>
typename Backend::template Array<T> column(const std::vector<double>& x) {
  typename Backend::template Array<T> X(static_cast<Index>(x.size()), 1);
  Backend::template from_host<T>(x.data(), X.view());
  return X;
}

// What every composition shares: the shape, and bytes of a scratch block.
template <class Backend, class T>
class Composition : public Operator<Backend, T> {
 public:
  using Part = OperatorPtr<Backend, T>;
  using Array = typename Backend::template Array<T>;

  Composition(Index rows, Index cols) : rows_(rows), cols_(cols) {}
  Index rows() const final { return rows_; }
  Index cols() const final { return cols_; }

 protected:
  static Cost with_scratch(Cost cost, Index rows, Index b) {
    cost.workspace += static_cast<double>(rows) * static_cast<double>(b) * sizeof(T);
    return cost;
  }

 private:
  Index rows_, cols_;
};

template <class Backend, class T>
class Scaled final : public Composition<Backend, T> {
 public:
  using typename Composition<Backend, T>::Part;
  using typename Composition<Backend, T>::Array;

  Scaled(Part A, std::vector<double> left, std::vector<double> right)
      : Composition<Backend, T>(A->rows(), A->cols()),
        A_(std::move(A)),
        left_(std::move(left)),
        right_(std::move(right)),
        rows_(column<Backend, double>(left_)),
        columns_(column<Backend, double>(right_)),
        rows_squared_(column<Backend, double>(squared(left_))) {}

  Cost cost(Index b) const override {
    const Index longest = std::max(right_.empty() ? 0 : this->cols(), left_.empty() ? 0 : this->rows());
    return this->with_scratch(A_->cost(b), longest, b);
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    scaled_input(columns_, X, [&](Block<const T> RX) { A_->multiply(RX, Y); });
    scale(rows_, Y);
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    scaled_input(rows_, Y, [&](Block<const T> LY) { A_->multiply_transposed(LY, Z); });
    scale(columns_, Z);
  }

  bool has_fused() const override { return A_->has_fused(); }
  bool prefers_fused() const override { return A_->prefers_fused(); }
  // diag(r) A^T diag(l^2 w) A diag(r) X.
  void multiply_fused(const double* w, Block<const T> X, Block<T> Z) const override {
    Weights both;
    if (w && rows_.rows() > 0) {
      both = Weights(this->rows(), 1);
      Backend::template scale_rows<double>(w, rows_squared_.view(), both.view());
      w = both.data();
    } else if (rows_.rows() > 0) {
      w = rows_squared_.data();
    }
    scaled_input(columns_, X, [&](Block<const T> RX) { A_->multiply_fused(w, RX, Z); });
    scale(columns_, Z);
  }

  bool symmetric() const override { return A_->symmetric() && left_ == right_; }

  bool has_entries() const override { return A_->has_entries() && left_ == right_; }
  void entries(const Index* rows, const Index* columns, Block<T> Y) const override {
    A_->entries(rows, columns, Y);
    if (left_.empty()) return;
    if (rows)
      scale(column<Backend, double>(gathered(left_, rows, Y.rows)), Y);
    else
      scale(rows_, Y);
    Backend::template scale_columns<T>(gathered(right_, columns, Y.cols).data(), Y);
  }
  void diagonal(double* d, double* rounding) const override {
    A_->diagonal(d, rounding);
    for (std::size_t i = 0; i < left_.size(); ++i) {
      d[i] *= left_[i] * left_[i];
      rounding[i] *= left_[i] * left_[i];
    }
  }

 private:
  using Weights = typename Backend::template Array<double>;  // empty: ones

  static std::vector<double> squared(std::vector<double> x) {
    for (double& xi : x) xi *= xi;
    return x;
  }
  template <class Use>
  static void scaled_input(const Weights& d, Block<const T> X, Use use) {
    if (d.rows() == 0) return use(X);
    Array DX(X.rows, X.cols);
    Backend::template scale_rows<T>(d.data(), X, DX.view());
    use(std::as_const(DX).view());
  }
  static void scale(const Weights& d, Block<T> X) {
    if (d.rows() > 0) Backend::template scale_rows<T>(d.data(), X, X);
  }

  Part A_;
  std::vector<double> left_, right_;
  Weights rows_, columns_, rows_squared_;
};

template <class Backend, class T>
class Deflated final : public Composition<Backend, T> {
 public:
  using typename Composition<Backend, T>::Part;
  using typename Composition<Backend, T>::Array;

  Deflated(Part A, const std::vector<double>& u, const std::vector<double>& v)
      : Composition<Backend, T>(A->rows(), A->cols()),
        A_(std::move(A)),
        u_(column<Backend, T>(u)),
        v_(column<Backend, T>(v)),
        sign_(sign_between(u, v)) {}

  Cost cost(Index b) const override {
    Cost cost = A_->cost(b);
    cost.flops += 4 * static_cast<double>(b) * (static_cast<double>(this->rows()) + static_cast<double>(this->cols()));
    return cost;
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    A_->multiply(X, Y);
    subtract_outer(u_, v_, X, Y);
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    A_->multiply_transposed(Y, Z);
    subtract_outer(v_, u_, Y, Z);
  }

  bool has_fused() const override { return A_->has_fused(); }
  bool prefers_fused() const override { return A_->prefers_fused(); }
  // With g = A^T W u and A_0 = A - u v^T:
  // A_0^T W A_0 X = A^T W A X - g (v^T X) + v (u^T W u (v^T X) - g^T X).
  void multiply_fused(const double* w, Block<const T> X, Block<T> Z) const override {
    A_->multiply_fused(w, X, Z);
    const auto correction = correction_for(w);
    const std::size_t b = static_cast<std::size_t>(X.cols);
    std::vector<double> inner(2 * b), coefficients(2 * b);
    const Block<const T> basis = correction->basis.view();  // the columns g and v
    Backend::template gram<T>(basis, X, inner.data());
    for (std::size_t j = 0; j < b; ++j) {
      coefficients[j] = -inner[b + j];
      coefficients[b + j] = correction->u_W_u * inner[b + j] - inner[j];
    }
    Backend::template update<T>(1.0, basis, coefficients.data(), 1.0, Z);
  }

  bool symmetric() const override { return A_->symmetric() && sign_ != 0; }

  bool has_entries() const override { return A_->has_entries() && sign_ != 0; }
  void entries(const Index* rows, const Index* columns, Block<T> Y) const override {
    A_->entries(rows, columns, Y);
    std::vector<double> v(static_cast<std::size_t>(Y.cols));
    Backend::template gather_rows<T>(v_.view(), columns, Y.cols, v.data());
    if (!rows) return Backend::template update<T>(-1.0, u_.view(), v.data(), 1.0, Y);
    std::vector<double> u(static_cast<std::size_t>(Y.rows));
    Backend::template gather_rows<T>(u_.view(), rows, Y.rows, u.data());
    Backend::template update<T>(-1.0, column<Backend, T>(u).view(), v.data(), 1.0, Y);
  }
  void diagonal(double* d, double* rounding) const override {
    A_->diagonal(d, rounding);
    std::vector<double> u(static_cast<std::size_t>(this->rows()));
    Backend::template to_host<T>(u_.view(), u.data());
    for (Index i = 0; i < this->rows(); ++i) {
      const double square = u[i] * u[i];
      d[i] -= sign_ * square;
      rounding[i] += std::numeric_limits<T>::epsilon() * square;
    }
  }

 private:
  struct Correction {
    Array basis;
    double u_W_u = 0;
  };

  static int sign_between(const std::vector<double>& u, const std::vector<double>& v) {
    if (u == v) return 1;
    const auto opposite = [](double a, double b) { return a == -b; };
    return std::equal(u.begin(), u.end(), v.begin(), v.end(), opposite) ? -1 : 0;
  }

  // Y -= u (v^T X).
  static void subtract_outer(const Array& u, const Array& v, Block<const T> X, Block<T> Y) {
    std::vector<double> inner(static_cast<std::size_t>(X.cols));
    Backend::template gram<T>(v.view(), X, inner.data());
    Backend::template update<T>(-1.0, u.view(), inner.data(), 1.0, Y);
  }

  Correction make_correction(const double* w) const {
    Array Wu(this->rows(), 1);
    if (w)
      Backend::template scale_rows<T>(w, u_.view(), Wu.view());
    else
      Backend::template add<T>(1.0, u_.view(), 0.0, Wu.view());
    Correction correction{Array(this->cols(), 2), 0};
    Backend::template gram<T>(u_.view(), std::as_const(Wu).view(), &correction.u_W_u);
    Array g(this->cols(), 1);
    A_->multiply_transposed(std::as_const(Wu).view(), g.view());
    Backend::template add<T>(1.0, std::as_const(g).view(), 0.0, correction.basis.view().col_range(0, 1));
    Backend::template add<T>(1.0, v_.view(), 0.0, correction.basis.view().col_range(1, 1));
    return correction;
  }

  // Computed once for w = ones. Other weights may change behind the same pointer, so they are not remembered.
  std::shared_ptr<const Correction> correction_for(const double* w) const {
    if (w) return std::make_shared<const Correction>(make_correction(w));
    const std::lock_guard lock(mutex_);
    if (!plain_) plain_ = std::make_shared<const Correction>(make_correction(nullptr));
    return plain_;
  }

  Part A_;
  Array u_, v_;
  int sign_;  // A - sign_ u u^T; 0 where v is neither u nor -u
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Correction> plain_;
};

template <class Backend, class T>
class Product final : public Composition<Backend, T> {
 public:
  using typename Composition<Backend, T>::Part;
  using typename Composition<Backend, T>::Array;

  Product(Part A, Part B) : Composition<Backend, T>(A->rows(), B->cols()), A_(std::move(A)), B_(std::move(B)) {}

  Cost cost(Index b) const override { return this->with_scratch(A_->cost(b) + B_->cost(b), B_->rows(), b); }

  void multiply(Block<const T> X, Block<T> Y) const override {
    Array BX(B_->rows(), X.cols);
    B_->multiply(X, BX.view());
    A_->multiply(std::as_const(BX).view(), Y);
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    Array AtY(A_->cols(), Y.cols);
    A_->multiply_transposed(Y, AtY.view());
    B_->multiply_transposed(std::as_const(AtY).view(), Z);
  }

  bool has_fused() const override { return A_->has_fused(); }
  bool prefers_fused() const override { return A_->prefers_fused(); }
  // B^T (A^T diag(w) A) B X.
  void multiply_fused(const double* w, Block<const T> X, Block<T> Z) const override {
    Array BX(B_->rows(), X.cols), middle(A_->cols(), X.cols);
    B_->multiply(X, BX.view());
    A_->multiply_fused(w, std::as_const(BX).view(), middle.view());
    B_->multiply_transposed(std::as_const(middle).view(), Z);
  }

 private:
  Part A_, B_;
};

// Sums and stacks: what is added up goes through one scratch block, in the order of the parts.
template <class Backend, class T, class Apply>
void add_into(bool first, double weight, Block<T> Z, typename Backend::template Array<T>& scratch, Apply apply) {
  if (first && weight == 1) return apply(Z);
  if (scratch.rows() != Z.rows || scratch.cols() != Z.cols)
    scratch = typename Backend::template Array<T>(Z.rows, Z.cols);
  apply(scratch.view());
  Backend::template add<T>(weight, std::as_const(scratch).view(), first ? 0.0 : 1.0, Z);
}

template <class Backend, class T>
Cost total_cost(const std::vector<OperatorPtr<Backend, T>>& parts, Index b) {
  Cost total;
  for (const auto& part : parts) total = total + part->cost(b);
  return total;
}

template <class Backend, class T>
Index total_rows(const std::vector<OperatorPtr<Backend, T>>& parts) {
  Index rows = 0;
  for (const auto& part : parts) rows += part->rows();
  return rows;
}

// [A_1; A_2; ...].
template <class Backend, class T>
class StackedRows final : public Composition<Backend, T> {
 public:
  using typename Composition<Backend, T>::Part;
  using typename Composition<Backend, T>::Array;

  explicit StackedRows(std::vector<Part> parts)
      : Composition<Backend, T>(total_rows(parts), parts.front()->cols()), parts_(std::move(parts)) {}

  Cost cost(Index b) const override { return this->with_scratch(total_cost(parts_, b), this->cols(), b); }

  void multiply(Block<const T> X, Block<T> Y) const override {
    for_parts([&](const auto& part, Index row, bool) { part.multiply(X, Y.row_range(row, part.rows())); });
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    Array scratch;
    for_parts([&](const auto& part, Index row, bool first) {
      add_into<Backend, T>(first, 1.0, Z, scratch,
                           [&](Block<T> out) { part.multiply_transposed(Y.row_range(row, part.rows()), out); });
    });
  }

  bool has_fused() const override {
    return std::all_of(parts_.begin(), parts_.end(), [](const Part& part) { return part->has_fused(); });
  }
  bool prefers_fused() const override {
    return std::all_of(parts_.begin(), parts_.end(), [](const Part& part) { return part->prefers_fused(); });
  }
  // sum_l A_l^T diag(w_l) A_l X.
  void multiply_fused(const double* w, Block<const T> X, Block<T> Z) const override {
    Array scratch;
    for_parts([&](const auto& part, Index row, bool first) {
      add_into<Backend, T>(first, 1.0, Z, scratch,
                           [&](Block<T> out) { part.multiply_fused(w ? w + row : nullptr, X, out); });
    });
  }

 private:
  template <class Visit>
  void for_parts(Visit visit) const {
    Index row = 0;
    for (const Part& part : parts_) {
      visit(*part, row, &part == parts_.data());
      row += part->rows();
    }
  }

  std::vector<Part> parts_;
};

template <class Backend, class T>
class WeightedSum final : public Composition<Backend, T> {
 public:
  using typename Composition<Backend, T>::Part;
  using typename Composition<Backend, T>::Array;

  WeightedSum(std::vector<Part> parts, std::vector<double> weights)
      : Composition<Backend, T>(parts.front()->rows(), parts.front()->cols()),
        parts_(std::move(parts)),
        weights_(std::move(weights)) {}

  Cost cost(Index b) const override {
    return this->with_scratch(total_cost(parts_, b), std::max(this->rows(), this->cols()), b);
  }

  void multiply(Block<const T> X, Block<T> Y) const override {
    sum(Y, [&](const auto& part, Block<T> out) { part.multiply(X, out); });
  }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override {
    sum(Z, [&](const auto& part, Block<T> out) { part.multiply_transposed(Y, out); });
  }
  bool symmetric() const override {
    return std::all_of(parts_.begin(), parts_.end(), [](const Part& part) { return part->symmetric(); });
  }

 private:
  template <class Apply>
  void sum(Block<T> Z, Apply apply) const {
    Array scratch;
    for (std::size_t l = 0; l < parts_.size(); ++l)
      add_into<Backend, T>(l == 0, weights_[l], Z, scratch, [&](Block<T> out) { apply(*parts_[l], out); });
  }

  std::vector<Part> parts_;
  std::vector<double> weights_;
};

template <class Backend, class T>
class Transposed final : public Composition<Backend, T> {
 public:
  using typename Composition<Backend, T>::Part;

  explicit Transposed(Part A) : Composition<Backend, T>(A->cols(), A->rows()), A_(std::move(A)) {}

  const Part& original() const { return A_; }
  Cost cost(Index b) const override { return A_->cost(b); }
  void multiply(Block<const T> X, Block<T> Y) const override { A_->multiply_transposed(X, Y); }
  void multiply_transposed(Block<const T> Y, Block<T> Z) const override { A_->multiply(Y, Z); }
  bool symmetric() const override { return A_->symmetric(); }

 private:
  Part A_;
};

}  // namespace

template <class Backend, class T>
OperatorPtr<Backend, T> make_scaled(OperatorPtr<Backend, T> A, std::vector<double> left, std::vector<double> right) {
  return std::make_shared<const Scaled<Backend, T>>(std::move(A), std::move(left), std::move(right));
}

template <class Backend, class T>
OperatorPtr<Backend, T> make_deflated(OperatorPtr<Backend, T> A, std::vector<double> u, std::vector<double> v) {
  return std::make_shared<const Deflated<Backend, T>>(std::move(A), u, v);
}

template <class Backend, class T>
OperatorPtr<Backend, T> make_product(OperatorPtr<Backend, T> A, OperatorPtr<Backend, T> B) {
  return std::make_shared<const Product<Backend, T>>(std::move(A), std::move(B));
}

template <class Backend, class T>
OperatorPtr<Backend, T> make_stacked(std::vector<OperatorPtr<Backend, T>> parts, int axis) {
  if (axis == 0) return std::make_shared<const StackedRows<Backend, T>>(std::move(parts));
  for (auto& part : parts) part = make_transposed<Backend, T>(part);  // [A_1, A_2] = [A_1^T; A_2^T]^T
  return make_transposed<Backend, T>(std::make_shared<const StackedRows<Backend, T>>(std::move(parts)));
}

template <class Backend, class T>
OperatorPtr<Backend, T> make_weighted_sum(std::vector<OperatorPtr<Backend, T>> parts, std::vector<double> weights) {
  return std::make_shared<const WeightedSum<Backend, T>>(std::move(parts), std::move(weights));
}

template <class Backend, class T>
OperatorPtr<Backend, T> make_transposed(OperatorPtr<Backend, T> A) {
  if (const auto transposed = std::dynamic_pointer_cast<const Transposed<Backend, T>>(A)) return transposed->original();
  return std::make_shared<const Transposed<Backend, T>>(std::move(A));
}

#define EIGENCONTEXT_INSTANTIATE(T)                                                                                \
  template OperatorPtr<Device, T> make_scaled(OperatorPtr<Device, T>, std::vector<double>, std::vector<double>);   \
  template OperatorPtr<Device, T> make_deflated(OperatorPtr<Device, T>, std::vector<double>, std::vector<double>); \
  template OperatorPtr<Device, T> make_product(OperatorPtr<Device, T>, OperatorPtr<Device, T>);                    \
  template OperatorPtr<Device, T> make_stacked(std::vector<OperatorPtr<Device, T>>, int);                          \
  template OperatorPtr<Device, T> make_weighted_sum(std::vector<OperatorPtr<Device, T>>, std::vector<double>);     \
  template OperatorPtr<Device, T> make_transposed(OperatorPtr<Device, T>);
EIGENCONTEXT_INSTANTIATE(float)
EIGENCONTEXT_INSTANTIATE(double)
#undef EIGENCONTEXT_INSTANTIATE

}  // namespace eigencontext
