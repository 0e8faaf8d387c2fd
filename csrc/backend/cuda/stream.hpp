// Rows that stay in the host's memory and visit the device. Nothing here needs the CUDA headers.
#pragma once

#include <functional>
#include <memory>

#include "base/views.hpp"

namespace eigencontext::cuda {

// Bytes of the rows that travel together: so many that a copy takes a millisecond, which hides what starting it costs.
#ifndef EIGENCONTEXT_CUDA_STREAM_BYTES
#define EIGENCONTEXT_CUDA_STREAM_BYTES (32 << 20)
#endif

// Two page-locked buffers, two on the device and a stream for copies: while the device works on a group of rows, the
// next one is copied and the one after it is written by the host. One caller at a time.
class RowStream {
 public:
  explicit RowStream(Index row_bytes);
  ~RowStream();

  // Rows that travel together.
  Index group() const { return group_; }

  // Groups in order: fill(i, count, to) writes rows i .. i + count - 1, packed, on the host; work(i, count, rows) asks
  // this thread's stream for what is to be done with them on the device.
  using Fill = std::function<void(Index, Index, void*)>;
  using Work = std::function<void(Index, Index, const void*)>;
  void each(Index rows, const Fill& fill, const Work& work);

 private:
  struct Buffers;
  Index row_bytes_, group_;
  std::unique_ptr<Buffers> buffers_;
};

}  // namespace eigencontext::cuda
