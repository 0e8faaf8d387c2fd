// The skinny products: a large matrix, any strides, times a block of a few columns.
//
// Both products are one, Y = B X with B = A or B = A^T, because the kernels take either stride to be 1. The output is
// cut into strips of rows and, where strips are few, the sum into groups of `depth`; both by shape alone. A chunk
// (strip, group) walks over tiles of B that fit L2, each multiplied by a piece of X that fits L1, into a strip of Y
// that stays in L2. The fused product reads a tile of whole rows of A from memory, multiplies it by X, and uses it
// again from L2.
//
// Error: at most `tile depth` (64, 256; fused: 2048) products are summed in registers, those sums in T while a chain is
// shorter than max_chain, and everything above in float64. So an entry is off by at most (depth + max_chain / depth +
// 2) eps sum |b_ik x_kj|, however long the sum is.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/simd.hpp"
#include "backend/cpu/skinny_table.hpp"
#include "base/parallel.hpp"

namespace eigencontext {
namespace {

using cpu::SkinnyTable;
using cpu::SkinnyTables;

constexpr Index rows_unit = 24;               // a multiple of the rows of every kernel
constexpr Index max_chain = 8192;             // products summed in T before float64
constexpr Index wanted_chunks = 32;           // where strips are fewer than this, the sum is cut too
constexpr Index min_group = 1024;             // ... but not into pieces shorter than this
constexpr Index fused_groups = 8;             // private sums of the fused product, at most fused_block_bytes each (T)
constexpr Index fused_block_bytes = 4 << 20;  // X and Z above this leave the caches: the fused product does not pay
constexpr Index l2_bytes = 1 << 20;           // what tiles are sized for; smaller caches cost speed, nothing else

// Memory that a thread keeps between calls, because fresh pages cost as much as a small product. At most kept_slots
// pieces of kept_bytes each.
constexpr Index kept_bytes = 8 << 20;
constexpr std::size_t kept_slots = 4;
thread_local std::array<Buffer<std::byte>, kept_slots> kept;

template <class T>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(Index size) {
    const Index bytes = size * static_cast<Index>(sizeof(T));
    Buffer<std::byte>* best = nullptr;
    for (auto& slot : kept)
      if (slot.size() >= bytes && (!best || slot.size() < best->size())) best = &slot;
    memory_ = best && bytes > 0 ? std::exchange(*best, {}) : Buffer<std::byte>(bytes);
  }
  Scratch(Scratch&&) = default;
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~Scratch() {
    if (memory_.size() > kept_bytes) return;
    auto& smallest =
        *std::min_element(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
    if (smallest.size() < memory_.size()) std::swap(smallest, memory_);
  }
  T* data() { return reinterpret_cast<T*>(memory_.data()); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.data()); }
  Index size() const { return memory_.size() / static_cast<Index>(sizeof(T)); }  // at least what was asked for

 private:
  Buffer<std::byte> memory_;
};

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }
Index round_up(Index a, Index unit) { return ceil_div(a, unit) * unit; }

const SkinnyTables& tables() {
  switch (cpu::simd_level()) {
#if defined(__x86_64__)
    case cpu::SimdLevel::avx512:
      return cpu::skinny_avx512;
    case cpu::SimdLevel::avx2:
      return cpu::skinny_avx2;
#elif defined(__aarch64__)
    case cpu::SimdLevel::neon:
      return cpu::skinny_neon;
#endif
    default:
      return cpu::skinny_baseline;
  }
}

template <class T>
const SkinnyTable<T>& table();
template <>
const SkinnyTable<float>& table() {
  return tables().float32;
}
template <>
const SkinnyTable<double>& table() {
  return tables().float64;
}

// The columns of a block, cut into panels of 1 to max_vectors vectors as equal as can be; the last is padded with
// zeros.
template <class T>
class Panels {
 public:
  explicit Panels(Index cols) : table_(table<T>()), cols_(cols), vectors_(ceil_div(cols, table_.lanes)) {
    count_ = ceil_div(vectors_, table_.max_vectors);
  }
  Index count() const { return count_; }
  Index width() const { return vectors_ * table_.lanes; }  // of all panels together
  Index first_column(Index p) const { return p * vectors_ / count_ * table_.lanes; }
  Index width(Index p) const { return first_column(p + 1) - first_column(p); }
  Index columns(Index p) const { return std::min(width(p), cols_ - first_column(p)); }
  cpu::SkinnyKernel<T> kernel(Index p, bool along_rows) const {
    const Index v = width(p) / table_.lanes - 1;
    return along_rows ? table_.along_rows[v] : table_.along_columns[v];
  }

