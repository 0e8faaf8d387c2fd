// The skinny products: a large matrix, any strides, times a block of a few columns.
//
// Both products are one, Y = B X with B = A or B = A^T, because the kernels take either stride to be 1. The output is
// cut into strips of rows and, where strips are few, the sum into groups of `depth`; both by shape alone. A chunk
// (strip, group) walks over tiles of B that fit L1, in the order in which memory is read best, and while a tile is
// multiplied the next one is fetched: that is what hides the memory, which alone takes half to all of the time at 16
// columns. The fused product reads some whole rows of A from memory, multiplies them by X, and uses them again from L2,
// fetching the beginning of the next rows meanwhile: otherwise memory would wait for the second half of each tile.
//
// Error: at most `tile depth` (256; along columns 32) products are summed in registers, those sums in T while a chain
// is shorter than max_chain, and everything above in float64. So an entry is off by at most (depth + max_chain / depth
// + 2) eps sum |b_ik x_kj|, however long the sum is.
#include "backend/cpu/skinny.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/simd.hpp"
#include "backend/cpu/tile_sums.hpp"
#include "base/parallel.hpp"

namespace eigencontext {
namespace {

using cpu::SkinnyTable;
using cpu::SkinnyTables;

constexpr Index max_chain = 8192;             // products summed in T before float64
constexpr Index wanted_chunks = 32;           // where strips are fewer than this, the sum is cut too
constexpr Index min_group = 1024;             // ... but not into pieces shorter than this
constexpr Index fused_groups = 8;             // private sums of the fused product, at most fused_block_bytes each (T)
constexpr Index fused_block_bytes = 4 << 20;  // X and Z above this leave the caches: the fused product does not pay
constexpr Index block_bytes = 256 << 10;      // of X (along rows) or Y (along columns): a quarter of L2

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

// The columns of a block, cut into panels of 1 to max_vectors vectors as equal as can be; the last is padded with
// zeros. A block that would be one panel of one vector, or of one and a half, uses the kernels of pairs.
template <class T>
class Panels {
 public:
  explicit Panels(Index cols)
      : table_(cpu::skinny_table<T>()),
        cols_(cols),
        pair_(sizeof(T) == 4 && 2 * cols <= 3 * table_.lanes ? 2 : 1),
        unit_(table_.lanes / pair_) {
    const Index vectors = ceil_div(cols, unit_), count = ceil_div(vectors, table_.max_vectors);
    first_ = Buffer<Index>(count + 1);
    for (Index p = 0; p <= count; ++p) first_[p] = p * vectors / count;
  }
  Index count() const { return first_.size() - 1; }
  Index pair() const { return pair_; }
  Index width() const { return first_column(count()); }  // of all panels together
  Index first_column(Index p) const { return first_[p] * unit_; }
  Index width(Index p) const { return vectors(p) * unit_; }
  Index columns(Index p) const { return std::min(width(p), cols_ - first_column(p)); }
  cpu::SkinnyKernel<T> kernel(Index p, bool along_rows) const {
    return (along_rows ? table_.along_rows : table_.along_columns)[pair_ - 1][vectors(p) - 1];
  }

