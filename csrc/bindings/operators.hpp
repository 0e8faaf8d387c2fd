// What the bindings of operators share.
#pragma once

#include "base/errors.hpp"
#include "bindings/arrays.hpp"
#include "operators/operator.hpp"
#include "operators/pairwise.hpp"

namespace eigencontext::bindings {

template <class T>
using Op = Operator<Device, T>;
template <class T>
using Pointer = std::shared_ptr<Op<T>>;  // pybind11 holders are not const; nothing here changes an operator

template <class T>
Pointer<T> held(OperatorPtr<Device, T> op) {
  return std::const_pointer_cast<Op<T>>(std::move(op));
}

inline std::vector<double> vector_or_empty(const py::object& v) {
  return v.is_none() ? std::vector<double>{} : v.cast<std::vector<double>>();
}

inline void expect_rows(Index got, Index wanted) {
  if (got != wanted)
    throw py::value_error("block has " + std::to_string(got) + " rows; allowed: " + std::to_string(wanted));
}

// The offsets of the exponents of n x m entries; they view what the vectors hold.
inline tiled::Offsets offsets_of(const std::vector<double>& r, const std::vector<double>& c, Index n, Index m) {
  if (!r.empty()) expect_rows(static_cast<Index>(r.size()), n);
  if (!c.empty()) expect_rows(static_cast<Index>(c.size()), m);
  return {r.empty() ? nullptr : r.data(), c.empty() ? nullptr : c.data()};
}

inline KernelOptions kernel_options(const std::string& kernel, double bandwidth, int degree, double coef0) {
  using Kind = KernelOptions::Kind;
  KernelOptions options;
  options.bandwidth = bandwidth;
  options.degree = degree;
  options.coef0 = coef0;
  if (kernel == "rbf")
    options.kind = Kind::rbf;
  else if (kernel == "laplacian")
    options.kind = Kind::laplacian;
  else if (kernel == "cosine")
    options.kind = Kind::cosine;
  else if (kernel == "polynomial")
    options.kind = Kind::polynomial;
  else
    throw ArgumentError("kernel", kernel, "rbf, laplacian, cosine, polynomial");
  return options;
}

}  // namespace eigencontext::bindings
