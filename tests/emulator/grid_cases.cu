// Blocks that run at the same time: grid barriers, flags between blocks.
#include "harness.h"

using namespace gpudl;
using harness::Buffer;
using harness::expect_equal;

namespace {

// In each round, every block adds the previous words of its two neighbours to its own.
__global__ void ring_kernel(unsigned* words, unsigned* counter, int rounds) {
  GPUDL_SHARED(unsigned, sum, [1]);
  const int blocks = gridDim.x, me = blockIdx.x;
  for (int round = 0; round < rounds; ++round) {
    const unsigned* from = words + round % 2 * blocks;
    unsigned* to = words + (1 - round % 2) * blocks;
    if (threadIdx.x == 0) sum[0] = from[(me + 1) % blocks] + from[(me + blocks - 1) % blocks];
    __syncthreads();
    if (threadIdx.x == blockDim.x - 1) to[me] = from[me] + sum[0];
    device::grid_sync(counter);
  }
}

std::vector<unsigned> ring(std::vector<unsigned> words, int rounds) {
  const size_t blocks = words.size();
  for (int round = 0; round < rounds; ++round) {
    const std::vector<unsigned> from = words;
    for (size_t i = 0; i < blocks; ++i) words[i] += from[(i + 1) % blocks] + from[(i + blocks - 1) % blocks];
  }
  return words;
}

CASE(grid_barriers) {
  constexpr int ROUNDS = 5;
  Buffer<unsigned> counter(1, 77);
  clear(counter.data(), sizeof(unsigned));
  for (const int blocks : {4, 1, 3}) {  // all launches share the counter
    const int fit = device::resident_blocks(ring_kernel, 40, 0);
    if (fit < blocks) throw std::runtime_error("WRONG: only " + std::to_string(fit) + " blocks fit");
    std::vector<unsigned> words(2 * blocks);
    for (int i = 0; i < blocks; ++i) words[i] = static_cast<unsigned>(i * i + 1);
    Buffer<unsigned> device_words(words);
    launch_cooperative(ring_kernel, blocks, 40, 0, device_words.data(), counter.data(), ROUNDS);
    const auto actual = device_words.get();
    words.resize(blocks);
    const auto last = actual.begin() + ROUNDS % 2 * blocks;
    expect_equal(std::vector<unsigned>(last, last + blocks), ring(words, ROUNDS));
  }
}

CASE(no_block_with_too_much_shared_memory_is_resident) {
  const int fit = device::resident_blocks(ring_kernel, 40, 1 << 20);
  if (fit != 0) throw std::runtime_error("WRONG: " + std::to_string(fit) + " blocks fit");
}

// Block i waits for the data of block i - 1.
__global__ void chain_kernel(float* data, unsigned* flags, int n) {
  const int block = blockIdx.x;
  if (block > 0) {
    if (threadIdx.x == 0)
      while (device::load_acquire(&flags[block - 1]) != 1) {
      }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < n; i += blockDim.x) data[block * n + i] = block > 0 ? data[(block - 1) * n + i] + 1 : i;
  __syncthreads();
  if (threadIdx.x == 0) device::store_release(&flags[block], 1);
}

CASE(flags_between_blocks) {
  constexpr int BLOCKS = 4, N = 50;
  Buffer<float> data(BLOCKS * N);
  Buffer<unsigned> flags(BLOCKS);
  launch_cooperative(chain_kernel, BLOCKS, 32, 0, data.data(), flags.data(), N);
  std::vector<float> expected;
  for (int i = 0; i < BLOCKS * N; ++i) expected.push_back(static_cast<float>(i % N + i / N));
  expect_equal(data.get(), expected);
}

// Block 0 waits until all blocks have arrived; the lanes of its warp poll together.
__global__ void gather_kernel(int* out, unsigned* arrived) {
  const unsigned blocks = gridDim.x;
  out[1 + blockIdx.x * 32 + threadIdx.x] = static_cast<int>(blockIdx.x + threadIdx.x);
  __syncwarp();
  if (threadIdx.x == 0) device::add_release(arrived, 1);
  if (blockIdx.x != 0) return;
  while (__shfl_sync(~0u, device::load_acquire(arrived), 0) != blocks) {
  }
  int sum = 0;
  for (unsigned b = 0; b < blocks; ++b) sum += out[1 + b * 32 + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x == 0) out[0] = sum;
}

CASE(arrivals_counted) {
  Buffer<int> out(1 + 3 * 32);
  Buffer<unsigned> arrived(1);
  launch_cooperative(gather_kernel, 3, 32, 0, out.data(), arrived.data());
  expect_equal({out.get()[0]}, std::vector<int>{3 * 31 * 16 + 32 * 3});
}

}  // namespace
