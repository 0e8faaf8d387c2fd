#include <pybind11/pybind11.h>

#include "base/errors.hpp"
#include "bindings/arrays.hpp"

namespace py = pybind11;
using namespace eigencontext;

PYBIND11_MODULE(_core, m) {
  m.doc() = "The engine of eigencontext. Arguments are checked by the Python package, not here.";
  py::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const NonFiniteError& e) {
      PyErr_SetString(PyExc_ValueError, e.what());
    } catch (const FactorizationError& e) {
      const py::object error = py::module_::import("numpy.linalg").attr("LinAlgError");
      PyErr_SetString(error.ptr(), e.what());
    } catch (const Interrupted&) {
      // PyErr_CheckSignals has set the exception of the signal's handler.
      if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
  });
  bindings::bind_operators(m);
  bindings::bind_spectrum(m);
  bindings::bind_objectives(m);
  bindings::bind_scores(m);
  bindings::bind_config(m);
}
