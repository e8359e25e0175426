// For every byte that kernels access: who wrote it last, and who has read it since.
#pragma once
#include <cstddef>
#include <cstdint>

#include "platform/emulator/error.h"

namespace gpudl::emulator::race {

// Source location of an access: the program counter in instrumented code, or a Site that the emulator knows.
class Place {
 public:
  Place() = default;
  static Place of_code(const void* program_counter);
  static Place of_site(const Site& site);
  bool is_code() const { return !(value_ & 1); }
  const void* program_counter() const { return reinterpret_cast<const void*>(value_ >> 1); }
  const Site& site() const;
  bool operator==(const Place&) const = default;

 private:
  uint64_t value_ = 0;
};

enum class Kind { read, write, atomic };

void shadow_begin_launch();
void shadow_begin_wave(uint64_t wave);
void shadow_access(unsigned agent, const void* address, size_t bytes, Kind kind, Place place);
void shadow_fence(unsigned thread);
// An atomic operation on global memory passes its thread's knowledge to later ones on the same address, if it releases
// or the thread has fenced, and acquires what earlier ones passed.
void exchange(unsigned thread, const void* address, bool acquires, bool releases);

// The contents of a report.
struct Race {
  const void* address;
  uint64_t first_wave, second_wave;
  unsigned first_agent, second_agent;
  const char *first_verb, *second_verb;  // no first: read of memory that nothing had written
  Place first, second;
  bool fence_missing;  // a barrier orders the two, but the writer did not fence for asynchronous units
};
void report(const Race& race);

}  // namespace gpudl::emulator::race
