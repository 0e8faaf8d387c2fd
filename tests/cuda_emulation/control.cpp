// The emulation's settings for Python.
#include "control.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

namespace py = pybind11;

namespace eigencontext {
std::vector<double> plant(const std::string& kind);
}

void bind_emulation(py::module_& m) {
  using emulation::Order;
  using emulation::Settings;
  py::enum_<Order>(m, "Order")
      .value("ascending", Order::ascending)
      .value("descending", Order::descending)
      .value("shuffled", Order::shuffled);
  py::class_<Settings>(m, "Settings")
      .def_readwrite("order", &Settings::order)
      .def_readwrite("poison", &Settings::poison)
      .def_readwrite("memory", &Settings::memory)
      .def_readwrite("page_locked", &Settings::page_locked)
      .def_readwrite("driver", &Settings::driver)
      .def_readwrite("devices", &Settings::devices)
      .def_readwrite("capability", &Settings::capability)
      .def_readwrite("current", &Settings::current)
      .def_readwrite("pending", &Settings::pending)
      .def_readwrite("pending_launch", &Settings::pending_launch)
      .def_readwrite("waited_for", &Settings::waited_for)
      .def_readwrite("broken", &Settings::broken)
      .def_readwrite("report", &Settings::report)
      .def_readwrite("device_waits", &Settings::device_waits)
      .def_readwrite("launches", &Settings::launches);
  m.attr("emulation") = py::cast(&emulation::settings(), py::return_value_policy::reference);
  m.def("live", &emulation::live);
  m.def("busy", &emulation::busy);
  m.def("plant", &eigencontext::plant, py::arg("kind"));
}
