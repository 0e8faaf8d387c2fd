// Conversions between arrays of Python and views, and the translation of calls into the engine: no arithmetic.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "base/parallel.hpp"
#ifdef EIGENCONTEXT_CUDA
#include "bindings/device_arrays.hpp"
#else
#include "bindings/host_arrays.hpp"
#endif

namespace eigencontext::bindings {

namespace py = pybind11;

// Keeps a Python object alive from C++; the reference is dropped with the GIL held.
inline std::shared_ptr<const void> keep_alive(py::object object) {
  return {new py::object(std::move(object)), [](const void* p) {
            const py::gil_scoped_acquire gil;
            delete static_cast<const py::object*>(p);
          }};
}

inline py::array_t<double> to_numpy(const std::vector<double>& v) {
  return py::array_t<double>(static_cast<py::ssize_t>(v.size()), v.data());
}

template <class T>
MatrixView<const T> view_or_empty(const py::object& a) {
  return a.is_none() ? MatrixView<const T>{} : matrix_view(a.cast<AnyArray<T>>());
}

// Runs `compute` without the GIL; Ctrl-C is noticed between chunks.
template <class Compute>
auto without_gil(const Compute& compute) {
  const py::gil_scoped_release release;
  const StopScope scope([] {
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  });
  return compute();
}

void bind_operators(py::module_& m);
void bind_host_operators(py::module_& m);
void bind_sampled_operators(py::module_& m);
void bind_spectrum(py::module_& m);
void bind_objectives(py::module_& m);
void bind_scores(py::module_& m);
void bind_config(py::module_& m);
void bind_primitives(py::module_& m);
void translate_exceptions();

}  // namespace eigencontext::bindings