 private:
  Index vectors(Index p) const { return first_[p + 1] - first_[p]; }
  const SkinnyTable<T>& table_;
  Index cols_, pair_, unit_;  // columns in a vector
  Buffer<Index> first_;       // the vector where a panel begins
};

// A block as the kernels want it (see SkinnyTable): panel after panel, packed. Of pairs, `copies` is 2 where both lanes
// belong to one row and 1 where two rows are zipped, which are then reached by the even one.
template <class T>
struct Packed {
  T* data;
  Index rows, copies;
  static Index size(const Panels<T>& panels, Index rows, Index copies) {
    return round_up(rows, panels.pair()) * panels.width() * copies;
  }
  // Where a row begins; its columns are panels.pair() apart.
  Index offset(const Panels<T>& panels, Index p, Index row) const {
    const Index odd = copies < panels.pair() ? row % 2 : 0;
    return copies * (rows * panels.first_column(p) + (row - odd) * panels.width(p)) + odd;
  }
  T* at(const Panels<T>& panels, Index p, Index row) const { return data + offset(panels, p, row); }
};

template <class T>
void pack(const Panels<T>& panels, Block<const T> X, Packed<T> out) {
  const Index piece = 2048, step = panels.pair();
  parallel_for(ceil_div(X.rows, piece), [&](Index chunk, int) {
    const Index begin = chunk * piece, rows = std::min(piece, X.rows - begin);
    for (Index p = 0; p < panels.count(); ++p) {
      const Index first = panels.first_column(p), columns = panels.columns(p), width = panels.width(p);
      if (columns < width || rows % step)
        std::fill_n(out.at(panels, p, begin), round_up(rows, step) * width * out.copies, T(0));
      for (Index i = begin; i < begin + rows; ++i) {
        const T* from = X.row(i) + first;
        T* to = out.at(panels, p, i);
        if (step == 1)
          std::memcpy(to, from, static_cast<std::size_t>(columns) * sizeof(T));
        else if (out.copies == 1)
          for (Index c = 0; c < columns; ++c) to[2 * c] = from[c];
        else
          for (Index c = 0; c < columns; ++c) to[2 * c] = to[2 * c + 1] = from[c];
      }
    }
  });
}

// One tile of B (rows x depth) with one of its strides 1, ready for a kernel.
template <class T>
struct Tile {
  const T* data;
  Index stride;
};

// Copies a tile in the order in which it lies in memory; lines are kept an odd number of cache lines apart.
template <class T>
Tile<T> copy_tile(const MatrixView<const T>& B, bool along_rows, Scratch<T>& buffer) {
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
  return {buffer.data(), stride};
}

template <class T>
MatrixView<const T> part(const MatrixView<const T>& B, Index row, Index rows, Index col, Index cols) {
  return {B.data + row * B.row_stride + col * B.col_stride, rows, cols, B.row_stride, B.col_stride};
}

template <class T>
void set_zero(Block<T> Y) {
  for (Index i = 0; i < Y.rows; ++i) std::fill_n(Y.row(i), Y.cols, T(0));
}

template <class T>
void add_to(double* sums, const T* terms, Index count) {
  for (Index i = 0; i < count; ++i) sums[i] += static_cast<double>(terms[i]);
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
  void end_chain(Index g) {
    add_to(ended_of(g), chain_of(g), size);
    std::fill_n(chain_of(g), size, T(0));
  }
};

// Y(i, :) = the sum over `groups` groups from `group` of row i of a block packed like `shape`; group order, float64.
// `begin` is even.
template <class T>
void write_rows(const Panels<T>& panels, const Sums<T>& sums, Index group, Index groups, Packed<T> shape, Index begin,
                Index end, Block<T> Y) {
  const Index step = panels.pair(), zipped = step / shape.copies;
  Scratch<double> total(panels.width() * step);
  for (Index p = 0; p < panels.count(); ++p) {
    const Index first = panels.first_column(p), columns = panels.columns(p), count = panels.width(p) * step;
    for (Index i = begin; i < end; i += zipped) {
      const Index offset = shape.offset(panels, p, i);
      std::fill_n(total.data(), count, 0.0);
      for (Index g = group; g < group + groups; ++g) {
        add_to(total.data(), sums.chain.data() + g * sums.size + offset, count);
        if (sums.several_chains) add_to(total.data(), sums.ended.data() + g * sums.size + offset, count);
      }
      if (shape.copies == 2)
        for (Index c = 0; c < count; c += 2) total.data()[c] += total.data()[c + 1];
      for (Index z = 0; z < std::min(zipped, end - i); ++z)
        for (Index c = 0; c < columns; ++c) Y(i + z, first + c) = static_cast<T>(total.data()[c * step + z]);
    }
  }
}

// Out += B X, tile by tile.
template <class T>
struct TileProduct {
  const Panels<T>& panels;
  bool direct;      // is a stride of B 1? otherwise tiles are copied
  bool along_rows;  // is it, or else the smaller one, that between columns?

