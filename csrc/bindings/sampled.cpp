// Operators of sampled contexts.
#include "operators/sampled.hpp"

#include "bindings/operators.hpp"

namespace eigencontext::bindings {
namespace {

using CodeArray = AnyArray<std::uint8_t>;

void expect_same(Index got, Index wanted, const char* what) {
  if (got != wanted)
    throw py::value_error(std::string(what) + ": got " + std::to_string(got) + "; allowed: " + std::to_string(wanted));
}

// Operators of sampled contexts; offsets are vectors or None.
template <class T>
void bind_sampled(py::module_& m, const std::string& suffix) {
  m.def(("gaussian" + suffix).c_str(),
        [](const AnyArray<T>& X, const AnyArray<T>& A, double bandwidth, const py::object& rows,
           const py::object& columns, double keep) {
          const MatrixView<const T> x = matrix_view(X), a = matrix_view(A);
          expect_same(a.cols, x.cols, "columns of A");
          const std::vector<double> r = vector_or_empty(rows), c = vector_or_empty(columns);
          const tiled::Offsets offsets = offsets_of(r, c, x.rows, a.rows);
          const KernelOptions options = kernel_options("rbf", bandwidth, 0, 0);
          return without_gil([&] { return held<T>(make_pairwise<T>(x, a, options, keep, offsets)); });
        },
        py::arg("X").noconvert(), py::arg("A").noconvert(), py::arg("sigma"), py::arg("rows").none(true),
        py::arg("columns").none(true), py::arg("keep"));
  m.def(("matches" + suffix).c_str(),
        [](const CodeArray& X, const CodeArray& A, const AnyArray<double>& weights, const py::object& rows,
           const py::object& columns, double keep) {
          const Codes codes{matrix_view(X), matrix_view(A)};
          const MatrixView<const double> w = matrix_view(weights);
          expect_same(codes.a.cols, codes.x.cols, "columns of A");
          expect_same(w.rows, codes.x.cols, "rows of weights");
          expect_same(w.cols, 256, "columns of weights");
          const std::vector<double> r = vector_or_empty(rows), c = vector_or_empty(columns);
          const tiled::Offsets offsets = offsets_of(r, c, codes.x.rows, codes.a.rows);
          return without_gil([&] { return held<T>(make_matches<T>(codes, w, offsets, keep)); });
        },
        py::arg("X").noconvert(), py::arg("A").noconvert(), py::arg("weights").noconvert(), py::arg("rows").none(true),
        py::arg("columns").none(true), py::arg("keep"));
  m.def(("agreement" + suffix).c_str(),
        [](const CodeArray& X, const CodeArray& A, const CodeArray& visible, const py::object& rows,
           const py::object& columns, double keep) {
          const Codes codes{matrix_view(X), matrix_view(A)};
          const MatrixView<const std::uint8_t> seen = matrix_view(visible);
          expect_same(codes.a.cols, codes.x.cols, "columns of A");
          expect_same(seen.rows, codes.a.rows, "rows of visible");
          expect_same(seen.cols, codes.a.cols, "columns of visible");
          const std::vector<double> r = vector_or_empty(rows), c = vector_or_empty(columns);
          const tiled::Offsets offsets = offsets_of(r, c, codes.x.rows, codes.a.rows);
          return without_gil([&] { return held<T>(make_agreement<T>(codes, seen, offsets, keep)); });
        },
        py::arg("X").noconvert(), py::arg("A").noconvert(), py::arg("visible").noconvert(), py::arg("rows").none(true),
        py::arg("columns").none(true), py::arg("keep"));
}

}  // namespace

void bind_sampled_operators(py::module_& m) {
  bind_sampled<float>(m, "32");
  bind_sampled<double>(m, "64");
}

}  // namespace eigencontext::bindings
