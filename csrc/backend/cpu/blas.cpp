#include "backend/cpu/blas.hpp"

#include "backend/cpu/cpu.hpp"

// Only OpenBLAS has these: weak, so that any other BLAS links too.
extern "C" {
__attribute__((weak)) void EIGENCONTEXT_BLAS(openblas_set_num_threads)(int);
__attribute__((weak)) char* EIGENCONTEXT_BLAS(openblas_get_config)();
}

namespace eigencontext {
namespace {

// Threads inside BLAS would fight with ours and would make results depend on their number.
[[maybe_unused]] const bool single_threaded = [] {
  if (!EIGENCONTEXT_BLAS(openblas_set_num_threads)) return false;
  EIGENCONTEXT_BLAS(openblas_set_num_threads)(1);
  return true;
}();

}  // namespace

std::string blas::version() {
  if (!EIGENCONTEXT_BLAS(openblas_get_config)) return "system BLAS";
  return EIGENCONTEXT_BLAS(openblas_get_config)();
}

std::string Cpu::blas_version() { return blas::version(); }

}  // namespace eigencontext
