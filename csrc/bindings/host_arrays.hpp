// NumPy arrays as views of host memory.
#pragma once

#include <pybind11/numpy.h>

#include <algorithm>

#include "base/buffer.hpp"
#include "base/views.hpp"

namespace eigencontext::bindings {

namespace py = pybind11;

// Arrays with any strides, never converted: Python passes the right dtype.
template <class T>
using AnyArray = py::array_t<T, 0>;
template <class T>
using RowMajorArray = py::array_t<T, py::array::c_style>;

// In elements.
template <class T>
Index stride_of(const AnyArray<T>& a, int axis) {
  return a.strides(axis) / static_cast<Index>(sizeof(T));
}

template <class T>
MatrixView<const T> matrix_view(const AnyArray<T>& a) {
  if (a.ndim() != 2) throw py::type_error("expected a 2-d array");
  const auto item = static_cast<Index>(sizeof(T));
  if (a.strides(0) % item != 0 || a.strides(1) % item != 0) throw py::type_error("strides must be whole items");
  return {a.data(), a.shape(0), a.shape(1), stride_of(a, 0), stride_of(a, 1)};
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
py::array_t<T> to_python(OwnedBlock<T>&& block) {
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

// Y = X on the calling thread, which holds the GIL.
template <class T>
void copy_block(Block<const T> X, Block<T> Y) {
  for (Index i = 0; i < X.rows; ++i) std::copy_n(X.row(i), X.cols, Y.row(i));
}

template <class T>
RowMajorArray<T> copied(const RowMajorArray<T>& a) {
  return RowMajorArray<T>(a.request());
}

// What a function of Python returned, converted if need be.
template <class T>
RowMajorArray<T> converted(const py::object& answer) {
  const auto array = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(answer);
  if (!array) throw py::error_already_set();
  return array;
}

}  // namespace eigencontext::bindings
