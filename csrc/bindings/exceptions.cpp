// The engine's exceptions as Python's.
#include "base/errors.hpp"
#include "bindings/arrays.hpp"

namespace eigencontext::bindings {

void translate_exceptions() {
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
}

}  // namespace eigencontext::bindings
