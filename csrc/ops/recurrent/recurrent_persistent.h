// Recurrent layers in one kernel: every block owns some hidden units and keeps their rows of the weight in shared
// memory for all steps. A grid barrier separates steps (grid_sync).
//
// Forward, a block reads the whole state of the previous step and computes its units' products with it. Backward, it
// has the gradients of its own units and multiplies them by the same rows of the weight. This gives a part of the
// gradients of all units, which their owners add in block order after the barrier. So each step moves the state through
// every block once, and the weight never.
//
// Predicted for an LSTM of 768 units, 16 samples, on an H100 (128 blocks of 6 units): a forward step computes 75 MFLOP
// (2.3 us at half the peak of CUDA cores), reads 128 times 48 KiB from the L2 cache (1.1 us) and waits for a barrier
// (1.5 us): 5 ms for 1024 steps. Backward moves twice as much: 6.2 ms, plus 2 ms for the weight's gradient. Arithmetic
// is the largest part; tensor cores would remove it.
//
// Shared memory grows with the state. For that example (RecurrentSlices):
// sass: recurrent_forward_kernel dynamic=125152:LstmCell dynamic=125152:GruCell dynamic=75744:RnnCell
// sass: recurrent_backward_kernel dynamic=75648:LstmCell dynamic=75648:GruCell dynamic=25216:RnnCell
#pragma once
#include <algorithm>

#include "ops/recurrent/recurrent.h"

namespace gpudl::prim {

constexpr int RECURRENT_BLOCK = 256;
constexpr int RECURRENT_WARPS = RECURRENT_BLOCK / 32;
constexpr int RECURRENT_SAMPLES = 16;  // samples whose states are in shared memory at once
constexpr int RECURRENT_TILE = 8;      // rows of the weight, and samples, that a warp multiplies at once

constexpr int RECURRENT_MOST_BLOCKS = 160;  // the workspace allows no more

// How the hidden units are distributed over blocks.
struct RecurrentSlices {
  int units = 0, blocks = 0;
  int rows = 0;  // rows of the weight per block: GATES·units, rounded up to tiles; row g·units + i is gate g of unit i
  int line = 0;  // stride of rows in shared memory, in floats
  int splits = 1;  // parts of a forward sum over the state

