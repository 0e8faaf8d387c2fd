#include "spectrum/spectrum.hpp"

#include <optional>

#include "base/errors.hpp"
#include "spectrum/dense.hpp"
#include "spectrum/golub_kahan.hpp"
#include "spectrum/lanczos.hpp"
#include "spectrum/refine.hpp"
#include "spectrum/rpcholesky.hpp"
#include "spectrum/run.hpp"

namespace eigencontext {
namespace spectrum {
namespace {

// Small blocks and many steps need the fewest flops for a given accuracy (Meyer, Musco, Musco 2024).
Index default_block(Index k) { return std::clamp<Index>((k + 3) / 4, 8, 32); }

// Fills in what the caller left open. `dimensions` bounds the length of a basis.
template <class Scalar>
Run choose(const SpectrumOptions& options, Index k, Index dimensions, Index longest, Index probe_steps) {
  Run run{options};
  run.k = k;
  run.block = options.block_size > 0 ? options.block_size : default_block(k);
  if (options.block_size <= 0 && options.max_basis > 0)
    run.block = std::clamp<Index>((options.max_basis - k) / 3, 1, run.block);
  if (options.max_basis > 0 && options.max_basis < k + 3 * run.block)
    throw ArgumentError("max_basis", std::to_string(options.max_basis),
                        "at least k + 3 block_size = " + std::to_string(k + 3 * run.block));
  run.max_sweeps = options.max_sweeps > 0 ? options.max_sweeps : 100 + 20 * ((k + run.block - 1) / run.block);
  const Index room = dimensions - basis_memory(0, run.block, probe_width(run.block), probe_steps);
  const Index wanted = options.max_basis > 0 ? options.max_basis : std::max(k + 3 * run.block, 2 * k + 10 * run.block);
  run.max_basis = std::min(wanted, room);
  if (options.keep_sweeps) run.max_basis = std::max(wanted, (run.max_sweeps + 1) * run.block);
  const double eps = std::numeric_limits<Scalar>::epsilon();
  run.floor_factor = 10 * eps * std::sqrt(static_cast<double>(longest));
  run.eps = eps;
  return run;
}

// Does the Krylov space have room in `dimensions`: k + 3 blocks and what a probe needs, or all the sweeps to be kept?
bool has_room(const Run& run, Index dimensions, Index probe_steps) {
  return run.max_basis >= run.k + (run.options.keep_sweeps ? 0 : 3 * run.block) &&
         basis_memory(run.max_basis, run.block, probe_width(run.block), probe_steps) <= dimensions;
}

template <class Backend, class Scalar>
Array<Backend, Scalar> random_block(Guarded<Backend, Scalar>& A, Index width, Fresh& fresh) {
  Array<Backend, Scalar> X(A.cols(), width);
  fresh.fill<Backend>(X.view());
  return X;
}

// The caller's start column is the first; for a transposed operator its image under A is.
template <class Backend, class Scalar>
void place_start(Guarded<Backend, Scalar>& A, const std::vector<double>& start, Block<Scalar> X) {
  if (start.empty()) return;
  const Index length = A.transposed() ? A.rows() : A.cols();
  if (static_cast<Index>(start.size()) != length)
    throw ArgumentError("start", std::to_string(start.size()) + " entries", std::to_string(length) + " entries");
  double norm = std::sqrt(sum_of_squares(start.data(), length));
  if (!std::isfinite(norm)) throw ArgumentError("start", "NaN, inf or overflow", "finite numbers");
  if (norm == 0) throw ArgumentError("start", "zeros", "a vector that is not 0");
  Array<Backend, Scalar> x(length, 1);
  Small column = start;
  for (double& entry : column) entry *= std::sqrt(static_cast<double>(A.cols())) / norm;  // as long as a Gaussian one
  Backend::template from_host<Scalar>(column.data(), x.view());
  if (!A.transposed()) return copy<Backend, Scalar>(std::as_const(x).view(), X.col_range(0, 1));
  A.measure();
  Array<Backend, Scalar> image(A.cols(), 1);
  A.multiply_transposed(std::as_const(x).view(), image.view());
  copy<Backend, Scalar>(std::as_const(image).view(), X.col_range(0, 1));
}

// Ritz vectors made orthonormal to rounding: every restart takes a little of that away. Fewer than k (stopped early)
// are completed by random columns.
template <class Backend, class Scalar>
Array<Backend, Scalar> completed(Array<Backend, Scalar> V, Index k, Fresh& fresh) {
  const Index have = V.cols();
  if (have < k) {
    widen<Backend, Scalar>(V, have, k);
    fresh.fill<Backend>(V.view().col_range(have, k - have));
  }
  orthonormalise<Backend, Scalar>(V.view(), 0, V.cols(), 1e-3, fresh, nullptr, nullptr);
  return V;
}

template <class Backend, class Scalar>
struct Solved {
  Triplets<Backend, Scalar> triplets;
  Outcome outcome = Outcome::converged;
  bool exact = false;  // A v = s u and A^T u = s v both hold to rounding
};

// Searches, refines, and searches on with a stricter limit if true residuals do not hold where the estimated ones did.
template <class Space, class Backend, class Scalar, class Refine>
Solved<Backend, Scalar> search_and_refine(Space& space, Run& run, Index dimensions, const double& scale,
                                          Solved<Backend, Scalar> solved, Refine&& refine) {
  for (int attempt = 0;; ++attempt) {
    solved.outcome = search(space, run, dimensions, scale);
    if (solved.outcome == Outcome::no_room || solved.outcome == Outcome::unsuitable) return solved;
    refine(solved);
    const Triplets<Backend, Scalar>& t = solved.triplets;
    if (solved.outcome != Outcome::converged || run.all_hold(t.values, t.residuals, t.largest)) return solved;
    if (attempt == 3 || run.sweeps >= run.max_sweeps) {
      solved.outcome = Outcome::max_sweeps;
      return solved;
    }
    run.strictness *= 0.3;
  }
}

const char* name(Outcome outcome) {
  switch (outcome) {
    case Outcome::converged:
      return "converged";
    case Outcome::callback:
      return "callback";
    case Outcome::max_basis:
      return "max_basis";
    default:
      return "max_sweeps";
  }
}

// The entry of largest magnitude of each column of X is made positive, on ties the first within 1e-6 of it; the columns
// of `other` follow.
template <class Backend, class Scalar>
void fix_signs(Array<Backend, Scalar>& X, Array<Backend, Scalar>* other) {
  Small signs(static_cast<std::size_t>(X.cols()));
  Backend::template leading_signs<Scalar>(X.view(), signs.data());
  Backend::template scale_columns<Scalar>(signs.data(), X.view());
  if (other) Backend::template scale_columns<Scalar>(signs.data(), other->view());
}

// Scaled triplets of the tall operator -> what the caller asked for.
template <class Backend, class Scalar>
SpectrumResult<Backend, Scalar> finish(const Guarded<Backend, Scalar>& A, Triplets<Backend, Scalar> t, const Run& run,
                                       Outcome outcome, bool singular) {
  SpectrumResult<Backend, Scalar> result;
  const Index k = run.k;
  const double floor = run.floor(t.largest);
  for (Index i = 0; i < k; ++i) {
    result.converged.push_back(run.holds(t.values[i], t.residuals[i], t.largest));
    // As A v = s u, the residual A^T u - s v is orthogonal to v: with s = 0 it is sqrt(r^2 + s^2).
    const double if_zero = std::hypot(t.values[i], t.residuals[i]);
    const bool zero = singular && if_zero <= floor;
    result.values.push_back(zero ? 0.0 : t.values[i] * A.scale());
    result.residuals.push_back((zero ? if_zero : t.residuals[i]) * A.scale());
  }
  if (t.right.cols() > k) t.right = columns<Backend, Scalar>(t.right.view(), 0, k);
  if (singular && t.left.cols() > k) t.left = columns<Backend, Scalar>(t.left.view(), 0, k);
  if (A.transposed()) std::swap(t.left, t.right);
  if (singular)
    fix_signs<Backend, Scalar>(t.left, &t.right);
  else
    fix_signs<Backend, Scalar>(t.right, nullptr);
  result.left = std::move(t.left);
  result.right = std::move(t.right);
  result.missed = std::max(run.left_out, 0.0) * A.scale() * A.scale();
  result.sweeps = run.sweeps;
  result.method = run.method;
  result.matvecs = A.matvecs();
  result.stop_reason = name(outcome);
  const double kth = t.values[k - 1], error = t.residuals[k - 1];
  const bool has_next = run.next_value && (!singular || (*run.next_value > 0 && kth > floor));
  if (has_next && kth - *run.next_value <= std::max(error, floor))
    result.warnings.push_back("value " + std::to_string(k) +
                              " is within its error of the next one: a member of a tight cluster may be left out");
  return result;
}

// Everything is 0: unit vectors.
template <class Backend, class Scalar>
SpectrumResult<Backend, Scalar> zero_result(const Guarded<Backend, Scalar>& A, Index k, Index rows, Index cols,
                                            bool singular) {
  const auto unit = [k](Index n) {
    Array<Backend, Scalar> X(n, k);
    fill_identity<Backend, Scalar>(0, X.view());
    return X;
  };
  SpectrumResult<Backend, Scalar> result;
  result.values.assign(static_cast<std::size_t>(k), 0.0);
  result.residuals = result.values;
  result.converged.assign(static_cast<std::size_t>(k), 1);
  if (singular) result.left = unit(rows);
  result.right = unit(cols);
  result.matvecs = A.matvecs();
  result.stop_reason = "converged";
  return result;
}

template <class Backend, class Scalar>
Solved<Backend, Scalar> solve_full(Guarded<Backend, Scalar>& A, Run& run, bool singular) {
  run.method = Method::full;
  Solved<Backend, Scalar> solved{singular ? full_svd(A, run) : full_eigh(A, run)};
  Triplets<Backend, Scalar>& t = solved.triplets;
  solved.exact = true;
  if (singular && !run.all_hold(t.values, t.residuals, t.largest)) {  // null vectors of LAPACK's can miss the floor
    Fresh fresh{run.options.seed + 1};
    const double largest = t.largest;
    t = refine_svd(A, std::move(t.right), fresh);
    t.largest = largest;
    solved.exact = false;
  }
  solved.outcome = run.report(A.cols(), t.residuals) ? Outcome::callback : Outcome::converged;
  return solved;
}

constexpr double full_is_cheap = 1 << 20, full_is_possible = 1 << 26;  // entries of the dense matrix

template <class Backend, class Scalar>
Solved<Backend, Scalar> solve_gram(Guarded<Backend, Scalar>& A, Run& run, Fresh& fresh) {
  run.method = Method::gram;
  double total = 0;
  const Index extra = std::max<Index>(8, run.k / 4);
  Array<Backend, Scalar> V = gram_vectors(A, std::min(A.cols(), run.k + extra), total);
  const Index last = run.max_sweeps;
  run.max_sweeps = std::min<Index>(run.sweeps + 5, last);
  Solved<Backend, Scalar> solved;
  solved.outcome = subspace_iteration<true>(A, std::move(V), run, fresh, solved.triplets, false, total);
  run.max_sweeps = last;
  const double entries = static_cast<double>(A.rows()) * static_cast<double>(A.cols());
  if (solved.outcome == Outcome::max_sweeps && entries <= full_is_possible) return solve_full(A, run, true);
  return solved;
}

// For a space too small for Krylov: whichever of the dense methods fits.
template <class Backend, class Scalar>
Solved<Backend, Scalar> solve_dense(Guarded<Backend, Scalar>& A, Run& run, Fresh& fresh, bool singular) {
  const double entries = static_cast<double>(A.rows()) * static_cast<double>(A.cols());
  if (!singular || entries <= full_is_cheap) return solve_full(A, run, singular);
  return solve_gram(A, run, fresh);
}

template <bool singular, class Backend, class Scalar>
Solved<Backend, Scalar> solve_subspace(Guarded<Backend, Scalar>& A, Run& run, Fresh& fresh) {
  constexpr Index oversampling = 10;
  const Index w = run.options.block_size > 0 ? std::max(run.options.block_size, run.k) : run.k + oversampling;
  run.block = std::min(w, A.cols());
  if (run.block == A.cols()) return solve_dense(A, run, fresh, singular);
  Array<Backend, Scalar> V = random_block(A, run.block, fresh);
  place_start(A, run.options.start, V.view());
  orthonormalise<Backend, Scalar>(V.view(), 0, run.block, 1e-3, fresh, nullptr, nullptr);
  Solved<Backend, Scalar> solved;
  solved.outcome = subspace_iteration<singular>(A, std::move(V), run, fresh, solved.triplets, run.options.verify);
  if (solved.outcome == Outcome::no_room) return solve_dense(A, run, fresh, singular);
  return solved;
}

// So far A^T u = s v holds to rounding, u and v of the matrix asked for, where that was transposed; A v = s u is what
// was promised.
template <class Backend, class Scalar>
void refine_turned(Guarded<Backend, Scalar>& A, Solved<Backend, Scalar>& solved, const Run& run, Fresh& fresh) {
  Triplets<Backend, Scalar>& t = solved.triplets;
  const double largest = t.largest;
  A.turn();
  t = refine_svd(A, completed<Backend, Scalar>(columns<Backend, Scalar>(t.left.view(), 0, run.k), run.k, fresh), fresh);
  A.turn();
  std::swap(t.left, t.right);
  t.largest = std::max(t.largest, largest);
  solved.exact = true;
}

template <class Backend, class Scalar>
Solved<Backend, Scalar> solve_krylov(Guarded<Backend, Scalar>& A, Run& run, Fresh& fresh,
                                     Array<Backend, Scalar> start) {
  GolubKahan<Backend, Scalar> space(A, start.view(), run.max_basis, fresh.seed);
  const Index k = run.k;
  Solved<Backend, Scalar> solved =
      search_and_refine(space, run, A.cols(), A.scale(), Solved<Backend, Scalar>(), [&](Solved<Backend, Scalar>& s) {
        if (run.options.keep_sweeps && s.outcome != Outcome::callback) space.half_step();
        const Ritz ritz = space.ritz(k);
        const Index have = std::min(k, space.size());
        Triplets<Backend, Scalar>& t = s.triplets;
        if (((run.options.verify || run.options.keep_sweeps) && !A.transposed()) || have < k) {
          t = refine_svd(A, completed<Backend, Scalar>(space.right(have), k, fresh), fresh);
        } else {
          t.left = completed<Backend, Scalar>(space.left(k), k, fresh);
          t.right = completed<Backend, Scalar>(space.right(k), k, fresh);
          t.values.assign(ritz.values.begin(), ritz.values.begin() + k);
          t.residuals = ritz.residuals;
        }
        t.largest = std::max(t.largest, ritz.largest);
        if (A.transposed()) refine_turned(A, s, run, fresh);
      });
  if (solved.outcome == Outcome::no_room) return solve_dense(A, run, fresh, true);
  return solved;
}

// A^T A, with no basis of the left side; hands over to solve_krylov, which starts from random combinations of the Ritz
// vectors found so far, where values are too small for squares or true residuals do not hold.
template <class Backend, class Scalar>
Solved<Backend, Scalar> solve_squared(Guarded<Backend, Scalar>& A, Run& run, Fresh& fresh,
                                      Array<Backend, Scalar> start) {
  Array<Backend, Scalar> found;
  const Index block = start.cols();
  {
    Lanczos<Backend, Scalar, true> space(A, start.view(), run.max_basis, fresh.seed);
    const auto refine = [&](Solved<Backend, Scalar>& s) {
      const Ritz ritz = space.ritz(0);
      s.triplets =
          refine_svd(A, completed<Backend, Scalar>(space.right(std::min(run.k, space.size())), run.k, fresh), fresh);
      s.triplets.largest = std::max(s.triplets.largest, ritz.largest);
    };
    Solved<Backend, Scalar> solved =
        search_and_refine(space, run, A.cols(), A.scale(), Solved<Backend, Scalar>(), refine);
    if (solved.outcome == Outcome::no_room) return solve_dense(A, run, fresh, true);
    const bool squares_lie = solved.outcome == Outcome::max_sweeps && run.sweeps < run.max_sweeps;
    if (solved.outcome != Outcome::unsuitable && !squares_lie) return solved;
    const Index leading = std::min(run.k + block, space.size());
    Array<Backend, Scalar> mix(leading, block);
    fresh.fill<Backend>(mix.view());
    Small C(static_cast<std::size_t>(leading * block));
    Backend::template to_host<Scalar>(mix.view(), C.data());
    const Array<Backend, Scalar> V = space.right(leading);
    found = Array<Backend, Scalar>(A.cols(), block);
    Backend::template update<Scalar>(1.0, V.view(), C.data(), 0.0, found.view());
  }
  return solve_krylov(A, run, fresh, std::move(found));
}

template <class Backend, class Scalar>
Solved<Backend, Scalar> solve_lanczos(Guarded<Backend, Scalar>& A, Run& run, Fresh& fresh,
                                      Array<Backend, Scalar> start) {
  Lanczos<Backend, Scalar, false> space(A, start.view(), run.max_basis, fresh.seed);
  const Index k = run.k;
  Solved<Backend, Scalar> solved =
      search_and_refine(space, run, A.cols(), A.scale(), Solved<Backend, Scalar>(), [&](Solved<Backend, Scalar>& s) {
        const Ritz ritz = space.ritz(k);
        const Index have = std::min(k, space.size());
        Triplets<Backend, Scalar>& t = s.triplets;
        if (run.options.verify || have < k) {
          t = refine_eigh(A, completed<Backend, Scalar>(space.right(have), k, fresh));
        } else {
          t.right = completed<Backend, Scalar>(space.right(k), k, fresh);
          t.values.assign(ritz.values.begin(), ritz.values.begin() + k);
          t.residuals = ritz.residuals;
        }
        t.largest = std::max(t.largest, ritz.largest);
      });
  if (solved.outcome == Outcome::no_room) return solve_dense(A, run, fresh, false);
  return solved;
}

void check(Index k, Index dimensions, const SpectrumOptions& options) {
  if (k < 1 || k > dimensions)
    throw ArgumentError("k", std::to_string(k), "1 to min(rows, cols) = " + std::to_string(dimensions));
  if (!(options.tol >= 0)) throw ArgumentError("tol", std::to_string(options.tol), "at least 0");
}

template <class Backend, class Scalar>
Outcome factorise(PivotedCholesky<Backend, Scalar>& cholesky, Index rank, Run& run) {
  while (cholesky.size() < rank) {
    if (!cholesky.step(run.block)) return Outcome::converged;  // nothing but rounding is left
    ++run.sweeps;
    const std::vector<double> bounds(static_cast<std::size_t>(run.k), cholesky.trace());
    if (run.report(cholesky.size(), bounds)) return Outcome::callback;
  }
  return Outcome::max_basis;
}

template <class Backend, class Scalar>
SpectrumResult<Backend, Scalar> solve_rpcholesky(const Operator<Backend, Scalar>& op, Index k,
                                                 const SpectrumOptions& options) {
  const Index n = op.rows(), rank = options.max_basis > 0 ? options.max_basis : std::min(2 * k, n);
  if (!op.has_entries())
    throw ArgumentError("method", "rpcholesky", "it for positive semidefinite operators that give single entries");
  if (rank < k || rank > n)
    throw ArgumentError("max_basis", std::to_string(rank), std::to_string(k) + " (k) to " + std::to_string(n) + " (n)");
  Run run{options};
  run.k = k;
  run.block = options.block_size > 0 ? options.block_size : std::clamp<Index>(rank / 8, 8, 64);
  run.floor_factor = 10.0 * std::numeric_limits<Scalar>::epsilon() * std::sqrt(static_cast<double>(n));
  PivotedCholesky<Backend, Scalar> cholesky(op, rank, options.seed);
  Outcome outcome = factorise(cholesky, rank, run);
  Triplets<Backend, Scalar> t;
  t.right = Array<Backend, Scalar>(n, k);
  Small all;
  Fresh fresh{options.seed};
  factor_eigenpairs<Backend, Scalar>(cholesky.factor(), t.right, t.values, all, fresh);
  t.residuals.assign(static_cast<std::size_t>(k), cholesky.trace());
  t.largest = t.values[0];
  run.left_out = missed_mass(sum_of_squares(all.data(), cholesky.size()), all, k);
  const bool hold = run.all_hold(t.values, t.residuals, t.largest);
  if (hold && outcome == Outcome::max_basis) outcome = Outcome::converged;
  // Where the bound does not hold, it says more than a warning of a cluster would.
  if (hold && cholesky.size() > k) run.next_value = all[k];
  SpectrumResult<Backend, Scalar> result =
      finish(Guarded<Backend, Scalar>(op, false, options.seed), std::move(t), run, outcome, false);
  result.matvecs = cholesky.size();
  return result;
}

template <bool singular, class Backend, class Scalar>
SpectrumResult<Backend, Scalar> decompose(const Operator<Backend, Scalar>& op, Index k,
                                          const SpectrumOptions& options) {
  const Index dimensions = std::min(op.rows(), op.cols());
  check(k, dimensions, options);
  if (options.method == Method::rpcholesky) {
    if constexpr (singular)
      throw ArgumentError("method", "rpcholesky", "krylov, subspace, gram, full for singular values");
    else
      return solve_rpcholesky(op, k, options);
  }
  constexpr Index probe_steps =
      singular ? GolubKahan<Backend, Scalar>::probe_steps : Lanczos<Backend, Scalar, false>::probe_steps;
  Run run = choose<Scalar>(options, k, dimensions, std::max(op.rows(), op.cols()), probe_steps);
  const bool krylov = options.method == Method::krylov && has_room(run, dimensions, probe_steps);
  const bool squared = singular && krylov && options.squared && !options.keep_sweeps;
  // The tall orientation keeps the longer basis on the left; a fused product only exists for the matrix as it is.
  const bool transposed = singular && op.rows() < op.cols() && !(squared && op.prefers_fused());
  Guarded<Backend, Scalar> A(op, transposed, options.seed);
  Fresh fresh{options.seed};
  try {
    Solved<Backend, Scalar> solved;
    if (krylov) {
      Array<Backend, Scalar> start = random_block(A, run.block, fresh);
      place_start(A, options.start, start.view());
      if constexpr (!singular)
        solved = solve_lanczos(A, run, fresh, std::move(start));
      else
        solved =
            squared ? solve_squared(A, run, fresh, std::move(start)) : solve_krylov(A, run, fresh, std::move(start));
    } else if (options.method == Method::subspace) {
      solved = solve_subspace<singular>(A, run, fresh);
    } else if (options.method == Method::gram && singular) {
      solved = solve_gram(A, run, fresh);
    } else if (options.method == Method::krylov) {
      solved = solve_dense(A, run, fresh, singular);
    } else {
      solved = solve_full(A, run, singular);
    }
    if (transposed && !solved.exact) {
      refine_turned(A, solved, run, fresh);
      const Triplets<Backend, Scalar>& t = solved.triplets;
      if (solved.outcome == Outcome::converged && !run.all_hold(t.values, t.residuals, t.largest))
        solved.outcome = Outcome::max_sweeps;
    }
    return finish(A, std::move(solved.triplets), run, solved.outcome, singular);
  } catch (const ZeroOperator&) {
    SpectrumResult<Backend, Scalar> result = zero_result(A, k, op.rows(), op.cols(), singular);
    result.method = run.method;
    return result;
  }
}

}  // namespace
}  // namespace spectrum

template <class Backend, class Scalar>
SpectrumResult<Backend, Scalar> svd(const Operator<Backend, Scalar>& A, Index k, const SpectrumOptions& options) {
  return spectrum::decompose<true>(A, k, options);
}

template <class Backend, class Scalar>
SpectrumResult<Backend, Scalar> eigh(const Operator<Backend, Scalar>& A, Index k, const SpectrumOptions& options) {
  if (A.rows() != A.cols())
    throw ArgumentError("A", std::to_string(A.rows()) + " x " + std::to_string(A.cols()), "a square operator");
  return spectrum::decompose<false>(A, k, options);
}

template SpectrumResult<Device, float> svd(const Operator<Device, float>&, Index, const SpectrumOptions&);
template SpectrumResult<Device, double> svd(const Operator<Device, double>&, Index, const SpectrumOptions&);
template SpectrumResult<Device, float> eigh(const Operator<Device, float>&, Index, const SpectrumOptions&);
template SpectrumResult<Device, double> eigh(const Operator<Device, double>&, Index, const SpectrumOptions&);

}  // namespace eigencontext
