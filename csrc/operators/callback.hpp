// An operator given by two functions.
#pragma once

#include <functional>

#include "backend/backend.hpp"
#include "operators/operator.hpp"

namespace eigencontext {

template <class T>
using BlockFunction = std::function<void(Block<const T>, Block<T>)>;

// multiply fills (rows x b) from (cols x b), multiply_transposed the other way round. Both are called on the thread
// that asks for the product; what they throw passes through.
template <class T>
OperatorPtr<Device, T> make_callback(Index rows, Index cols, BlockFunction<T> multiply,
                                     BlockFunction<T> multiply_transposed, bool symmetric);

}  // namespace eigencontext
