#include "backend/cpu/cpu.hpp"
#include "backend/cpu/exp_kernel.hpp"
#include "backend/cpu/simd.hpp"

namespace eigencontext {
namespace cpu {

#if defined(__x86_64__)
void exp_avx2(float* x, std::int64_t n);
void exp_avx2(double* x, std::int64_t n);
void exp_avx512(float* x, std::int64_t n);
void exp_avx512(double* x, std::int64_t n);
#endif

}  // namespace cpu

template <class T>
void Cpu::exp(T* x, Index n) {
#if defined(__x86_64__)
  if (cpu::simd_level() == cpu::SimdLevel::avx512) return cpu::exp_avx512(x, n);
  if (cpu::simd_level() == cpu::SimdLevel::avx2) return cpu::exp_avx2(x, n);
#endif
  cpu::exp_array(x, n);
}

template void Cpu::exp<float>(float*, Index);
template void Cpu::exp<double>(double*, Index);

}  // namespace eigencontext