  TileProduct(const Panels<T>& panels_, const MatrixView<const T>& B)
      : panels(panels_),
        direct(B.col_stride == 1 || B.row_stride == 1),
        along_rows(direct ? B.col_stride == 1 : std::abs(B.col_stride) <= std::abs(B.row_stride)) {}
  TileProduct transposed() const {
    TileProduct other = *this;
    other.along_rows = !along_rows;
    return other;
  }
  Index x_copies() const { return along_rows ? 1 : panels.pair(); }
  Index out_copies() const { return along_rows ? panels.pair() : 1; }

  // A tile is a few pieces of lines of B, so that it and the next one stay in L1; tiles follow each other along them.
  static constexpr Index item = sizeof(T);
  // Rows are a multiple of those of every kernel.
  Index tile_rows() const { return along_rows ? 24 : 384 / item; }
  Index tile_depth() const { return along_rows ? 1024 / item : 32; }

  // Row x_row of X belongs to column 0 of B, row out_row of out to row 0. The first `early` elements of each line are
  // used for the last time: those `distance` further on are fetched with them, instead of the tile that follows.
  void add(const MatrixView<const T>& B, Packed<T> X, Index x_row, Packed<T> out, Index out_row, Index early = 0,
           Index distance = 0) const {
    Scratch<T> buffer;
    const Index length = along_rows ? B.cols : B.rows, lines = along_rows ? B.rows : B.cols;
    const Index piece = along_rows ? tile_depth() : tile_rows(), bundle = along_rows ? tile_rows() : tile_depth();
    const Index stride = along_rows ? B.row_stride : B.col_stride;
    for (Index line = 0; line < lines; line += bundle)
      for (Index at = 0; at < length; at += piece) {
        const Index i = along_rows ? line : at, k = along_rows ? at : line;
        const auto view = part(B, i, std::min(tile_rows(), B.rows - i), k, std::min(tile_depth(), B.cols - k));
        const Tile<T> tile = direct ? Tile<T>{view.data, stride} : copy_tile(view, along_rows, buffer);
        const Index ahead = at < early ? distance : at + piece < length ? piece : bundle * stride - at;
        for (Index p = 0; p < panels.count(); ++p)
          panels.kernel(p, along_rows)(view.rows, view.cols, tile.data, tile.stride, X.at(panels, p, x_row + k),
                                       out.at(panels, p, out_row + i), direct ? ahead : 0);
      }
  }
};

// Y = B X.
template <class T>
void product(MatrixView<const T> B, Block<const T> X, Block<T> Y) {
  if (B.rows == 0 || X.cols == 0) return;
  if (B.cols == 0) return set_zero(Y);
  const Panels<T> panels(X.cols);
  const TileProduct<T> work(panels, B);
  Scratch<T> packed(Packed<T>::size(panels, B.cols, work.x_copies()));
  const Packed<T> Xp{packed.data(), B.cols, work.x_copies()};
  pack(panels, X, Xp);

  // Along rows a block of X stays in L2 while a strip of B passes, along columns a strip of Y.
  const Index fits =
      std::max<Index>(1, block_bytes / (panels.width() * panels.pair() * static_cast<Index>(sizeof(T)) * 2)) * 2;
  const Index longest = work.along_rows ? 192 : round_up(fits, work.tile_rows());
  const Index strip_rows = round_up(ceil_div(B.rows, ceil_div(B.rows, longest)), work.tile_rows());
  const Index strips = ceil_div(B.rows, strip_rows);
  const Index block = work.along_rows ? round_up(fits, work.tile_depth()) : 40 * work.tile_depth();
  const Index wanted = strips >= wanted_chunks ? 1 : ceil_div(wanted_chunks, strips);
  const Index groups = std::max<Index>(1, std::min(wanted, B.cols / min_group));
  const Index group_depth = round_up(ceil_div(B.cols, groups), work.tile_depth());
  const bool several_chains = std::min(group_depth, B.cols) > max_chain;

  const auto run = [&](Sums<T>& sums, Index g, Index row, Index rows, Index begin, Index end) {
    const Packed<T> out{sums.chain_of(g), rows, work.out_copies()};
    sums.clear(g);
    Index chain = 0;
    for (Index k = begin; k < end; k += block) {
      check_stop();
      const Index depth = std::min(block, end - k);
      work.add(part(B, row, rows, k, depth), Xp, k, out, 0);
      if (chain += depth; chain + block > max_chain && several_chains) {
        sums.end_chain(g);
        chain = 0;
      }
    }
  };
  const auto write = [&](const Sums<T>& sums, Index first, Index row, Index rows) {
    write_rows(panels, sums, first, groups, {nullptr, rows, work.out_copies()}, 0, rows,
               Block<T>{Y.row(row), rows, Y.cols, Y.stride});
  };
  const Index size = Packed<T>::size(panels, strip_rows, work.out_copies());
  if (groups == 1) {
    parallel_for(strips, [&](Index s, int) {
      const Index row = s * strip_rows, rows = std::min(strip_rows, B.rows - row);
      Sums<T> sums(1, size, several_chains);
      run(sums, 0, row, rows, 0, B.cols);
      write(sums, 0, row, rows);
    });
    return;
  }
  // Sums of at most 2 * wanted_chunks strips: bounded, whatever the length of the sum.
  Sums<T> sums(groups * strips, size, several_chains);
  parallel_for(groups * strips, [&](Index chunk, int) {
    const Index row = chunk / groups * strip_rows, rows = std::min(strip_rows, B.rows - row);
    const Index begin = std::min(B.cols, chunk % groups * group_depth), end = std::min(B.cols, begin + group_depth);
    run(sums, chunk, row, rows, begin, end);
  });
  parallel_for(strips, [&](Index s, int) {
    const Index row = s * strip_rows;
    write(sums, s * groups, row, std::min(strip_rows, B.rows - row));
  });
}

// Y(i, :) *= w[i]; two sums of a row become their total, twice, which is what the transposed product reads.
template <class T>
void scale_packed(const Panels<T>& panels, const double* w, Packed<T> Y, Index rows) {
  for (Index p = 0; p < panels.count(); ++p)
    for (Index i = 0; i < rows; ++i) {
      T* row = Y.at(panels, p, i);
      const double factor = w ? w[i] : 1.0;
      for (Index j = 0; j < panels.width(p); ++j) {
        T* entry = row + j * panels.pair();
        if (Y.copies == 1)
          *entry = static_cast<T>(factor * static_cast<double>(*entry));
        else
          entry[0] = entry[1] =
              static_cast<T>(factor * (static_cast<double>(entry[0]) + static_cast<double>(entry[1])));
      }
    }
}

// Z += A^T diag(w) A X over the rows [begin, end) of A, a tile of rows at a time.
template <class T>
struct FusedProduct {
  const Panels<T>& panels;
  MatrixView<const T> A;
  const double* w;
  Packed<T> X;
  TileProduct<T> product;
  Index tile_rows;

