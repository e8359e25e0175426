#include "platform/emulator/tma.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#include "platform/emulator/cluster.h"
#include "platform/emulator/engine.h"
#include "platform/emulator/mbarrier.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race.h"
#include "platform/emulator/swizzle.h"
#include "platform/tensor_map_check.h"

namespace gpudl::emulator {

namespace {

using device::TensorBox;

struct BoxCopy {
  TensorBox tensor;  // a copy, since the kernel's map may be gone when the box lands
  int at[5];
  int tap[3];       // for a map of images
  uint32_t shared;  // cluster address of the tile
  size_t bytes;
  uint32_t mbarrier;  // for a load
  unsigned agent;     // see race.h
  Thread* issuer;
  Site site;
};

struct Stores {
  std::deque<std::vector<BoxCopy>> groups;
  std::vector<BoxCopy> open;
};

std::vector<BoxCopy> loads;  // in flight
std::vector<Stores> stores;  // by thread slot; used only by threads that store

size_t bytes_of(const TensorBox& tensor) {
  size_t bytes = static_cast<size_t>(device::element_bytes(tensor.type));
  for (int axis = 0; axis < tensor.rank; ++axis) bytes *= static_cast<size_t>(tensor.box[axis]);
  return tensor.pixels > 0 ? bytes * static_cast<size_t>(tensor.pixels) : bytes;
}

// The position of element i of the box in the tensor, innermost axis first.
void locate(const BoxCopy& copy, size_t i, int64_t (&position)[5]) {
  const TensorBox& tensor = copy.tensor;
  const int last = tensor.rank - 1;
  for (int axis = 0; axis < tensor.rank; ++axis) {
    const auto box = static_cast<size_t>(tensor.box[axis]);
    position[axis] = copy.at[axis] + static_cast<int64_t>(i % box);
    i /= box;
  }
  if (tensor.pixels == 0) return;
  auto windows = static_cast<int64_t>(i);  // windows to advance from the first one
  for (int axis = 0; axis < last - 1; ++axis) {
    const int first = tensor.first[axis], step = tensor.step[axis];
    const int64_t count = device::window_positions(tensor, axis);
    const int64_t window = (copy.at[axis + 1] - first) / step + windows;
    position[axis + 1] = first + window % count * step + copy.tap[axis];
    windows = window / count;
  }
  position[last] += windows;
}

// Call move(shared element, global element or null if outside) for every element of the box.
template <class Move>
void for_each_element(const BoxCopy& copy, char* tile, Move move) {
  const TensorBox& tensor = copy.tensor;
  const int width = device::swizzle_bytes(tensor.swizzle);
  const size_t bytes = static_cast<size_t>(device::element_bytes(tensor.type));
  const size_t count = copy.bytes / bytes;
  for (size_t i = 0; i < count; ++i) {
    int64_t position[5], offset = 0;
    locate(copy, i, position);
    bool inside = true;
    for (int axis = 0; axis < tensor.rank; ++axis) {
      inside &= position[axis] >= 0 && position[axis] < tensor.extent[axis];
      offset += position[axis] * tensor.stride[axis];
    }
    char* global = static_cast<char*>(const_cast<void*>(tensor.data));
    const uint32_t address = copy.shared + static_cast<uint32_t>(i * bytes);
    move(tile + (swizzled(address, width) - copy.shared), inside ? global + offset : nullptr, bytes);
  }
}

BoxCopy checked(const device::TensorMap& map, uint32_t shared, const int* coordinates, int rank, const Site& site) {
  const TensorBox& tensor = map.tensor;
  if (tensor.rank != rank) fail(site, "%d coordinates for a tensor of %d axes", rank, tensor.rank);
  BoxCopy copy{};
  copy.tensor = tensor;
  std::copy(coordinates, coordinates + rank, copy.at);
  copy.shared = shared;
  copy.bytes = bytes_of(tensor);
  copy.issuer = &engine.self();
  copy.site = site;
  // A swizzle's pattern repeats after 8 rows of its width; a tile that starts inside the pattern would be permuted
  // differently.
  const int width = device::swizzle_bytes(tensor.swizzle);
  shared_bytes(shared, copy.bytes, width == 0 ? 128 : static_cast<size_t>(width) * 8, site);
  ++counted.copies;
  return copy;
}

void note_global_reads(const BoxCopy& copy) {
  if (!race::enabled) return;
  for_each_element(copy, shared_bytes(copy.shared, copy.bytes, 16, copy.site),
                   [&](char*, const char* global, size_t bytes) {
                     if (global != nullptr) race::access(global, bytes, false, copy.site);
                   });
}

void start_load(BoxCopy copy) {
  mbarrier_check_for_copy(copy.mbarrier, copy.site);
  char* tile = cluster_bytes(copy.shared, copy.bytes, 16, copy.site);
  copy.agent = race::tma_agent();
  race::start(copy.agent, engine.self().slot);
  race::agent_access(copy.agent, tile, copy.bytes, true, copy.site);
  if (options.lazy) {
    std::memset(tile, 0xff, copy.bytes);
    loads.push_back(copy);
    engine.preempt();
  } else {
    loads.push_back(copy);
    land_one_load();
  }
}

void land(const BoxCopy& copy) {
  char* tile = cluster_bytes(copy.shared, copy.bytes, 16, copy.site);
  if (copy.tensor.rank == 0) {  // contiguous bytes
    std::memcpy(tile, copy.tensor.data, copy.bytes);
  } else {
    for_each_element(copy, tile, [](char* shared, const char* global, size_t bytes) {
      if (global != nullptr) std::memcpy(shared, global, bytes);
      else std::memset(shared, 0, bytes);
    });
  }
  mbarrier_complete(copy.mbarrier, static_cast<int64_t>(copy.bytes), copy.agent, copy.site);
}

Stores& own_stores() {
  Thread& me = engine.self();
  if (stores.size() < engine.slots) stores.resize(engine.slots);
  if (!me.has_stores) {
    me.has_stores = true;
    stores[me.slot] = {};
  }
  return stores[me.slot];
}

}  // namespace

void begin_tma() { loads.clear(); }

void end_tma() {
  if (loads.empty()) return;
  current = loads.front().issuer;
  fail(loads.front().site, "the block ended before this load was complete: wait for its mbarrier");
}

bool loads_in_flight() { return !loads.empty(); }

bool land_one_load() {
  if (loads.empty()) return false;
  const size_t chosen =
      engine.scheduler.in_order() ? 0 : engine.scheduler.random_below(static_cast<uint32_t>(loads.size()));
  const BoxCopy copy = loads[chosen];
  loads.erase(loads.begin() + static_cast<std::ptrdiff_t>(chosen));
  ThreadIndex* running = current;
  current = copy.issuer;  // the thread that an error names
  land(copy);
  current = running;
  return true;
}

void tma_load(uint32_t destination, const device::TensorMap& map, const int* coordinates, int rank, uint32_t mbarrier,
              unsigned blocks, const Site& site) {
  BoxCopy copy = checked(map, destination, coordinates, rank, site);
  if (copy.tensor.pixels > 0) fail(site, "the map is of images: use tma_load_image_%dd", rank);
  copy.mbarrier = mbarrier;
  note_global_reads(copy);
  if (blocks == 0) return start_load(copy);
  if (blocks >> cluster_size() != 0)
    fail(site, "blocks is 0x%x, but the cluster has %u blocks", blocks, cluster_size());
  for (unsigned block = 0; block < cluster_size(); ++block) {
    if (!(blocks >> block & 1)) continue;
    copy.shared = cluster_address(destination, block, site);
    copy.mbarrier = cluster_address(mbarrier, block, site);
    start_load(copy);
  }
}

void tma_load_image(uint32_t destination, const device::TensorMap& map, const int* coordinates, const int* tap,
                    int rank, uint32_t mbarrier, const Site& site) {
  BoxCopy copy = checked(map, destination, coordinates, rank, site);
  const TensorBox& tensor = copy.tensor;
  if (tensor.pixels == 0) fail(site, "the map is not of images: use make_image_map");
  for (int axis = 0; axis < rank - 2; ++axis) {
    const int from_first = coordinates[axis + 1] - tensor.first[axis], reach = rank == 4 ? 256 : 32;
    if (from_first < 0 || from_first % tensor.step[axis] != 0 ||
        from_first / tensor.step[axis] >= device::window_positions(tensor, axis))
      fail(site, "no window starts at coordinate %d of axis %d", coordinates[axis + 1], axis + 1);
    if (tap[axis] < 0 || tap[axis] >= reach)
      fail(site, "a tap at %d along axis %d; it must be from 0 to %d", tap[axis], axis + 1, reach - 1);
    copy.tap[axis] = tap[axis];
  }
  copy.mbarrier = mbarrier;
  note_global_reads(copy);
  start_load(copy);
}

void tma_bulk_load(uint32_t destination, const void* source, size_t bytes, uint32_t mbarrier, const Site& site) {
  if (bytes == 0 || bytes % 16 != 0) fail(site, "%zu bytes; it must be a multiple of 16", bytes);
  if (reinterpret_cast<uintptr_t>(source) % 16 != 0)
    fail(site, "source %p is misaligned: it must be a multiple of 16", source);
  shared_bytes(destination, bytes, 16, site);
  race::access(source, bytes, false, site);
  ++counted.copies;
  BoxCopy copy{};
  copy.tensor.data = source;
  copy.shared = destination;
  copy.bytes = bytes;
  copy.mbarrier = mbarrier;
  copy.issuer = &engine.self();
  copy.site = site;
  start_load(copy);
}

void tma_store(const device::TensorMap& map, uint32_t source, const int* coordinates, int rank, const Site& site) {
  BoxCopy copy = checked(map, source, coordinates, rank, site);
  char* tile = shared_bytes(source, copy.bytes, 16, site);
  copy.agent = race::tma_agent();
  race::start(copy.agent, engine.self().slot);
  race::agent_access(copy.agent, tile, copy.bytes, false, site);
  if (race::enabled)
    for_each_element(copy, tile, [&](char*, const char* global, size_t bytes) {
      if (global != nullptr) race::agent_access(copy.agent, global, bytes, true, site);
    });
  own_stores().open.push_back(copy);
}

void tma_store_commit() {
  Stores& pending = own_stores();
  pending.groups.push_back(std::move(pending.open));
  pending.open.clear();
}

void tma_store_wait(size_t groups_left) {
  Stores& pending = own_stores();
  for (; pending.groups.size() > groups_left; pending.groups.pop_front())
    for (const BoxCopy& copy : pending.groups.front()) {
      char* tile = shared_bytes(copy.shared, copy.bytes, 16, copy.site);
      for_each_element(copy, tile, [](const char* shared, char* global, size_t bytes) {
        if (global != nullptr) std::memcpy(global, shared, bytes);
      });
      race::finish(copy.agent, engine.self().slot);
    }
}

void check_stores_complete(const Thread& thread) {
  const Stores& pending = stores[thread.slot];
  if (!pending.open.empty())
    fail(pending.open.front().site, "the thread ended with stores that it never committed: call tma_store_commit()");
  for (const auto& group : pending.groups)
    if (!group.empty())
      fail(group.front().site, "the thread ended before this store was complete: call tma_store_wait<0>() first");
}

}  // namespace gpudl::emulator

namespace gpudl::device {

void fence_async_shared(Site site) {
  emulator::mbarrier_fence(site);
  emulator::race::proxy_fence();
}

}  // namespace gpudl::device
