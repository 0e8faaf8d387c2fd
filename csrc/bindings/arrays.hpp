// Conversions between NumPy arrays and views, and the translation of calls into the engine: no arithmetic.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/parallel.hpp"
#include "base/views.hpp"

namespace eigencontext::bindings {

namespace py = pybind11;

// Arrays with any strides, never converted: Python passes the right dtype.
template <class T>
using AnyArray = py::array_t<T, 0>;
template <class T>
using RowMajorArray = py::array_t<T, py::array::c_style>;

// Keeps a Python object alive from C++; the reference is dropped with the GIL held.
inline std::shared_ptr<const void> keep_alive(py::object object) {
  return {new py::object(std::move(object)), [](const void* p) {
            const py::gil_scoped_acquire gil;
            delete static_cast<const py::object*>(p);
          }};
}

template <class T>
MatrixView<const T> matrix_view(const AnyArray<T>& a) {
  if (a.ndim() != 2) throw py::type_error("expected a 2-d array");
  const auto item = static_cast<Index>(sizeof(T));
  if (a.strides(0) % item != 0 || a.strides(1) % item != 0) throw py::type_error("strides must be whole items");
  return {a.data(), a.shape(0), a.shape(1), a.strides(0) / item, a.strides(1) / item};
}

template <class T>
Block<const T> block_view(const RowMajorArray<T>& a) {
  if (a.ndim() != 2) throw py::type_error("expected a 2-d array");
  return {a.data(), a.shape(0), a.shape(1), a.shape(1)};
}

template <class T>
RowMajorArray<T> new_array(Index rows, Index cols) {
  return RowMajorArray<T>({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(cols)});
}

template <class T>
Block<T> writable_block(RowMajorArray<T>& a) {
  return {a.mutable_data(), a.shape(0), a.shape(1), a.shape(1)};
}

// Hands an owned block to NumPy without a copy.
template <class T>
py::array_t<T> to_numpy(OwnedBlock<T>&& block) {
  auto* owner = new OwnedBlock<T>(std::move(block));
  const py::capsule free(owner, [](void* p) { delete static_cast<OwnedBlock<T>*>(p); });
  const auto rows = static_cast<py::ssize_t>(owner->rows()), cols = static_cast<py::ssize_t>(owner->cols());
  return py::array_t<T>({rows, cols}, {cols * static_cast<py::ssize_t>(sizeof(T)), static_cast<py::ssize_t>(sizeof(T))},
                        owner->data(), free);
}

template <class T>
py::array_t<T> to_numpy(Buffer<T>&& buffer) {
  auto* owner = new Buffer<T>(std::move(buffer));
  const py::capsule free(owner, [](void* p) { delete static_cast<Buffer<T>*>(p); });
  return py::array_t<T>(static_cast<py::ssize_t>(owner->size()), owner->data(), free);
}

inline py::array_t<double> to_numpy(const std::vector<double>& v) {
  return py::array_t<double>(static_cast<py::ssize_t>(v.size()), v.data());
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
void bind_spectrum(py::module_& m);
void bind_objectives(py::module_& m);
void bind_scores(py::module_& m);
void bind_config(py::module_& m);

}  // namespace eigencontext::bindings
