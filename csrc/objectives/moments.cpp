#include "objectives/moments.hpp"

#include <cmath>

#include "backend/cpu/cpu.hpp"
#include "base/parallel.hpp"
#include "objectives/tile.hpp"

namespace eigencontext {
namespace {

using cpu::row_kernels;
using objectives::ceil_div;
using objectives::Shift;
using objectives::side_by_side;

constexpr Index tile_rows = 512;  // sums in float32 are at most this long
constexpr Index most_groups = 16, least_groups = 4;
constexpr Index group_bytes = 32 << 20;  // of all groups' sums, where least_groups allow it

// Tiles are divided into groups by shape alone; a group is added up in order by one thread, then the groups in order.
struct Groups {
  Index tiles, count;
  Groups(Index rows, Index sums) : tiles(ceil_div(rows, tile_rows)) {
    const Index wanted = std::clamp(group_bytes / (8 * std::max<Index>(1, sums)), least_groups, most_groups);
    count = std::clamp<Index>(wanted, 1, std::max<Index>(1, tiles));
  }
  // body(tile, first row, rows, group's sums, worker); returns the total.
  template <class Body>
  std::vector<double> sum(Index rows, Index sums, const Body& body) const {
    Buffer<double> partial(count * sums, 0.0);
    parallel_for(count, [&](Index group, int worker) {
      for (Index tile = group * tiles / count; tile < (group + 1) * tiles / count; ++tile) {
        const Index begin = tile * tile_rows;
        body(tile, begin, std::min(tile_rows, rows - begin), partial.data() + group * sums, worker);
      }
    });
    std::vector<double> total(partial.data(), partial.data() + sums);
    for (Index group = 1; group < count; ++group)
      for (Index i = 0; i < sums; ++i) total[static_cast<std::size_t>(i)] += partial[group * sums + i];
    return total;
  }
};

// One side's tiles: shifted by `shift` (one row a tile), the shifted columns sum to `rest`.
template <class T>
struct Side {
  MatrixView<const T> X;
  Buffer<double> shift, rest;

  Side(MatrixView<const T> x, Index tiles) : X(x), shift(tiles * x.cols), rest(tiles * x.cols, 0.0) {}

  // The tile, shifted by about its mean, packed into `out`.
  Block<const T> load(Index tile, Index begin, Index count, T* out, Shift<T>& zero, Buffer<T>& mean) {
    const Block<const T> rows = side_by_side(X, begin, count, out);
    row_kernels<T>().means(rows.data, rows.stride, count, X.cols, mean.data());
    row_kernels<T>().shift(rows.data, rows.stride, count, X.cols, mean.data(), zero.low(), out,
                           rest.data() + tile * X.cols, nullptr);
    for (Index j = 0; j < X.cols; ++j) shift[tile * X.cols + j] = static_cast<double>(mean[j]);
    return {out, count, X.cols, X.cols};
  }

  std::vector<double> mean(Index tiles) const {
    std::vector<double> m(static_cast<std::size_t>(X.cols));
    for (Index j = 0; j < X.cols; ++j) {
      double sum = 0;  // about the first shift
      for (Index t = 0; t < tiles; ++t) {
        const double rows = static_cast<double>(std::min(tile_rows, X.rows - t * tile_rows));
        sum += rows * (shift[t * X.cols + j] - shift[j]) + rest[t * X.cols + j];
      }
      m[static_cast<std::size_t>(j)] = shift[j] + sum / static_cast<double>(X.rows);
    }
    return m;
  }

  // What the tiles' own sums lack: with D and R, sums about the mean are those about the shifts + D^T D - R^T R.
  void between(const std::vector<double>& m, Index tiles, OwnedBlock<double>& D, OwnedBlock<double>& R) const {
    for (Index t = 0; t < tiles; ++t) {
      const double rows = static_cast<double>(std::min(tile_rows, X.rows - t * tile_rows));
      for (Index j = 0; j < X.cols; ++j) {
        const double r = rest[t * X.cols + j];
        D(t, j) = std::sqrt(rows) * (shift[t * X.cols + j] + r / rows - m[static_cast<std::size_t>(j)]);
        R(t, j) = r / std::sqrt(rows);
      }
    }
  }
};

template <class T>
class Pass {
 public:
  Pass(MatrixView<const T> Phi, MatrixView<const T> Psi, const double* weights, unsigned flags)
      : p_(Phi.cols),
        q_(Psi.cols),
        w_(weights),
        flags_(flags),
        groups_(Phi.rows, sums()),
        phi_(Phi, groups_.tiles),
        psi_(Psi, groups_.tiles) {
    if (asked(moment_pairs) && w_) {
      weighted_ = Buffer<double>(2 * groups_.tiles * p_, 0.0);
      weight_ = Buffer<double>(groups_.tiles);
    }
  }

