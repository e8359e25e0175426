// Random fills and dropout. Element i of a draw is word i % 4 of Philox block i / 4; i counts in logical row-major
// order, whatever the memory order, so that every device draws the same numbers.
#include "core/export.h"
#include "core/philox.h"
#include "ops/random/random.h"
#include "prim/elementwise.h"

// sass: uniform_fill_forward_block_kernel STG !FFMA registers<=32
// sass: normal_fill_forward_block_kernel STG registers<=48
// sass: masked_blocks_kernel LDG STG !FFMA registers<=40
// sass: masked_pixels_kernel LDG STG !FFMA registers<=80
// sass: masked_elements_kernel LDG STG !FFMA registers<=40

namespace gpudl {
namespace {

constexpr int BLOCK = 256;

template <class T>
using Flat = View<T, 1, any>;
using Counter = View<const int64_t, 1>;

__device__ int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x; }

dim3 blocks_for(int64_t threads) { return dim3(static_cast<unsigned>((threads + BLOCK - 1) / BLOCK)); }

// Store four numbers from element `first` on, in one access if all exist and are aligned.
template <class T>
GPUDL_DEVICE void store_four(T* data, int64_t first, int64_t size, bool aligned, const prim::Pack<T, 4>& numbers) {
  if (aligned && first + 4 <= size) {
    prim::store_pack(data + first, numbers);
    return;
  }
#pragma unroll
  for (int lane = 0; lane < 4; ++lane)
    if (first + lane < size) data[first + lane] = numbers.at[lane];
}

// The fills: one thread per Philox block, that is, per four elements.

// y = low + (high - low)·u, u uniform in [0, 1).
__global__ void __launch_bounds__(BLOCK)
    uniform_fill_forward_block_kernel(Counter counter, Flat<float> y, float low, float high, bool aligned) {
  const int64_t block = thread_number();
  if (4 * block >= y.size()) return;
  const Words words = random_words(counter.data, block);
  prim::Pack<float, 4> made;
#pragma unroll
  for (int lane = 0; lane < 4; ++lane)
    made.at[lane] = multiply_add(__fsub_rn(high, low), uniform_from(words.word[lane]), low);
  store_four(y.data, 4 * block, y.size(), aligned, made);
}

// y = mean + std·z, z standard normal.
__global__ void __launch_bounds__(BLOCK)
    normal_fill_forward_block_kernel(Counter counter, Flat<float> y, float mean, float std, bool aligned) {
  const int64_t block = thread_number();
  if (4 * block >= y.size()) return;
  const Words words = random_words(counter.data, block);
  prim::Pack<float, 4> made;
#pragma unroll
  for (int lane = 0; lane < 4; lane += 2) {
    const float2 z = normals_from(words.word[lane], words.word[lane + 1]);
    made.at[lane] = multiply_add(std, z.x, mean);
    made.at[lane + 1] = multiply_add(std, z.y, mean);
  }
  store_four(y.data, 4 * block, y.size(), aligned, made);
}

// y = low + floor(word·span / 2^32), with an integer multiplication.
__global__ void __launch_bounds__(BLOCK)
    integer_fill_forward_block_kernel(Counter counter, Flat<int64_t> y, int64_t low, int64_t span) {
  const int64_t block = thread_number();
  if (4 * block >= y.size()) return;
  const Words words = random_words(counter.data, block);
  for (int lane = 0; lane < 4; ++lane) {
    const uint64_t scaled = uint64_t{words.word[lane]} * static_cast<uint64_t>(span) >> 32;
    if (4 * block + lane < y.size()) y.data[4 * block + lane] = low + static_cast<int64_t>(scaled);
  }
}

// The logical index of the element at position `at` in memory. Only nhwc differs: n, h, w, c become n, c, h, w.
template <class T, int RANK, Layout LAYOUT>
GPUDL_DEVICE int64_t logical_index(const View<T, RANK, LAYOUT>& view, int64_t at) {
  if constexpr (LAYOUT == nhwc) {
    const int64_t plane = static_cast<int64_t>(view.dim[1]) * view.dim[2], channels = view.dim[3];
    const int64_t c = at % channels, pixel = at / channels;
    return (pixel / plane * channels + c) * plane + pixel % plane;
  }
  return at;
}

// The uniform number of a logical index. Choosing a word by comparisons keeps all four in registers.
GPUDL_DEVICE float uniform_at(Counter counter, int64_t index) {
  const Words words = random_words(counter.data, index / 4);
  const int lane = static_cast<int>(index % 4);
  return uniform_from(lane < 2 ? (lane == 0 ? words.word[0] : words.word[1])
                               : (lane == 2 ? words.word[2] : words.word[3]));
}

// y from a probability p and a uniform number u.
struct Bernoulli {
  GPUDL_DEVICE float operator()(float p, float u) const { return u < p ? 1.f : 0.f; }
};

// y = x·scale where u >= p, else 0. Backward is the same function of dy: it draws the mask again instead of storing it,
// which costs no memory traffic.
struct Dropout {
  float p, scale;
  GPUDL_DEVICE float operator()(float x, float u) const { return u >= p ? __fmul_rn(x, scale) : 0.f; }
};

// y = f(x, u), one thread per Philox block, for memory in logical order.
template <class F>
__global__ void __launch_bounds__(BLOCK)
    masked_blocks_kernel(F f, Counter counter, const float* x, float* y, int64_t size, bool aligned) {
  const int64_t block = thread_number(), first = 4 * block;
  if (first >= size) return;
  const Words words = random_words(counter.data, block);
  prim::Pack<float, 4> pack{};
  if (aligned && first + 4 <= size) {
    pack = prim::load_pack<4>(x + first);
  } else {
#pragma unroll
    for (int lane = 0; lane < 4; ++lane)
      if (first + lane < size) pack.at[lane] = x[first + lane];
  }
#pragma unroll
  for (int lane = 0; lane < 4; ++lane) pack.at[lane] = f(pack.at[lane], uniform_from(words.word[lane]));
  store_four(y, first, size, aligned, pack);
}

// The same for channels-last memory whose planes have a multiple of four pixels, so that a Philox block is four pixels
// of one channel. Grid: one thread per four pixels of PACK channels.
template <int PACK, class F>
__global__ void __launch_bounds__(BLOCK)
    masked_pixels_kernel(F f, Counter counter, const float* x, float* y, int64_t images, int quads, int channels) {
  const int64_t at = thread_number();
  const int packs = channels / PACK;
  const int64_t quad = at / packs, n = quad / quads;
  if (n >= images) return;
  const int c = static_cast<int>(at % packs) * PACK;
  Words words[PACK];
#pragma unroll
  for (int i = 0; i < PACK; ++i) words[i] = random_words(counter.data, (n * channels + c + i) * quads + quad % quads);
#pragma unroll
  for (int lane = 0; lane < 4; ++lane) {
    const int64_t element = (4 * quad + lane) * channels + c;
    auto pack = prim::load_pack<PACK>(x + element);
#pragma unroll
    for (int i = 0; i < PACK; ++i) pack.at[i] = f(pack.at[i], uniform_from(words[i].word[lane]));
    prim::store_pack(y + element, pack);
  }
}

// The same for any channels-last memory, one thread per element.
template <class F>
__global__ void __launch_bounds__(BLOCK)
    masked_elements_kernel(F f, Counter counter, View<const float, 4, nhwc> x, View<float, 4, nhwc> y) {
  const int64_t at = thread_number();
  if (at < y.size()) y.data[at] = f(x.data[at], uniform_at(counter, logical_index(y, at)));
}

template <class F, int RANK, Layout LAYOUT>
void masked(F f, View<const float, RANK, LAYOUT> x, Counter counter, View<float, RANK, LAYOUT> y) {
  const bool aligned = prim::is_aligned<4>(x.data) && prim::is_aligned<4>(y.data);
  if constexpr (LAYOUT == nhwc) {
    const int64_t plane = static_cast<int64_t>(y.dim[1]) * y.dim[2];
    if (plane % 4 != 0 || plane == 0) {
      launch(masked_elements_kernel<F>, blocks_for(y.size()), BLOCK, 0, f, counter, x, y);
      return;
    }
    const bool four = aligned && y.dim[3] % 4 == 0;
    launch(four ? masked_pixels_kernel<4, F> : masked_pixels_kernel<1, F>, blocks_for(y.size() / (four ? 16 : 4)),
           BLOCK, 0, f, counter, x.data, y.data, int64_t{y.dim[0]}, static_cast<int>(plane / 4), y.dim[3]);
  } else {
    launch(masked_blocks_kernel<F>, blocks_for((y.size() + 3) / 4), BLOCK, 0, f, counter, x.data, y.data, y.size(),
           aligned);
  }
}

void uniform_fill_forward_block(Counter counter, Flat<float> y, float low, float high) {
  launch(uniform_fill_forward_block_kernel, blocks_for((y.size() + 3) / 4), BLOCK, 0, counter, y, low, high,
         prim::is_aligned<4>(y.data));
}
GPUDL_EXPORT(uniform_fill, forward, block, counter, y, low, high);

void normal_fill_forward_block(Counter counter, Flat<float> y, float mean, float std) {
  launch(normal_fill_forward_block_kernel, blocks_for((y.size() + 3) / 4), BLOCK, 0, counter, y, mean, std,
         prim::is_aligned<4>(y.data));
}
GPUDL_EXPORT(normal_fill, forward, block, counter, y, mean, std);

void integer_fill_forward_block(Counter counter, Flat<int64_t> y, int64_t low, int64_t span) {
  launch(integer_fill_forward_block_kernel, blocks_for((y.size() + 3) / 4), BLOCK, 0, counter, y, low, span);
}
GPUDL_EXPORT(integer_fill, forward, block, counter, y, low, span);

template <int RANK, Layout LAYOUT>
void bernoulli_forward(View<const float, RANK, LAYOUT> p, Counter counter, View<float, RANK, LAYOUT> y) {
  masked(Bernoulli{}, p, counter, y);
}

template <int RANK, Layout LAYOUT>
void dropout(View<const float, RANK, LAYOUT> x, Counter counter, View<float, RANK, LAYOUT> y, float p) {
  masked(Dropout{p, 1 / (1 - p)}, x, counter, y);
}

#define GPUDL_BERNOULLI(op, algorithm, RANK, LAYOUT)                          \
  constexpr auto& op##_forward_##algorithm = bernoulli_forward<RANK, LAYOUT>; \
  GPUDL_EXPORT(op, forward, algorithm, p, counter, y)

#define GPUDL_DROPOUT(op, algorithm, RANK, LAYOUT)                   \
  constexpr auto& op##_forward_##algorithm = dropout<RANK, LAYOUT>;  \
  GPUDL_EXPORT(op, forward, algorithm, x, counter, y, p);            \
  constexpr auto& op##_backward_##algorithm = dropout<RANK, LAYOUT>; \
  GPUDL_EXPORT(op, backward, algorithm, dy, counter, dx, p)

// One set of launchers per rank: the memory order differs from the logical order only in nhwc.
GPUDL_BERNOULLI(bernoulli, rank1, 1, nchw);
GPUDL_BERNOULLI(bernoulli, rank2, 2, nchw);
GPUDL_BERNOULLI(bernoulli, rank3, 3, nchw);
GPUDL_BERNOULLI(bernoulli, nhwc, 4, nhwc);
GPUDL_DROPOUT(dropout, rank1, 1, nchw);
GPUDL_DROPOUT(dropout, rank2, 2, nchw);
GPUDL_DROPOUT(dropout, rank3, 3, nchw);
GPUDL_DROPOUT(dropout, nhwc, 4, nhwc);

}  // namespace
}  // namespace gpudl
