// What the CPU alone does: nearest neighbours, counts of pairs of words.
#include "bindings/operators.hpp"
#include "operators/cooccurrence.hpp"
#include "operators/top_k.hpp"

namespace eigencontext::bindings {
namespace {

template <class T>
void bind_top_k(py::module_& m) {
  m.def(
      "top_k",
      [](const AnyArray<T>& X, const py::object& A, Index k, const std::string& metric, bool exclude_self) {
        const MatrixView<const T> x = matrix_view(X), a = view_or_empty<T>(A);
        RowMajorArray<Index> indices = new_array<Index>(x.rows, k);
        RowMajorArray<T> values = new_array<T>(x.rows, k);
        Index* i = indices.mutable_data();
        T* v = values.mutable_data();
        without_gil([&] { top_k<T>(x, a, k, metric == "cosine", exclude_self, i, v); });
        return py::make_tuple(indices, values);
      },
      py::arg("X").noconvert(), py::arg("A").none(true), py::arg("k"), py::arg("metric") = "euclidean",
      py::arg("exclude_self") = false);
}

}  // namespace

void bind_host_operators(py::module_& m) {
  bind_top_k<float>(m);
  bind_top_k<double>(m);
  m.def(
      "count_pairs",
      [](const RowMajorArray<std::int32_t>& tokens, Index words, Index window) {
        const std::int32_t* first = tokens.data();
        const Index n = tokens.size();
        PairCounts result = without_gil([&] { return count_pairs(first, n, words, window); });
        return py::make_tuple(to_numpy(std::move(result.starts)), to_numpy(std::move(result.columns)),
                              to_numpy(std::move(result.counts)));
      },
      py::arg("tokens").noconvert(), py::arg("words"), py::arg("window"));
}

}  // namespace eigencontext::bindings
