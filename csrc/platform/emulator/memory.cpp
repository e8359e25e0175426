#include "platform/emulator/memory.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "platform/emulator/engine.h"
#include "platform/emulator/sanitizer.h"

namespace gpudl::emulator {

uint64_t wave_serial = 0;

namespace {

constexpr size_t ARENA_BYTES = 1024 * 1024;
constexpr size_t GUARD_BYTES = 128;
constexpr size_t DYNAMIC_ALIGNMENT = 1024;  // required by swizzled tiles
constexpr size_t STATIC_LIMIT = 48 * 1024;
constexpr unsigned char UNWRITTEN = 0xff;  // NaN in every floating-point format, -1 as an integer
constexpr unsigned char GUARD = 0xfb;      // NaN too, but a value that a kernel is unlikely to write

struct Placed {
  const char* name;
  size_t offset, bytes;
  Site site;
};

char* arenas = nullptr;  // one after another
size_t top = 0;
std::vector<Placed> arrays;  // of each block; first the dynamic one, if any
size_t dynamic_offset = 0, dynamic_size = 0, static_size = 0;

// Every array has guards on both sides; the upper guard is the next array's lower one.
size_t place_array(const char* name, size_t bytes, size_t alignment, const Site& site) {
  const size_t offset = (top + GUARD_BYTES + alignment - 1) / alignment * alignment;
  for (unsigned block = 0; block < engine.blocks.size(); ++block) {
    char* arena = shared_memory_of(block);
    unpoison(arena + top, offset - top + bytes + GUARD_BYTES);
    std::memset(arena + top, GUARD, offset - top);
    std::memset(arena + offset, UNWRITTEN, bytes);
    std::memset(arena + offset + bytes, GUARD, GUARD_BYTES);
    poison(arena + top, offset - top);
    poison(arena + offset + bytes, GUARD_BYTES);
  }
  top = offset + bytes;
  arrays.push_back({name, offset, bytes, site});
  return offset;
}

void check_guard(const char* arena, const Placed& array, size_t begin, size_t end, const char* side) {
  for (size_t i = begin; i < end; ++i)
    if (static_cast<unsigned char>(arena[i]) != GUARD)
      fail(array.site, "something wrote %s the end of shared array '%s' (%zu bytes)", side, array.name, array.bytes);
}

}  // namespace

void begin_shared_memory(size_t dynamic_bytes) {
  if (arenas == nullptr) {
    arenas = static_cast<char*>(std::aligned_alloc(DYNAMIC_ALIGNMENT, MAX_RESIDENT_BLOCKS * ARENA_BYTES));
    if (arenas == nullptr) throw std::bad_alloc();
  }
  ++wave_serial;
  poison(arenas, engine.blocks.size() * ARENA_BYTES);
  arrays.clear();
  static_size = 0;
  dynamic_size = dynamic_bytes;
  top = 0;
  if (dynamic_bytes == 0) return;
  const Site site = Site::here("launch", "", 0);
  if (dynamic_bytes > options.shared_limit)
    fail(site, "%zu bytes of dynamic shared memory; a block may have %zu", dynamic_bytes, options.shared_limit);
  dynamic_offset = place_array("dynamic", dynamic_bytes, DYNAMIC_ALIGNMENT, site);
}

void end_shared_memory() {
  for (unsigned block = 0; block < engine.blocks.size(); ++block)
    for (const Placed& array : arrays) {
      char* arena = shared_memory_of(block);
      const size_t end = array.offset + array.bytes;
      unpoison(arena + array.offset - GUARD_BYTES, GUARD_BYTES);
      unpoison(arena + end, GUARD_BYTES);
      check_guard(arena, array, array.offset - GUARD_BYTES, array.offset, "below");
      check_guard(arena, array, end, end + GUARD_BYTES, "past");
    }
}

char* shared_memory_of(unsigned block) { return arenas + block * ARENA_BYTES; }

void SharedArray::place() {
  static_size += bytes;
  if (static_size > STATIC_LIMIT)
    fail(site, "'%s' brings the kernel's static shared memory to %zu bytes; the limit is 48 KiB (use dynamic for more)",
         name, static_size);
  if (static_size + dynamic_size > options.shared_limit)
    fail(site, "'%s' brings the block's shared memory to %zu bytes; the limit is %zu", name, static_size + dynamic_size,
         options.shared_limit);
  offset = place_array(name, bytes, alignment < 16 ? 16 : alignment, site);
  serial = wave_serial;
}

void* dynamic_shared(const Site& site) {
  if (dynamic_size == 0) fail(site, "the kernel was launched without dynamic shared memory (shared_bytes is 0)");
  return current->shared + dynamic_offset;
}

bool is_shared(const void* pointer) {
  const char* byte = static_cast<const char*>(pointer);
  return byte >= arenas && byte < arenas + MAX_RESIDENT_BLOCKS * ARENA_BYTES;
}

std::string describe_address(const void* pointer) {
  char text[200];
  const size_t address = static_cast<size_t>(static_cast<const char*>(pointer) - arenas) % ARENA_BYTES;
  if (is_shared(pointer))
    for (const Placed& array : arrays)
      if (address >= array.offset && address < array.offset + array.bytes) {
        snprintf(text, sizeof text, "byte %zu of shared array '%s'", address - array.offset, array.name);
        return text;
      }
  snprintf(text, sizeof text, "%s at %p", is_shared(pointer) ? "shared memory" : "global memory", pointer);
  return text;
}

uint32_t shared_address(const void* pointer, const Site& site) {
  if (!is_shared(pointer)) fail(site, "%p does not point into shared memory", pointer);
  const auto address = static_cast<size_t>(static_cast<const char*>(pointer) - current->shared);
  if (address >= ARENA_BYTES) fail(site, "%p points into another block's shared memory", pointer);
  return static_cast<uint32_t>(address);
}

char* shared_bytes(uint32_t address, size_t bytes, size_t alignment, const Site& site) {
  if (address % alignment != 0)
    fail(site, "shared address 0x%x is misaligned: it must be a multiple of %zu", address, alignment);
  const Placed* below = nullptr;
  for (const Placed& array : arrays) {
    if (address >= array.offset && address + bytes <= array.offset + array.bytes) return current->shared + address;
    if (address >= array.offset && (below == nullptr || array.offset > below->offset)) below = &array;
  }
  if (below == nullptr) fail(site, "shared address 0x%x lies in no shared array", address);
  fail(site, "shared address 0x%x, %zu bytes: not inside shared array '%s' of %zu bytes, %zu bytes from its start",
       address, bytes, below->name, below->bytes, address - below->offset);
}

}  // namespace gpudl::emulator
