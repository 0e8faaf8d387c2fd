// Operators made from operators, of any depth, on any backend. What parts can do fused, the whole can where the algebra
// allows it.
#pragma once

#include <vector>

#include "operators/operator.hpp"

namespace eigencontext {

// diag(left) A diag(right); an empty vector means ones. Symmetric if A is and left == right.
template <class Backend, class T>
OperatorPtr<Backend, T> make_scaled(OperatorPtr<Backend, T> A, std::vector<double> left, std::vector<double> right);

// A - u v^T. Symmetric if A is and v is u or -u.
template <class Backend, class T>
OperatorPtr<Backend, T> make_deflated(OperatorPtr<Backend, T> A, std::vector<double> u, std::vector<double> v);

// A B.
template <class Backend, class T>
OperatorPtr<Backend, T> make_product(OperatorPtr<Backend, T> A, OperatorPtr<Backend, T> B);

// [A_1; A_2; ...] (axis 0) or [A_1, A_2, ...] (axis 1).
template <class Backend, class T>
OperatorPtr<Backend, T> make_stacked(std::vector<OperatorPtr<Backend, T>> parts, int axis);

// sum_l weights[l] A_l. Symmetric if all parts are.
template <class Backend, class T>
OperatorPtr<Backend, T> make_weighted_sum(std::vector<OperatorPtr<Backend, T>> parts, std::vector<double> weights);

// A^T.
template <class Backend, class T>
OperatorPtr<Backend, T> make_transposed(OperatorPtr<Backend, T> A);

}  // namespace eigencontext
