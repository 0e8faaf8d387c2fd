// Parallel loops over a small pool of our own.
//
// Work is cut into chunks by shape alone (never by the number of threads), each chunk is computed by one thread and
// writes only what is its own; sums over chunks are added by the caller in chunk order. So results have the same bits
// for every number of threads. A forked child runs everything on its own thread: the pool's threads do not survive
// fork(), and a pool must not hang on them.
#pragma once

#include <functional>

#include "base/views.hpp"

namespace eigencontext {

// Runs body(chunk, worker) for chunk in [0, chunks), worker in [0, num_threads()). Chunks are handed out in order,
// first come first served. An exception in body stops the loop and is rethrown here. Nested calls run on the calling
// thread. Throws Interrupted when the stop function of this thread's StopScope returned true (asked between chunks, by
// the calling thread alone).
void parallel_for(Index chunks, const std::function<void(Index chunk, int worker)>& body);

int num_threads();
void set_num_threads(int n);  // n >= 1

// While alive, parallel_for on this thread asks `stop` (at most every 50 ms); the bindings put the signal check here.
class StopScope {
 public:
  explicit StopScope(std::function<bool()> stop);
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  std::function<bool()> previous_;
};

// Asks the stop function now; throws Interrupted. For long serial stretches.
void check_stop();

// The number of chunks that the last parallel_for of each worker ran, summed since start: shows that threads had work.
Index chunks_run_by(int worker);

}  // namespace eigencontext
