// This thread's cuBLAS handle. The kernels do without.
#pragma once

#include <cublas_v2.h>

namespace eigencontext::cuda {

// Throws DeviceError, which names the call.
void check(cublasStatus_t status, const char* call);

cublasHandle_t blas();  // on this thread's stream
bool tf32();            // is there a Tf32Scope?

}  // namespace eigencontext::cuda
