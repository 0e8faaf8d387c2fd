// The code of scores.hpp, included by one file for each instruction set. Everything here has internal linkage, and it
// uses no function of another header: the linker must not share code between the levels.
#include "backend/cpu/scores.hpp"

namespace eigencontext::cpu {
namespace {

constexpr Index lanes = 32;  // terms that are reduced side by side

template <class T>
inline T larger(T a, T b) {
  return a > b ? a : b;
}

template <class T>
T maxima(const T* x, Index n, T* __restrict top) {
  T lane[lanes];
  for (Index l = 0; l < lanes; ++l) lane[l] = x[0];
  Index j = 0;
  for (; j + lanes <= n; j += lanes)
    for (Index l = 0; l < lanes; ++l) {
      top[j + l] = larger(x[j + l], top[j + l]);
      lane[l] = larger(x[j + l], lane[l]);
    }
  for (; j < n; ++j) {
    top[j] = larger(x[j], top[j]);
    lane[0] = larger(x[j], lane[0]);
  }
  for (Index half = lanes / 2; half > 0; half /= 2)
    for (Index l = 0; l < half; ++l) lane[l] = larger(lane[l], lane[l + half]);
  return lane[0];
}

template <class T>
T sums(const T* x, Index n, T* __restrict sums) {
  T lane[lanes] = {};
  Index j = 0;
  for (; j + lanes <= n; j += lanes)
    for (Index l = 0; l < lanes; ++l) {
      sums[j + l] += x[j + l];
      lane[l] += x[j + l];
    }
  for (; j < n; ++j) {
    sums[j] += x[j];
    lane[0] += x[j];
  }
  for (Index half = lanes / 2; half > 0; half /= 2)
    for (Index l = 0; l < half; ++l) lane[l] += lane[l + half];
  return lane[0];
}

template <class T>
void weigh(T r, const T* c, T* __restrict x, Index n) {
  for (Index j = 0; j < n; ++j) x[j] *= r + c[j];
}

template <class T>
void magnitudes(T shift, T* __restrict z, T* __restrict e, Index n) {
  for (Index j = 0; j < n; ++j) {
    z[j] += shift;
    e[j] = z[j] < T(0) ? z[j] : -z[j];
  }
}

template <class T>
double sigmoid(const T* __restrict e, T* __restrict z, Index n, double* positive) {
  constexpr Index width = 16;
  double product[width], sum[width];
  for (Index l = 0; l < width; ++l) {
    product[l] = 1;
    sum[l] = 0;
  }
  const auto one = [&](Index j, Index l) __attribute__((always_inline)) {
    product[l] *= 1 + static_cast<double>(e[j]);
    sum[l] += static_cast<double>(z[j] > T(0) ? z[j] : T(0));
    z[j] = (z[j] < T(0) ? e[j] : T(1)) / (T(1) + e[j]);
  };
  Index j = 0;
  for (; j + width <= n; j += width)
    for (Index l = 0; l < width; ++l) one(j + l, l);
  for (; j < n; ++j) one(j, 0);
  for (Index half = width / 2; half > 0; half /= 2)
    for (Index l = 0; l < half; ++l) {
      product[l] *= product[l + half];
      sum[l] += sum[l + half];
    }
  *positive += sum[0];
  return product[0];
}

template <class T>
constexpr ScoreKernels<T> score_kernels_here{maxima<T>, sums<T>, weigh<T>, magnitudes<T>, sigmoid<T>};

}  // namespace
}  // namespace eigencontext::cpu
