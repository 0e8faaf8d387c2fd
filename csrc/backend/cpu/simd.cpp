#include "backend/cpu/simd.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "backend/cpu/cpu.hpp"
#include "base/errors.hpp"

namespace eigencontext {
namespace cpu {
namespace {

// From the plainest to the best.
std::vector<SimdLevel> supported_levels() {
  std::vector<SimdLevel> levels{SimdLevel::baseline};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  if (avx2) levels.push_back(SimdLevel::avx2);
  if (avx512) levels.push_back(SimdLevel::avx512);
#elif defined(__aarch64__)
  levels.push_back(SimdLevel::neon);  // part of the architecture: the same code as baseline
#endif
  return levels;
}

SimdLevel choose() {
  const std::vector<SimdLevel> levels = supported_levels();
  const char* forced = std::getenv("EIGENCONTEXT_SIMD");
  if (forced == nullptr || *forced == '\0') return levels.back();
  std::string allowed;
  for (const SimdLevel level : levels) {
    if (std::string(name(level)) == forced) return level;
    allowed += (allowed.empty() ? "" : ", ") + std::string(name(level));
  }
  throw ArgumentError("EIGENCONTEXT_SIMD", forced, allowed);
}

}  // namespace

const char* name(SimdLevel level) {
  switch (level) {
    case SimdLevel::avx2:
      return "avx2";
    case SimdLevel::avx512:
      return "avx512";
    case SimdLevel::neon:
      return "neon";
    case SimdLevel::baseline:
      break;
  }
  return "baseline";
}

SimdLevel simd_level() {
  static const SimdLevel level = choose();
  return level;
}

}  // namespace cpu

std::string Cpu::simd_level() { return cpu::name(cpu::simd_level()); }

}  // namespace eigencontext
