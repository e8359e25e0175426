#include "platform/emulator/race_shadow.h"

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "platform/emulator/engine.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race_clock.h"

namespace gpudl::emulator::race {

namespace {

constexpr uint16_t NOBODY = 0xffff;
constexpr uint64_t NO_WAVE = ~0ull;
constexpr uint32_t PAGE_BYTES = 4096;

// The state of one granule. Accesses of earlier waves matter too, because blocks of one launch are unordered.
struct Cell {
  uint64_t write_wave = NO_WAVE, read_wave = NO_WAVE;
  uint64_t earlier_read_wave = NO_WAVE;  // another wave that read it before read_wave
  uint32_t write_time = 0, read_time = 0;
  uint16_t writer = NOBODY, reader = NOBODY;
  bool atomic_write = false;
  int32_t readers = -1;  // if several in read_wave: a row of read_rows, one time per agent
  Place written, read;
};

// Granules have the size of the page's smallest access: 4, 2 or 1 bytes.
struct Page {
  uint64_t wave = NO_WAVE;  // shared memory starts afresh with each wave
  unsigned shift = 2;
  std::vector<Cell> cells = std::vector<Cell>(PAGE_BYTES >> 2);
};

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
uintptr_t last_number[4];  // a small cache before the map
Page* last_page[4];

uint64_t this_wave = 0;
std::unordered_set<uint64_t> seen_waves;  // earlier waves whose work atomics made known to this one
std::unordered_map<const void*, std::unordered_set<uint64_t>> told;  // by the atomic's address: waves that released it
std::unordered_map<const void*, Knowledge> told_here;                // what threads of this wave released there
std::vector<bool> fenced;                                            // the threads that have called __threadfence
bool any_fenced = false;

// Sets of readers, only of this wave.
constexpr size_t MAX_READ_TIMES = 32 << 20;  // in all rows; beyond that only a granule's last reader is known
std::vector<uint32_t> read_rows;
std::vector<int32_t> free_rows;
size_t rows_used = 0;

int32_t take_row() {
  const size_t agents = clocks.agents();
  int32_t row;
  if (!free_rows.empty()) {
    row = free_rows.back();
    free_rows.pop_back();
  } else {
    if ((rows_used + 1) * agents > MAX_READ_TIMES) return -1;
    row = static_cast<int32_t>(rows_used++);
    if (read_rows.size() < rows_used * agents)
      read_rows.resize(std::max(read_rows.size() * 2, (rows_used + 64) * agents));
  }
  std::fill_n(read_rows.begin() + static_cast<std::ptrdiff_t>(row * agents), agents, 0);
  return row;
}

uint32_t* row_of(const Cell& cell) { return read_rows.data() + static_cast<size_t>(cell.readers) * clocks.agents(); }

void forget_readers(Cell& cell) {
  if (cell.readers >= 0 && cell.read_wave == this_wave) free_rows.push_back(cell.readers);
  cell.readers = -1;
  cell.reader = NOBODY;
}

void refine(Page& page, unsigned finer) {
  std::vector<Cell> split(PAGE_BYTES >> finer);
  const unsigned parts = 1u << (page.shift - finer);
  for (size_t i = 0; i < split.size(); ++i) {
    Cell& cell = split[i] = page.cells[i / parts];
    if (cell.readers < 0 || i % parts == 0) continue;
    const int32_t shared_row = cell.readers;
    cell.readers = cell.read_wave == this_wave ? take_row() : -1;  // each part needs its own row now
    const size_t agents = clocks.agents();
    if (cell.readers >= 0)
      std::copy_n(read_rows.begin() + static_cast<std::ptrdiff_t>(shared_row * agents), agents, row_of(cell));
  }
  page.cells = std::move(split);
  page.shift = finer;
}

Page& page_at(uintptr_t number, bool shared) {
  const size_t slot = number & 3;
  if (last_page[slot] == nullptr || last_number[slot] != number) {
    auto& page = pages[number];
    if (page == nullptr) page = std::make_unique<Page>();
    last_number[slot] = number;
    last_page[slot] = page.get();
  }
  Page& page = *last_page[slot];
  if (shared && page.wave != this_wave) {
    page.wave = this_wave;
    std::fill(page.cells.begin(), page.cells.end(), Cell{});
  }
  return page;
}

bool ordered_wave(uint64_t wave) { return wave == this_wave || seen_waves.contains(wave); }

// Whether a barrier of all threads has made a thread's access at this time known to all.
bool known_to_all(unsigned agent, uint32_t time) {
  return agent < clocks.threads() && time <= clocks.last_full_barrier();
}

struct Access {
  unsigned agent;
  const void* address;
  Kind kind;
  Place place;
  bool shared;

