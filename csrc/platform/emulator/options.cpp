#include "platform/emulator/options.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "platform/control.h"
#include "platform/emulator/launch.h"

namespace gpudl::emulator {

namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  return *end == '\0' ? value : otherwise;
}

}  // namespace

Options options{from_environment("GPUDL_SCHEDULE", 0), from_environment("GPUDL_LAZY", 1) != 0,
                from_environment("GPUDL_SHARED_LIMIT", 227 * 1024),
                static_cast<int>(from_environment("GPUDL_RESIDENT_BLOCKS", 4)),
                from_environment("GPUDL_TRUNCATION", 0) != 0};
Statistics counted;

void set_schedule(uint64_t seed) { options.schedule = seed; }
void set_lazy(bool lazy) { options.lazy = lazy; }
void set_shared_limit(size_t bytes) { options.shared_limit = bytes; }
void set_resident_blocks(int blocks) { options.resident_blocks = blocks; }
void set_truncation(bool truncation) { options.truncation = truncation; }
Statistics statistics() { return counted; }
void reset_statistics() { counted = {}; }

}  // namespace gpudl::emulator

namespace gpudl {

void set_stream(int64_t) {}  // launches complete before they return: nothing to order

void clear(void* data, size_t bytes) { std::memset(data, 0, bytes); }

void set_device(int device) {
  if (device != 0)
    throw std::invalid_argument("device is " + std::to_string(device) + "; the emulator only has device 0");
}

int current_device() { return HOST; }

void set_truncation(bool truncation) { emulator::set_truncation(truncation); }

void set_schedule(int64_t seed) {
  if (seed < 0)
    throw std::invalid_argument("the schedule's seed is " + std::to_string(seed) + "; it must be at least 0");
  emulator::set_schedule(static_cast<uint64_t>(seed));
}

}  // namespace gpudl