  GPUDL_HD int tiles() const { return rows / RECURRENT_TILE * (RECURRENT_SAMPLES / RECURRENT_TILE); }
  GPUDL_HD size_t weight_floats() const { return size_t{1} * rows * line; }
  size_t forward_bytes() const {
    return 4 *
           (weight_floats() + size_t{RECURRENT_SAMPLES} * line + size_t{1} * splits * rows * (RECURRENT_SAMPLES + 1));
  }
  // The weight, and the gradients of the products (rows by samples).
  size_t backward_bytes(int batch) const { return 4 * (weight_floats() + size_t{1} * rows * padded(batch)); }
  static int padded(int batch) { return (batch + RECURRENT_TILE - 1) / RECURRENT_TILE * RECURRENT_TILE; }
};

// For one block per multiprocessor.
inline RecurrentSlices recurrent_slices(int hidden, int gates, int multiprocessors) {
  const int most = std::clamp(multiprocessors, 1, RECURRENT_MOST_BLOCKS);
  RecurrentSlices s;
  s.units = (hidden + most - 1) / most;
  s.blocks = (hidden + s.units - 1) / s.units;
  s.rows = (gates * s.units + RECURRENT_TILE - 1) / RECURRENT_TILE * RECURRENT_TILE;
  const int rounds = (hidden + 127) / 128;  // steps of a warp along a row
  s.line = rounds * 128 + 4;
  int best = 0;
  for (int splits = 1; splits <= RECURRENT_WARPS; ++splits) {  // work: instructions of the busiest warp
    const int work =
        (s.tiles() * splits + RECURRENT_WARPS - 1) / RECURRENT_WARPS * ((rounds + splits - 1) / splits * 272 + 124);
    if (best == 0 || work < best) best = work, s.splits = splits;
  }
  return s;
}

// Maximum shared memory of a block of either kernel.
inline int64_t recurrent_shared_bytes(int hidden, int gates, int batch, int multiprocessors) {
  RecurrentSlices s = recurrent_slices(hidden, gates, multiprocessors);
  s.splits = RECURRENT_WARPS;
  return static_cast<int64_t>(std::max(s.forward_bytes(), s.backward_bytes(batch)));
}

// Load the block's rows of the weight, with zeros beyond its units and beyond a row's end.
template <int GATES>
GPUDL_DEVICE void recurrent_load_weight(float* weight, const RecurrentSlices& slices, const float* from, int hidden,
                                        int first_unit) {
  for (int r = static_cast<int>(threadIdx.x) / 32; r < slices.rows; r += RECURRENT_WARPS) {
    const int gate = r / slices.units, unit = first_unit + r % slices.units;
    const bool there = gate < GATES && unit < hidden;
    const float* row = from + (int64_t{1} * gate * hidden + unit) * hidden;
    for (int k = static_cast<int>(threadIdx.x) % 32; k < slices.line; k += 32)
      weight[r * slices.line + k] = there && k < hidden ? row[k] : 0.f;
  }
}

// Load the states before step t of samples n0 … into shared memory.
GPUDL_DEVICE void recurrent_load_state(float* state, int line, const RecurrentForward& f, int t, int n0, bool aligned) {
  const Sequence& s = f.sequence;
  const int quads = line / 4;
#pragma unroll 4
  for (int i = threadIdx.x; i < RECURRENT_SAMPLES * quads; i += RECURRENT_BLOCK) {
    const int n = n0 + i / quads, k = i % quads * 4;
    float4 quad = make_float4(0.f, 0.f, 0.f, 0.f);
    if (n < s.batch && k < s.hidden) {
      const int before = s.reverse ? t + 1 : t - 1;
      const bool start = t == s.step(0) || t == s.first(n);
      const float* row = start ? f.h0 + int64_t{1} * n * s.hidden : f.y + s.at(before, n, 0);
      if (aligned) quad = *reinterpret_cast<const float4*>(row + k);
      else
        quad = make_float4(row[k], k + 1 < s.hidden ? row[k + 1] : 0.f, k + 2 < s.hidden ? row[k + 2] : 0.f,
                           k + 3 < s.hidden ? row[k + 3] : 0.f);
    }
    *reinterpret_cast<float4*>(&state[i / quads * line + k]) = quad;
  }
}

// One step of a sum over lanes with transposition: of 2·HALF sums each lane keeps the half selected by its bit of MASK,
// added to its partner's. After all five steps, lane l holds sums 2·l and 2·l + 1.
template <int HALF, int MASK>
GPUDL_DEVICE void recurrent_halve(float (&sum)[RECURRENT_TILE * RECURRENT_TILE], int lane) {
  const bool upper = lane & MASK;
#pragma unroll
  for (int i = 0; i < HALF; ++i) {
    const float keep = upper ? sum[i + HALF] : sum[i], send = upper ? sum[i] : sum[i + HALF];
    sum[i] = keep + __shfl_xor_sync(~0u, send, MASK);
  }
  if constexpr (MASK > 1) recurrent_halve<HALF / 2, MASK / 2>(sum, lane);
}

// A warp's tile: TILE rows of the weight by TILE samples, over quads `begin` to `end` - 1 of k in strides of a warp.
// out: (rows, SAMPLES + 1).
GPUDL_DEVICE void recurrent_tile(const float* weight, const float* state, int line, int begin, int end, float* out) {
  constexpr int TILE = RECURRENT_TILE;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float sum[TILE * TILE] = {};
  for (int round = begin; round < end; ++round) {
    const int k = round * 128 + lane * 4;
    float4 w[TILE];
#pragma unroll
    for (int r = 0; r < TILE; ++r) w[r] = *reinterpret_cast<const float4*>(&weight[r * line + k]);
#pragma unroll
    for (int n = 0; n < TILE; ++n) {
      const float4 h = *reinterpret_cast<const float4*>(&state[n * line + k]);
#pragma unroll
      for (int r = 0; r < TILE; ++r) {
        float& mine = sum[r * TILE + n];
        mine += w[r].x * h.x;
        mine += w[r].y * h.y;
        mine += w[r].z * h.z;
        mine += w[r].w * h.w;
      }
    }
  }
  recurrent_halve<TILE * TILE / 2, 16>(sum, lane);
  const int index = 2 * lane;
  out[index / TILE * (RECURRENT_SAMPLES + 1) + index % TILE] = sum[0];
  out[index / TILE * (RECURRENT_SAMPLES + 1) + index % TILE + 1] = sum[1];
}

// Grid: one block per `units` hidden units, all resident. Dynamic shared memory: weight, states of SAMPLES samples,
// sums by (split, row, sample).
template <class Cell>
__global__ void __launch_bounds__(RECURRENT_BLOCK, 1)
    recurrent_forward_kernel(Cell cell, RecurrentForward f, RecurrentSlices slices, bool aligned, unsigned* meeting) {
  GPUDL_DYNAMIC_SHARED(bytes);
  float* weight = reinterpret_cast<float*>(bytes);
  float* state = weight + slices.weight_floats();
  float* sums = state + RECURRENT_SAMPLES * slices.line;
  const Sequence& s = f.sequence;
  const int first_unit = static_cast<int>(blockIdx.x) * slices.units, warp = static_cast<int>(threadIdx.x) / 32;
  const int per_split = slices.rows * (RECURRENT_SAMPLES + 1);
  const int rounds = slices.line / 128, per_round = (rounds + slices.splits - 1) / slices.splits;
  recurrent_load_weight<Cell::GATES>(weight, slices, f.weight, s.hidden, first_unit);
  for (int number = 0; number < s.steps; ++number) {
    const int t = s.step(number);
    for (int n0 = 0; n0 < s.batch; n0 += RECURRENT_SAMPLES) {
      recurrent_load_state(state, slices.line, f, t, n0, aligned);
      __syncthreads();
      for (int task = warp; task < slices.tiles() * slices.splits; task += RECURRENT_WARPS) {
        const int split = task % slices.splits, tile = task / slices.splits;
        const int row = tile / 2 * RECURRENT_TILE, sample = tile % 2 * RECURRENT_TILE;
        recurrent_tile(weight + row * slices.line, state + sample * slices.line, slices.line, split * per_round,
                       min((split + 1) * per_round, rounds),
                       sums + split * per_split + row * (RECURRENT_SAMPLES + 1) + sample);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < RECURRENT_SAMPLES * slices.units; i += RECURRENT_BLOCK) {
        const int n = i / slices.units, own = i % slices.units;
        if (n0 + n >= s.batch || first_unit + own >= s.hidden) continue;
        float product[Cell::GATES] = {};
        for (int split = 0; split < slices.splits; ++split)
          for (int g = 0; g < Cell::GATES; ++g)
            product[g] += sums[split * per_split + (g * slices.units + own) * (RECURRENT_SAMPLES + 1) + n];
        recurrent_forward_unit(cell, f, t, n0 + n, first_unit + own, product);
      }
    }
    if (number + 1 < s.steps) device::grid_sync(meeting);
  }
}

// Add the parts that all blocks computed for this block's units to dh0, in block order. parts: (owner, source block,
// sample, unit).
GPUDL_DEVICE void recurrent_gather(const RecurrentBackward& b, const RecurrentSlices& slices, const float* parts) {
  const Sequence& s = b.sequence;
  const int first_unit = static_cast<int>(blockIdx.x) * slices.units;
  const int64_t part = int64_t{1} * s.batch * slices.units;
  const float* mine = parts + blockIdx.x * slices.blocks * part;
  for (int i = threadIdx.x; i < part; i += RECURRENT_BLOCK) {
    const int n = i / slices.units, unit = first_unit + i % slices.units;
    if (unit >= s.hidden) continue;
    float sum[4] = {};
    int giver = 0;
    for (; giver + 4 <= slices.blocks; giver += 4)
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] += mine[(giver + j) * part + i];
    for (; giver < slices.blocks; ++giver) sum[0] += mine[giver * part + i];
    b.dh0[int64_t{1} * n * s.hidden + unit] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

// The block's gradients of products (rows, samples) times its rows of the weight: its parts for the owners of all
// units.
GPUDL_DEVICE void recurrent_scatter(const float* weight, const float* dproduct, const RecurrentSlices& slices,
                                    const Sequence& s, float* parts) {
  constexpr int TILE = RECURRENT_TILE;
  const int quads = (s.hidden + 3) / 4, samples = (s.batch + TILE - 1) / TILE * TILE;
  for (int task = threadIdx.x; task < quads * (samples / TILE); task += RECURRENT_BLOCK) {
    const int k = task % quads * 4, n0 = task / quads * TILE;
    float sum[TILE][4] = {};
#pragma unroll 4
    for (int r = 0; r < slices.rows; ++r) {
      const float4 w = *reinterpret_cast<const float4*>(&weight[r * slices.line + k]);
      const float4 low = *reinterpret_cast<const float4*>(&dproduct[r * samples + n0]);
      const float4 high = *reinterpret_cast<const float4*>(&dproduct[r * samples + n0 + 4]);
      const float d[TILE] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
      for (int n = 0; n < TILE; ++n) {
        sum[n][0] += d[n] * w.x;
        sum[n][1] += d[n] * w.y;
        sum[n][2] += d[n] * w.z;
        sum[n][3] += d[n] * w.w;
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (k + j >= s.hidden) break;
      const int owner = (k + j) / slices.units, unit = (k + j) % slices.units;
      float* part = parts + (int64_t{1} * owner * slices.blocks + blockIdx.x) * s.batch * slices.units + unit;
#pragma unroll
      for (int n = 0; n < TILE; ++n)
        if (n0 + n < s.batch) part[(n0 + n) * slices.units] = sum[n][j];
    }
  }
}

// Grid: as forward. Dynamic shared memory: weight, gradients of products. parts: two alternating buffers, so that one
// barrier per step suffices: when a block writes a buffer again, all have read it.
template <class Cell>
__global__ void __launch_bounds__(RECURRENT_BLOCK, 1)
    recurrent_backward_kernel(Cell cell, RecurrentBackward b, RecurrentSlices slices, float* parts, unsigned* meeting) {
  GPUDL_DYNAMIC_SHARED(bytes);
  float* weight = reinterpret_cast<float*>(bytes);
  float* dproduct = weight + slices.weight_floats();
  const Sequence& s = b.sequence;
  const int first_unit = static_cast<int>(blockIdx.x) * slices.units;
  const int samples = (s.batch + RECURRENT_TILE - 1) / RECURRENT_TILE * RECURRENT_TILE;
  const int64_t buffer = int64_t{1} * slices.blocks * slices.blocks * s.batch * slices.units;
  recurrent_load_weight<Cell::GATES>(weight, slices, b.weight, s.hidden, first_unit);
  for (int i = threadIdx.x; i < slices.rows * samples; i += RECURRENT_BLOCK) dproduct[i] = 0;
  for (int number = s.steps - 1; number >= 0; --number) {
    const bool begin = number == s.steps - 1;
    if (!begin) recurrent_gather(b, slices, parts + (number + 1) % 2 * buffer);
    __syncthreads();
    for (int i = threadIdx.x; i < s.batch * slices.units; i += RECURRENT_BLOCK) {
      const int n = i / slices.units, own = i % slices.units, unit = first_unit + own;
      if (unit >= s.hidden) continue;
      const int64_t at = int64_t{1} * n * s.hidden + unit;
      const float* dh = begin ? b.dhn : b.dh0;
      const float* dc = begin ? b.dcn : b.dc0;
      float mine[Cell::GATES];
      recurrent_backward_unit(cell, b, s.step(number), n, unit, dh == nullptr ? 0.f : dh[at],
                              dc == nullptr || b.cells == nullptr ? 0.f : dc[at], mine);
      for (int g = 0; g < Cell::GATES; ++g) dproduct[(g * slices.units + own) * samples + n] = mine[g];
    }
    __syncthreads();
    recurrent_scatter(weight, dproduct, slices, s, parts + number % 2 * buffer);
    device::grid_sync(meeting);
  }
  recurrent_gather(b, slices, parts);
}

// The number of multiprocessors, as the number of resident blocks so large that a multiprocessor holds only one.
template <class... Parameters>
int recurrent_multiprocessors(void (*kernel)(Parameters...)) {
  // More than half of the shared memory of compute capability 8.0, 8.6.
  constexpr size_t LARGE = 120 * 1024, SMALL = 60 * 1024;
  const int blocks = device::resident_blocks(kernel, RECURRENT_BLOCK, LARGE);
  return blocks > 0 ? blocks : device::resident_blocks(kernel, RECURRENT_BLOCK, SMALL);
}

template <class... Parameters>
void check_resident(void (*kernel)(Parameters...), const RecurrentSlices& slices, size_t shared_bytes) {
  check(device::resident_blocks(kernel, RECURRENT_BLOCK, shared_bytes) >= slices.blocks, "weight",
        "does not fit into the shared memory of this device's blocks; use the algorithm 'stepwise'");
}

inline unsigned* recurrent_meeting(View<float, 1>& workspace) {
  float* word = take_workspace(workspace, 1, "the counter of the barrier");
  clear(word, sizeof(unsigned));
  return reinterpret_cast<unsigned*>(word);
}

template <class Cell>
void recurrent_forward_persistent(const Cell& cell, const RecurrentForward& f, View<float, 1> workspace) {
  const Sequence& s = f.sequence;
  if (s.states() == 0) return;
  const auto kernel = recurrent_forward_kernel<Cell>;
  const RecurrentSlices slices = recurrent_slices(s.hidden, Cell::GATES, recurrent_multiprocessors(kernel));
  check_resident(kernel, slices, slices.forward_bytes());
  const auto aligned_to_16 = [](const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; };
  const bool aligned = s.hidden % 4 == 0 && aligned_to_16(f.h0) && aligned_to_16(f.y);
  launch_cooperative(kernel, dim3(slices.blocks), dim3(RECURRENT_BLOCK), slices.forward_bytes(), cell, f, slices,
                     aligned, recurrent_meeting(workspace));
}

template <class Cell>
void recurrent_backward_persistent(const Cell& cell, const RecurrentBackward& b, View<float, 1> workspace) {
  const Sequence& s = b.sequence;
  if (s.states() == 0) return;
  const auto kernel = recurrent_backward_kernel<Cell>;
  const RecurrentSlices slices = recurrent_slices(s.hidden, Cell::GATES, recurrent_multiprocessors(kernel));
  check_resident(kernel, slices, slices.backward_bytes(s.batch));
  unsigned* meeting = recurrent_meeting(workspace);
  float* parts = take_workspace(workspace, int64_t{2} * slices.blocks * slices.blocks * s.batch * slices.units,
                                "the parts that blocks exchange");
  launch_cooperative(kernel, dim3(slices.blocks), dim3(RECURRENT_BLOCK), slices.backward_bytes(s.batch), cell, b,
                     slices, parts, meeting);
}

}  // namespace gpudl::prim
