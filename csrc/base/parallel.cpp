#include "base/parallel.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/errors.hpp"

namespace eigencontext {
namespace {

constexpr int max_workers = 1024;
thread_local bool inside_loop = false;
thread_local std::function<bool()> stop_function;
thread_local std::chrono::steady_clock::time_point last_stop_check{};
std::array<std::atomic<Index>, max_workers> chunk_counts{};

// What num_threads() last told this thread: a caller sizes its scratch memory by it, so a loop of this thread must not
// use more workers, even if another thread calls set_num_threads in between.
thread_local int promised_workers = max_workers;

// All of the machine's, or what EIGENCONTEXT_NUM_THREADS says; empty is as if it were not set.
int default_threads() {
  const char* text = std::getenv("EIGENCONTEXT_NUM_THREADS");
  if (text != nullptr && *text != '\0') {
    int n = 0;
    const char* end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, n);
    if (error == std::errc() && stop == end && n >= 1 && n <= max_workers) return n;
    throw ArgumentError("EIGENCONTEXT_NUM_THREADS", text, "an integer in 1 .. " + std::to_string(max_workers));
  }
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, max_workers);
}

// One loop at a time: the fields between `start` and `finished` belong to the loop that is running.
class Pool {
 public:
  std::atomic<int> size;
  const bool forked;  // in a child there are no workers

  explicit Pool(int size_, bool forked_ = false) : size(size_), forked(forked_) {}

  void run(Index chunks, const std::function<void(Index, int)>& body, int workers) {
    std::lock_guard<std::mutex> one_loop(loop_mutex_);
    workers = 1 + grow(workers - 1);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      body_ = &body;
      chunks_ = chunks;
      next_.store(0);
      error_ = nullptr;
      active_ = workers - 1;
      pending_ = workers - 1;
      ++generation_;
    }
    start_.notify_all();
    work(0);
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [&] { return pending_ == 0; });
    body_ = nullptr;
    // Nothing of the exception stays here: the caller may need a lock (Python's) to destroy it.
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  // Starts threads until there are `helpers`, or as many as the system allows; returns how many can help. Under
  // loop_mutex_, so that generation_ stands still.
  int grow(int helpers) {
    for (; helpers_ < helpers; ++helpers_) {
      const int worker = helpers_ + 1;
      const Index seen = generation_;
      try {
        std::thread([this, worker, seen] { serve(worker, seen); }).detach();
      } catch (const std::system_error&) {
        return helpers_;
      }
    }
    return helpers;
  }

  void serve(int worker, Index seen) {
    inside_loop = true;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        start_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (worker > active_) continue;
      }
      work(worker);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--pending_ == 0) finished_.notify_one();
    }
  }

  void work(int worker) {
    try {
      for (;;) {
        const Index chunk = next_.fetch_add(1);
        if (chunk >= chunks_) return;
        if (worker == 0) check_stop();
        (*body_)(chunk, worker);
        chunk_counts[static_cast<std::size_t>(worker)].fetch_add(1, std::memory_order_relaxed);
      }
    } catch (...) {
      next_.store(chunks_);
      std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  std::mutex loop_mutex_, mutex_;
  std::condition_variable start_, finished_;
  int helpers_ = 0;
  const std::function<void(Index, int)>* body_ = nullptr;
  Index chunks_ = 0;
  std::atomic<Index> next_{0};
  std::exception_ptr error_;
  int active_ = 0, pending_ = 0;
  Index generation_ = 0;
};

// Never destroyed: its detached threads may outlive main. A child of fork() gets a fresh one without threads, because
// the state of the parent's mutexes at the fork is unknown.
Pool* pool = nullptr;

Pool& the_pool() {
  static const bool created = [] {
    pool = new Pool(default_threads());
    pthread_atfork(nullptr, nullptr, [] {
      pool = new Pool(pool->size, true);
      inside_loop = false;
    });
    return true;
  }();
  (void)created;
  return *pool;
}

struct InsideLoop {
  InsideLoop() { inside_loop = true; }
  ~InsideLoop() { inside_loop = false; }
};

}  // namespace

void check_stop() {
  if (!stop_function) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_stop_check < std::chrono::milliseconds(50)) return;
  last_stop_check = now;
  if (stop_function()) throw Interrupted();
}

void parallel_for(Index chunks, const std::function<void(Index, int)>& body) {
  if (chunks <= 0) return;
  Pool& p = the_pool();
  const int workers = static_cast<int>(std::min<Index>(std::min(p.size.load(), promised_workers), chunks));
  if (inside_loop) {
    for (Index c = 0; c < chunks; ++c) body(c, 0);
    return;
  }
  const InsideLoop scope;
  if (workers == 1 || p.forked) {
    for (Index c = 0; c < chunks; ++c) {
      check_stop();
      body(c, 0);
      chunk_counts[0].fetch_add(1, std::memory_order_relaxed);
    }
    return;
  }
  p.run(chunks, body, workers);
}

int num_threads() {
  Pool& p = the_pool();
  promised_workers = p.forked ? 1 : p.size.load();
  return promised_workers;
}

void set_num_threads(int n) {
  if (n < 1 || n > max_workers) throw ArgumentError("n", std::to_string(n), "1 <= n <= " + std::to_string(max_workers));
  the_pool().size = n;
  promised_workers = max_workers;
}

Index chunks_run_by(int worker) { return chunk_counts.at(static_cast<std::size_t>(worker)).load(); }

StopScope::StopScope(std::function<bool()> stop) : previous_(std::move(stop_function)) {
  stop_function = std::move(stop);
}
StopScope::~StopScope() { stop_function = std::move(previous_); }

}  // namespace eigencontext
