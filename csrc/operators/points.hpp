// Points packed for the tile engine: rows of features side by side, in the precision that scores need.
#pragma once

#include <algorithm>
#include <cmath>

#include "backend/cpu/tiles.hpp"
#include "base/buffer.hpp"
#include "base/parallel.hpp"
#include "base/views.hpp"

namespace eigencontext::points {

inline constexpr Index rows_per_chunk = 1024;

inline Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// body(begin, end) over chunks of the rows, in parallel.
template <class Body>
void for_rows(Index n, const Body& body) {
  parallel_for(ceil_div(n, rows_per_chunk), [&](Index chunk, int) {
    const Index begin = chunk * rows_per_chunk;
    body(begin, std::min(n, begin + rows_per_chunk));
  });
}

// The mean of the rows, in float64. Any vector near the data is as good: it is subtracted from X and A alike.
template <class T>
Buffer<double> mean(MatrixView<const T> X) {
  const Index chunks = ceil_div(X.rows, rows_per_chunk), p = X.cols;
  const double weight = 1 / static_cast<double>(std::max<Index>(X.rows, 1));
  Buffer<double> partial(std::max<Index>(chunks, 1) * p, 0.0);
  for_rows(X.rows, [&](Index begin, Index end) {
    double* sum = partial.data() + begin / rows_per_chunk * p;
    for (Index i = begin; i < end; ++i)
      for (Index f = 0; f < p; ++f) sum[f] += static_cast<double>(X(i, f)) * weight;
  });
  Buffer<double> total(p, 0.0);
  for (Index chunk = 0; chunk < chunks; ++chunk)
    for (Index f = 0; f < p; ++f) total[f] += partial[chunk * p + f];
  return total;
}

// out(i, f) = scale (x_if - centre_f), computed in float64.
template <class T, class S>
void pack_row(MatrixView<const T> X, Index i, const double* centre, double scale, S* out) {
  for (Index f = 0; f < X.cols; ++f)
    out[f] = static_cast<S>(scale * (static_cast<double>(X(i, f)) - (centre ? centre[f] : 0.0)));
}

template <class S, class T>
Buffer<S> pack(MatrixView<const T> X, const double* centre, double scale) {
  Buffer<S> out(X.rows * X.cols);
  for_rows(X.rows, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) pack_row(X, i, centre, scale, out.data() + i * X.cols);
  });
  return out;
}

// |scale (x_i - centre)|^2 in float64.
template <class T>
Buffer<double> squared_norms(MatrixView<const T> X, const double* centre, double scale) {
  Buffer<double> out(X.rows);
  for_rows(X.rows, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      double sum = 0;
      for (Index f = 0; f < X.cols; ++f) {
        const double x = scale * (static_cast<double>(X(i, f)) - (centre ? centre[f] : 0.0));
        sum += x * x;
      }
      out[i] = sum;
    }
  });
  return out;
}

inline double largest(const Buffer<double>& x) {
  double top = 0;
  for (double value : x)
    if (!(value <= top)) top = value;  // NaN wins
  return top;
}

// The largest |x_if - centre_f|.
template <class T>
double largest_deviation(MatrixView<const T> X, const double* centre) {
  Buffer<double> tops(ceil_div(X.rows, rows_per_chunk), 0.0);
  for_rows(X.rows, [&](Index begin, Index end) {
    double& top = tops[begin / rows_per_chunk];
    for (Index i = begin; i < end; ++i)
      for (Index f = 0; f < X.cols; ++f) top = std::max(top, std::abs(static_cast<double>(X(i, f)) - centre[f]));
  });
  return largest(tops);
}

// 1 / |x_i|, safe for values whose squares leave float64's range; 0 for a zero vector.
template <class T>
Buffer<double> inverse_norms(MatrixView<const T> X) {
  Buffer<double> out(X.rows);
  for_rows(X.rows, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      double top = 0, sum = 0;
      for (Index f = 0; f < X.cols; ++f) top = std::max(top, std::abs(static_cast<double>(X(i, f))));
      for (Index f = 0; f < X.cols && top > 0; ++f) {
        const double x = static_cast<double>(X(i, f)) / top;
        sum += x * x;
      }
      out[i] = top > 0 ? 1 / std::sqrt(sum) / top : 0.0;
    }
  });
  return out;
}

// x_i / |x_i|; a zero vector stays zero.
template <class S, class T>
Buffer<S> pack_normalised(MatrixView<const T> X) {
  const Buffer<double> scale = inverse_norms(X);
  Buffer<S> out(X.rows * X.cols);
  for_rows(X.rows, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) pack_row(X, i, nullptr, scale[i], out.data() + i * X.cols);
  });
  return out;
}

// Feature by feature in panels of panel_width points (tiles.hpp), the last one filled up with zeros.
template <class S, class T>
Buffer<S> pack_panels(MatrixView<const T> X, double scale) {
  constexpr Index width = cpu::panel_width<S>;
  const Index panels = ceil_div(X.rows, width);
  Buffer<S> out(panels * width * X.cols);
  parallel_for(panels, [&](Index q, int) {
    S* panel = out.data() + q * width * X.cols;
    for (Index f = 0; f < X.cols; ++f)
      for (Index j = 0; j < width; ++j) {
        const Index i = q * width + j;
        panel[f * width + j] = i < X.rows ? static_cast<S>(scale * static_cast<double>(X(i, f))) : S(0);
      }
  });
  return out;
}

}  // namespace eigencontext::points