 private:
  const SkinnyTable<T>& table_;
  Index cols_, vectors_, count_ = 0;
};

// A block as the kernels want it: panel p, packed, at data + rows * first_column(p).
template <class T>
struct Packed {
  T* data;
  Index rows;
  T* at(const Panels<T>& panels, Index p, Index row) const {
    return data + rows * panels.first_column(p) + row * panels.width(p);
  }
};

template <class T>
void pack(const Panels<T>& panels, Block<const T> X, Packed<T> out) {
  const Index piece = 2048;
  parallel_for(ceil_div(X.rows, piece), [&](Index chunk, int) {
    const Index end = std::min(X.rows, (chunk + 1) * piece);
    for (Index p = 0; p < panels.count(); ++p) {
      const Index first = panels.first_column(p), columns = panels.columns(p), width = panels.width(p);
      for (Index i = chunk * piece; i < end; ++i) {
        T* to = out.at(panels, p, i);
        std::memcpy(to, X.row(i) + first, static_cast<std::size_t>(columns) * sizeof(T));
        std::fill(to + columns, to + width, T(0));
      }
    }
  });
}

// One tile of B (rows x depth) with one of its strides 1, ready for a kernel.
template <class T>
struct Tile {
  const T* data;
  Index stride;
  bool along_rows;
};

// Can a kernel read B where it lies?
template <class T>
bool readable_in_place(const MatrixView<const T>& B) {
  return B.col_stride == 1 || B.row_stride == 1;
}

// Lines a multiple of 4096 bytes apart share a set of L1 and evict each other: such rows are read by twelves at most.
template <class T>
bool share_a_set(Index stride) {
  const Index offset = ((stride * static_cast<Index>(sizeof(T))) % 4096 + 4096) % 4096;
  return offset < 128 || offset > 4096 - 128;
}

// Copies a tile in the order in which it lies in memory; lines are kept an odd number of cache lines apart.
template <class T>
Tile<T> copy_tile(const MatrixView<const T>& B, Scratch<T>& buffer) {
  const bool along_rows = std::abs(B.col_stride) <= std::abs(B.row_stride);
  const MatrixView<const T> C = along_rows ? B : B.transposed();
  constexpr Index line = 64 / sizeof(T);
  const Index stride = (ceil_div(C.cols, line) | 1) * line;
  if (buffer.size() < C.rows * stride) buffer = Scratch<T>(C.rows * stride);
  for (Index i = 0; i < C.rows; ++i) {
    const T* from = C.data + i * C.row_stride;
    T* to = buffer.data() + i * stride;
    if (C.col_stride == 1)
      std::memcpy(to, from, static_cast<std::size_t>(C.cols) * sizeof(T));
    else
      for (Index j = 0; j < C.cols; ++j) to[j] = from[j * C.col_stride];
  }
  return {buffer.data(), stride, along_rows};
}

template <class T>
MatrixView<const T> part(const MatrixView<const T>& B, Index row, Index rows, Index col, Index cols) {
  return {B.data + row * B.row_stride + col * B.col_stride, rows, cols, B.row_stride, B.col_stride};
}

template <class T>
Tile<T> in_place(const MatrixView<const T>& B) {
  if (B.col_stride == 1) return {B.data, B.row_stride, true};
  return {B.data, B.col_stride, false};
}

template <class T>
void set_zero(Block<T> Y) {
  for (Index i = 0; i < Y.rows; ++i) std::fill_n(Y.row(i), Y.cols, T(0));
}

// sums += chain, chain = 0: ends a chain of additions in T.
template <class T>
void flush(T* chain, double* sums, Index count) {
  for (Index i = 0; i < count; ++i) sums[i] += static_cast<double>(chain[i]);
  std::fill_n(chain, count, T(0));
}

// The sums of some groups over rows x width, in T for the current chain and, where chains are ended, in float64.
template <class T>
struct Sums {
  Index groups, size;
  Scratch<T> chain;
  Scratch<double> ended;
  bool several_chains;
  Sums(Index groups_, Index size_, bool several_chains_)
      : groups(groups_),
        size(size_),
        chain(groups_ * size_),
        ended(several_chains_ ? groups_ * size_ : 0),
        several_chains(several_chains_) {}
  T* chain_of(Index g) { return chain.data() + g * size; }
  double* ended_of(Index g) { return several_chains ? ended.data() + g * size : nullptr; }
  void clear(Index g) {
    std::fill_n(chain_of(g), size, T(0));
    if (several_chains) std::fill_n(ended_of(g), size, 0.0);
  }
  void flush(Index g) { eigencontext::flush(chain_of(g), ended_of(g), size); }
};

