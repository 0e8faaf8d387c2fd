// What this build and machine offer.
#include "backend/cpu/cpu.hpp"
#include "bindings/arrays.hpp"

namespace eigencontext::bindings {
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
}

}  // namespace eigencontext::bindings
