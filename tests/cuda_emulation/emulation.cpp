#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "control.hpp"
#include "cublas_v2.h"
#include "cuda_runtime.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

constexpr std::size_t page = 4096, shared_limit = 48 * 1024, stack_bytes = 64 * 1024;
constexpr unsigned char canary = 0xa5;

}  // namespace emulation

// Shared memory of the block that runs; behind what a kernel asked for lie canaries.
alignas(4096) double eigencontext_shared[(emulation::shared_limit + emulation::page) / sizeof(double)];

namespace emulation {

Settings& settings() {
  static Settings all;
  return all;
}

namespace {

// --- memory: every allocation ends at a guard page, and is closed to the host while no kernel or copy runs

struct Allocation {
  unsigned char* map = nullptr;  // guard page, pages, guard page
  std::size_t map_bytes = 0;
  unsigned char* user = nullptr;
  std::size_t bytes = 0;
  int device = 0;
  bool alive = true;
  mutable std::size_t used = 0;  // when the thread's own stream last asked for something here

  unsigned char* pages() const { return map + page; }
  std::size_t pages_bytes() const { return map_bytes - 2 * page; }
  bool holds(const void* p) const { return p >= user && p < user + bytes; }
};

// Allocated at once: the fault handler may not allocate.
std::map<const unsigned char*, Allocation>& allocations() {
  static auto& all = *new std::map<const unsigned char*, Allocation>;  // by map
  return all;
}
std::deque<const unsigned char*>& freed() {
  static auto& all = *new std::deque<const unsigned char*>;
  return all;
}
std::size_t live_bytes = 0;
int open = 0;  // how many Access objects live
bool in_kernel = false;
std::recursive_mutex& mutex() {
  static auto& one = *new std::recursive_mutex;
  return one;
}

const Allocation* around(const void* p) {
  auto after = allocations().upper_bound(static_cast<const unsigned char*>(p));
  if (after == allocations().begin()) return nullptr;
  const Allocation& candidate = std::prev(after)->second;
  return p < candidate.map + candidate.map_bytes ? &candidate : nullptr;
}

void protect(int rights) {
  for (auto& [map, a] : allocations())
    if (a.alive) mprotect(a.pages(), a.pages_bytes(), rights);
}

void check_canaries(const Allocation& a) {
  for (const unsigned char* p = a.pages(); p < a.pages() + a.pages_bytes(); ++p)
    if (!a.holds(p) && *p != canary)
      fault("out of bounds", "a write %td bytes from an allocation of %zu bytes", p - a.user, a.bytes);
}

void on_fault(int signal, siginfo_t* info, void*) {
  const auto* at = static_cast<const unsigned char*>(info->si_addr);
  if (const Allocation* a = around(at)) {
    if (!a->alive) fault("use after free", "of an allocation of %zu bytes", a->bytes);
    if (open == 0) fault("host access", "to byte %td of %zu of device memory", at - a->user, a->bytes);
    fault("out of bounds", "byte %td of an allocation of %zu bytes, thread (%u, %u) of block (%u, %u, %u)",
          at - a->user, a->bytes, threadIdx.x, threadIdx.y, blockIdx.x, blockIdx.y, blockIdx.z);
  }
  if (in_kernel) fault("host pointer", "a kernel touched %p, which is not device memory", info->si_addr);
  ::signal(signal, SIG_DFL);
}

void watch() {
  static const bool done = [] {
    stack_t stack{};
    stack.ss_sp = std::malloc(1 << 16);
    stack.ss_size = 1 << 16;
    sigaltstack(&stack, nullptr);
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    return true;
  }();
  static_cast<void>(done);
}

// --- copies to the host arrive when the stream is waited for

struct Pending {
  unsigned char* to;
  std::size_t pitch, width;
  std::vector<unsigned char> bytes;
};
std::vector<Pending>& pending() {
  static auto& all = *new std::vector<Pending>;
  return all;
}

// --- streams for copies: what they are asked for is done when somebody waits for it

struct Upload {
  unsigned char* to;
  const unsigned char* from;
  std::vector<unsigned char> bytes;  // as they were when it was asked for
};

// Counts what the thread's own stream was asked for; it does that at once.
std::size_t now = 0, waited = 0;  // waited: until when somebody waited for it

}  // namespace
}  // namespace emulation

