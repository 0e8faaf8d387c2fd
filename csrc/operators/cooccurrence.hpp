// Counts of words that stand near each other, as a sparse matrix in CSR.
#pragma once

#include <cstdint>

#include "base/buffer.hpp"
#include "base/views.hpp"

namespace eigencontext {

// Tokens that are no words: an unknown word keeps its place, nothing is counted across the end of a document.
constexpr std::int32_t unknown_word = -1, end_of_document = -2;

struct PairCounts {
  Buffer<Index> starts;  // of the rows, and the end: words + 1
  Buffer<std::int32_t> columns;
  Buffer<float> counts;
};

// Entry (v, w): how often w stands at most `window` tokens before or after v; symmetric. Tokens are words 0 .. words -
// 1 or one of the two above. 8 bytes a token and 16 a word for each thread, beside the result.
PairCounts count_pairs(const std::int32_t* tokens, Index n, Index words, Index window);

}  // namespace eigencontext
