// Sums over the rows of a matrix, such as a bias gradient, in the pass that computes the rows: dy is read once.
//
//   prim::column_sums(prim::PassReluBits{mask}, dy, dz, rows, columns, dbias, workspace);
//
// dz[m,n] = f(dy[m,n], …), sums[n] = sum over m of dz[m,n]; dz or sums may be null. Two stages, whose order depends
// only on the shapes and the workspace's size: blocks write partial sums to the workspace, and a second kernel adds
// them. Without room for them, or with few rows, one block sums its columns alone.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/check.h"
#include "core/machine.h"
#include "core/view.h"
#include "platform/device.h"
#include "prim/channels.h"
#include "prim/column_parts.h"

namespace gpudl::prim {

// f is an object like this one; its own loads overlap with those of dy. PACK neighbouring columns of a row at a time.
struct PassOn {
  struct Nothing {};
  template <int PACK>
  GPUDL_DEVICE Nothing load(int64_t, int, int) const {
    return {};
  }
  GPUDL_DEVICE float operator()(float dy, Nothing, int) const { return dy; }
  template <int PACK>
  bool aligned() const {
    return true;
  }
};

// The gradient before ReLU, from the bits of GemmEpilogue's mask (rows of whole bytes).
struct PassReluBits {
  const uint8_t* mask;

  template <int PACK>
  GPUDL_DEVICE unsigned load(int64_t row, int column, int columns) const {
    return mask[row * ((columns + 7) / 8) + column / 8] >> (column % 8);
  }
  GPUDL_DEVICE float operator()(float dy, unsigned bits, int i) const { return bits >> i & 1u ? dy : 0.f; }
  template <int PACK>
  bool aligned() const {
    return true;
  }
};

// gradient(dy, saved), for a saved array with the layout of dy.
template <class T, class Gradient>
struct PassSaved {
  const T* saved;
  Gradient gradient;

  template <int PACK>
  GPUDL_DEVICE Pack<T, PACK> load(int64_t row, int column, int columns) const {
    return load_pack<PACK>(saved + row * columns + column);
  }
  template <int PACK>
  GPUDL_DEVICE float operator()(float dy, const Pack<T, PACK>& loaded, int i) const {
    return gradient(dy, as_float(loaded.at[i]));
  }
  template <int PACK>
  bool aligned() const {
    return is_aligned<PACK>(saved);
  }
};

struct ReluGradient {
  GPUDL_DEVICE float operator()(float dy, float y) const { return y <= 0 ? 0.f : dy; }
};

constexpr int COLUMN_SUMS_ROWS = 4;  // rows that a thread loads at once

// Grid: parts·tiles, tile fastest. Block: m.columns threads side by side, PACK columns each, by m.lanes rows; blocks
// and lanes take rows in turn. Without `partial` there is one part, which writes the sums.
template <class F, class T, int PACK>
__global__ void __launch_bounds__(CHUNK_BLOCK)
    column_sums_kernel(F f, ChannelRows m, int tiles, const T* dy, T* dz, float* partial, T* sums) {
  constexpr int ROWS = COLUMN_SUMS_ROWS;
  using Sums = Pack<float, PACK>;
  GPUDL_SHARED(Sums, shared, [CHUNK_BLOCK]);
  const int part = static_cast<int>(blockIdx.x) / tiles, parts = static_cast<int>(gridDim.x) / tiles;
  const int lane = static_cast<int>(threadIdx.x) / m.columns;
  const int column =
      (static_cast<int>(blockIdx.x) % tiles * m.columns + static_cast<int>(threadIdx.x) % m.columns) * PACK;
  const int64_t step = static_cast<int64_t>(parts) * m.lanes;
  const bool active = lane < m.lanes && column < m.channels;
  Sums mine{};
  for (int64_t first = static_cast<int64_t>(part) * m.lanes + lane; active && first < m.rows; first += ROWS * step) {
    Pack<T, PACK> values[ROWS];
    decltype(f.template load<PACK>(first, column, m.channels)) beside[ROWS]{};
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const int64_t row = first + i * step;
      if (row >= m.rows) continue;
      values[i] = load_pack<PACK>(dy + row * m.channels + column);
      beside[i] = f.template load<PACK>(row, column, m.channels);
    }
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const int64_t row = first + i * step;
      if (row >= m.rows) continue;
#pragma unroll
      for (int j = 0; j < PACK; ++j) {
        const float z = f(as_float(values[i].at[j]), beside[i], j);
        mine.at[j] += z;
        values[i].at[j] = from_float<T>(z);
      }
      if (dz != nullptr) store_pack<PACK>(dz + row * m.channels + column, values[i]);
    }
  }
  if (partial == nullptr && sums == nullptr) return;
  mine = combine_lanes(m, mine, shared, AddPacks{});
  if (!active || lane != 0) return;
