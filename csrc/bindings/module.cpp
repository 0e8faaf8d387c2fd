#include <pybind11/pybind11.h>

#include "bindings/arrays.hpp"

namespace py = pybind11;
using namespace eigencontext;

PYBIND11_MODULE(_core, m) {
  m.doc() = "The engine of eigencontext. Arguments are checked by the Python package, not here.";
  bindings::translate_exceptions();
  bindings::bind_operators(m);
  bindings::bind_host_operators(m);
  bindings::bind_sampled_operators(m);
  bindings::bind_spectrum(m);
  bindings::bind_objectives(m);
  bindings::bind_scores(m);
  bindings::bind_primitives(m);
  bindings::bind_config(m);
}