  const char* verb() const {
    return kind == Kind::read ? "read" : kind == Kind::write ? "written" : "changed atomically";
  }
  void conflict(uint64_t wave, unsigned other, const char* other_verb, Place other_place,
                bool fence_missing = false) const {
    report({address, wave, this_wave, other, agent, other_verb, verb(), other_place, place, fence_missing});
  }
};

void check_against_write(const Cell& cell, const Access& access) {
  if (cell.writer == NOBODY || (cell.atomic_write && access.kind == Kind::atomic)) return;
  const char* verb = cell.atomic_write ? "changed atomically" : "written";
  if (cell.write_wave != this_wave) {
    if (!ordered_wave(cell.write_wave)) access.conflict(cell.write_wave, cell.writer, verb, cell.written);
  } else if (!known_to_all(cell.writer, cell.write_time) && !clocks.knows(access.agent, cell.writer, cell.write_time)) {
    access.conflict(this_wave, cell.writer, verb, cell.written);
  } else if (access.shared && access.agent >= clocks.threads() && access.kind == Kind::read &&
             cell.writer < clocks.threads() && clocks.fenced(cell.writer) < cell.write_time) {
    access.conflict(this_wave, cell.writer, verb, cell.written, true);
  }
}

void check_against_reads(Cell& cell, const Access& access) {
  for (const uint64_t wave : {cell.earlier_read_wave, cell.read_wave})
    if (wave != NO_WAVE && !ordered_wave(wave)) {
      access.conflict(wave, cell.reader, "read", cell.read);
      return;
    }
  if (cell.read_wave != this_wave || cell.reader == NOBODY || known_to_all(cell.reader, cell.read_time)) return;
  if (cell.readers < 0) {
    if (!clocks.knows(access.agent, cell.reader, cell.read_time))
      access.conflict(this_wave, cell.reader, "read", cell.read);
    return;
  }
  const uint32_t* row = row_of(cell);
  const uint32_t* known = clocks.known(access.agent);
  for (unsigned other = 0; other < clocks.agents(); ++other)
    if (row[other] > known[other] && other != access.agent) {
      access.conflict(this_wave, other, "read", cell.read);
      return;
    }
}

void note_read(Cell& cell, const Access& access) {
  const uint32_t time = clocks.time(access.agent);
  if (cell.read_wave != this_wave) {
    cell.earlier_read_wave = cell.read_wave;
    cell.read_wave = this_wave;
    cell.readers = -1;  // its row belonged to another wave
    cell.reader = NOBODY;
  }
  cell.read = access.place;
  if (cell.readers >= 0) {
    if (known_to_all(cell.reader, cell.read_time)) forget_readers(cell);  // this reader represents all of them
    else row_of(cell)[access.agent] = time;
  }
  if (cell.readers < 0 && cell.reader != NOBODY && !clocks.knows(access.agent, cell.reader, cell.read_time)) {
    cell.readers = take_row();
    if (cell.readers >= 0) {
      row_of(cell)[cell.reader] = cell.read_time;
      row_of(cell)[access.agent] = time;
    }
  }
  // Among several readers keep the last asynchronous one: no barrier covers it.
  if (cell.readers < 0 || cell.reader < clocks.threads()) cell.reader = static_cast<uint16_t>(access.agent);
  cell.read_time = std::max(cell.readers >= 0 ? cell.read_time : 0, time);
}

void note_write(Cell& cell, const Access& access) {
  forget_readers(cell);
  cell.read_wave = cell.earlier_read_wave = NO_WAVE;
  cell.writer = static_cast<uint16_t>(access.agent);
  cell.write_time = clocks.time(access.agent);
  cell.write_wave = this_wave;
  cell.atomic_write = access.kind == Kind::atomic;
  cell.written = access.place;
}

void visit(Cell& cell, const Access& access) {
  if (access.kind == Kind::read) {
    if (cell.reader == access.agent && cell.read_wave == this_wave && cell.readers < 0 &&
        cell.read_time == clocks.time(access.agent) && cell.read == access.place)
      return;  // read again in a loop
    if (access.shared && cell.writer == NOBODY) access.conflict(this_wave, access.agent, nullptr, access.place);
    check_against_write(cell, access);
    note_read(cell, access);
  } else {
    check_against_write(cell, access);
    check_against_reads(cell, access);
    note_write(cell, access);
  }
}

}  // namespace

void shadow_begin_launch() {
  pages.clear();
  std::fill(std::begin(last_page), std::end(last_page), nullptr);
  told.clear();
}

void shadow_begin_wave(uint64_t wave) {
  this_wave = wave;
  seen_waves.clear();
  told_here.clear();
  fenced.assign(clocks.threads(), false);
  any_fenced = false;
  rows_used = 0;
  free_rows.clear();
}

void shadow_fence(unsigned thread) { fenced[thread] = any_fenced = true; }

void exchange(unsigned thread, const void* address, bool acquires, bool releases) {
  if (is_shared(address)) return;
  auto& waves = told[address];
  seen_waves.insert(waves.begin(), waves.end());
  if (releases || any_fenced) {
    waves.insert(seen_waves.begin(), seen_waves.end());
    waves.insert(this_wave);
  }
  if (engine.blocks.size() == 1) return;  // there is no other block
  Knowledge& knowledge = told_here[address];
  if (acquires || fenced[thread]) clocks.acquire(thread, knowledge.times);
  if (releases || fenced[thread]) clocks.release(thread, knowledge);
}

void shadow_access(unsigned agent, const void* address, size_t bytes, Kind kind, Place place) {
  if (bytes == 0) return;
  const bool shared = is_shared(address);
  uintptr_t at = reinterpret_cast<uintptr_t>(address);
  const uintptr_t end = at + bytes;
  const unsigned needed = ((at | end) & 1) != 0 ? 0 : ((at | end) & 2) != 0 ? 1 : 2;
  while (at < end) {
    Page& page = page_at(at / PAGE_BYTES, shared);
    if (needed < page.shift) refine(page, needed);
    const uintptr_t page_end = std::min(end, (at / PAGE_BYTES + 1) * PAGE_BYTES);
    for (; at < page_end; at += uintptr_t{1} << page.shift)
      visit(page.cells[(at % PAGE_BYTES) >> page.shift],
            {agent, reinterpret_cast<const void*>(at), kind, place, shared});
  }
}

}  // namespace gpudl::emulator::race
