// A dense matrix in memory, any strides, not copied.
#pragma once

#include <memory>

#include "backend/backend.hpp"
#include "operators/operator.hpp"

namespace eigencontext {

// keep_alive holds whatever owns the memory of A for as long as the operator lives.
template <class T>
OperatorPtr<Device, T> make_dense(MatrixView<const T> A, bool symmetric, std::shared_ptr<const void> keep_alive);

}  // namespace eigencontext
