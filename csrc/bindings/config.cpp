// What this build and machine offer, and the primitives that the tests check alone.
#include "backend/cpu/cpu.hpp"
#include "bindings/arrays.hpp"

namespace eigencontext::bindings {
namespace {

template <class T>
py::array gaussian(std::uint64_t seed, Index n, Index m, Index row0, Index col0) {
  RowMajorArray<T> out = new_array<T>(n, m);
  const Block<T> block = writable_block(out);
  without_gil([&] { Cpu::fill_gaussian<T>(block, seed, row0, col0); });
  return out;
}

template <class T>
py::array_t<T> exp_array(const RowMajorArray<T>& x) {
  py::array_t<T> out(x.size(), x.data());
  Cpu::exp<T>(out.mutable_data(), out.size());
  return out;
}

template <class T>
py::array_t<double> gram(const RowMajorArray<T>& X, const RowMajorArray<T>& Y) {
  RowMajorArray<double> out = new_array<double>(X.shape(1), Y.shape(1));
  double* G = out.mutable_data();
  const Block<const T> x = block_view(X), y = block_view(Y);
  without_gil([&] { Cpu::gram<T>(x, y, G); });
  return out;
}

}  // namespace

void bind_config(py::module_& m) {
#ifdef EIGENCONTEXT_SANITIZE
  // For the test that sanitizers are at work.
  m.def("read_past_view", [](Index n) {
    const Buffer<double> numbers(n, 1.0);
    const MatrixView<const double> view{numbers.data(), 1, n, n, 1};
    return view(0, n);
  });
#endif
  m.def("simd_level", &Cpu::simd_level);
  m.def("blas_version", &Cpu::blas_version);
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("chunks_run_by", &chunks_run_by, py::arg("worker"));
  m.def(
      "gaussian",
      [](std::uint64_t seed, Index n, Index rows, Index row0, Index col0, const std::string& dtype) {
        return dtype == "float32" ? gaussian<float>(seed, n, rows, row0, col0)
                                  : gaussian<double>(seed, n, rows, row0, col0);
      },
      py::arg("seed"), py::arg("n"), py::arg("m"), py::arg("row0") = 0, py::arg("col0") = 0,
      py::arg("dtype") = "float64");
  m.def("exp", &exp_array<float>, py::arg("x").noconvert());
  m.def("exp", &exp_array<double>, py::arg("x").noconvert());
  m.def("gram", &gram<float>, py::arg("X").noconvert(), py::arg("Y").noconvert());
  m.def("gram", &gram<double>, py::arg("X").noconvert(), py::arg("Y").noconvert());
}

}  // namespace eigencontext::bindings
