// An operator with exactly the members that the interface demands. That this file compiles shows that the spectral
// algorithms ask for nothing more; the target is `archetype`, built where warnings are errors.
#include "backend/cpu/cpu.hpp"
#include "operators/operator.hpp"
#include "spectrum/spectrum.hpp"

namespace eigencontext {

template <class T>
class Archetype final : public Operator<Cpu, T> {
 public:
  Index rows() const override { return 2; }
  Index cols() const override { return 2; }
  Cost cost(Index) const override { return {}; }
  void multiply(Block<const T>, Block<T>) const override {}
  void multiply_transposed(Block<const T>, Block<T>) const override {}
};

template <class T>
void use_archetype() {
  const Archetype<T> A;
  const SpectrumOptions options;
  [[maybe_unused]] const SpectrumResult<Cpu, T> triplets = svd<Cpu, T>(A, 1, options);
  [[maybe_unused]] const SpectrumResult<Cpu, T> pairs = eigh<Cpu, T>(A, 1, options);
}

template void use_archetype<float>();
template void use_archetype<double>();

}  // namespace eigencontext
