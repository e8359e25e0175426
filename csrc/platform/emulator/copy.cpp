#include "platform/emulator/copy.h"

#include <cstring>
#include <deque>
#include <vector>

#include "platform/emulator/engine.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race.h"

namespace gpudl::emulator {

namespace {

struct Copy {
  uint32_t destination;
  const char* source;
  size_t bytes, source_bytes;
  Site site;
};

// Copies of a thread in flight: committed groups, oldest first, and copies not committed yet.
struct InFlight {
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open;
};

std::vector<InFlight> in_flight;  // by thread slot; used only by threads that copy

InFlight& own_copies() {
  Thread& me = engine.self();
  if (in_flight.size() < engine.slots) in_flight.resize(engine.slots);
  InFlight& copies = in_flight[me.slot];
  if (!me.has_copies) {
    me.has_copies = true;
    copies.groups.clear();
    copies.open.clear();
  }
  return copies;
}

void land(const Copy& copy) {
  char* destination = shared_bytes(copy.destination, copy.bytes, copy.bytes, copy.site);
  race::access(destination, copy.bytes, true, copy.site);
  std::memcpy(destination, copy.source, copy.source_bytes);
  std::memset(destination + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
}

}  // namespace

void copy_async(uint32_t destination, const void* source, size_t bytes, size_t source_bytes, const Site& site) {
  ++counted.copies;
  if (source_bytes > bytes) fail(site, "%zu source bytes are more than the copy's %zu", source_bytes, bytes);
  if (reinterpret_cast<uintptr_t>(source) % bytes != 0)
    fail(site, "source %p is misaligned: it must be a multiple of %zu", source, bytes);
  char* target = shared_bytes(destination, bytes, bytes, site);
  const Copy copy{destination, static_cast<const char*>(source), bytes, source_bytes, site};
  race::access(source, source_bytes, false, site);
  race::access(target, bytes, true, site);
  if (!options.lazy) return land(copy);
  std::memset(target, 0xff, bytes);
  own_copies().open.push_back(copy);
}

void commit_copies() {
  InFlight& copies = own_copies();
  copies.groups.push_back(std::move(copies.open));
  copies.open.clear();
}

void wait_for_copies(size_t groups_left) {
  InFlight& copies = own_copies();
  while (copies.groups.size() > groups_left) {
    for (const Copy& copy : copies.groups.front()) land(copy);
    copies.groups.pop_front();
  }
}

void check_copies_complete(const Thread& thread) {
  const InFlight& copies = in_flight[thread.slot];
  if (!copies.open.empty())
    fail(copies.open.front().site, "the thread ended with copies that it never committed: call cp_async_commit()");
  for (const auto& group : copies.groups)
    if (!group.empty())
      fail(group.front().site, "the thread ended with copies in flight: call cp_async_wait<0>() first");
}

}  // namespace gpudl::emulator
