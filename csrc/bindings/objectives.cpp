// Sums over rows of embeddings, and rows of gradients.
#include "bindings/arrays.hpp"
#include "objectives/moments.hpp"
#include "objectives/rows.hpp"

namespace eigencontext::bindings {
namespace {

using Vector = py::array_t<double, py::array::c_style>;

// A vector or small matrix of the host that may be None; the caller keeps the array alive.
const double* data_or_null(const py::object& v, Index size) {
  if (v.is_none()) return nullptr;
  const auto array = py::reinterpret_borrow<py::array>(v);
  if (!py::isinstance<Vector>(v) || array.size() != size)
    throw py::type_error("expected a contiguous float64 array of " + std::to_string(size) + " numbers");
  return static_cast<const double*>(array.data());
}

template <class T>
MatrixView<const T> view_or_none(const py::object& a) {
  return a.is_none() ? MatrixView<const T>{} : matrix_view(a.cast<AnyArray<T>>());
}

template <class T>
MatrixView<T> writable_view(const py::object& a, Index rows, Index cols) {
  if (a.is_none()) return {};
  AnyArray<T> array = a.cast<AnyArray<T>>();
  const MatrixView<const T> view = matrix_view(array);
  if (view.rows != rows || view.cols != cols) throw py::type_error("expected an output of the shape of its input");
  return {array.mutable_data(), rows, cols, view.row_stride, view.col_stride};
}

py::array matrix(const std::vector<double>& v, std::size_t rows) {
  return rows == 0 ? py::array(to_numpy(v)) : py::array(to_numpy(v)).reshape({static_cast<py::ssize_t>(rows), -1l});
}

template <class T>
py::dict moments_of(const AnyArray<T>& Phi, const py::object& Psi, const py::object& weights, unsigned flags) {
  const MatrixView<const T> phi = matrix_view(Phi), psi = view_or_none<T>(Psi);
  if (!Psi.is_none() && psi.rows != phi.rows) throw py::type_error("rows of phi and psi differ");
  const bool both = (flags & (moment_pq | moment_qq | moment_pairs)) != 0;
  if ((both && psi.data == nullptr) || ((flags & moment_pairs) && psi.cols != phi.cols))
    throw py::type_error("these moments need psi of the width of phi");
  const double* w = data_or_null(weights, phi.rows);
  const Moments m = without_gil([&] { return moments<T>(phi, psi, w, flags); });
  py::dict d;
  d["mean_phi"] = to_numpy(m.mean_phi);
  d["mean_psi"] = to_numpy(m.mean_psi);
  if (flags & moment_pp) d["pp"] = matrix(m.pp, m.mean_phi.size());
  if (flags & moment_pq) d["pq"] = matrix(m.pq, m.mean_phi.size());
  if (flags & moment_qq) d["qq"] = matrix(m.qq, m.mean_psi.size());
  if (flags & moment_squares) {
    d["squares_phi"] = to_numpy(m.squares_phi);
    d["squares_psi"] = to_numpy(m.squares_psi);
  }
  if (flags & moment_pairs) {
    d["weight"] = m.weight;
    d["weighted_phi"] = to_numpy(m.weighted_phi);
    d["weighted_psi"] = to_numpy(m.weighted_psi);
    d["products"] = to_numpy(m.products);
    d["differences"] = to_numpy(m.differences);
  }
  return d;
}

template <class T>
py::tuple diagonal(const AnyArray<T>& Phi, const AnyArray<T>& Psi, const py::object& mean_phi,
                   const py::object& mean_psi, const py::object& levels, bool joint) {
  const MatrixView<const T> phi = matrix_view(Phi), psi = matrix_view(Psi);
  if (psi.rows != phi.rows || psi.cols != phi.cols) throw py::type_error("shapes of phi and psi differ");
  const double *m = data_or_null(mean_phi, phi.cols), *k = data_or_null(mean_psi, phi.cols);
  const Levels weights{data_or_null(levels, phi.cols), joint};
  const DiagonalSums s = without_gil([&] { return diagonal_sums<T>(phi, m, psi, k, weights); });
  return py::make_tuple(to_numpy(s.squares), to_numpy(s.phi), to_numpy(s.psi));
}

RowFactor factor(const py::object& t) {
  const auto f = t.cast<std::array<double, 3>>();
  return {f[0], f[1], f[2]};
}

RowTerms terms(const py::dict& d, Index p, Index q, Index cols) {
  if (d.empty()) return {};
  RowTerms t;
  t.P = data_or_null(d["P"], p * cols);
  t.Q = data_or_null(d["Q"], q * cols);
  t.constant = data_or_null(d["constant"], cols);
  t.phi = factor(d["phi"]);
  t.psi = factor(d["psi"]);
  t.columns_phi = data_or_null(d["columns_phi"], cols);
  t.columns_psi = data_or_null(d["columns_psi"], cols);
  t.level_factor = d["level_factor"].cast<double>();
  if (p != q && ((t.phi.dot != 0 || t.psi.dot != 0 || t.level_factor != 0)))
    throw py::type_error("dot products need rows of one width");
  return t;
}

template <class T>
bool rows(const AnyArray<T>& Phi, const AnyArray<T>& Psi, const py::object& mean_phi, const py::object& mean_psi,
          const py::object& weights, const py::object& levels, bool joint, const py::dict& phi_terms,
          const py::dict& psi_terms, const py::object& phi_out, const py::object& psi_out, bool accumulate) {
  GradientRows<T> r;
  r.phi = matrix_view(Phi);
  r.psi = matrix_view(Psi);
  const Index n = r.phi.rows, p = r.phi.cols, q = r.psi.cols;
  if (r.psi.rows != n) throw py::type_error("rows of phi and psi differ");
  r.mean_phi = data_or_null(mean_phi, p);
  r.mean_psi = data_or_null(mean_psi, q);
  r.weights = data_or_null(weights, n);
  r.levels = {data_or_null(levels, p), joint};
  r.phi_terms = terms(phi_terms, p, q, p);
  r.psi_terms = terms(psi_terms, p, q, q);
  r.phi_out = writable_view<T>(phi_out, n, p);
  r.psi_out = writable_view<T>(psi_out, n, q);
  r.accumulate = accumulate;
  return without_gil([&] { return gradient_rows<T>(r); });
}

template <class T>
Views<const T> views_of(const AnyArray<T>& a) {
  if (a.ndim() != 3) throw py::type_error("expected an array with 3 axes");
  return {a.data(), a.shape(0), a.shape(1), a.shape(2), stride_of(a, 0), stride_of(a, 1), stride_of(a, 2)};
}

template <class T>
bool rows_of_views(const AnyArray<T>& A, const py::object& weights, const py::object& P, double pair, double square,
                   AnyArray<T> out) {
  const Views<const T> a = views_of(A), o = views_of(out);
  if (o.inputs != a.inputs || o.views != a.views || o.cols != a.cols)
    throw py::type_error("expected an output of the shape of its input");
  const double *w = data_or_null(weights, a.inputs), *p = data_or_null(P, a.cols * a.cols);
  const Views<T> target{out.mutable_data(), o.inputs, o.views, o.cols, o.input_stride, o.view_stride, o.col_stride};
  return without_gil([&] { return view_rows<T>(a, w, p, pair, square, target); });
}

template <class T>
void bind(py::module_& m) {
  m.def("moments", &moments_of<T>, py::arg("phi").noconvert(), py::arg("psi").none(true), py::arg("weights").none(true),
        py::arg("flags"));
  m.def("diagonal_sums", &diagonal<T>, py::arg("phi").noconvert(), py::arg("psi").noconvert(),
        py::arg("mean_phi").none(true), py::arg("mean_psi").none(true), py::arg("levels").none(true), py::arg("joint"));
  m.def("gradient_rows", &rows<T>, py::arg("phi").noconvert(), py::arg("psi").noconvert(),
        py::arg("mean_phi").none(true), py::arg("mean_psi").none(true), py::arg("weights").none(true),
        py::arg("levels").none(true), py::arg("joint"), py::arg("phi_terms"), py::arg("psi_terms"),
        py::arg("phi_out").none(true), py::arg("psi_out").none(true), py::arg("accumulate"));
  m.def(
      "view_sums",
      [](const AnyArray<T>& A, const py::object& weights) {
        const Views<const T> a = views_of(A);
        const double* w = data_or_null(weights, a.inputs);
        const ViewSums s = without_gil([&] { return view_sums<T>(a, w); });
        return py::make_tuple(s.weight, s.pairs, s.squares);
      },
      py::arg("views").noconvert(), py::arg("weights").none(true));
  m.def("view_rows", &rows_of_views<T>, py::arg("views").noconvert(), py::arg("weights").none(true), py::arg("P"),
        py::arg("pair"), py::arg("square"), py::arg("out").noconvert());
}

}  // namespace

void bind_objectives(py::module_& m) {
  bind<float>(m);
  bind<double>(m);
}

}  // namespace eigencontext::bindings