  Moments run() {
    std::vector<Scratch> scratch;
    for (int i = 0; i < num_threads(); ++i) scratch.emplace_back(p_, q_);
    const Index rows = phi_.X.rows;
    const auto body = [&](Index tile, Index begin, Index count, double* total, int worker) {
      add_tile(tile, begin, count, total, scratch[static_cast<std::size_t>(worker)]);
    };
    total_ = groups_.sum(rows, sums(), body);
    return finish();
  }

 private:
  struct Scratch {
    Scratch(Index p, Index q)
        : b(tile_rows * p), c(tile_rows * q), zero(nullptr, std::max(p, q)), mean(std::max(p, q)) {}
    Buffer<T> b, c;
    Shift<T> zero;
    Buffer<T> mean;
    Cpu::TileGramScratch gram;
  };

  bool asked(unsigned flag) const { return (flags_ & flag) != 0; }

  // A group's sums, one after another.
  Index pq_at() const { return asked(moment_pp) ? p_ * p_ : 0; }
  Index qq_at() const { return pq_at() + (asked(moment_pq) ? p_ * q_ : 0); }
  Index squares_at() const { return qq_at() + (asked(moment_qq) ? q_ * q_ : 0); }
  Index pairs_at() const { return squares_at() + (asked(moment_squares) ? p_ + q_ : 0); }
  Index sums() const { return pairs_at() + (asked(moment_pairs) ? 2 * p_ : 0); }

  void add_tile(Index tile, Index begin, Index count, double* total, Scratch& s) {
    const cpu::RowKernels<T>& kernels = row_kernels<T>();
    const Block<const T> b = phi_.load(tile, begin, count, s.b.data(), s.zero, s.mean);
    if (asked(moment_pp)) Cpu::tile_gram<T>(b, b, {total, p_, p_, p_}, s.gram);  // while b is in the cache
    const Block<const T> c = q_ ? psi_.load(tile, begin, count, s.c.data(), s.zero, s.mean) : b;
    if (asked(moment_pq)) Cpu::tile_gram<T>(b, c, {total + pq_at(), p_, q_, q_}, s.gram);
    if (asked(moment_qq)) Cpu::tile_gram<T>(c, c, {total + qq_at(), q_, q_, q_}, s.gram);
    if (asked(moment_squares)) {
      kernels.squares(b.data, count, p_, total + squares_at());
      if (q_) kernels.squares(c.data, count, q_, total + squares_at() + p_);
    }
    if (!asked(moment_pairs)) return;
    const double* w = w_ ? w_ + begin : nullptr;
    kernels.pairs(w, b.data, c.data, count, p_, total + pairs_at(), total + pairs_at() + p_);
    if (!w) return;
    weight_[tile] = 0;
    for (Index i = 0; i < count; ++i) weight_[tile] += w[i];
    kernels.weighted(w, b.data, count, p_, weighted_.data() + 2 * tile * p_);
    kernels.weighted(w, c.data, count, p_, weighted_.data() + (2 * tile + 1) * p_);
  }

  Moments finish() {
    const Index tiles = groups_.tiles;
    Moments m;
    m.mean_phi = phi_.mean(tiles);
    m.mean_psi = psi_.mean(tiles);
    OwnedBlock<double> D(tiles, p_), R(tiles, p_), E(tiles, q_), S(tiles, q_);
    phi_.between(m.mean_phi, tiles, D, R);
    psi_.between(m.mean_psi, tiles, E, S);
    if (asked(moment_pp)) m.pp = centred(0, D.view(), R.view(), D.view(), R.view());
    if (asked(moment_pq)) m.pq = centred(pq_at(), D.view(), R.view(), E.view(), S.view());
    if (asked(moment_qq)) m.qq = centred(qq_at(), E.view(), S.view(), E.view(), S.view());
    if (asked(moment_squares)) {
      m.squares_phi = centred_squares(squares_at(), D, R);
      m.squares_psi = centred_squares(squares_at() + p_, E, S);
    }
    if (asked(moment_pairs)) pairs(m);
    return m;
  }

