#if defined(__x86_64__)
#include "backend/cpu/exp_kernel.hpp"

namespace eigencontext::cpu {

void exp_avx512(float* x, std::int64_t n);
void exp_avx512(double* x, std::int64_t n);

void exp_avx512(float* x, std::int64_t n) { exp_array(x, n); }
void exp_avx512(double* x, std::int64_t n) { exp_array(x, n); }

}  // namespace eigencontext::cpu
#endif
