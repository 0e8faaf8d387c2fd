// CSR kernels for every machine: 16-byte vectors (SSE2, NEON).
#define EIGENCONTEXT_VECTOR_BYTES 16
#include "backend/cpu/csr_kernel.hpp"

namespace eigencontext::cpu {

template <class T, class Int>
CsrKernels<T, Int> csr_kernels_baseline() {
  return kernels<T, Int>();
}

template CsrKernels<float, std::int32_t> csr_kernels_baseline();
template CsrKernels<float, std::int64_t> csr_kernels_baseline();
template CsrKernels<double, std::int32_t> csr_kernels_baseline();
template CsrKernels<double, std::int64_t> csr_kernels_baseline();

}  // namespace eigencontext::cpu
