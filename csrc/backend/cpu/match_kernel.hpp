// The code of match.hpp, included by one file for each instruction set. Everything here has internal linkage, and it
// uses no function of another header: the linker must not share code between the levels.
#include <cstring>
#include <limits>
#include <type_traits>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "backend/cpu/match.hpp"

namespace eigencontext::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int match_bytes = 64, match_rows = 8;
#elif defined(__AVX2__)
constexpr int match_bytes = 32, match_rows = 2;
#else
constexpr int match_bytes = 16, match_rows = 1;
#endif

template <class T>
struct MatchVector;
template <>
struct MatchVector<float> {
  typedef float Real __attribute__((vector_size(match_bytes), may_alias));
  typedef std::int32_t Bits __attribute__((vector_size(match_bytes), may_alias));
};
template <>
struct MatchVector<double> {
  typedef double Real __attribute__((vector_size(match_bytes), may_alias));
  typedef std::int64_t Bits __attribute__((vector_size(match_bytes), may_alias));
};
constexpr int match_vectors = 128 / match_bytes;

#if defined(__AVX512F__)

// sums += w where the codes are equal.
inline void add_where_equal(Code x, const Code* codes, float w, __m512 (&sums)[2]) {
  const __m256i a = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes));
  const __mmask32 equal = _mm256_cmpeq_epi8_mask(a, _mm256_set1_epi8(static_cast<char>(x)));
  const __m512 weight = _mm512_set1_ps(w);
  sums[0] = _mm512_mask_add_ps(sums[0], static_cast<__mmask16>(equal), sums[0], weight);
  sums[1] = _mm512_mask_add_ps(sums[1], static_cast<__mmask16>(equal >> 16), sums[1], weight);
}
inline void add_where_equal(Code x, const Code* codes, double w, __m512d (&sums)[2]) {
  const __m128i a = _mm_load_si128(reinterpret_cast<const __m128i*>(codes));
  const __mmask16 equal = _mm_cmpeq_epi8_mask(a, _mm_set1_epi8(static_cast<char>(x)));
  const __m512d weight = _mm512_set1_pd(w);
  sums[0] = _mm512_mask_add_pd(sums[0], static_cast<__mmask8>(equal), sums[0], weight);
  sums[1] = _mm512_mask_add_pd(sums[1], static_cast<__mmask8>(equal >> 8), sums[1], weight);
}

template <int rows, class T>
inline void add_matches(const T* w, const Code* x, Index p, const Code* panel,
                        typename MatchVector<T>::Real (&sums)[rows][match_vectors]) {
  for (Index f = 0; f < p; ++f)
    for (int i = 0; i < rows; ++i) add_where_equal(x[i * p + f], panel + f * panel_width<T>, w[i * p + f], sums[i]);
}

#else

template <int rows, class T>
inline __attribute__((always_inline)) void add_matches(const T* w, const Code* x, Index p, const Code* panel,
                                                       typename MatchVector<T>::Real (&sums)[rows][match_vectors]) {
  using Real = typename MatchVector<T>::Real;
  using Bits = typename MatchVector<T>::Bits;
  constexpr int width = match_bytes / sizeof(T);
  typedef Code Codes __attribute__((vector_size(width)));
  using Element = std::remove_reference_t<decltype(Bits{}[0])>;
  for (Index f = 0; f < p; ++f)
    for (int v = 0; v < match_vectors; ++v) {
      Codes codes;
      std::memcpy(&codes, panel + f * panel_width<T> + v * width, sizeof codes);
      const Bits a = __builtin_convertvector(codes, Bits);
      for (int i = 0; i < rows; ++i) {
        const Bits weight = (Bits)(Real{} + w[i * p + f]);
        sums[i][v] += (Real)((a == static_cast<Element>(x[i * p + f])) & weight);
      }
    }
}

#endif

template <int rows, class T>
inline void matches_block(const T* w, const Code* x, Index p, const Code* panel, T* C, Index stride) {
  using Real = typename MatchVector<T>::Real;
  Real sums[rows][match_vectors] = {};
  add_matches<rows>(w, x, p, panel, sums);
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < match_vectors; ++v) reinterpret_cast<Real*>(C + i * stride)[v] = sums[i][v];
}

template <class T>
void matches(const T* w, const Code* x, Index rows, Index p, const Code* panels, Index n_panels, T* C, Index stride) {
  for (Index q = 0; q < n_panels; ++q) {
    const Code* panel = panels + q * p * panel_width<T>;
    T* column = C + q * panel_width<T>;
    Index i = 0;
    for (; i + match_rows <= rows; i += match_rows)
      matches_block<match_rows>(w + i * p, x + i * p, p, panel, column + i * stride, stride);
    for (; i < rows; ++i) matches_block<1>(w + i * p, x + i * p, p, panel, column + i * stride, stride);
  }
}

// Whether no byte is 0: only then does no subtraction of 1 borrow from a byte's top bit.
template <int bytes>
inline bool all_set(const Code* x) {
  std::uint64_t zero = 0;
  for (int j = 0; j < bytes; j += 8) {
    std::uint64_t word;
    std::memcpy(&word, x + j, sizeof word);
    zero |= (word - 0x0101010101010101u) & ~word & 0x8080808080808080u;
  }
  return zero == 0;
}

// C_j = 0 where byte j is 0, else -infinity.
template <class T>
inline void write_agreement(const Code* differs, T* C) {
  using Real = typename MatchVector<T>::Real;
  using Bits = typename MatchVector<T>::Bits;
  constexpr int width = match_bytes / sizeof(T);
  typedef Code Codes __attribute__((vector_size(width)));
  for (int v = 0; v < match_vectors; ++v) {
    Codes codes;
    std::memcpy(&codes, differs + v * width, sizeof codes);
    const Bits set = __builtin_convertvector(codes, Bits) != 0;
    reinterpret_cast<Real*>(C)[v] = (Real)(set & (Bits)(Real{} - std::numeric_limits<T>::infinity()));
  }
}

template <class T>
inline void agreement_row(const Code* x, Index p, const Code* panel, const Code* visible, T* C) {
  constexpr int width = panel_width<T>;
  constexpr Index step = 16;  // features between two looks at whether anything still agrees
  typedef Code Codes __attribute__((vector_size(width), may_alias));
  Codes differs = {};
  Code bytes[width] = {};
  for (Index f0 = 0; f0 < p && !all_set<width>(bytes); f0 += step) {
    const Index end = f0 + step < p ? f0 + step : p;
    for (Index f = f0; f < end; ++f)
      differs |= (*reinterpret_cast<const Codes*>(panel + f * width) ^ x[f]) &
                 *reinterpret_cast<const Codes*>(visible + f * width);
    std::memcpy(bytes, &differs, sizeof bytes);
  }
  write_agreement(bytes, C);
}

template <class T>
void agreement(const Code* x, Index rows, Index p, const Code* panels, const Code* visible, Index n_panels, T* C,
               Index stride) {
  for (Index q = 0; q < n_panels; ++q) {
    const Index offset = q * p * panel_width<T>;
    for (Index i = 0; i < rows; ++i)
      agreement_row(x + i * p, p, panels + offset, visible + offset, C + i * stride + q * panel_width<T>);
  }
}

template <class T>
constexpr MatchKernels<T> match_kernels_here{matches<T>, agreement<T>};

}  // namespace
}  // namespace eigencontext::cpu
