// Planted bugs with blocks that run at the same time, and the same kernels without them.
#include "harness.h"

using namespace gpudl;
using harness::Buffer;
using harness::expect_equal;

namespace {

enum class GridMistake { none, missing, one_block_leaves, not_cooperative, dirty_counter, too_many_blocks };

// Every block reads what its neighbour wrote.
template <GridMistake MISTAKE>
__global__ void neighbour_kernel(int* words, int* out, unsigned* counter) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x, size = gridDim.x * blockDim.x;
  words[at] = at;
  if (MISTAKE == GridMistake::one_block_leaves && blockIdx.x == 1) return;
  if (MISTAKE != GridMistake::missing) device::grid_sync(counter);  // planted: grid_barrier
  out[at] = words[(at + blockDim.x) % size];
}

template <GridMistake MISTAKE>
void check_neighbours() {
  const int blocks = MISTAKE == GridMistake::too_many_blocks ? 5 : 3;
  Buffer<int> words(blocks * 32), out(blocks * 32);
  Buffer<unsigned> counter(1, MISTAKE == GridMistake::dirty_counter ? 0x40000000u : 0);
  const auto kernel = neighbour_kernel<MISTAKE>;
  if (MISTAKE == GridMistake::not_cooperative) launch(kernel, blocks, 32, 0, words.data(), out.data(), counter.data());
  else launch_cooperative(kernel, blocks, 32, 0, words.data(), out.data(), counter.data());
  std::vector<int> expected;
  for (int i = 0; i < blocks * 32; ++i) expected.push_back((i + 32) % (blocks * 32));
  expect_equal(out.get(), expected);
}

CASE(grid_clean) { check_neighbours<GridMistake::none>(); }
CASE(missing_grid_sync) { check_neighbours<GridMistake::missing>(); }
CASE(block_left_early) { check_neighbours<GridMistake::one_block_leaves>(); }
CASE(not_cooperative) { check_neighbours<GridMistake::not_cooperative>(); }
CASE(dirty_counter) { check_neighbours<GridMistake::dirty_counter>(); }
CASE(too_many_blocks) { check_neighbours<GridMistake::too_many_blocks>(); }

// Block 0 passes a row to block 1 through a flag. An atomic operation alone does not order the accesses to the row.
template <bool PLANTED>
__global__ void unreleased_flag_kernel(float* row, unsigned* flag, float* out) {
  if (blockIdx.x == 0) {
    row[threadIdx.x] = 2;  // planted: row_written
    __syncthreads();
    if (threadIdx.x == 0) {
      if (PLANTED) atomicAdd(flag, 1u);
      else device::add_release(flag, 1);
    }
  } else {
    if (threadIdx.x == 0)
      while (device::load_acquire(flag) == 0) {
      }
    __syncthreads();
    out[threadIdx.x] = row[threadIdx.x];  // planted: unreleased_flag
  }
}

BUG(unreleased_flag) {
  Buffer<float> row(32), out(32);
  Buffer<unsigned> flag(1);
  launch_cooperative(unreleased_flag_kernel<PLANTED>, 2, 32, 0, row.data(), flag.data(), out.data());
  expect_equal(out.get(), std::vector<float>(32, 2));
}

// A flag that is never raised.
template <bool PLANTED>
__global__ void awaited_for_ever_kernel(unsigned* flag) {
  if (blockIdx.x == 0 && threadIdx.x == 0) device::store_release(flag, PLANTED ? 2 : 1);
  while (device::load_acquire(flag) != 1) {  // planted: awaited_for_ever
    __nanosleep(20);
  }
}

BUG(awaited_for_ever) {
  Buffer<unsigned> flag(1);
  launch_cooperative(awaited_for_ever_kernel<PLANTED>, 2, 32, 0, flag.data());
}

}  // namespace
