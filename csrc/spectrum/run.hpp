// What one call carries along: what is asked for, what has been done, and the search loop that every Krylov space
// shares.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "spectrum/basis.hpp"
#include "spectrum/spectrum.hpp"

namespace eigencontext::spectrum {

// max_basis: the rank asked for was reached. no_room: the space has too few dimensions to go on. unsuitable: a value
// too small for the squared operator.
enum class Outcome { converged, max_sweeps, max_basis, callback, no_room, unsuitable };

struct Run {
  const SpectrumOptions& options;
  Index k = 0, block = 0, max_basis = 0, max_sweeps = 0;
  double floor_factor = 0;  // floor = floor_factor * largest
  double eps = 0;           // of the scalar
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  Index sweeps = 0;
  Method method = options.method;  // the one in use
  // The share of a limit that an estimated residual must reach, so that the true one holds after rounding.
  double strictness = 0.9;
  double left_out = -1;                             // ||A||_F^2 - sum s^2 (-1: unknown)
  std::optional<double> next_value = std::nullopt;  // the (k+1)-th value

  double floor(double largest) const { return floor_factor * largest; }
  bool holds(double value, double residual, double largest) const {
    return residual <= std::max(options.tol * std::abs(value), floor(largest));
  }
  bool all_hold(const std::vector<double>& values, const std::vector<double>& residuals, double largest) const {
    for (Index i = 0; i < k; ++i)
      if (!holds(values[i], residuals[i], largest)) return false;
    return true;
  }
  // The largest residual as a multiple of what is asked of it.
  double excess(const Ritz& ritz) const {
    double worst = 0;
    for (Index i = 0; i < k; ++i) {
      const double limit = strictness * std::max(options.tol * std::abs(ritz.values[i]), floor(ritz.largest));
      worst = std::max(worst, limit > 0 ? ritz.residuals[i] / limit : ritz.residuals[i] > 0 ? HUGE_VAL : 0.0);
    }
    return worst;
  }
  // On A^T A the residual cannot fall below about eps s_1^2 / s_k, and values below sqrt(eps) s_1 drown.
  bool squares_suffice(double kth, double largest) const {
    return kth > 30 * std::sqrt(eps) * largest && holds(kth, 2 * eps * largest * largest / kth, largest);
  }
  // True: the callback wants to stop.
  bool report(Index basis_size, const std::vector<double>& residuals) const {
    if (!options.callback) return false;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    return options.callback(Progress{sweeps, basis_size, &residuals, elapsed.count()});
  }
};

// ||A||_F^2 - sum_{i <= k} s_i^2, from ||A V||_F^2 and the estimate of the rest, or from the first random block alone:
// E ||A V_1||_F^2 = (block / dimensions) ||A||_F^2.
inline double missed_mass(double total, const std::vector<double>& values, Index k) {
  for (Index i = 0; i < std::min<Index>(k, static_cast<Index>(values.size())); ++i) total -= values[i] * values[i];
  return std::max(total, 0.0);
}

inline std::optional<double> next_of(const std::vector<double>& values, Index k) {
  if (static_cast<Index>(values.size()) <= k) return std::nullopt;
  return values[static_cast<std::size_t>(k)];
}

// A large projected problem can cost as much as a sweep of a small operator, so it is not solved after every sweep: a
// third of the sweeps that the last two excesses predict are skipped, two at most.
class Schedule {
 public:
  bool due(Index sweep) const { return sweep >= next_; }
  void saw(Index sweep, Index size, double excess) {
    constexpr Index large = 64;
    Index skip = 1;
    if (size > large && last_ > 0 && excess > 1 && excess < excess_) {
      const double rate = std::log(excess_ / excess) / static_cast<double>(sweep - last_);
      skip = std::clamp<Index>(static_cast<Index>(std::log(excess) / rate / 3), 1, 3);
    }
    last_ = sweep, excess_ = excess, next_ = sweep + skip;
  }

 private:
  Index last_ = 0, next_ = 0;
  double excess_ = 0;
};

// Expands the space until all k residuals hold and nothing larger is found outside it. `scale` turns the residuals that
// the callback sees into the operator's own units.
template <class Space>
Outcome search(Space& space, Run& run, Index dimensions, const double& scale) {
  const Index k = run.k;
  Schedule schedule;
  for (;;) {
    if (space.full()) {
      if (Space::squared) {
        const Ritz now = space.ritz(0);
        if (!run.squares_suffice(now.values[k - 1], now.largest)) return Outcome::unsuitable;
      }
      space.restart(k + space.width());
    }
    space.step();
    const bool last = ++run.sweeps >= run.max_sweeps, enough = space.size() >= k;
    const bool due = enough && !run.options.keep_sweeps && schedule.due(run.sweeps);
    if (!run.options.callback && !last && !due) continue;
    Ritz now = space.monitor(k, run.options.tol);
    bool hold = false;
    if (enough) {
      const double excess = run.excess(now);
      schedule.saw(run.sweeps, space.size(), excess);
      if (excess <= 1 || last) {
        now = space.ritz(k);
        hold = run.excess(now) <= 1;
      }
    }
    const double first_total = space.first_mass() * static_cast<double>(dimensions) / static_cast<double>(run.block);
    run.left_out = missed_mass(std::max(first_total, space.basis_mass()), now.values, k);
    run.next_value = next_of(now.values, k);
    std::vector<double> residuals = now.residuals;
    for (double& r : residuals) r *= scale;
    if (run.report(space.size(), residuals)) return Outcome::callback;
    if (hold && !run.options.keep_sweeps) {
      if (Space::squared && !run.squares_suffice(now.values[k - 1], now.largest)) return Outcome::unsuitable;
      if (!run.options.verify) return Outcome::converged;
      const double kth = now.values[k - 1];
      const Probe probe = space.probe(k, kth + run.options.tol * std::abs(kth) + run.floor(now.largest));
      run.left_out = missed_mass(space.basis_mass() + probe.left_out, now.values, k);
      if (run.next_value < probe.next) run.next_value = probe.next;
      if (!probe.found) return Outcome::converged;
      if (!space.fits(k)) return Outcome::no_room;
    }
    if (last) return hold ? Outcome::converged : Outcome::max_sweeps;
  }
}

}  // namespace eigencontext::spectrum
