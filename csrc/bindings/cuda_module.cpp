// The engine on a CUDA device: the names of _core, on device arrays.
#include <numeric>
#include <utility>

#include "base/errors.hpp"
#include "bindings/arrays.hpp"
#include "bindings/dlpack.hpp"
#include "operators/streamed.hpp"

namespace py = pybind11;
using namespace eigencontext;

namespace eigencontext::bindings {
namespace {

py::tuple shape_of(const DeviceArray& a) {
  if (a.axes == 1) return py::make_tuple(a.shape[0]);
  return py::make_tuple(a.shape[0], a.shape[1]);
}

py::dict interface_of(const DeviceArray& a) {
  py::dict d;
  d["shape"] = shape_of(a);
  d["typestr"] = a.type;
  d["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(a.memory->data()), false);
  const Index row = a.shape[a.transposed ? 0 : 1] * a.item_size();
  if (a.axes == 1)
    d["strides"] = py::make_tuple(a.item_size());
  else if (a.transposed)
    d["strides"] = py::make_tuple(a.item_size(), row);
  else
    d["strides"] = py::make_tuple(row, a.item_size());
  d["version"] = 3;
  d["stream"] = 2;  // of the thread that asks: what made the array is complete, or was asked of that stream
  return d;
}

py::array to_host(const DeviceArray& a) {
  const Index rows = a.shape[a.transposed ? 1 : 0], cols = a.shape[a.transposed ? 0 : 1];
  py::array out(py::dtype(a.type), std::vector<py::ssize_t>{rows, cols});
  a.memory->to_host(static_cast<unsigned char*>(out.mutable_data()));
  if (a.axes == 1) return out.attr("ravel")();
  return a.transposed ? py::array(out.attr("T")) : out;
}

// Rows of A.
template <class T>
RowMajorArray<T> rows_of(const AnyArray<T>& A, const std::vector<Index>& rows) {
  std::vector<Index> columns(static_cast<std::size_t>(A.shape(1)));
  std::iota(columns.begin(), columns.end(), Index{0});
  RowMajorArray<T> out = new_array<T>(static_cast<Index>(rows.size()), A.shape(1));
  Cuda::gather<T>(matrix_view(A), rows.data(), columns.data(), writable_block(out));
  return out;
}

template <class S, class T>
py::object converted_to(const AnyArray<T>& A) {
  RowMajorArray<S> out = new_array<S>(A.shape(0), A.shape(1));
  cuda::pack_points<S, T>({A.data(), A.shape(0), A.shape(1), A.stride(0), A.stride(1)}, nullptr, 1, nullptr,
                          writable_block(out));
  return out;
}

template <class T>
void bind_typed(py::module_& m) {
  m.def("all_finite", [](const AnyArray<T>& A) {
    return Cuda::all_finite<T>({A.data(), A.shape(0), A.shape(1), A.stride(0), A.stride(1)});
  });
  m.def("rows", &rows_of<T>);
  m.def("row_squares", [](const AnyArray<T>& A) {
    std::vector<double> squares(static_cast<std::size_t>(A.shape(0)));
    Cuda::to_host<double>(cuda::row_squares<T>(matrix_view(A), nullptr, 1).view(), squares.data());
    return to_numpy(squares);
  });
  m.def("converted", [](const AnyArray<T>& A, const std::string& dtype) {
    return dtype == "float32" ? converted_to<float, T>(A) : converted_to<double, T>(A);
  });
}

template <class T>
void bind_streamed(py::module_& m) {
  m.def(
      "streamed",
      [](const py::array_t<T, 0>& a, bool symmetric) {
        const auto item = static_cast<Index>(sizeof(T));
        if (a.ndim() != 2 || a.strides(0) % item != 0 || a.strides(1) % item != 0)
          throw py::type_error("expected a 2-d array, strides of whole items");
        const MatrixView<const T> view{a.data(), a.shape(0), a.shape(1), a.strides(0) / item, a.strides(1) / item};
        const auto op = make_streamed<T>(view, symmetric, keep_alive(a));
        return std::const_pointer_cast<Operator<Cuda, T>>(op);
      },
      py::arg("a").noconvert(), py::arg("symmetric") = false);
}

template <class T>
py::object zeros(Index rows, Index cols) {
  RowMajorArray<T> out = new_array<T>(rows, cols);
  Cuda::add<T>(0, writable_block(out), 0, writable_block(out));
  return out;
}

py::object bytes_of(const AnyArray<std::uint8_t>& a) {
  py::array_t<std::uint8_t> out(a.shape(0));
  cuda::copy_rows(out.mutable_data(), a.shape(0), a.data(), a.shape(0), a.shape(0), 1, cuda::Way::to_host);
  return out;
}

DeviceArray from_host(const py::array& a) {
  const py::array packed = py::array::ensure(a, py::array::c_style);
  if (!packed || packed.ndim() < 1 || packed.ndim() > 2) throw py::type_error("expected an array of one or two axes");
  const Index cols = packed.ndim() == 2 ? packed.shape(1) : 1;
  auto memory =
      cuda::Memory<unsigned char>::from_host(static_cast<const unsigned char*>(packed.data()), packed.nbytes());
  return {std::make_shared<cuda::Memory<unsigned char>>(std::move(memory)),
          {packed.shape(0), cols},
          packed.dtype().attr("str").cast<std::string>(),
          false,
          packed.ndim()};
}

// The same memory, for readers on streams that we do not know: it is released when all that was asked of the device by
// then is done.
DeviceArray for_others(const DeviceArray& a) {
  DeviceArray shared = a;
  shared.memory = std::shared_ptr<cuda::Memory<unsigned char>>(a.memory.get(), [kept = a.memory](auto*) mutable {
    {
      const py::gil_scoped_release released;  // what is waited for may call Python
      cuda::wait_for_everybody();
    }
    kept.reset();
  });
  return shared;
}

}  // namespace

void bind_arrays(py::module_& m) {
  py::class_<DeviceArray>(m, "DeviceArray", py::module_local())
      .def_property_readonly("__cuda_array_interface__", &interface_of)
      .def_property_readonly("shape", &shape_of)
      .def_property_readonly("dtype", [](const DeviceArray& a) { return py::dtype(a.type); })
      .def_property_readonly(
          "T",
          [](const DeviceArray& a) { return DeviceArray{a.memory, {a.shape[1], a.shape[0]}, a.type, !a.transposed}; })
      .def("for_others", &for_others)
      .def("get", &to_host, "The array as NumPy's.");
  m.def("to_device", &from_host, py::arg("a"));
  m.def("bytes_of", &bytes_of);
  m.def("zeros", [](Index rows, Index cols, const std::string& dtype) {
    return dtype == "float32" ? zeros<float>(rows, cols) : zeros<double>(rows, cols);
  });
  bind_typed<float>(m);
  bind_typed<double>(m);
  m.def("free_memory", &cuda::free_memory);
  py::class_<Dlpack>(m, "Dlpack", py::module_local())
      .def(py::init<const py::capsule&>())
      .def_property_readonly("__cuda_array_interface__", &Dlpack::interface);
  m.def("require_on_device", [](std::uintptr_t data, const char* argument) {
    cuda::require_on_device(reinterpret_cast<const void*>(data), argument);
  });
  m.def("unavailable", &cuda::unavailable);
  m.def("synchronize", &cuda::synchronize);
  m.def("device_name", &cuda::device_name);
}

}  // namespace eigencontext::bindings

#ifdef EIGENCONTEXT_CUDA_EMULATION
void bind_emulation(py::module_& m);
#define EIGENCONTEXT_CUDA_MODULE _cuda_emulated
#else
#define EIGENCONTEXT_CUDA_MODULE _cuda
#endif

PYBIND11_MODULE(EIGENCONTEXT_CUDA_MODULE, m) {
  m.doc() = "The engine of eigencontext on a CUDA device. Arguments are checked by the Python package, not here.";
  bindings::translate_exceptions();
  py::register_local_exception<DeviceMemoryError>(m, "DeviceMemoryError", PyExc_MemoryError);
  bindings::bind_arrays(m);
  bindings::bind_operators(m);
  bindings::bind_sampled_operators(m);
  bindings::bind_streamed<float>(m);
  bindings::bind_streamed<double>(m);
  bindings::bind_spectrum(m);
  bindings::bind_objectives(m);
  bindings::bind_scores(m);
  bindings::bind_primitives(m);
#ifdef EIGENCONTEXT_CUDA_EMULATION
  bind_emulation(m);
#endif
}
