#include "platform/emulator/wgmma.h"

#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "platform/emulator/collective.h"
#include "platform/emulator/engine.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race.h"
#include "platform/emulator/wgmma_operand.h"

namespace gpudl::emulator {

namespace {

// A thread's part of an accumulator during pending products: its registers are NaN, the values are here.
struct Accumulator {
  float* registers;
  std::vector<float> values;
  int in_flight = 0;
};

struct Product {
  WgmmaShape shape;
  WgmmaOperands operands;
  uint32_t a_fragment[4];
  std::shared_ptr<Accumulator> accumulator;
  Site site;
};

struct Products {
  std::deque<std::vector<Product>> groups;
  std::vector<Product> open;
  std::vector<std::shared_ptr<Accumulator>> accumulators;
  bool fenced = false;
  size_t issued = 0, committed = 0, finished = 0;  // products issued, groups committed, groups finished
};

// A product that all warps of a warpgroup must issue alike.
struct Issued {
  WgmmaShape shape;
  WgmmaOperands operands;
  Site site;
  unsigned lanes[4] = {};  // lanes of each warp that have issued it
};

std::vector<Products> products;           // by thread slot; used only by threads that multiply
std::vector<std::vector<Issued>> issued;  // by warpgroup, WARPGROUPS per block
constexpr unsigned WARPGROUPS = MAX_THREADS / 128;

bool same_shape(const WgmmaShape& a, const WgmmaShape& b) {
  return a.n == b.n && a.k == b.k && a.type == b.type && a.a_m_major == b.a_m_major && a.b_n_major == b.b_n_major;
}

Products& own_products() {
  Thread& me = engine.self();
  if (products.size() < engine.slots) products.resize(engine.slots);
  if (!me.has_products) {
    me.has_products = true;
    products[me.slot] = {};
  }
  return products[me.slot];
}

std::shared_ptr<Accumulator> accumulator_of(Products& pending, float* registers, int count) {
  for (auto& accumulator : pending.accumulators)
    if (accumulator->registers == registers) {
      if (accumulator->in_flight == 0) accumulator->values.assign(registers, registers + count);
      return accumulator;
    }
  pending.accumulators.push_back(
      std::make_shared<Accumulator>(Accumulator{registers, std::vector<float>(registers, registers + count)}));
  return pending.accumulators.back();
}

Issued& issue_in_warpgroup(const Products& pending, const Issued& next) {
  const Thread& me = engine.self();
  if ((me.warp | 3) * 32 + 31 >= engine.thread_count)
    fail(next.site, "threads %u to %u are not a warpgroup: it needs 128, starting at a multiple of 128",
         me.linear / 128 * 128, engine.thread_count - 1);
  std::vector<Issued>& log = issued[me.home->number * WARPGROUPS + me.warp / 4];
  if (pending.issued == log.size()) {
    log.push_back(next);
    return log.back();
  }
  Issued& other = log[pending.issued];
  if (!other.site.same_place(next.site) || !same_shape(other.shape, next.shape))
    fail(next.site, "the warpgroup diverged: another thread issued %s at %s:%d as its product number %zu",
         other.site.word, other.site.file, other.site.line, pending.issued);
  const bool same_a = next.operands.a_fragment != nullptr || other.operands.a_descriptor == next.operands.a_descriptor;
  if (!same_a || other.operands.b_descriptor != next.operands.b_descriptor ||
      (other.operands.scale_d != 0) != (next.operands.scale_d != 0))
    fail(next.site, "descriptors or scale_d differ between threads of the warpgroup");
  return other;
}

// Compute rows 16w to 16w+15 of one product, for the warp's 32 lanes.
void multiply(const Product* const* lanes, unsigned warp_of_group) {
  const Product& first = *lanes[0];
  const WgmmaShape& shape = first.shape;
  static float a[16 * 16], b[256 * 16];
  if (first.operands.a_fragment != nullptr) {
    for (int lane = 0; lane < 32; ++lane) unpack_a_fragment(lanes[lane]->a_fragment, lane, shape, a);
  } else {
    read_operand({first.operands.a_descriptor, shape.a_m_major, shape.type, shape.k},
                 static_cast<int>(warp_of_group) * 16, 16, a, first.site);
  }
  read_operand({first.operands.b_descriptor, shape.b_n_major, shape.type, shape.k}, 0, shape.n, b, first.site);
  for (int lane = 0; lane < 32; ++lane) {
    std::vector<float>& d = lanes[lane]->accumulator->values;
    for (int i = 0; i < shape.n / 2; ++i) {
      const int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      float sum = first.operands.scale_d ? d[i] : 0.0f;
      for (int k = 0; k < shape.k; ++k) sum += a[row * shape.k + k] * b[column * shape.k + k];
      d[i] = sum;
    }
  }
}

struct Wait {
  Thread* thread;
  size_t groups_left;
  Site site;
};

void finish_oldest_group(Products* const* lanes, Wait* const* waits) {
  const std::vector<Product>& group = lanes[0]->groups.front();
  for (size_t i = 0; i < group.size(); ++i) {
    const Product* parts[32];
    for (int lane = 0; lane < 32; ++lane) {
      if (lanes[lane]->groups.empty() || lanes[lane]->groups.front().size() != group.size())
        fail(waits[lane]->site, "the lanes of the warp committed groups of different sizes");
      parts[lane] = &lanes[lane]->groups.front()[i];
    }
    multiply(parts, waits[0]->thread->warp % 4);
    for (const Product* part : parts) {
      Accumulator& accumulator = *part->accumulator;
      if (--accumulator.in_flight == 0)
        std::memcpy(accumulator.registers, accumulator.values.data(), accumulator.values.size() * sizeof(float));
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const Thread& thread = *waits[lane]->thread;
    race::finish(race::product_agent(thread.global_warp(), lanes[lane]->finished++), thread.slot);
    lanes[lane]->groups.pop_front();
  }
}

void wait_for_warp(Wait* const* waits, uint32_t) {
  Products* lanes[32];
  for (int lane = 0; lane < 32; ++lane) lanes[lane] = &products[waits[lane]->thread->slot];
  while (lanes[0]->groups.size() > waits[0]->groups_left) finish_oldest_group(lanes, waits);
  for (Products* lane : lanes)
    std::erase_if(lane->accumulators, [](const auto& accumulator) { return accumulator->in_flight == 0; });
}

}  // namespace

void begin_wgmma() {
  issued.resize(engine.blocks.size() * WARPGROUPS);
  for (auto& log : issued) log.clear();
}

void wgmma_fence() { own_products().fenced = true; }

void wgmma(float* d, const WgmmaShape& shape, const WgmmaOperands& operands, const Site& site) {
  Products& pending = own_products();
  if (!pending.fenced) fail(site, "its registers may still be in use: call wgmma_fence() before the first product");
  Issued& common = issue_in_warpgroup(pending, {shape, operands, site});
  ++pending.issued;
  Product product{shape, operands, {}, accumulator_of(pending, d, shape.n / 2), site};
  if (operands.a_fragment != nullptr) std::memcpy(product.a_fragment, operands.a_fragment, sizeof product.a_fragment);
  ++product.accumulator->in_flight;
  for (int i = 0; i < shape.n / 2; ++i) d[i] = std::numeric_limits<float>::quiet_NaN();
  const Thread& me = engine.self();
  const unsigned agent = race::product_agent(me.global_warp(), pending.committed);
  race::start(agent, me.slot);
  if (++common.lanes[me.warp % 4] == 32) note_operand_reads(shape, operands, agent, site);
  pending.open.push_back(std::move(product));
}

void wgmma_commit() {
  Products& pending = own_products();
  pending.groups.push_back(std::move(pending.open));
  pending.open.clear();
  ++pending.committed;
}

void wgmma_wait(size_t groups_left, const Site& site) {
  Products& pending = own_products();
  pending.fenced = false;
  Wait wait{&engine.self(), groups_left, site};
  warp_collective(~0u, wait, [](Wait* const* waits, uint32_t mask) { wait_for_warp(waits, mask); }, site);
}

void check_products_complete(const Thread& thread) {
  const Products& pending = products[thread.slot];
  if (!pending.open.empty())
    fail(pending.open.front().site, "the thread ended with products that it never committed: call wgmma_commit()");
  for (const auto& group : pending.groups)
    if (!group.empty())
      fail(group.front().site, "the thread ended before this product was complete: call wgmma_wait<0>() first");
}

}  // namespace gpudl::emulator