// Y(i, :) = the sum over `groups` groups from `group` of row i of panels that hold `rows` rows; group order, float64.
template <class T>
void write_rows(const Panels<T>& panels, const Sums<T>& sums, Index group, Index groups, Index rows, Index begin,
                Index end, Block<T> Y) {
  constexpr Index piece = 64;
  double total[piece];
  for (Index p = 0; p < panels.count(); ++p) {
    const Index first = panels.first_column(p), width = panels.width(p), columns = panels.columns(p);
    for (Index i = begin; i < end; ++i)
      for (Index j = 0; j < columns; j += piece) {
        const Index count = std::min(piece, columns - j), offset = rows * first + i * width + j;
        std::fill_n(total, count, 0.0);
        for (Index g = group; g < group + groups; ++g) {
          const T* chain = sums.chain.data() + g * sums.size + offset;
          for (Index c = 0; c < count; ++c) total[c] += static_cast<double>(chain[c]);
          if (!sums.several_chains) continue;
          const double* ended = sums.ended.data() + g * sums.size + offset;
          for (Index c = 0; c < count; ++c) total[c] += ended[c];
        }
        T* to = Y.row(i) + first + j;
        for (Index c = 0; c < count; ++c) to[c] = static_cast<T>(total[c]);
      }
  }
}

template <class T>
void write_all(const Panels<T>& panels, const Sums<T>& sums, Block<T> Y) {
  const Index piece = 512;
  parallel_for(ceil_div(Y.rows, piece), [&](Index chunk, int) {
    write_rows(panels, sums, 0, sums.groups, Y.rows, chunk * piece, std::min(Y.rows, (chunk + 1) * piece), Y);
  });
}

// A chunk of Y = B X: a strip of B's rows, summed over the columns [begin, end) into chain (and ended).
template <class T>
struct StripProduct {
  const Panels<T>& panels;
  MatrixView<const T> B;
  Packed<T> X;
  bool direct;
  Index tile_rows, tile_depth;

  void run(Index row, Index rows, Index begin, Index end, Packed<T> out, double* ended) const {
    Scratch<T> buffer;
    Index chain = 0;
    for (Index k = begin; k < end; k += tile_depth) {
      check_stop();
      const Index depth = std::min(tile_depth, end - k);
      for (Index i = 0; i < rows; i += tile_rows) {
        const auto tile_view = part(B, row + i, std::min(tile_rows, rows - i), k, depth);
        const Tile<T> tile = direct ? in_place(tile_view) : copy_tile(tile_view, buffer);
        for (Index p = 0; p < panels.count(); ++p) {
          const auto kernel = panels.kernel(p, tile.along_rows);
          kernel(tile_view.rows, depth, tile.data, tile.stride, X.at(panels, p, k), out.at(panels, p, i), ahead(tile),
                 direct && p == 0 ? cpu::fetch_all : cpu::fetch_none);
        }
      }
      if (chain += depth; chain + tile_depth > max_chain && ended) {
        flush(out.data, ended, out.rows * panels.width());
        chain = 0;
      }
    }
  }

  // Along rows the next rows of the tile come next; along columns the next columns.
  Index ahead(const Tile<T>& tile) const { return (tile.along_rows ? rows_unit : tile_depth) * tile.stride; }
};

