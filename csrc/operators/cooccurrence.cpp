#include "operators/cooccurrence.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "base/parallel.hpp"

namespace eigencontext {
namespace {

constexpr Index chunks_wanted = 1024;
constexpr Index ahead = 8;  // places

// The places of each word in the text, word after word.
struct Places {
  std::vector<Index> starts;
  Buffer<Index> places;

  Places(const std::int32_t* tokens, Index n, Index words) : starts(static_cast<std::size_t>(words) + 1, 0) {
    for (Index i = 0; i < n; ++i)
      if (tokens[i] >= 0) ++starts[static_cast<std::size_t>(tokens[i]) + 1];
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    places = Buffer<Index>(starts.back());
    std::vector<Index> next(starts.begin(), starts.end() - 1);
    for (Index i = 0; i < n; ++i)
      if (tokens[i] >= 0) places[next[static_cast<std::size_t>(tokens[i])]++] = i;
  }

  // Ranges of words with about equally many places.
  std::vector<Index> ranges() const {
    const Index words = static_cast<Index>(starts.size()) - 1, share = starts.back() / chunks_wanted + 1;
    std::vector<Index> edges{0};
    for (Index v = 0; v < words; ++v)
      if (starts[static_cast<std::size_t>(v) + 1] - starts[static_cast<std::size_t>(edges.back())] >= share)
        edges.push_back(v + 1);
    if (edges.back() < words) edges.push_back(words);
    return edges;
  }
};

// One row of counts, dense; which are not 0 is kept in a bitmap and a bitmap of its words, so that they come in order
// without sorting. As long as the vocabulary, and kept by a thread from row to row.
class Row {
 public:
  explicit Row(Index words) : counts_(at(words), 0), bits_(at(words / 64 + 1), 0), marks_(at(words / 4096 + 1), 0) {}

  void add(std::int32_t word) {
    if (counts_[at(word)]++ > 0) return;
    ++size_;
    bits_[at(word / 64)] |= std::uint64_t{1} << (word % 64);
    marks_[at(word / 4096)] |= std::uint64_t{1} << (word / 64 % 64);
  }
  Index size() const { return size_; }

  // use(word, count) in the order of words; afterwards the row is empty.
  template <class Use>
  void drain(const Use& use) {
    for (std::size_t k = 0; k < marks_.size(); ++k)
      for (; marks_[k] != 0; marks_[k] &= marks_[k] - 1) {
        const std::size_t j = 64 * k + static_cast<std::size_t>(std::countr_zero(marks_[k]));
        for (; bits_[j] != 0; bits_[j] &= bits_[j] - 1) {
          const std::size_t word = 64 * j + static_cast<std::size_t>(std::countr_zero(bits_[j]));
          use(static_cast<std::int32_t>(word), counts_[word]);
          counts_[word] = 0;
        }
      }
    size_ = 0;
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  std::vector<Index> counts_;
  std::vector<std::uint64_t> bits_, marks_;
  Index size_ = 0;
};

void add_neighbours(const std::int32_t* tokens, Index n, Index place, Index window, Row& row) {
  for (Index j = place - 1; j >= std::max<Index>(0, place - window) && tokens[j] != end_of_document; --j)
    if (tokens[j] >= 0) row.add(tokens[j]);
  for (Index j = place + 1; j <= std::min(n - 1, place + window) && tokens[j] != end_of_document; ++j)
    if (tokens[j] >= 0) row.add(tokens[j]);
}

}  // namespace

PairCounts count_pairs(const std::int32_t* tokens, Index n, Index words, Index window) {
  const Places text(tokens, n, words);
  const std::vector<Index> ranges = text.ranges();
  std::vector<Row> rows(static_cast<std::size_t>(num_threads()), Row(words));
  PairCounts result{Buffer<Index>(words + 1, 0), {}, {}};
  window = std::min(window, n);  // place + window can't overflow
  const auto each_row = [&](const auto& use) {
    parallel_for(static_cast<Index>(ranges.size()) - 1, [&](Index chunk, int worker) {
      Row& row = rows[static_cast<std::size_t>(worker)];
      for (Index v = ranges[static_cast<std::size_t>(chunk)]; v < ranges[static_cast<std::size_t>(chunk) + 1]; ++v) {
        const auto word = static_cast<std::size_t>(v);
        for (Index k = text.starts[word]; k < text.starts[word + 1]; ++k) {
          // places lie far from each other: the next ones are fetched meanwhile
          if (k + ahead < text.places.size()) __builtin_prefetch(tokens + text.places[k + ahead]);
          add_neighbours(tokens, n, text.places[k], window, row);
        }
        use(v, row);
      }
    });
  };
  // twice, so that the result is written where it stays
  each_row([&](Index v, Row& row) {
    result.starts[v + 1] = row.size();
    row.drain([](std::int32_t, Index) {});
  });
  std::partial_sum(result.starts.begin(), result.starts.end(), result.starts.begin());
  result.columns = Buffer<std::int32_t>(result.starts[words]);
  result.counts = Buffer<float>(result.starts[words]);
  each_row([&](Index v, Row& row) {
    std::int32_t* column = result.columns.data() + result.starts[v];
    float* count = result.counts.data() + result.starts[v];
    row.drain([&](std::int32_t word, Index times) {
      *column++ = word;
      *count++ = static_cast<float>(times);
    });
  });
  return result;
}

}  // namespace eigencontext
