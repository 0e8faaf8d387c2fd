// The pairwise losses over score tiles.
#include "objectives/scores.hpp"

#include "bindings/arrays.hpp"

namespace eigencontext::bindings {
namespace {

using Vector = py::array_t<double, py::array::c_style>;  // of the host

double* written(const py::object& v, Index size) {
  if (v.is_none()) return nullptr;
  if (!py::isinstance<Vector>(v)) throw py::type_error("expected a contiguous float64 array");
  auto array = py::reinterpret_borrow<Vector>(v);
  if (array.ndim() != 1 || array.shape(0) != size) throw py::type_error("expected a vector as long as its side");
  return array.mutable_data();
}

template <class T>
ScoreRows<T> rows_of(const AnyArray<T>& phi, const AnyArray<T>& psi, Index phi_begin, Index psi_begin, double scale) {
  const ScoreRows<T> rows{matrix_view(phi), matrix_view(psi), phi_begin, psi_begin, scale};
  if (rows.phi.cols != rows.psi.cols) throw py::type_error("widths of phi and psi differ");
  return rows;
}

template <class T>
SampleWeights weights_of(const ScoreRows<T>& rows, const py::object& phi, const py::object& psi) {
  if (phi.is_none() != psi.is_none()) throw py::type_error("weights of both sides, or of none");
  return {written(phi, rows.phi.rows), written(psi, rows.psi.rows)};
}

template <class T>
Block<T> output(const py::object& out, MatrixView<const T> like) {
  if (out.is_none()) return {};
  AnyArray<T> array = out.cast<AnyArray<T>>();
  const MatrixView<const T> view = matrix_view(array);
  if (view.rows != like.rows || view.cols != like.cols || view.col_stride != 1 || view.row_stride < view.cols)
    throw py::type_error("expected an output of the shape of its side, row by row");
  return {array.mutable_data(), view.rows, view.cols, view.row_stride};
}

template <class T>
void bind(py::module_& m) {
  using Array = AnyArray<T>;
  using Object = py::object;
  m.def(
      "log_sums",
      [](const Array& phi, const Array& psi, Index phi_begin, Index psi_begin, double scale, const Object& phi_top,
         const Object& phi_sum, const Object& psi_top, const Object& psi_sum, const Object& pair) {
        const auto rows = rows_of<T>(phi, psi, phi_begin, psi_begin, scale);
        const Index n = rows.phi.rows, k = rows.psi.rows;
        const LogSums a{written(phi_top, n), written(phi_sum, n)}, b{written(psi_top, k), written(psi_sum, k)};
        double* const p = written(pair, n);
        without_gil([&] { log_sums(rows, a, b, p); });
      },
      py::arg("phi").noconvert(), py::arg("psi").noconvert(), py::arg("phi_begin"), py::arg("psi_begin"),
      py::arg("scale"), py::arg("phi_top"), py::arg("phi_sum"), py::arg("psi_top"), py::arg("psi_sum"),
      py::arg("pair"));
  m.def(
      "softmax_products",
      [](const Array& phi, const Array& psi, Index phi_begin, Index psi_begin, double scale, const Object& phi_log_sums,
         const Object& psi_log_sums, const Object& phi_weights, const Object& psi_weights, const Object& phi_out,
         const Object& psi_out) {
        const auto rows = rows_of<T>(phi, psi, phi_begin, psi_begin, scale);
        const ScoreOutputs<T> out{output<T>(phi_out, rows.phi), output<T>(psi_out, rows.psi)};
        const double *l = written(phi_log_sums, rows.phi.rows), *r = written(psi_log_sums, rows.psi.rows);
        const SampleWeights weights = weights_of(rows, phi_weights, psi_weights);
        without_gil([&] { softmax_products(rows, l, r, weights, out); });
      },
      py::arg("phi").noconvert(), py::arg("psi").noconvert(), py::arg("phi_begin"), py::arg("psi_begin"),
      py::arg("scale"), py::arg("phi_log_sums"), py::arg("psi_log_sums"), py::arg("phi_weights").none(true),
      py::arg("psi_weights").none(true), py::arg("phi_out").none(true), py::arg("psi_out").none(true));
  m.def(
      "sigmoid_products",
      [](const Array& phi, const Array& psi, Index phi_begin, Index psi_begin, double scale, double bias,
         const Object& phi_weights, const Object& psi_weights, const Object& phi_out, const Object& psi_out) {
        const auto rows = rows_of<T>(phi, psi, phi_begin, psi_begin, scale);
        const ScoreOutputs<T> out{output<T>(phi_out, rows.phi), output<T>(psi_out, rows.psi)};
        const SampleWeights weights = weights_of(rows, phi_weights, psi_weights);
        const SigmoidSums s = without_gil([&] { return sigmoid_products(rows, bias, weights, out); });
        return py::make_tuple(s.loss, s.gradient);
      },
      py::arg("phi").noconvert(), py::arg("psi").noconvert(), py::arg("phi_begin"), py::arg("psi_begin"),
      py::arg("scale"), py::arg("bias"), py::arg("phi_weights").none(true), py::arg("psi_weights").none(true),
      py::arg("phi_out").none(true), py::arg("psi_out").none(true));
  m.def(
      "largest_score",
      [](const Array& phi, const Array& psi, Index phi_begin, Index psi_begin, double scale, bool own) {
        const auto rows = rows_of<T>(phi, psi, phi_begin, psi_begin, scale);
        return without_gil([&] { return largest_score(rows, own); });
      },
      py::arg("phi").noconvert(), py::arg("psi").noconvert(), py::arg("phi_begin"), py::arg("psi_begin"),
      py::arg("scale"), py::arg("own"));
  m.def(
      "exponential_products",
      [](const Array& phi, const Array& psi, Index phi_begin, Index psi_begin, double scale, const Object& phi_offsets,
         const Object& psi_offsets, Index group, bool same, double pair_factor, const Object& weights,
         const Object& phi_out, const Object& psi_out, const Object& phi_sums, const Object& psi_sums) {
        const auto rows = rows_of<T>(phi, psi, phi_begin, psi_begin, scale);
        const Index n = rows.phi.rows, k = rows.psi.rows;
        if (phi_offsets.is_none() != psi_offsets.is_none() || group < 1)
          throw py::type_error("offsets of both, or none");
        const ExponentialOptions options{written(phi_offsets, n), written(psi_offsets, k), group, same, pair_factor,
                                         written(weights, n)};
        const ScoreOutputs<T> out{output<T>(phi_out, rows.phi), output<T>(psi_out, rows.psi)};
        double *a = written(phi_sums, n), *b = written(psi_sums, k);
        const ExponentialSums s = without_gil([&] { return exponential_products(rows, options, out, a, b); });
        return py::make_tuple(s.pairs, s.others);
      },
      py::arg("phi").noconvert(), py::arg("psi").noconvert(), py::arg("phi_begin"), py::arg("psi_begin"),
      py::arg("scale"), py::arg("phi_offsets").none(true), py::arg("psi_offsets").none(true), py::arg("group"),
      py::arg("same"), py::arg("pair_factor"), py::arg("weights").none(true), py::arg("phi_out").none(true),
      py::arg("psi_out").none(true), py::arg("phi_sums").none(true), py::arg("psi_sums").none(true));
}

}  // namespace

void bind_scores(py::module_& m) {
  bind<float>(m);
  bind<double>(m);
}

}  // namespace eigencontext::bindings