// Y = B X.
template <class T>
void product(MatrixView<const T> B, Block<const T> X, Block<T> Y) {
  if (B.rows == 0 || X.cols == 0) return;
  if (B.cols == 0) return set_zero(Y);
  const Panels<T> panels(X.cols);
  Scratch<T> packed(B.cols * panels.width());
  const Packed<T> Xp{packed.data(), B.cols};
  pack(panels, X, Xp);

  const bool along_rows = std::abs(B.col_stride) <= std::abs(B.row_stride);
  StripProduct<T> strip{panels, B, Xp, readable_in_place(B), along_rows ? 192 : 504, along_rows ? 256 : 64};
  const Index balanced = ceil_div(B.rows, ceil_div(B.rows, strip.tile_rows));
  if (strip.direct && along_rows && share_a_set<T>(B.row_stride)) strip.tile_rows = 12;
  const Index strip_rows = round_up(balanced, rows_unit);
  const Index strips = ceil_div(B.rows, strip_rows);
  const Index wanted = strips >= wanted_chunks ? 1 : ceil_div(wanted_chunks, strips);
  const Index groups = std::max<Index>(1, std::min(wanted, B.cols / min_group));
  const Index group_depth = round_up(ceil_div(B.cols, groups), strip.tile_depth);
  const bool several_chains = std::min(group_depth, B.cols) > max_chain;

  if (groups == 1) {
    parallel_for(strips, [&](Index chunk, int) {
      const Index row = chunk * strip_rows, rows = std::min(strip_rows, B.rows - row);
      Sums<T> sums(1, rows * panels.width(), several_chains);
      sums.clear(0);
      strip.run(row, rows, 0, B.cols, {sums.chain_of(0), rows}, sums.ended_of(0));
      write_rows(panels, sums, 0, 1, rows, 0, rows, Block<T>{Y.row(row), rows, Y.cols, Y.stride});
    });
    return;
  }
  // Sums of at most 2 * wanted_chunks strips: bounded, whatever the length of the sum.
  const Index size = strip_rows * panels.width();
  Sums<T> sums(groups * strips, size, several_chains);
  parallel_for(groups * strips, [&](Index chunk, int) {
    const Index row = chunk / groups * strip_rows, rows = std::min(strip_rows, B.rows - row);
    const Index begin = std::min(B.cols, chunk % groups * group_depth), end = std::min(B.cols, begin + group_depth);
    sums.clear(chunk);
    strip.run(row, rows, begin, end, {sums.chain_of(chunk), rows}, sums.ended_of(chunk));
  });
  parallel_for(strips, [&](Index s, int) {
    const Index row = s * strip_rows, rows = std::min(strip_rows, B.rows - row);
    write_rows(panels, sums, s * groups, groups, rows, 0, rows, Block<T>{Y.row(row), rows, Y.cols, Y.stride});
  });
}

// Y(i, :) *= w[i] for the rows of one tile.
template <class T>
void scale_packed(const Panels<T>& panels, const double* w, Packed<T> Y, Index rows) {
  for (Index p = 0; p < panels.count(); ++p)
    for (Index i = 0; i < rows; ++i) {
      T* row = Y.at(panels, p, i);
      for (Index j = 0; j < panels.width(p); ++j) row[j] = static_cast<T>(w[i] * static_cast<double>(row[j]));
    }
}

// Z += A^T diag(w) A X over the rows [begin, end) of A, a tile of rows at a time.
template <class T>
struct FusedProduct {
  const Panels<T>& panels;
  MatrixView<const T> A;
  const double* w;
  Packed<T> X;
  bool direct;
  Index tile_rows;
  Index piece;  // columns of A taken at once

  void run(Index begin, Index end, Packed<T> Z) const {
    Scratch<T> buffer, inner(tile_rows * panels.width());
    for (Index i = begin; i < end; i += tile_rows) {
      check_stop();
      const Index rows = std::min(tile_rows, end - i);
      const auto view = part(A, i, rows, 0, A.cols);
      const Tile<T> tile = direct ? in_place(view) : copy_tile(view, buffer);
      const Packed<T> Y{inner.data(), rows};
      std::fill_n(inner.data(), rows * panels.width(), T(0));
      const bool more = direct && i + tile_rows < end;
      for (Index j = 0; j < A.cols; j += piece) multiply(tile, rows, j, Y, more);
      if (w) scale_packed(panels, w + i, Y, rows);
      // Backwards: the columns that were used last are still close.
      for (Index j = (A.cols - 1) / piece * piece; j >= 0; j -= piece) multiply_transposed(tile, rows, j, Y, Z, more);
    }
  }

  // Each of the two fetches half of the next tile, so that memory is busy all the time.
  void multiply(const Tile<T>& tile, Index rows, Index j, Packed<T> Y, bool more) const {
    const Index cols = std::min(piece, A.cols - j);
    for (Index p = 0; p < panels.count(); ++p) {
      const auto kernel = panels.kernel(p, tile.along_rows);
      kernel(rows, cols, column(tile, j), tile.stride, X.at(panels, p, j), Y.at(panels, p, 0), tile_rows * A.row_stride,
             more && p == 0 ? cpu::fetch_even : cpu::fetch_none);
    }
  }
  void multiply_transposed(const Tile<T>& tile, Index rows, Index j, Packed<T> Y, Packed<T> Z, bool more) const {
    const Index cols = std::min(piece, A.cols - j);
    for (Index p = 0; p < panels.count(); ++p) {
      const auto kernel = panels.kernel(p, !tile.along_rows);
      kernel(cols, rows, column(tile, j), tile.stride, Y.at(panels, p, 0), Z.at(panels, p, j), tile_rows * A.row_stride,
             more && p == 0 ? cpu::fetch_odd : cpu::fetch_none);
    }
  }
  static const T* column(const Tile<T>& tile, Index j) { return tile.data + j * (tile.along_rows ? 1 : tile.stride); }
};

