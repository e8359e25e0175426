#include "platform/emulator/tensor_core.h"

#include <cstring>

#include "platform/emulator/collective.h"
#include "platform/emulator/engine.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/options.h"
#include "platform/emulator/race.h"
#include "platform/emulator/truncating_sum.h"
#include "platform/float16.h"

namespace gpudl::emulator {

namespace {

constexpr uint32_t ALL_LANES = ~0u;

struct MatrixLoad {
  uint32_t* fragment;
  uint32_t row_address;
  int count;
  bool transposed;
  unsigned thread;
  Site site;
};

void load_for_warp(MatrixLoad* const* lanes, uint32_t) {
  const int count = lanes[0]->count;
  const bool transposed = lanes[0]->transposed;
  for (int matrix = 0; matrix < count; ++matrix) {
    uint16_t element[8][8];
    for (int row = 0; row < 8; ++row) {
      const MatrixLoad& lane = *lanes[matrix * 8 + row];
      const char* bytes = shared_bytes(lane.row_address, 16, 16, lane.site);
      race::thread_access(lane.thread, bytes, 16, false, lane.site);
      std::memcpy(element[row], bytes, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int i = lane / 4, j = lane % 4 * 2;
      const uint32_t low = transposed ? element[j][i] : element[i][j];
      const uint32_t high = transposed ? element[j + 1][i] : element[i][j + 1];
      lanes[lane]->fragment[matrix] = low | high << 16;
    }
  }
}

struct Mma {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

// A row of 8 columns for vector instructions, in two halves: every 64-bit processor has 16-byte registers.
struct Row {
  typedef float Half __attribute__((vector_size(4 * sizeof(float))));
  Half half[2];
  float get(int column) const { return half[column / 4][column % 4]; }
  void set(int column, float value) { half[column / 4][column % 4] = value; }
};

// d += a * b; each sum of K products is formed in order of k before it is added to d.
template <int K>
void multiply_plainly(Mma* const* lanes, const float (&a)[16][K], const Row (&b)[K]) {
  Row sum[16];
  for (int row = 0; row < 16; ++row) {
    Row::Half low = {}, high = {};
    for (int k = 0; k < K; ++k) {
      low += a[row][k] * b[k].half[0];
      high += a[row][k] * b[k].half[1];
    }
    sum[row] = {low, high};
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int row = lane / 4, column = lane % 4 * 2;
    float* d = lanes[lane]->d;
    d[0] += sum[row].get(column);
    d[1] += sum[row].get(column + 1);
    d[2] += sum[row + 8].get(column);
    d[3] += sum[row + 8].get(column + 1);
  }
}

template <int K>
void multiply_truncating(Mma* const* lanes, const float (&a)[16][K], const Row (&b)[K]) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double products[K];
      for (int k = 0; k < K; ++k) products[k] = static_cast<double>(a[row][k]) * b[k].get(column);
      float& d = lanes[lane]->d[i];
      d = truncating_sum(d, products, K);
    }
  }
}

template <int K>
void multiply(Mma* const* lanes, const float (&a)[16][K], const Row (&b)[K]) {
  options.truncation ? multiply_truncating(lanes, a, b) : multiply_plainly(lanes, a, b);
}

// One of the two 16-bit numbers of a register.
template <class T>
float half(uint32_t pair, int high) {
  return device::to_float(T{static_cast<uint16_t>(pair >> 16 * high)});
}

template <class T>
void multiply_halves(Mma* const* lanes, uint32_t) {
  float a[16][16];
  Row b[16];
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, k = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      float* pair = &a[group + i % 2 * 8][k + i / 2 * 8];
      pair[0] = half<T>(lanes[lane]->a[i], 0);
      pair[1] = half<T>(lanes[lane]->a[i], 1);
    }
    for (int i = 0; i < 2; ++i) {
      b[k + i * 8].set(group, half<T>(lanes[lane]->b[i], 0));
      b[k + i * 8 + 1].set(group, half<T>(lanes[lane]->b[i], 1));
    }
  }
  multiply(lanes, a, b);
}

void multiply_tf32(Mma* const* lanes, uint32_t) {
  const auto value = [](uint32_t bits) { return device::float_of(bits & ~0x1fffu); };
  float a[16][8];
  Row b[8];
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, k = lane % 4;
    for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][k + i / 2 * 4] = value(lanes[lane]->a[i]);
    for (int i = 0; i < 2; ++i) b[k + i * 4].set(group, value(lanes[lane]->b[i]));
  }
  multiply(lanes, a, b);
}

}  // namespace

void load_matrices(uint32_t* fragment, int count, bool transposed, uint32_t row_address, const Site& site) {
  MatrixLoad mine{fragment, row_address, count, transposed, engine.self().slot, site};
  warp_collective(ALL_LANES, mine, [](MatrixLoad* const* lanes, uint32_t mask) { load_for_warp(lanes, mask); }, site);
}

void mma_bf16(float* d, const uint32_t* a, const uint32_t* b, const Site& site) {
  Mma mine{d, a, b};
  warp_collective(
      ALL_LANES, mine, [](Mma* const* lanes, uint32_t mask) { multiply_halves<bfloat16>(lanes, mask); }, site);
}

void mma_f16(float* d, const uint32_t* a, const uint32_t* b, const Site& site) {
  Mma mine{d, a, b};
  warp_collective(
      ALL_LANES, mine, [](Mma* const* lanes, uint32_t mask) { multiply_halves<float16>(lanes, mask); }, site);
}

void mma_tf32(float* d, const uint32_t* a, const uint32_t* b, const Site& site) {
  Mma mine{d, a, b};
  warp_collective(ALL_LANES, mine, [](Mma* const* lanes, uint32_t mask) { multiply_tf32(lanes, mask); }, site);
}

}  // namespace gpudl::emulator