struct EmulatedStream {
  std::deque<emulation::Upload> waiting;
  std::size_t done = 0;  // uploads
  std::size_t seen = 0;  // how far the thread's own stream was waited for
};
struct EmulatedEvent {
  EmulatedStream* stream = nullptr;  // null: the thread's own
  std::size_t uploads = 0, time = 0;
};

namespace emulation {
namespace {

std::set<EmulatedStream*>& streams() {
  static auto& all = *new std::set<EmulatedStream*>;
  return all;
}
std::map<const unsigned char*, std::size_t>& page_locked() {
  static auto& all = *new std::map<const unsigned char*, std::size_t>;
  return all;
}
std::size_t events = 0;

EmulatedStream* copies(cudaStream_t stream) { return streams().count(stream) ? stream : nullptr; }

void upload(EmulatedStream& stream, std::size_t until) {
  const Access access;
  for (; stream.done < until; ++stream.done) {
    const Upload& first = stream.waiting.front();
    if (std::memcmp(first.from, first.bytes.data(), first.bytes.size()) != 0)
      fault("race", "page-locked memory was written before it was copied");
    std::memcpy(first.to, first.bytes.data(), first.bytes.size());
    stream.waiting.pop_front();
  }
}

void require_arrived(const Allocation& a) {
  for (const EmulatedStream* stream : streams())
    for (const Upload& upload : stream->waiting)
      if (a.holds(upload.to))
        fault("race", "use of memory that a copy on another stream fills, without waiting for it");
}

// --- fibers

enum class State { ready, barrier, warp, done };

struct Fiber {
  jmp_buf at;
  ucontext_t begin;
  bool started = false;
  State state = State::ready;
  const char* file = nullptr;
  int line = 0;
  std::uint64_t brought = 0;
  dim3 index;
};

std::vector<Fiber>& fibers() {
  static auto& all = *new std::vector<Fiber>(1024);
  return all;
}
jmp_buf scheduler;
std::size_t current = 0;
Body* current_body = nullptr;
const void* current_context = nullptr;
std::uint64_t brought_to_warp[32][32];  // by warp and lane

// A fiber serves one thread after another: beginning one takes a system call.
void begin_fiber() {
  for (;;) {
    current_body(current_context);
    Fiber& fiber = fibers()[current];
    fiber.state = State::done;
    if (!_setjmp(fiber.at)) _longjmp(scheduler, 1);
  }
}

void resume(std::size_t number) {
  Fiber& fiber = fibers()[number];
  current = number;
  threadIdx = fiber.index;
  if (_setjmp(scheduler)) return;
  if (fiber.started) _longjmp(fiber.at, 1);
  fiber.started = true;
  void* stack = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(stack, page, PROT_NONE);
  getcontext(&fiber.begin);
  fiber.begin.uc_stack.ss_sp = stack;
  fiber.begin.uc_stack.ss_size = stack_bytes;
  fiber.begin.uc_link = nullptr;
  makecontext(&fiber.begin, begin_fiber, 0);
  setcontext(&fiber.begin);
}

void wait(State state, const char* file, int line) {
  Fiber& fiber = fibers()[current];
  fiber.state = state;
  fiber.file = file;
  fiber.line = line;
  if (_setjmp(fiber.at)) return;
  _longjmp(scheduler, 1);
}

// All of [begin, end) wait in the same way at the same line.
bool together(std::size_t begin, std::size_t end, State state) {
  const Fiber& first = fibers()[begin];
  return std::all_of(fibers().begin() + begin, fibers().begin() + end,
                     [&](const Fiber& f) { return f.state == state && f.line == first.line && f.file == first.file; });
}

void set_ready(std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; ++i) fibers()[i].state = State::ready;
}

// Lets waiting fibers go on where all have arrived. False: nobody can.
bool release(std::size_t threads) {
  bool any = false;
  for (std::size_t begin = 0; begin < threads; begin += 32) {
    const std::size_t end = std::min(begin + 32, threads);
    if (!together(begin, end, State::warp)) continue;
    for (std::size_t i = begin; i < end; ++i) brought_to_warp[begin / 32][i - begin] = fibers()[i].brought;
    set_ready(begin, end);
    any = true;
  }
  if (any) return true;
  if (!together(0, threads, State::barrier)) return false;
  set_ready(0, threads);
  return true;
}

std::vector<std::size_t> thread_order(std::size_t threads, std::mt19937& random) {
  std::vector<std::size_t> order(threads);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (settings().order == Order::descending) std::reverse(order.begin(), order.end());
  if (settings().order == Order::shuffled) std::shuffle(order.begin(), order.end(), random);
  return order;
}

void run_block(std::size_t threads, std::size_t shared, std::mt19937& random) {
  auto* memory = reinterpret_cast<unsigned char*>(eigencontext_shared);
  std::fill_n(memory, shared, settings().poison);
  std::fill_n(memory + shared, page, canary);
  for (std::size_t i = 0; i < threads; ++i) {
    Fiber& fiber = fibers()[i];
    fiber.state = State::ready;
    fiber.index = dim3(static_cast<unsigned>(i) % blockDim.x, static_cast<unsigned>(i) / blockDim.x % blockDim.y,
                       static_cast<unsigned>(i) / (blockDim.x * blockDim.y));
  }
  for (;;) {
    for (const std::size_t i : thread_order(threads, random))
      while (fibers()[i].state == State::ready) resume(i);
    const auto waits = std::find_if(fibers().begin(), fibers().begin() + threads,
                                    [](const Fiber& f) { return f.state != State::done; });
    if (waits == fibers().begin() + threads) break;
    if (!release(threads))
      fault("divergent barrier", "thread %td waits at %s:%d, where not all threads arrive", waits - fibers().begin(),
            waits->file, waits->line);
  }
  for (std::size_t i = 0; i < page; ++i)
    if (memory[shared + i] != canary) fault("out of bounds", "a write %zu bytes behind the shared memory", i);
}

}  // namespace

