// The one interface that every spectral algorithm sees.
#pragma once

#include <memory>

#include "base/views.hpp"

namespace eigencontext {

// Flops, bytes of operator data read, and bytes of scratch memory of one product with b columns.
struct Cost {
  double flops = 0, bytes = 0, workspace = 0;
};

template <class Backend, class Scalar>
class Operator {
 public:
  virtual ~Operator() = default;

  virtual Index rows() const = 0;
  virtual Index cols() const = 0;
  virtual Cost cost(Index b) const = 0;

  // Y = A X and Z = A^T Y. Outputs are overwritten and must not overlap inputs; shapes are the caller's promise.
  virtual void multiply(Block<const Scalar> X, Block<Scalar> Y) const = 0;
  virtual void multiply_transposed(Block<const Scalar> Y, Block<Scalar> Z) const = 0;

  // Optional: Z = A^T diag(w) A X with one read of A; w has rows() float64 entries, where blocks live, or is
  // null for ones.
  virtual bool has_fused() const { return false; }
  // Whether the fused product costs less than the two products apart (dense: yes; CSR: without a transposed copy).
  virtual bool prefers_fused() const { return false; }
  virtual void multiply_fused(const double* /*w*/, Block<const Scalar> /*X*/, Block<Scalar> /*Z*/) const {}

  // How often stored data have been read from one end to the other; 0 where nothing is stored here.
  virtual Index reads() const { return 0; }

  // Optional, for what the owner holds to be symmetric positive semidefinite: single entries, which pivoted Cholesky
  // asks for. Y(i, j) = A(rows[i], columns[j]); rows null: all of them, in order.
  virtual bool has_entries() const { return false; }
  virtual void entries(const Index* /*rows*/, const Index* /*columns*/, Block<Scalar> /*Y*/) const {}
  // d[i] = A(i, i). rounding[i]: entry (i, j) is known up to about sqrt(rounding[i] rounding[j]).
  virtual void diagonal(double* /*d*/, double* /*rounding*/) const {}

  // A promise of the owner, used by eigh: A = A^T.
  virtual bool symmetric() const { return false; }
};

template <class Backend, class Scalar>
using OperatorPtr = std::shared_ptr<const Operator<Backend, Scalar>>;

}  // namespace eigencontext
