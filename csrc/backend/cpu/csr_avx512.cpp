// CSR kernels for AVX-512.
#if defined(__AVX512F__)

#define EIGENCONTEXT_VECTOR_BYTES 64
#include "backend/cpu/csr_kernel.hpp"

namespace eigencontext::cpu {

template <class T, class Int>
CsrKernels<T, Int> csr_kernels_avx512() {
  return kernels<T, Int>();
}

template CsrKernels<float, std::int32_t> csr_kernels_avx512();
template CsrKernels<float, std::int64_t> csr_kernels_avx512();
template CsrKernels<double, std::int32_t> csr_kernels_avx512();
template CsrKernels<double, std::int64_t> csr_kernels_avx512();

}  // namespace eigencontext::cpu

#endif
