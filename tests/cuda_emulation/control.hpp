// What tests ask of the emulation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace emulation {

enum class Order { ascending, descending, shuffled };

struct Settings {
  Order order = Order::ascending;                  // of the threads of a block
  unsigned char poison = 0xff;                     // fills fresh memory
  std::size_t memory = std::size_t{1} << 32;       // of the device, bytes
  std::size_t page_locked = std::size_t{1} << 32;  // bytes of the host that may be
  int driver = 0;                                  // what cudaGetDeviceCount returns
  int devices = 1;
  int capability = 90;
  int current = 0;                             // the device in use, where allocations are made
  int pending = 0;                             // the error that the next synchronisation reports
  int pending_launch = 0;                      // and the one that the next launch does
  std::uintptr_t waited_for = 0;               // the stream of the last event
  std::uintptr_t broken = 0;                   // a stream that is none
  int report = 2;                              // the file that faults are written to
  std::size_t launches = 0, device_waits = 0;  // counted
};
Settings& settings();

// Allocations that live, and their bytes.
std::pair<std::size_t, std::size_t> live();

// Whether the device was asked for something since it was last waited for.
bool busy();

}  // namespace emulation
