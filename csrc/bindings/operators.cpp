// Factories of operators and their products.
#include "bindings/operators.hpp"

#include "base/errors.hpp"
#include "operators/callback.hpp"
#include "operators/compose.hpp"
#include "operators/csr.hpp"
#include "operators/dense.hpp"

namespace eigencontext::bindings {
namespace {

template <class T>
std::vector<OperatorPtr<Device, T>> constant(const std::vector<Pointer<T>>& parts) {
  return {parts.begin(), parts.end()};
}

template <class T>
RowMajorArray<T> matmat(const Pointer<T>& op, const RowMajorArray<T>& x) {
  const Block<const T> X = block_view(x);
  expect_rows(X.rows, op->cols());
  RowMajorArray<T> out = new_array<T>(op->rows(), X.cols);
  const Block<T> Y = writable_block(out);
  without_gil([&] { op->multiply(X, Y); });
  return out;
}

template <class T>
RowMajorArray<T> rmatmat(const Pointer<T>& op, const RowMajorArray<T>& y) {
  const Block<const T> Y = block_view(y);
  expect_rows(Y.rows, op->rows());
  RowMajorArray<T> out = new_array<T>(op->cols(), Y.cols);
  const Block<T> Z = writable_block(out);
  without_gil([&] { op->multiply_transposed(Y, Z); });
  return out;
}

template <class T>
RowMajorArray<T> fused(const Pointer<T>& op, const py::object& weights, const RowMajorArray<T>& x) {
  if (!op->has_fused()) throw py::type_error("this operator has no fused product");
  const Block<const T> X = block_view(x);
  expect_rows(X.rows, op->cols());
  const std::vector<double> w = vector_or_empty(weights);
  if (!weights.is_none()) expect_rows(static_cast<Index>(w.size()), op->rows());
  RowMajorArray<T> out = new_array<T>(op->cols(), X.cols);
  const Block<T> Z = writable_block(out);
  without_gil([&] {
    typename Device::template Array<double> column(static_cast<Index>(w.size()), 1);
    Device::from_host<double>(w.data(), column.view());
    op->multiply_fused(w.empty() ? nullptr : column.data(), X, Z);
  });
  return out;
}

template <class T>
void expect_entries(const Pointer<T>& op) {
  if (!op->has_entries()) throw py::type_error("this operator does not give single entries");
}

template <class T>
RowMajorArray<T> entries(const Pointer<T>& op, const py::object& rows, const std::vector<Index>& columns) {
  expect_entries<T>(op);
  const auto some = rows.is_none() ? std::vector<Index>{} : rows.cast<std::vector<Index>>();
  for (const auto* indices : {&some, &columns})
    for (const Index i : *indices)
      if (i < 0 || i >= op->rows()) throw py::index_error("an index outside the operator");
  RowMajorArray<T> out =
      new_array<T>(rows.is_none() ? op->rows() : static_cast<Index>(some.size()), static_cast<Index>(columns.size()));
  const Block<T> Y = writable_block(out);
  const Index* which = rows.is_none() ? nullptr : some.data();
  without_gil([&] { op->entries(which, columns.data(), Y); });
  return out;
}

template <class T>
py::tuple diagonal(const Pointer<T>& op) {
  expect_entries<T>(op);
  std::vector<double> d(static_cast<std::size_t>(op->rows())), rounding(d.size());
  without_gil([&] { op->diagonal(d.data(), rounding.data()); });
  return py::make_tuple(to_numpy(d), to_numpy(rounding));
}

template <class T>
const tiled::HasLogSums& log_sums_of(const Pointer<T>& op) {
  const auto* sums = dynamic_cast<const tiled::HasLogSums*>(op.get());
  if (!sums) throw py::type_error("this operator has no log-sum-exps");
  return *sums;
}

template <class T>
py::tuple log_sums_of_rows(const Pointer<T>& op) {
  const tiled::HasLogSums& has = log_sums_of<T>(op);
  std::vector<double> sums(static_cast<std::size_t>(op->rows())), effective(sums.size());
  without_gil([&] { has.log_sums_of_rows(sums.data(), effective.data()); });
  return py::make_tuple(to_numpy(sums), to_numpy(effective));
}

template <class T>
py::object log_sums_of_columns(const Pointer<T>& op) {
  const tiled::HasLogSums& has = log_sums_of<T>(op);
  std::vector<double> sums(static_cast<std::size_t>(op->cols()));
  without_gil([&] { has.log_sums_of_columns(sums.data()); });
  return to_numpy(sums);
}

// A function of Python as a block function; what comes back is checked. The GIL is held while Python runs and not a
// moment longer: a parallel loop under it would wait for another thread's, which may be waiting for the GIL.
template <class T>
BlockFunction<T> block_function(const py::object& function, const std::string& name) {
  const auto held_function = keep_alive(function);
  return [held_function, name](Block<const T> X, Block<T> Y) {
    {
      const py::gil_scoped_acquire gil;
      RowMajorArray<T> x = new_array<T>(X.rows, X.cols);
      copy_block<T>(X, writable_block(x));
      const py::object answer = (*static_cast<const py::object*>(held_function.get()))(x);
      const RowMajorArray<T> y = converted<T>(answer);
      if (y.ndim() != 2 || y.shape(0) != Y.rows || y.shape(1) != Y.cols)
        throw py::value_error(name + ": returned shape " + py::str(answer.attr("shape")).template cast<std::string>() +
                              "; allowed: (" + std::to_string(Y.rows) + ", " + std::to_string(Y.cols) + ")");
      copy_block<T>(block_view(y), Y);
    }
    if (!Device::all_finite<T>(Block<const T>(Y).view())) throw NonFiniteError(name + ": returned NaN or inf");
  };
}

template <class T, class Int>
void bind_csr(py::module_& m) {
  m.def(
      "csr",
      [](const RowMajorArray<Int>& indptr, const RowMajorArray<Int>& indices, const RowMajorArray<T>& data, Index n,
         Index cols, bool transpose_copy, bool symmetric) {
        if (indptr.size() != n + 1) throw ArgumentError("indptr", std::to_string(indptr.size()), std::to_string(n + 1));
        if (indices.size() != data.size())
          throw ArgumentError("indices", std::to_string(indices.size()), std::to_string(data.size()));
        CsrArrays<T> arrays;
        arrays.offsets = indptr.data();
        arrays.indices = indices.data();
        arrays.index_bytes = static_cast<int>(sizeof(Int));
        arrays.values = data.data();
        arrays.rows = n;
        arrays.cols = cols;
        arrays.entries = data.size();
        auto owner = keep_alive(py::make_tuple(indptr, indices, data));
        return without_gil([&] {
          check_csr(arrays);
          return held<T>(make_csr<T>(arrays, transpose_copy, symmetric, owner));
        });
      },
      py::arg("indptr").noconvert(), py::arg("indices").noconvert(), py::arg("data").noconvert(), py::arg("n"),
      py::arg("m"), py::arg("transpose_copy") = false, py::arg("symmetric") = false);
}

template <class T>
void bind_class(py::module_& m, const char* name, const char* dtype) {
  py::class_<Op<T>, Pointer<T>>(m, name, py::module_local())
      .def_property_readonly("shape", [](const Op<T>& op) { return py::make_tuple(op.rows(), op.cols()); })
      .def_property_readonly("dtype", [dtype](const Op<T>&) { return dtype; })
      .def_property_readonly("symmetric", &Op<T>::symmetric)
      .def_property_readonly("has_fused", &Op<T>::has_fused)
      .def_property_readonly("prefers_fused", &Op<T>::prefers_fused)
      .def_property_readonly("reads", &Op<T>::reads)
      .def_property_readonly("has_entries", &Op<T>::has_entries)
      .def("cost",
           [](const Op<T>& op, Index b) {
             const Cost c = op.cost(b);
             py::dict d;
             d["flops"] = c.flops;
             d["bytes"] = c.bytes;
             d["workspace"] = c.workspace;
             return d;
           })
      .def("matmat", &matmat<T>, py::arg("X").noconvert())
      .def("rmatmat", &rmatmat<T>, py::arg("Y").noconvert())
      .def("entries", &entries<T>, py::arg("rows").none(true), py::arg("columns"))
      .def("diagonal", &diagonal<T>)
      .def("log_sums_of_rows", &log_sums_of_rows<T>)
      .def("log_sums_of_columns", &log_sums_of_columns<T>)
      .def("fused", &fused<T>, py::arg("weights").none(true), py::arg("X").noconvert());
}

template <class T>
void bind_factories(py::module_& m) {
  m.def(
      "dense",
      [](const AnyArray<T>& a, bool symmetric) {
        return held<T>(make_dense<T>(matrix_view(a), symmetric, keep_alive(a)));
      },
      py::arg("a").noconvert(), py::arg("symmetric") = false);
  bind_csr<T, std::int32_t>(m);
  bind_csr<T, std::int64_t>(m);
  m.def(
      "pairwise",
      [](const AnyArray<T>& X, const py::object& A, const std::string& kernel, double bandwidth, int degree,
         double coef0, double keep) {
        const KernelOptions options = kernel_options(kernel, bandwidth, degree, coef0);
        const MatrixView<const T> x = matrix_view(X), a = view_or_empty<T>(A);
        return without_gil([&] { return held<T>(make_pairwise<T>(x, a, options, keep)); });
      },
      py::arg("X").noconvert(), py::arg("A").none(true), py::arg("kernel"), py::arg("bandwidth"), py::arg("degree"),
      py::arg("coef0"), py::arg("keep") = 0.0);
}

template <class T>
void bind_compositions(py::module_& m) {
  using Parts = std::vector<Pointer<T>>;
  m.def(
      "scaled",
      [](Pointer<T> op, const py::object& left, const py::object& right) {
        return held<T>(make_scaled<Device, T>(op, vector_or_empty(left), vector_or_empty(right)));
      },
      py::arg("op"), py::arg("left").none(true), py::arg("right").none(true));
  m.def(
      "deflated",
      [](Pointer<T> op, std::vector<double> u, std::vector<double> v) {
        return held<T>(make_deflated<Device, T>(op, std::move(u), std::move(v)));
      },
      py::arg("op"), py::arg("u"), py::arg("v"));
  m.def("product", [](Pointer<T> a, Pointer<T> b) { return held<T>(make_product<Device, T>(a, b)); });
  m.def("stacked", [](const Parts& p, int axis) { return held<T>(make_stacked<Device, T>(constant<T>(p), axis)); });
  m.def("weighted_sum", [](const Parts& p, std::vector<double> weights) {
    return held<T>(make_weighted_sum<Device, T>(constant<T>(p), std::move(weights)));
  });
  m.def("transposed", [](Pointer<T> op) { return held<T>(make_transposed<Device, T>(op)); });
}

template <class T>
Pointer<T> bind_callback(Index n, Index m, const py::object& matmat_, const py::object& rmatmat_, bool symmetric) {
  return held<T>(
      make_callback<T>(n, m, block_function<T>(matmat_, "matmat"), block_function<T>(rmatmat_, "rmatmat"), symmetric));
}

}  // namespace

void bind_operators(py::module_& m) {
  bind_class<float>(m, "Operator32", "float32");
  bind_class<double>(m, "Operator64", "float64");
  bind_factories<float>(m);
  bind_factories<double>(m);
  bind_compositions<float>(m);
  bind_compositions<double>(m);
  m.def(
      "callback",
      [](Index n, Index cols, const std::string& dtype, const py::object& mm, const py::object& rmm,
         bool symmetric) -> py::object {
        if (dtype == "float32") return py::cast(bind_callback<float>(n, cols, mm, rmm, symmetric));
        return py::cast(bind_callback<double>(n, cols, mm, rmm, symmetric));
      },
      py::arg("n"), py::arg("m"), py::arg("dtype"), py::arg("matmat"), py::arg("rmatmat"),
      py::arg("symmetric") = false);
}

}  // namespace eigencontext::bindings