void fault(const char* kind, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  const int length = std::snprintf(text, sizeof text, "cuda emulation: %s: ", kind);
  std::vsnprintf(text + length, sizeof text - static_cast<std::size_t>(length), format, arguments);
  va_end(arguments);
  const std::size_t size = std::strlen(text);
  text[size] = '\n';
  if (write(settings().report, text, size + 1) < 0) _exit(71);
  _exit(70);
}

void require_device(const void* first, std::size_t bytes, const char* what) {
  const Allocation* a = around(first);
  if (!a) fault("host pointer", "%s at %p is not device memory", what, first);
  if (!a->alive) fault("use after free", "%s into an allocation of %zu bytes", what, a->bytes);
  const auto* begin = static_cast<const unsigned char*>(first);
  if (begin < a->user || begin + bytes > a->user + a->bytes)
    fault("out of bounds", "%s spans bytes %td to %td of an allocation of %zu", what, begin - a->user,
          begin + bytes - a->user, a->bytes);
  require_arrived(*a);
  a->used = ++now;
}

void barrier(const char* file, int line) { wait(State::barrier, file, line); }

int lane() { return static_cast<int>(current % 32); }

std::uint64_t exchange(std::uint64_t bits, int from, const char* file, int line) {
  fibers()[current].brought = bits;
  wait(State::warp, file, line);
  return brought_to_warp[current / 32][from];
}

Access::Access() {
  mutex().lock();
  if (open++ == 0) protect(PROT_READ | PROT_WRITE);
}
Access::~Access() {
  if (--open == 0) protect(PROT_NONE);
  mutex().unlock();
}

