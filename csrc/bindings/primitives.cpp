// The primitives of a device that the tests check alone.
#include "backend/backend.hpp"
#include "bindings/arrays.hpp"

namespace eigencontext::bindings {
namespace {

using Small = py::array_t<double, py::array::c_style>;  // small matrices live on the host

template <class T>
RowMajorArray<T> gaussian(std::uint64_t seed, Index n, Index m, Index row0, Index col0) {
  RowMajorArray<T> out = new_array<T>(n, m);
  const Block<T> block = writable_block(out);
  without_gil([&] { Device::fill_gaussian<T>(block, seed, row0, col0); });
  return out;
}

template <class T>
RowMajorArray<T> exp_array(const RowMajorArray<T>& X) {
  RowMajorArray<T> out = copied(X);
  Device::exp<T>(out.mutable_data(), out.size());
  return out;
}

template <class T>
py::array_t<double> gram(const RowMajorArray<T>& X, const RowMajorArray<T>& Y) {
  py::array_t<double> out({X.shape(1), Y.shape(1)});
  double* G = out.mutable_data();
  const Block<const T> x = block_view(X), y = block_view(Y);
  without_gil([&] { Device::gram<T>(x, y, G); });
  return out;
}

// (trusted, X S - V C, V^T of it, its Gram matrix).
template <class T>
py::tuple subtract(const RowMajorArray<T>& V, const Small& C, const RowMajorArray<T>& X, const Small& S) {
  RowMajorArray<T> out = copied(X);
  py::array_t<double> cross({V.shape(1), X.shape(1)}), own({X.shape(1), X.shape(1)});
  const Block<const T> v = block_view(V);
  const Block<T> x = writable_block(out);
  const double *c = C.data(), *s = S.data();
  double *vx = cross.mutable_data(), *xx = own.mutable_data();
  bool trusted = false;
  without_gil([&] { trusted = Device::subtract<T>(v, c, x, s, vx, xx); });
  return py::make_tuple(trusted, out, cross, own);
}

}  // namespace

void bind_primitives(py::module_& m) {
  m.def(
      "gaussian",
      [](std::uint64_t seed, Index n, Index rows, Index row0, Index col0, const std::string& dtype) -> py::object {
        if (dtype == "float32") return gaussian<float>(seed, n, rows, row0, col0);
        return gaussian<double>(seed, n, rows, row0, col0);
      },
      py::arg("seed"), py::arg("n"), py::arg("m"), py::arg("row0") = 0, py::arg("col0") = 0,
      py::arg("dtype") = "float64");
  m.def("exp", &exp_array<float>, py::arg("x").noconvert());
  m.def("exp", &exp_array<double>, py::arg("x").noconvert());
  m.def("gram", &gram<float>, py::arg("X").noconvert(), py::arg("Y").noconvert());
  m.def("gram", &gram<double>, py::arg("X").noconvert(), py::arg("Y").noconvert());
  m.def("subtract", &subtract<float>, py::arg("V").noconvert(), py::arg("C"), py::arg("X").noconvert(), py::arg("S"));
  m.def("subtract", &subtract<double>, py::arg("V").noconvert(), py::arg("C"), py::arg("X").noconvert(), py::arg("S"));
}

}  // namespace eigencontext::bindings
