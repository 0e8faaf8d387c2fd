// CSR kernels for AVX2 with FMA.
#if defined(__AVX2__) && defined(__FMA__)

#define EIGENCONTEXT_VECTOR_BYTES 32
#include "backend/cpu/csr_kernel.hpp"

namespace eigencontext::cpu {

template <class T, class Int>
CsrKernels<T, Int> csr_kernels_avx2() {
  return kernels<T, Int>();
}

template CsrKernels<float, std::int32_t> csr_kernels_avx2();
template CsrKernels<float, std::int64_t> csr_kernels_avx2();
template CsrKernels<double, std::int32_t> csr_kernels_avx2();
template CsrKernels<double, std::int64_t> csr_kernels_avx2();

}  // namespace eigencontext::cpu

#endif