#pragma unroll
  for (int j = 0; j < PACK; ++j) {
    if (partial != nullptr) partial[static_cast<int64_t>(part) * m.channels + column + j] = mine.at[j];
    else sums[column + j] = from_float<T>(mine.at[j]);
  }
}

constexpr int COLUMN_SUMS_BLOCKS = 4 * MULTIPROCESSORS;
constexpr int COLUMN_SUMS_LEAST = 4;  // turns of a block that justify a second kernel

// Elements of the workspace that column_sums wants: no more parts than blocks, each of at least 128 rows.
inline int64_t column_sums_workspace(int64_t rows, int64_t columns) {
  const int64_t blocks = COLUMN_SUMS_BLOCKS / std::max<int64_t>(1, (columns + 255) / 256);
  const int64_t parts = std::min(rows / 128, blocks);
  return parts > 1 ? parts * columns : 0;
}

template <int PACK, class F, class T>
void column_sums_packed(F f, const T* dy, T* dz, int64_t rows, int columns, T* sums, View<float, 1> workspace) {
  constexpr int SIDE = 32;  // most threads side by side
  const int packs = columns / PACK, tiles = (packs + SIDE - 1) / SIDE;
  ChannelRows m{rows, columns, (packs + tiles - 1) / tiles, 0};
  m.lanes = CHUNK_BLOCK / m.columns;
  const int64_t turn = int64_t{1} * m.lanes * COLUMN_SUMS_ROWS;
  int64_t parts = (rows + turn - 1) / turn;
  if (sums != nullptr) parts = std::min(parts / COLUMN_SUMS_LEAST, workspace.size() / columns);
  parts = std::clamp<int64_t>(parts, 1, std::max(1, COLUMN_SUMS_BLOCKS / tiles));
  float* const partial = sums != nullptr && parts > 1 ? workspace.data : nullptr;
  launch(column_sums_kernel<F, T, PACK>, dim3(static_cast<unsigned>(parts * tiles)), CHUNK_BLOCK, 0, f, m, tiles, dy,
         dz, partial, sums);
  if (partial != nullptr) add_parts(partial, static_cast<int>(parts), columns, sums);
}

template <class F, class T>
void column_sums(F f, const T* dy, T* dz, int64_t rows, int columns, T* sums, View<float, 1> workspace) {
  constexpr int PACK = PACK_OF<T>;
  if (columns == 0) return;
  const bool wide = columns % PACK == 0 && is_aligned<PACK>(dy) && is_aligned<PACK>(dz) && f.template aligned<PACK>();
  if (wide) column_sums_packed<PACK>(f, dy, dz, rows, columns, sums, workspace);
  else column_sums_packed<1>(f, dy, dz, rows, columns, sums, workspace);
}

// The column sums of a matrix itself.
template <class T>
void column_sums(const T* x, int64_t rows, int columns, T* sums, View<float, 1> workspace) {
  column_sums(PassOn{}, x, static_cast<T*>(nullptr), rows, columns, sums, workspace);
}

}  // namespace gpudl::prim
