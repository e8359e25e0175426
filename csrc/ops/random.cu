// Random fills and dropout. Element i of a draw is word i % 4 of Philox block i / 4; i counts in logical row-major
// order, whatever the memory order, so that every device draws the same.
#include "core/export.h"
#include "core/philox.h"
#include "platform/device.h"
#include "prim/random.h"

// sass: uniform_fill_forward_block_kernel !FFMA registers<=32
// sass: dropout_kernel !FFMA registers<=32

namespace gpudl {
namespace {

constexpr int BLOCK = 256;

template <class T>
using Flat = View<T, 1, any>;
using Counter = View<const int64_t, 1>;

__device__ int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x; }

dim3 blocks_for(int64_t threads) { return dim3(static_cast<unsigned>((threads + BLOCK - 1) / BLOCK)); }

// The fills: one thread per Philox block, that is for four elements.

// y = low + (high - low)·u, u uniform in [0, 1).
__global__ void uniform_fill_forward_block_kernel(Counter counter, Flat<float> y, float low, float high) {
  const int64_t block = thread_number();
  if (4 * block >= y.size()) return;
  const Words words = random_words(counter.data, block);
  for (int lane = 0; lane < 4; ++lane)
    if (4 * block + lane < y.size())
      y.data[4 * block + lane] = multiply_add(__fsub_rn(high, low), uniform_from(words.word[lane]), low);
}

// y = mean + std·z, z standard normal.
__global__ void normal_fill_forward_block_kernel(Counter counter, Flat<float> y, float mean, float std) {
  const int64_t block = thread_number();
  if (4 * block >= y.size()) return;
  const Words words = random_words(counter.data, block);
  for (int pair = 0; pair < 2; ++pair) {
    const float2 z = normals_from(words.word[2 * pair], words.word[2 * pair + 1]);
    const int64_t i = 4 * block + 2 * pair;
    if (i < y.size()) y.data[i] = multiply_add(std, z.x, mean);
    if (i + 1 < y.size()) y.data[i + 1] = multiply_add(std, z.y, mean);
  }
}

// y = low + floor(word·span / 2^32), the multiplication in whole numbers.
__global__ void integer_fill_forward_block_kernel(Counter counter, Flat<int64_t> y, int64_t low, int64_t span) {
  const int64_t block = thread_number();
  if (4 * block >= y.size()) return;
  const Words words = random_words(counter.data, block);
  for (int lane = 0; lane < 4; ++lane) {
    const uint64_t scaled = uint64_t{words.word[lane]} * static_cast<uint64_t>(span) >> 32;
    if (4 * block + lane < y.size()) y.data[4 * block + lane] = low + static_cast<int64_t>(scaled);
  }
}

// Position of element `at` of memory in logical order. Only nhwc memory differs: there n, h, w, c become n, c, h, w.
template <class T, int RANK, Layout LAYOUT>
GPUDL_DEVICE int64_t logical_index(const View<T, RANK, LAYOUT>& view, int64_t at) {
  if constexpr (LAYOUT == nhwc) {
    const int64_t plane = static_cast<int64_t>(view.dim[1]) * view.dim[2], channels = view.dim[3];
    const int64_t c = at % channels, pixel = at / channels;
    return (pixel / plane * channels + c) * plane + pixel % plane;
  }
  return at;
}

// The uniform number of a logical position. Choosing a word by comparisons keeps all four in registers.
GPUDL_DEVICE float uniform_at(Counter counter, int64_t index) {
  const Words words = random_words(counter.data, index / 4);
  const int lane = static_cast<int>(index % 4);
  return uniform_from(lane < 2 ? (lane == 0 ? words.word[0] : words.word[1])
                               : (lane == 2 ? words.word[2] : words.word[3]));
}

// y = 1 with probability p of the same element, else 0. One thread per element, as in dropout.
template <class V, class W>
__global__ void bernoulli_forward_kernel(V p, Counter counter, W y) {
  const int64_t at = thread_number();
  if (at < y.size()) y.data[at] = uniform_at(counter, logical_index(y, at)) < p.data[at] ? 1.f : 0.f;
}

// y = x·scale where u >= p, else 0. Forward and backward are the same function of x and dy: the mask is drawn again
// rather than stored, for that costs no memory traffic.
template <class V, class W>
__global__ void dropout_kernel(V x, Counter counter, W y, float p, float scale) {
  const int64_t at = thread_number();
  if (at < y.size()) y.data[at] = uniform_at(counter, logical_index(y, at)) >= p ? __fmul_rn(x.data[at], scale) : 0.f;
}

void uniform_fill_forward_block(Counter counter, Flat<float> y, float low, float high) {
  launch(uniform_fill_forward_block_kernel, blocks_for((y.size() + 3) / 4), BLOCK, 0, counter, y, low, high);
}
GPUDL_EXPORT(uniform_fill_forward_block, counter, y, low, high);

void normal_fill_forward_block(Counter counter, Flat<float> y, float mean, float std) {
  launch(normal_fill_forward_block_kernel, blocks_for((y.size() + 3) / 4), BLOCK, 0, counter, y, mean, std);
}
GPUDL_EXPORT(normal_fill_forward_block, counter, y, mean, std);

void integer_fill_forward_block(Counter counter, Flat<int64_t> y, int64_t low, int64_t span) {
  launch(integer_fill_forward_block_kernel, blocks_for((y.size() + 3) / 4), BLOCK, 0, counter, y, low, span);
}
GPUDL_EXPORT(integer_fill_forward_block, counter, y, low, span);

// One set of launchers for each rank: only in nhwc does the memory order differ from the logical one.
#define GPUDL_RANK(suffix, RANK, LAYOUT)                                                                             \
  void bernoulli_forward_##suffix(View<const float, RANK, LAYOUT> p, Counter counter, View<float, RANK, LAYOUT> y) { \
    launch(bernoulli_forward_kernel<decltype(p), decltype(y)>, blocks_for(y.size()), BLOCK, 0, p, counter, y);       \
  }                                                                                                                  \
  GPUDL_EXPORT(bernoulli_forward_##suffix, p, counter, y);                                                           \
  void dropout_forward_##suffix(View<const float, RANK, LAYOUT> x, Counter counter, View<float, RANK, LAYOUT> y,     \
                                float p) {                                                                           \
    launch(dropout_kernel<decltype(x), decltype(y)>, blocks_for(y.size()), BLOCK, 0, x, counter, y, p, 1 / (1 - p)); \
  }                                                                                                                  \
  GPUDL_EXPORT(dropout_forward_##suffix, x, counter, y, p);                                                          \
  void dropout_backward_##suffix(View<const float, RANK, LAYOUT> dy, Counter counter, View<float, RANK, LAYOUT> dx,  \
                                 float p) {                                                                          \
    dropout_forward_##suffix(dy, counter, dx, p);                                                                    \
  }                                                                                                                  \
  GPUDL_EXPORT(dropout_backward_##suffix, dy, counter, dx, p)

GPUDL_RANK(rank1, 1, nchw);
GPUDL_RANK(rank2, 2, nchw);
GPUDL_RANK(rank3, 3, nchw);
GPUDL_RANK(nhwc, 4, nhwc);
#undef GPUDL_RANK

}  // namespace
}  // namespace gpudl