  // total + D^T E - R^T S.
  std::vector<double> centred(Index at, Block<const double> D, Block<const double> R, Block<const double> E,
                              Block<const double> S) const {
    const bool same = D.data == E.data;
    const Index rows = D.cols, cols = E.cols;
    std::vector<double> out(static_cast<std::size_t>(rows * cols)), minus(out.size());
    Cpu::gram<double>(D, E, out.data());
    Cpu::gram<double>(R, S, minus.data());
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < cols; ++j) {
        const Index k = same && j < i ? j * cols + i : i * cols + j;  // the tiles filled the upper triangle
        const auto l = static_cast<std::size_t>(i * cols + j);
        out[l] += total_[static_cast<std::size_t>(at + k)] - minus[l];
      }
    return out;
  }

  std::vector<double> centred_squares(Index at, const OwnedBlock<double>& D, const OwnedBlock<double>& R) const {
    std::vector<double> out(total_.begin() + at, total_.begin() + at + D.cols());
    for (Index t = 0; t < D.rows(); ++t)
      for (Index j = 0; j < D.cols(); ++j) out[static_cast<std::size_t>(j)] += D(t, j) * D(t, j) - R(t, j) * R(t, j);
    return out;
  }

  // Sums about the tiles' shifts become sums about the means.
  void pairs(Moments& m) const {
    const auto size = static_cast<std::size_t>(p_);
    m.weighted_phi.assign(size, 0.0);
    m.weighted_psi.assign(size, 0.0);
    m.products.assign(total_.begin() + pairs_at(), total_.begin() + pairs_at() + p_);
    m.differences.assign(total_.begin() + pairs_at() + p_, total_.end());
    for (Index t = 0; t < groups_.tiles; ++t) {
      const double* b = w_ ? weighted_.data() + 2 * t * p_ : phi_.rest.data() + t * p_;
      const double* c = w_ ? b + p_ : psi_.rest.data() + t * p_;
      const double w = w_ ? weight_[t] : static_cast<double>(std::min(tile_rows, phi_.X.rows - t * tile_rows));
      m.weight += w;
      for (std::size_t j = 0; j < size; ++j) {
        const auto k = t * p_ + static_cast<Index>(j);
        const double u = phi_.shift[k] - m.mean_phi[j], v = psi_.shift[k] - m.mean_psi[j];
        m.products[j] += u * c[j] + v * b[j] + w * u * v;
        m.differences[j] += 2 * (u - v) * (b[j] - c[j]) + w * (u - v) * (u - v);
        m.weighted_phi[j] += b[j] + w * u;
        m.weighted_psi[j] += c[j] + w * v;
      }
    }
  }

  Index p_, q_;
  const double* w_;
  unsigned flags_;
  Groups groups_;
  Side<T> phi_, psi_;
  Buffer<double> weighted_, weight_;  // of each tile: sum w b, sum w c; sum w
  std::vector<double> total_;
};

// A tile of both sides in float64, and what is summed over it.
template <class T>
class DiagonalPass {
 public:
  DiagonalPass(MatrixView<const T> Phi, const double* mean_phi, MatrixView<const T> Psi, const double* mean_psi,
               Levels levels)
      : Phi_(Phi),
        Psi_(Psi),
        d_(Phi.cols),
        levels_(levels),
        centred_(mean_phi != nullptr),
        m_(mean_phi, d_),
        k_(mean_psi, d_),
        squares_(levels.weights ? d_ : 1) {}

  DiagonalSums run() {
    std::vector<Scratch> scratch;
    for (int i = 0; i < num_threads(); ++i) scratch.emplace_back(d_);
    const Index sums = squares_ + 2 * d_;
    const std::vector<double> total =
        Groups(Phi_.rows, sums).sum(Phi_.rows, sums, [&](Index, Index begin, Index count, double* out, int worker) {
          add_tile(begin, count, out, scratch[static_cast<std::size_t>(worker)]);
        });
    const auto at = total.begin();
    return {{at, at + squares_}, {at + squares_, at + squares_ + d_}, {at + squares_ + d_, total.end()}};
  }

 private:
  struct Scratch {
    explicit Scratch(Index d) : b(tile_rows * d), c(tile_rows * d), t(tile_rows) {}
    Buffer<T> b, c;
    Buffer<double> t, wide;
  };

