// A dense matrix that stays in the host's memory and visits the device a group of rows at a time: what does not fit
// there.
#pragma once

#include <memory>

#include "backend/backend.hpp"
#include "operators/operator.hpp"

namespace eigencontext {

// A, any strides, is on the host; keep_alive holds whatever owns it. One product at a time.
template <class T>
OperatorPtr<Cuda, T> make_streamed(MatrixView<const T> A, bool symmetric, std::shared_ptr<const void> keep_alive);

}  // namespace eigencontext
