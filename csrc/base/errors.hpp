// Errors are types with fields; the bindings translate them, nobody parses their text.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

namespace eigencontext {

// A value that the caller chose and that is not allowed. Python: ValueError.
struct ArgumentError : std::invalid_argument {
  std::string argument, got, allowed;
  ArgumentError(std::string argument_, std::string got_, std::string allowed_)
      : std::invalid_argument(argument_ + ": got " + got_ + "; allowed: " + allowed_),
        argument(std::move(argument_)),
        got(std::move(got_)),
        allowed(std::move(allowed_)) {}
};

// A product produced NaN or inf. Python: ValueError.
struct NonFiniteError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// LAPACK reported failure. Python: numpy.linalg.LinAlgError.
struct FactorizationError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A call to the device's runtime failed; the text names the call. Python: RuntimeError.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The device has no memory left. Python: DeviceMemoryError of the module, a MemoryError.
struct DeviceMemoryError : std::bad_alloc {
  explicit DeviceMemoryError(std::string text_) : text(std::move(text_)) {}
  const char* what() const noexcept override { return text.c_str(); }
  std::string text;
};

// The `stop` function returned true. Python: the pending exception (KeyboardInterrupt) is raised.
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

}  // namespace eigencontext
