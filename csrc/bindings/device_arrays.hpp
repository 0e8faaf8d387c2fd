// Arrays in device memory, as anything with __cuda_array_interface__ describes them, as views.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "backend/cuda/cuda.hpp"

namespace eigencontext::bindings {

namespace py = pybind11;

template <class T>
constexpr const char* type_string = std::is_same_v<T, float>          ? "<f4"
                                    : std::is_same_v<T, double>       ? "<f8"
                                    : std::is_same_v<T, std::uint8_t> ? "|u1"
                                    : std::is_same_v<T, std::int32_t> ? "<i4"
                                                                      : "<i8";

// What the engine hands out: row-major memory of its own, or the transpose of such.
struct DeviceArray {
  std::shared_ptr<cuda::Memory<unsigned char>> memory;
  std::array<Index, 2> shape;
  std::string type;
  bool transposed = false;
  Index axes = 2;  // 1: shape[1] is 1 and not told

  Index item_size() const { return type.back() - '0'; }
};

// Strides in elements. Never converted: Python passes the right dtype.
template <class T>
class AnyArray {
 public:
  AnyArray() = default;
  bool load(const py::handle& source);

  Index ndim() const { return ndim_; }
  Index shape(Index axis) const { return shape_[axis]; }
  Index stride(Index axis) const { return strides_[axis]; }
  Index size() const { return shape_[0] * shape_[1] * shape_[2]; }
  const T* data() const { return data_; }
  T* mutable_data() { return data_; }
  operator py::object() const { return object_; }

 private:
  py::object object_;
  T* data_ = nullptr;
  Index ndim_ = 0;
  std::array<Index, 3> shape_{0, 1, 1}, strides_{1, 1, 1};
};

template <class T>
Index stride_of(const AnyArray<T>& a, int axis) {
  return a.stride(axis);
}

template <class T>
class RowMajorArray : public AnyArray<T> {
 public:
  bool load(const py::handle& source) {
    if (!AnyArray<T>::load(source)) return false;
    const Index cols = this->shape(1);
    return this->size() == 0 ||
           ((this->stride(1) == 1 || cols == 1) && (this->shape(0) == 1 || this->stride(0) == cols));
  }
};

template <class T>
bool AnyArray<T>::load(const py::handle& source) {
  if (!py::hasattr(source, "__cuda_array_interface__")) return false;
  const auto interface = source.attr("__cuda_array_interface__").cast<py::dict>();
  if (interface["typestr"].cast<std::string>() != type_string<T>) return false;
  const auto shape = interface["shape"].cast<py::tuple>();
  ndim_ = static_cast<Index>(shape.size());
  if (ndim_ < 1 || ndim_ > 3) return false;
  for (Index axis = 0; axis < ndim_; ++axis)
    shape_[axis] = shape[static_cast<std::size_t>(axis)].template cast<Index>();
  for (Index axis = ndim_ - 1; axis > 0; --axis) strides_[axis - 1] = strides_[axis] * shape_[axis];
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const auto strides = interface["strides"].cast<py::tuple>();
    for (Index axis = 0; axis < ndim_; ++axis) {
      const auto bytes = strides[static_cast<std::size_t>(axis)].template cast<Index>();
      if (bytes % static_cast<Index>(sizeof(T)) != 0) return false;
      strides_[axis] = bytes / static_cast<Index>(sizeof(T));
    }
  }
  data_ = reinterpret_cast<T*>(interface["data"].cast<py::tuple>()[0].template cast<std::uintptr_t>());
  object_ = py::reinterpret_borrow<py::object>(source);
  if (size() > 0) cuda::require_on_device(data_, "array");
  if (interface.contains("stream") && !interface["stream"].is_none())
    cuda::wait_for(interface["stream"].cast<std::uintptr_t>());
  return true;
}

template <class T>
MatrixView<const T> matrix_view(const AnyArray<T>& a) {
  if (a.ndim() != 2) throw py::type_error("expected a 2-d array");
  return {a.data(), a.shape(0), a.shape(1), a.stride(0), a.stride(1)};
}

template <class T>
Block<const T> block_view(const RowMajorArray<T>& a) {
  if (a.ndim() != 2) throw py::type_error("expected a 2-d array");
  return {a.data(), a.shape(0), a.shape(1), a.shape(1)};
}

template <class T>
RowMajorArray<T> new_array(Index rows, Index cols) {
  const auto bytes = rows * cols * static_cast<Index>(sizeof(T));
  RowMajorArray<T> array;
  array.load(py::cast(DeviceArray{std::make_shared<cuda::Memory<unsigned char>>(bytes), {rows, cols}, type_string<T>}));
  return array;
}

template <class T>
Block<T> writable_block(RowMajorArray<T>& a) {
  return {a.mutable_data(), a.shape(0), a.shape(1), a.shape(1)};
}

// A copy on the device, complete when it returns.
template <class T>
py::object to_python(cuda::Array<T>&& block) {
  RowMajorArray<T> array = new_array<T>(block.rows(), block.cols());
  Cuda::add<T>(1, block.view(), 0, writable_block(array));
  cuda::synchronize();
  return array;
}

template <class T>
void copy_block(Block<const T> X, Block<T> Y) {
  Cuda::add<T>(1, X, 0, Y);
}

template <class T>
RowMajorArray<T> copied(const RowMajorArray<T>& a) {
  RowMajorArray<T> copy = new_array<T>(a.shape(0), a.shape(1));
  copy_block<T>({a.data(), a.shape(0), a.shape(1), a.shape(1)}, writable_block(copy));
  return copy;
}

template <class T>
RowMajorArray<T> converted(const py::object& answer) {
  RowMajorArray<T> array;
  if (!array.load(answer)) throw py::type_error("expected a row-major array of the operator's dtype on a CUDA device");
  return array;
}

void bind_arrays(py::module_& m);

}  // namespace eigencontext::bindings

namespace pybind11::detail {

template <class Array>
struct device_array_caster {
  PYBIND11_TYPE_CASTER(Array, const_name("device array"));
  bool load(handle source, bool) { return value.load(source); }
  static handle cast(const Array& array, return_value_policy, handle) { return static_cast<object>(array).release(); }
};
template <class T>
struct type_caster<eigencontext::bindings::AnyArray<T>> : device_array_caster<eigencontext::bindings::AnyArray<T>> {};
template <class T>
struct type_caster<eigencontext::bindings::RowMajorArray<T>>
    : device_array_caster<eigencontext::bindings::RowMajorArray<T>> {};

}  // namespace pybind11::detail