  void run(Index begin, Index end, Packed<T> Z) const {
    const Index copies = product.out_copies();
    const Index early = product.along_rows ? A.cols / 8 : 0;  // more than this would leave L2 before its turn
    Scratch<T> buffer, inner(Packed<T>::size(panels, tile_rows, copies));
    for (Index i = begin; i < end; i += tile_rows) {
      check_stop();
      const Index rows = std::min(tile_rows, end - i);
      const auto tile = part(A, i, rows, 0, A.cols);
      const Packed<T> Y{inner.data(), rows, copies};
      std::fill_n(inner.data(), Packed<T>::size(panels, rows, copies), T(0));
      product.add(tile, X, 0, Y, 0);
      if (w || copies > 1) scale_packed(panels, w ? w + i : nullptr, Y, rows);
      product.transposed().add(tile.transposed(), Y, 0, Z, 0, early, tile_rows * A.row_stride);
    }
  }
};

// Two products where the blocks are too large for the caches to keep between tiles.
template <class T>
void unfused(MatrixView<const T> A, const double* w, Block<const T> X, Block<T> Z) {
  OwnedBlock<T> Y(A.rows, X.cols);
  product(A, X, Y.view());
  if (w) Cpu::scale_rows<T>(w, Y.view(), Y.view());
  product<T>(A.transposed(), Y.view(), Z);
}

template <class T>
void fused(MatrixView<const T> A, const double* w, Block<const T> X, Block<T> Z) {
  if (A.cols == 0 || X.cols == 0) return;
  if (A.rows == 0) return set_zero(Z);
  const Panels<T> panels(X.cols);
  const TileProduct<T> work(panels, A);
  const Index x_size = Packed<T>::size(panels, A.cols, work.x_copies());
  const Index size = Packed<T>::size(panels, A.cols, work.transposed().out_copies());
  if (size * static_cast<Index>(sizeof(T)) > fused_block_bytes) return unfused(A, w, X, Z);

  Scratch<T> packed(x_size);
  const Packed<T> Xp{packed.data(), A.cols, work.x_copies()};
  pack(panels, X, Xp);
  const Index tile_rows = work.along_rows ? 32 : 48;  // along columns, whole lines

  // Rounds of `fused_groups` chunks; a chunk is at most max_chain rows and at most 2^31 operations long.
  const Index affordable = (Index{1} << 31) / (4 * A.cols * panels.width());
  const Index longest = round_up(std::clamp<Index>(affordable, 1, max_chain), tile_rows);
  const Index groups = std::clamp<Index>(A.rows / 256, 1, fused_groups);
  const Index chunk_rows = std::min(longest, round_up(ceil_div(A.rows, groups), tile_rows));
  const Index chunks = ceil_div(A.rows, chunk_rows);
  Sums<T> sums(std::min(groups, chunks), size, chunks > groups);
  const FusedProduct<T> product{panels, A, w, Xp, work, tile_rows};
  const Packed<T> shape{nullptr, A.cols, work.transposed().out_copies()};
  for (Index round = 0; round < chunks; round += groups)
    parallel_for(std::min(groups, chunks - round), [&](Index g, int) {
      if (round == 0) sums.clear(g);
      const Index begin = (round + g) * chunk_rows;
      product.run(begin, std::min(A.rows, begin + chunk_rows), {sums.chain_of(g), shape.rows, shape.copies});
      if (chunks > groups) sums.end_chain(g);
    });
  const Index piece = 512;
  parallel_for(ceil_div(Z.rows, piece), [&](Index chunk, int) {
    write_rows(panels, sums, 0, sums.groups, shape, chunk * piece, std::min(Z.rows, (chunk + 1) * piece), Z);
  });
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

namespace cpu {

// The packed X and sums of the two products. Of pairs each needs its own forms; otherwise they share them.
template <class T>
struct TileSums<T>::State {
  struct Form {
    Buffer<T> x_memory, memory;  // large: not what threads keep
    Packed<T> x{}, sums{};
    Form() = default;
    Form(const Panels<T>& panels, Block<const T> X, Index rows, Index x_copies, Index copies)
        : x_memory(Packed<T>::size(panels, X.rows, x_copies)),
          memory(Packed<T>::size(panels, rows, copies)),
          x{x_memory.data(), X.rows, x_copies},
          sums{memory.data(), rows, copies} {
      pack(panels, X, x);
      const Index size = Packed<T>::size(panels, rows, copies), piece = Index{1} << 16;
      parallel_for(ceil_div(size, piece), [&](Index chunk, int) {
        std::fill_n(memory.data() + chunk * piece, std::min(piece, size - chunk * piece), T(0));
      });
    }
  };
  Panels<T> panels;
  Form direct, transposed;

  State(Block<const T> X, Index rows, Sides sides) : panels(X.cols) {
    const Index pair = panels.pair();
    if (pair == 1 || sides != Sides::transposed) direct = Form(panels, X, rows, 1, pair);
    if (pair == 2 && sides != Sides::direct) transposed = Form(panels, X, rows, 2, 1);
  }
  Form& form(bool along_rows) { return along_rows || panels.pair() == 1 ? direct : transposed; }

  // A tile is cut into pieces that fit L1 beside the next one, which is fetched meanwhile.
  template <class Body>  // body(piece, row, column, ahead)
  static void for_pieces(Block<const T> K, const Body& body) {
    constexpr Index rows = 48, cols = 384 / sizeof(T);
    for (Index i = 0; i < K.rows; i += rows)
      for (Index j = 0; j < K.cols; j += cols)
        body(K.row_range(i, std::min(rows, K.rows - i)).col_range(j, std::min(cols, K.cols - j)), i, j,
             j + cols < K.cols ? cols : rows * K.stride - j);
  }
  void multiply(Block<const T> K, bool along_rows, Index sum_row, Index x_row, Index ahead) {
    const Form& f = form(along_rows);
    for (Index p = 0; p < panels.count(); ++p)
      panels.kernel(p, along_rows)(along_rows ? K.rows : K.cols, along_rows ? K.cols : K.rows, K.data, K.stride,
                                   f.x.at(panels, p, x_row), f.sums.at(panels, p, sum_row), ahead);
  }
};

template <class T>
TileSums<T>::TileSums(Block<const T> X, Index rows, Sides sides) : state_(std::make_unique<State>(X, rows, sides)) {}

template <class T>
TileSums<T>::~TileSums() = default;

template <class T>
void TileSums<T>::add(Block<const T> K, Index sum_row, Index x_row) {
  State::for_pieces(K, [&](Block<const T> piece, Index i, Index j, Index ahead) {
    state_->multiply(piece, true, sum_row + i, x_row + j, ahead);
  });
}

template <class T>
void TileSums<T>::add_transposed(Block<const T> K, Index sum_row, Index x_row) {
  State::for_pieces(K, [&](Block<const T> piece, Index i, Index j, Index ahead) {
    state_->multiply(piece, false, sum_row + j, x_row + i, ahead);
  });
}

template <class T>
void TileSums<T>::add_both(Block<const T> K, Index i0, Index j0) {
  State::for_pieces(K, [&](Block<const T> piece, Index i, Index j, Index ahead) {
    state_->multiply(piece, true, i0 + i, j0 + j, ahead);
    state_->multiply(piece, false, j0 + j, i0 + i, 0);
  });
}

template <class T>
void TileSums<T>::write(Index row, Block<T> Y, Index parts, Index stride) const {
  const Panels<T>& panels = state_->panels;
  const Index step = panels.pair();
  for (Index p = 0; p < panels.count(); ++p)
    for (Index i = 0; i < Y.rows; ++i) {
      T* y = Y.row(i) + panels.first_column(p);
      const Index columns = panels.columns(p);
      std::fill_n(y, columns, T(0));
      for (const auto* form : {&state_->direct, &state_->transposed})
        for (Index part = 0; part < parts && form->sums.data; ++part) {
          const T* sum = form->sums.at(panels, p, row + i + part * stride);
          for (Index c = 0; c < columns; ++c)
            y[c] += form->sums.copies == 1 ? sum[c * step] : sum[2 * c] + sum[2 * c + 1];
        }
    }
}

template <class T>
double TileSums<T>::bytes(Index cols, Index x_rows, Index rows, Sides sides) {
  const Panels<T> panels(cols);
  const double x = static_cast<double>(Packed<T>::size(panels, x_rows, 1));
  const double sums = static_cast<double>(Packed<T>::size(panels, rows, 1));
  const bool pairs = panels.pair() == 2;
  double size = 0;
  if (!pairs || sides != Sides::transposed) size += x + sums * (pairs ? 2 : 1);
  if (pairs && sides != Sides::direct) size += 2 * x + sums;
  return size * sizeof(T);
}

template class TileSums<float>;
template class TileSums<double>;

}  // namespace cpu

template <>
const cpu::SkinnyTable<float>& cpu::skinny_table<float>() {
  return tables().float32;
}
template <>
const cpu::SkinnyTable<double>& cpu::skinny_table<double>() {
  return tables().float64;
}

}  // namespace eigencontext
