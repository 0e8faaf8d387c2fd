// Arrays that are handed over as DLPack capsules alone, shown as __cuda_array_interface__.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>

namespace eigencontext::bindings {

namespace py = pybind11;

// The C structures of DLPack 1.0.
struct DlTensor {
  void* data;
  std::int32_t device_type, device_id;
  std::int32_t ndim;
  std::uint8_t code, bits;
  std::uint16_t lanes;
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};
struct DlManaged {
  DlTensor tensor;
  void* context;
  void (*deleter)(DlManaged*);
};
struct DlManagedVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(DlManagedVersioned*);
  std::uint64_t flags;  // 1: read only
  DlTensor tensor;
};

// What a capsule held; given back to who made it when this goes.
class Dlpack {
 public:
  explicit Dlpack(const py::capsule& capsule) {
    if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
      take<DlManagedVersioned>(capsule, "used_dltensor_versioned", [](const DlManagedVersioned& m) {
        if (m.major > 1) throw py::type_error("dlpack: got version " + std::to_string(m.major) + "; allowed: 0, 1");
        return (m.flags & 1) != 0;
      });
    } else if (PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
      take<DlManaged>(capsule, "used_dltensor", [](const DlManaged&) { return false; });
    } else {
      throw py::type_error("dlpack: got a capsule that was used, or of another kind; allowed: a new one");
    }
  }

  py::dict interface() const {
    py::dict d;
    const auto axes = static_cast<std::size_t>(tensor_->ndim);
    py::tuple shape(axes), strides(axes);
    const std::int64_t bytes = tensor_->bits / 8 * tensor_->lanes;
    for (std::size_t axis = 0; axis < axes; ++axis) shape[axis] = tensor_->shape[axis];
    for (std::size_t axis = 0; tensor_->strides && axis < axes; ++axis) strides[axis] = tensor_->strides[axis] * bytes;
    d["shape"] = shape;
    d["strides"] = tensor_->strides ? py::object(strides) : py::none();
    d["typestr"] = type();
    d["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(tensor_->data) + tensor_->byte_offset, read_only_);
    d["version"] = 3;
    d["stream"] = 2;  // who made it was asked to have it ready there
    return d;
  }

 private:
  template <class Managed, class Check>
  void take(const py::capsule& capsule, const char* used, const Check& read_only) {
    auto* const managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), PyCapsule_GetName(capsule.ptr())));
    read_only_ = read_only(*managed);
    owner_ = std::shared_ptr<void>(managed, [](void* p) {
      auto* const m = static_cast<Managed*>(p);
      if (m->deleter) m->deleter(m);
    });
    tensor_ = &managed->tensor;
    PyCapsule_SetName(capsule.ptr(), used);
  }

  // Opaque bytes where NumPy has no such type (bfloat16).
  std::string type() const {
    const char* const kinds = "iufVVcb";  // int, uint, float, handle, bfloat, complex, bool
    const char kind = tensor_->code < 7 && tensor_->lanes == 1 ? kinds[tensor_->code] : 'V';
    const int bytes = tensor_->bits / 8 * tensor_->lanes;
    return (bytes == 1 || kind == 'V' ? "|" : "<") + std::string(1, kind) + std::to_string(bytes);
  }

  std::shared_ptr<void> owner_;
  const DlTensor* tensor_ = nullptr;
  bool read_only_ = false;
};

}  // namespace eigencontext::bindings
