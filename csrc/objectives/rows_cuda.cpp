// Rows of gradients on a CUDA device, in float64, a chunk at a time.
#include "objectives/chunks_cuda.hpp"
#include "objectives/rows.hpp"

namespace eigencontext {
namespace {

using namespace objectives;
using Rows = Block<const double>;

template <class T>
MatrixView<T> some_rows(MatrixView<T> X, Index begin, Index count) {
  return {X.data + begin * X.row_stride, count, X.cols, X.row_stride, X.col_stride};
}

// What the rows of a chunk share: b, c, <b, c>, ((b o c) M), their weights.
struct Chunk {
  Rows b, c, y;
  const double *t, *w;
};

// One side's gradient.
template <class T>
class Output {
 public:
  Output(const RowTerms& terms, MatrixView<T> out, bool phi_side, Index p, Index q, Index chunk)
      : terms_(terms),
        out_(out),
        phi_side_(phi_side),
        P_(uploaded(terms.P, p, out.cols)),
        Q_(uploaded(terms.Q, q, out.cols)),
        constant_(uploaded(terms.constant, out.cols, 1)),
        columns_phi_(uploaded(terms.columns_phi, out.cols, 1)),
        columns_psi_(uploaded(terms.columns_psi, out.cols, 1)),
        product_(chunk, out.cols),
        f_(chunk, 1),
        g_(chunk, 1) {}

  void write(Index begin, Index count, const Chunk& s, bool accumulate) {
    const Block<double> product = product_.view().row_range(0, count);
    if (P_.rows() > 0)
      cuda::tile_multiply<double>(s.b, P_.view(), 0, product);
    else
      Cuda::add<double>(0, product, 0, product);
    if (Q_.rows() > 0) cuda::tile_multiply<double>(s.c, Q_.view(), 1, product);
    if (terms_.level_factor != 0) cuda::multiply_elements(terms_.level_factor, s.y, phi_side_ ? s.c : s.b, 1, product);
    const double *f = factor(terms_.phi, s, count, f_), *g = factor(terms_.psi, s, count, g_);
    cuda::combine<T>(product, constant_.data(), f, f ? s.b : Rows{}, columns_phi_.data(), g, g ? s.c : Rows{},
                     columns_psi_.data(), accumulate, some_rows(out_, begin, count));
  }
  bool finite() const { return Cuda::all_finite<T>(out_); }

 private:
  // Null where the factor is 0: a side of another width is not looked at.
  const double* factor(const RowFactor& x, const Chunk& s, Index count, Array<double>& out) const {
    if (x.constant == 0 && x.weight == 0 && x.dot == 0) return nullptr;
    cuda::row_factors(count, x.constant, x.weight, s.w, x.dot, x.dot == 0 ? nullptr : s.t, out.data());
    return out.data();
  }

  RowTerms terms_;
  MatrixView<T> out_;
  bool phi_side_;
  Array<double> P_, Q_, constant_, columns_phi_, columns_psi_, product_, f_, g_;
};

bool uses_dots(const RowTerms& t) { return t.phi.dot != 0 || t.psi.dot != 0; }

}  // namespace

template <class T>
bool gradient_rows(const GradientRows<T>& rows) {
  const Index n = rows.phi.rows, p = rows.phi.cols, q = rows.psi.cols, chunk = chunk_rows(n, 3 * (p + q));
  Side<T> phi(rows.phi, rows.mean_phi, chunk), psi(rows.psi, rows.mean_psi, chunk);
  const Array<double> w = uploaded(rows.weights, n, 1);
  const bool levels = rows.levels.weights != nullptr, dots = uses_dots(rows.phi_terms) || uses_dots(rows.psi_terms);
  Array<double> t(dots ? chunk : 0, 1), E(levels ? chunk : 0, p), Y(levels ? chunk : 0, p), M;
  if (levels) M = uploaded(level_matrix(rows.levels, p).data(), p, p);
  std::vector<Output<T>> outputs;
  if (rows.phi_out.data) outputs.emplace_back(rows.phi_terms, rows.phi_out, true, p, q, chunk);
  if (rows.psi_out.data) outputs.emplace_back(rows.psi_terms, rows.psi_out, false, p, q, chunk);
  for_chunks(n, chunk, [&](Index begin, Index count) {
    Chunk s{phi.load(begin, count), psi.load(begin, count), {}, t.data(), w.data() ? w.data() + begin : nullptr};
    if (dots) cuda::row_dots(s.b, s.c, t.data());
    if (levels) {
      cuda::multiply_elements(1, s.b, s.c, 0, E.view().row_range(0, count));
      cuda::tile_multiply<double>(E.view().row_range(0, count), M.view(), 0, Y.view().row_range(0, count));
      s.y = Y.view().row_range(0, count);
    }
    for (Output<T>& output : outputs) output.write(begin, count, s, rows.accumulate);
  });
  return std::all_of(outputs.begin(), outputs.end(), [](const Output<T>& o) { return o.finite(); });
}

template <class T>
bool view_rows(Views<const T> A, const double* weights, const double* P, double pair, double square, Views<T> out) {
  const Index n = A.inputs, d = A.cols, chunk = chunk_rows(n, (A.views + 1) * d);
  ViewRows<T> views(A, chunk);
  const Array<double> w = uploaded(weights, n, 1), matrix = uploaded(P, d, d);
  Array<double> room(chunk, d), t(chunk, 1), f(chunk, 1);
  for_chunks(n, chunk, [&](Index begin, Index count) {
    views.load(begin, count);
    const Block<double> product = room.view().row_range(0, count);
    const double* some = w.data() ? w.data() + begin : nullptr;
    for (Index j = 0; j < A.views; ++j) {
      cuda::tile_multiply<double>(views.of(j), matrix.view(), 0, product);
      for (Index k = 0; k < A.views; ++k) {
        cuda::row_dots(views.of(j), views.of(k), t.data());
        cuda::row_factors(count, 0, k == j ? 0 : pair, some, square, t.data(), f.data());
        cuda::combine<double>(product, nullptr, f.data(), views.of(k), nullptr, nullptr, {}, nullptr, false,
                              product.view());
      }
      cuda::combine<T>(product, nullptr, nullptr, {}, nullptr, nullptr, {}, nullptr, false,
                       some_rows(out.of(j), begin, count));
    }
  });
  for (Index j = 0; j < A.views; ++j)
    if (!Cuda::all_finite<T>(out.of(j))) return false;
  return true;
}

EIGENCONTEXT_INSTANTIATE_ROWS(float)
EIGENCONTEXT_INSTANTIATE_ROWS(double)

}  // namespace eigencontext