// Two products where the blocks are too large for the caches to keep between tiles.
template <class T>
void unfused(MatrixView<const T> A, const double* w, Block<const T> X, Block<T> Z) {
  OwnedBlock<T> Y(A.rows, X.cols);
  product(A, X, Y.view());
  if (w) Cpu::scale_rows<T>(w, Y.view(), Y.view());
  product<T>(A.transposed(), Y.view(), Z);
}

// Rows of a tile: as many as let this tile, the next one on its way, X and Z share L2. Where X and Z leave no room they
// come from L3, once a tile: then the tile is taken larger. Where rows are what is contiguous, whole lines are wanted.
Index fused_tile_rows(Index cols, Index width, Index item, bool along_columns) {
  const Index room = l2_bytes - 2 * cols * width * item, row_bytes = cols * item;
  if (room >= 2 * (along_columns ? 48 : 12) * row_bytes) return std::min<Index>(96, room / (2 * row_bytes) / 12 * 12);
  return along_columns ? 48 : 24 * std::clamp<Index>(l2_bytes / row_bytes / 24, 1, 2);
}

template <class T>
void fused(MatrixView<const T> A, const double* w, Block<const T> X, Block<T> Z) {
  if (A.cols == 0 || X.cols == 0) return;
  if (A.rows == 0) return set_zero(Z);
  const Panels<T> panels(X.cols);
  const Index size = A.cols * panels.width();
  if (size * static_cast<Index>(sizeof(T)) > fused_block_bytes) return unfused(A, w, X, Z);

  Scratch<T> packed(size);
  const Packed<T> Xp{packed.data(), A.cols};
  pack(panels, X, Xp);
  const Index tile_rows = fused_tile_rows(A.cols, panels.width(), sizeof(T), A.row_stride == 1);

  // Rounds of `fused_groups` chunks; a chunk is at most max_chain rows and at most 2^31 operations long.
  const Index affordable = (Index{1} << 31) / (4 * size);
  const Index longest = round_up(std::clamp<Index>(affordable, 1, max_chain), tile_rows);
  const Index groups = std::clamp<Index>(A.rows / 256, 1, fused_groups);
  const Index chunk_rows = std::min(longest, round_up(ceil_div(A.rows, groups), tile_rows));
  const Index chunks = ceil_div(A.rows, chunk_rows);
  Sums<T> sums(std::min(groups, chunks), size, chunks > groups);
  // Where a tile is several kernels high or several panels wide, pieces of A and X stay in L1 between them.
  const Index piece = tile_rows <= 12 && panels.count() == 1 ? 2048 : 256;
  const FusedProduct<T> work{panels, A, w, Xp, readable_in_place(A), tile_rows, piece};
  for (Index round = 0; round < chunks; round += groups)
    parallel_for(std::min(groups, chunks - round), [&](Index g, int) {
      if (round == 0) sums.clear(g);
      const Index begin = (round + g) * chunk_rows;
      work.run(begin, std::min(A.rows, begin + chunk_rows), {sums.chain_of(g), A.cols});
      if (chunks > groups) sums.flush(g);
    });
  write_all(panels, sums, Z);
}

}  // namespace

template <class T>
void Cpu::multiply(MatrixView<const T> A, Block<const T> X, Block<T> Y) {
  product(A, X, Y);
}

template <class T>
void Cpu::multiply_transposed(MatrixView<const T> A, Block<const T> Y, Block<T> Z) {
  product(A.transposed(), Y, Z);
}

template <class T>
void Cpu::multiply_fused(MatrixView<const T> A, const double* w, Block<const T> X, Block<T> Z) {
  fused(A, w, X, Z);
}

template void Cpu::multiply(MatrixView<const float>, Block<const float>, Block<float>);
template void Cpu::multiply(MatrixView<const double>, Block<const double>, Block<double>);
template void Cpu::multiply_transposed(MatrixView<const float>, Block<const float>, Block<float>);
template void Cpu::multiply_transposed(MatrixView<const double>, Block<const double>, Block<double>);
template void Cpu::multiply_fused(MatrixView<const float>, const double*, Block<const float>, Block<float>);
template void Cpu::multiply_fused(MatrixView<const double>, const double*, Block<const double>, Block<double>);

}  // namespace eigencontext