cudaError_t run(const cudaLaunchConfig_t& config, Body* body, const void* context) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.y > 65535 || grid.z > 65535 || grid.x * grid.y * grid.z == 0)
    return cudaErrorInvalidConfiguration;
  if (config.dynamicSmemBytes > shared_limit) return cudaErrorInvalidConfiguration;
  if (settings().pending_launch != 0) return static_cast<cudaError_t>(std::exchange(settings().pending_launch, 0));
  watch();
  const Access access;
  ++settings().launches;
  current_body = body;
  current_context = context;
  blockDim = block;
  gridDim = grid;
  in_kernel = true;
  std::mt19937 random(static_cast<unsigned>(settings().launches));
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        run_block(threads, config.dynamicSmemBytes, random);
      }
  in_kernel = false;
  return cudaSuccess;
}

bool busy() { return now != waited; }

std::pair<std::size_t, std::size_t> live() {
  std::size_t count = 0;
  for (const auto& [map, a] : allocations()) count += a.alive;
  return {count + page_locked().size() + streams().size() + events, live_bytes};
}

}  // namespace emulation

using namespace emulation;

cudaError_t cudaGetLastError() { return cudaSuccess; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return error == cudaSuccess ? "no error" : "invalid argument";
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = settings().devices;
  return static_cast<cudaError_t>(settings().driver);
}