  void add_tile(Index begin, Index count, double* out, Scratch& s) const {
    const cpu::RowKernels<T>& kernels = row_kernels<T>();
    const Block<const T> x = side_by_side(Phi_, begin, count, s.b.data());
    const Block<const T> y = side_by_side(Psi_, begin, count, s.c.data());
    kernels.shift(x.data, x.stride, count, d_, m_.high(), m_.low(), s.b.data(), nullptr, nullptr);
    kernels.shift(y.data, y.stride, count, d_, k_.high(), k_.low(), s.c.data(), nullptr, nullptr);
    double *phi = out + squares_, *psi = phi + d_;
    if (levels_.weights) return add_levels(count, out, phi, psi, s);
    kernels.dots(s.b.data(), s.c.data(), count, d_, s.t.data());
    for (Index i = 0; i < count; ++i) out[0] += s.t[i] * s.t[i];
    if (!centred_) return;
    kernels.weighted(s.t.data(), s.b.data(), count, d_, phi);
    kernels.weighted(s.t.data(), s.c.data(), count, d_, psi);
  }

  void add_levels(Index count, double* squares, double* phi, double* psi, Scratch& s) const {
    const Index size = count * d_;
    row_kernels<T>().level_squares(s.b.data(), s.c.data(), count, d_, squares);
    if (!centred_) return;
    if (s.wide.size() == 0) s.wide = Buffer<double>(3 * tile_rows * d_ + 32 * (d_ + 16), 0.0);
    double *b = s.wide.data(), *c = b + size, *y = c + size;
    std::copy_n(s.b.data(), size, b);
    std::copy_n(s.c.data(), size, c);
    row_kernels<double>().level_products(b, c, count, d_, levels_.weights, levels_.joint, y + size, y);
    for (Index i = 0; i < size; i += d_)
      for (Index j = 0; j < d_; ++j) {
        phi[j] += y[i + j] * b[i + j];
        psi[j] += y[i + j] * c[i + j];
      }
  }

  MatrixView<const T> Phi_, Psi_;
  Index d_;
  Levels levels_;
  bool centred_;
  Shift<T> m_, k_;
  Index squares_;
};

}  // namespace

template <class T>
Moments moments(MatrixView<const T> Phi, MatrixView<const T> Psi, const double* weights, unsigned flags) {
  return Pass<T>(Phi, Psi, weights, flags).run();
}

template <class T>
DiagonalSums diagonal_sums(MatrixView<const T> Phi, const double* mean_phi, MatrixView<const T> Psi,
                           const double* mean_psi, Levels levels) {
  return DiagonalPass<T>(Phi, mean_phi, Psi, mean_psi, levels).run();
}

template <class T>
ViewSums view_sums(Views<const T> A, const double* weights) {
  const Index d = A.cols, r = A.views, size = tile_rows * d;
  Buffer<T> room(num_threads() * 2 * size);
  Buffer<double> dots(num_threads() * tile_rows);
  const auto body = [&](Index, Index begin, Index count, double* out, int worker) {
    double* t = dots.data() + worker * tile_rows;
    const Shift<T> zero(nullptr, d);
    const auto load = [&](Index view, T* copy) {
      const Block<const T> x = side_by_side(A.of(view), begin, count, copy);
      row_kernels<T>().shift(x.data, x.stride, count, d, zero.high(), zero.low(), copy, nullptr, nullptr);
      return copy;
    };
    for (Index i = 0; i < count; ++i) out[0] += weights ? weights[begin + i] : 1.0;
    for (Index j = 0; j < r; ++j) {
      const T* a = load(j, room.data() + worker * 2 * size);
      for (Index k = j; k < r; ++k) {
        const T* b = k == j ? a : load(k, room.data() + (worker * 2 + 1) * size);
        row_kernels<T>().dots(a, b, count, d, t);
        for (Index i = 0; i < count; ++i) {
          if (k > j) out[1] += 2 * (weights ? weights[begin + i] : 1.0) * t[i];
          out[2] += (k > j ? 2 : 1) * t[i] * t[i];
        }
      }
    }
  };
  const std::vector<double> total = Groups(A.inputs, 3).sum(A.inputs, 3, body);
  return {total[0], total[1], total[2]};
}

EIGENCONTEXT_INSTANTIATE_MOMENTS(float)
EIGENCONTEXT_INSTANTIATE_MOMENTS(double)

}  // namespace eigencontext