cudaError_t cudaGetDevice(int* device) {
  *device = settings().current;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const int capability = settings().capability;
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? capability / 10 : capability % 10;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "emulated");
  return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
  *static_cast<std::uint64_t*>(value) = 0;  // released memory is not kept
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = settings().memory;
  *free = *total - std::min(*total, live_bytes);
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t) {
  watch();
  const Access access;
  if (bytes > settings().memory || live_bytes + bytes > settings().memory) return cudaErrorMemoryAllocation;
  Allocation a;
  const std::size_t used = (bytes + 15) / 16 * 16, pages = (used + page - 1) / page * page;
  a.map_bytes = pages + 2 * page;
  void* map = mmap(nullptr, a.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return cudaErrorMemoryAllocation;
  a.map = static_cast<unsigned char*>(map);
  mprotect(a.pages(), pages, PROT_READ | PROT_WRITE);
  a.user = a.pages() + pages - used;
  a.bytes = bytes;
  a.used = ++now;
  a.device = settings().current;
  std::fill_n(a.pages(), pages, canary);
  std::fill_n(a.user, bytes, settings().poison);
  allocations()[a.map] = a;
  live_bytes += bytes;
  *memory = a.user;
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t) {
  const Access access;
  const Allocation* found = around(memory);
  if (!found || !found->alive || found->user != memory) fault("free", "of %p, which is not allocated", memory);
  Allocation& a = allocations()[found->map];
  check_canaries(a);
  require_arrived(a);
  a.alive = false;
  live_bytes -= a.bytes;
  mprotect(a.pages(), a.pages_bytes(), PROT_NONE);
  freed().push_back(a.map);
  if (freed().size() > 256) {  // those freed last stay, so that their use is seen
    const unsigned char* oldest = freed().front();
    freed().pop_front();
    const Allocation gone = allocations()[oldest];
    allocations().erase(oldest);
    munmap(gone.map, gone.map_bytes);
  }
  return cudaSuccess;
}

namespace {

cudaError_t ask_upload(EmulatedStream& stream, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const Allocation* a = around(to);
  if (kind != cudaMemcpyHostToDevice || !a || !a->alive) fault("copy", "only uploads have streams of their own");
  const auto* source = static_cast<const unsigned char*>(from);
  auto* target = static_cast<unsigned char*>(to);
  if (target < a->user || target + bytes > a->user + a->bytes) fault("out of bounds", "of the target of a copy");
  const auto after = page_locked().upper_bound(source);
  if (after == page_locked().begin() || source + bytes > std::prev(after)->first + std::prev(after)->second)
    fault("copy", "%zu bytes on another stream that are not page-locked", bytes);
  if (a->used > stream.seen) fault("race", "a copy on another stream into memory that may be in use");
  stream.waiting.push_back({target, source, std::vector<unsigned char>(source, source + bytes)});
  return cudaSuccess;
}

cudaError_t copy_rows(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                      std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  const Access access;
  if (EmulatedStream* other = copies(stream)) return ask_upload(*other, to, from, width * height, kind);
  const auto span = [&](std::size_t pitch) { return (height - 1) * pitch + width; };
  if (kind != cudaMemcpyHostToDevice) require_device(from, span(from_pitch), "the source of a copy");
  if (kind != cudaMemcpyDeviceToHost) require_device(to, span(to_pitch), "the target of a copy");
  if (kind == cudaMemcpyHostToDevice && around(from)) fault("copy", "device memory given as memory of the host");
  if (kind == cudaMemcpyDeviceToHost && around(to)) fault("copy", "device memory given as memory of the host");
  const auto* source = static_cast<const unsigned char*>(from);
  auto* target = static_cast<unsigned char*>(to);
  if (kind == cudaMemcpyDeviceToHost) {
    Pending copy{target, to_pitch, width, std::vector<unsigned char>(width * height)};
    for (std::size_t i = 0; i < height; ++i) std::memcpy(&copy.bytes[i * width], source + i * from_pitch, width);
    pending().push_back(std::move(copy));
    return cudaSuccess;
  }
  for (std::size_t i = 0; i < height; ++i) std::memcpy(target + i * to_pitch, source + i * from_pitch, width);
  return cudaSuccess;
}

constexpr std::size_t max_pitch = 0x7fffffff;  // cudaDeviceProp::memPitch of every device

}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return copy_rows(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch || to_pitch > max_pitch || from_pitch > max_pitch)
    return cudaErrorInvalidValue;
  return copy_rows(to, to_pitch, from, from_pitch, width, height, kind, stream);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const std::lock_guard lock(mutex());
  const Allocation* a = around(memory);
  attributes->type = a ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  attributes->device = a ? a->device : 0;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard lock(mutex());
  if (EmulatedStream* other = copies(stream)) {
    upload(*other, other->done + other->waiting.size());
    return cudaSuccess;
  }
  for (const Pending& copy : pending())
    for (std::size_t i = 0; i * copy.width < copy.bytes.size(); ++i)
      std::memcpy(copy.to + i * copy.pitch, &copy.bytes[i * copy.width], copy.width);
  pending().clear();
  waited = now;
  return static_cast<cudaError_t>(std::exchange(settings().pending, 0));
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  const std::lock_guard lock(mutex());
  if (bytes > settings().page_locked) return cudaErrorMemoryAllocation;
  *memory = std::malloc(bytes);
  std::fill_n(static_cast<unsigned char*>(*memory), bytes, settings().poison);
  page_locked()[static_cast<unsigned char*>(*memory)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  const std::lock_guard lock(mutex());
  for (const EmulatedStream* stream : streams())
    for (const Upload& upload : stream->waiting)
      if (upload.from == memory) fault("race", "page-locked memory was released before it was copied");
  if (page_locked().erase(static_cast<unsigned char*>(memory)) == 0) fault("free", "of %p, not page-locked", memory);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::lock_guard lock(mutex());
  streams().insert(*stream = new EmulatedStream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(mutex());
  upload(*stream, stream->done + stream->waiting.size());
  streams().erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  ++settings().device_waits;
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(mutex());
  if (event->stream) upload(*event->stream, event->uploads);
  if (EmulatedStream* other = copies(stream)) other->seen = std::max(other->seen, event->time);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const std::lock_guard lock(mutex());
  ++events;
  *event = new EmulatedEvent;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(mutex());
  settings().waited_for = reinterpret_cast<std::uintptr_t>(stream);
  if (settings().broken != 0 && settings().waited_for == settings().broken) return cudaErrorInvalidResourceHandle;
  event->stream = copies(stream);
  event->uploads = event->stream ? stream->done + stream->waiting.size() : 0;
  event->time = event->stream ? event->stream->seen : now;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(mutex());
  if (event->stream) upload(*event->stream, event->uploads);
  return static_cast<cudaError_t>(std::exchange(settings().pending, 0));
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard lock(mutex());
  --events;
  delete event;
  return cudaSuccess;
}

// --- cuBLAS

struct EmulatedBlas {
  cublasMath_t mode = CUBLAS_DEFAULT_MATH;
};

const char* cublasGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "success" : "an argument that is not allowed";
}

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new EmulatedBlas;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  handle->mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}

namespace {

// To 10 bits of mantissa, ties to even.
float to_tf32(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  bits += 0xfffu + ((bits >> 13) & 1);
  bits &= ~0x1fffu;
  std::memcpy(&x, &bits, 4);
  return x;
}
double to_tf32(double x) { return x; }

// op(X) (rows x cols), packed by rows.
template <class T>
std::vector<T> unpacked(cublasOperation_t op, std::int64_t rows, std::int64_t cols, const T* X, std::int64_t ld,
                        bool round) {
  if (op == CUBLAS_OP_N)
    require_strided(X, cols, rows, ld, 1);
  else
    require_strided(X, rows, cols, ld, 1);
  std::vector<T> result(static_cast<std::size_t>(rows * cols));
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j) {
      const T x = op == CUBLAS_OP_N ? X[i + j * ld] : X[j + i * ld];
      result[static_cast<std::size_t>(i * cols + j)] = round ? to_tf32(x) : x;
    }
  return result;
}

template <class T>
cublasStatus_t gemm(cublasHandle_t handle, cublasOperation_t a, cublasOperation_t b, std::int64_t m, std::int64_t n,
                    std::int64_t k, const T* alpha, const T* A, std::int64_t lda, const T* B, std::int64_t ldb,
                    const T* beta, T* C, std::int64_t ldc) {
  const std::int64_t rows_A = a == CUBLAS_OP_N ? m : k, rows_B = b == CUBLAS_OP_N ? k : n;
  if (m < 0 || n < 0 || k < 0 || lda < std::max<std::int64_t>(1, rows_A) || ldb < std::max<std::int64_t>(1, rows_B) ||
      ldc < std::max<std::int64_t>(1, m))
    return CUBLAS_STATUS_INVALID_VALUE;
  const Access access;
  require_strided(C, n, m, ldc, 1);
  const bool round = handle->mode == CUBLAS_TF32_TENSOR_OP_MATH;
  const std::vector<T> left = unpacked(a, m, k, A, lda, round), right = unpacked(b, k, n, B, ldb, round);
  std::vector<T> row(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < m; ++i) {
    std::fill(row.begin(), row.end(), T(0));
    for (std::int64_t l = 0; l < k; ++l) {
      const T factor = left[static_cast<std::size_t>(i * k + l)];
      const T* from = right.data() + l * n;
      for (std::int64_t j = 0; j < n; ++j) row[static_cast<std::size_t>(j)] += factor * from[j];
    }
    for (std::int64_t j = 0; j < n; ++j) {
      T& c = C[i + j * ldc];
      c = *alpha * row[static_cast<std::size_t>(j)] + (*beta == T(0) ? T(0) : *beta * c);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

cublasStatus_t cublasSgemm_64(cublasHandle_t handle, cublasOperation_t a, cublasOperation_t b, std::int64_t m,
                              std::int64_t n, std::int64_t k, const float* alpha, const float* A, std::int64_t lda,
                              const float* B, std::int64_t ldb, const float* beta, float* C, std::int64_t ldc) {
  return gemm(handle, a, b, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc);
}
cublasStatus_t cublasDgemm_64(cublasHandle_t handle, cublasOperation_t a, cublasOperation_t b, std::int64_t m,
                              std::int64_t n, std::int64_t k, const double* alpha, const double* A, std::int64_t lda,
                              const double* B, std::int64_t ldb, const double* beta, double* C, std::int64_t ldc) {
  return gemm(handle, a, b, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc);
}
