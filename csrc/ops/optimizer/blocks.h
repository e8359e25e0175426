// Many arrays in one launch. A kernel that works on the parameters of an optimizer, or on their gradients, finds each
// where it is, through two tables that the caller made:
//
//   rows     one row an array: where it starts, in elements from the start of an argument, and what else the kernel
//            wants to know of it. An offset may lead anywhere in memory, so it is as good as a pointer.
//   blocks   for each block of threads the row of its array, its first element in it, and how many it has.
//
// Without tables the arguments are the one array, and the blocks take BLOCK_PART elements each.
#pragma once
#include "core/view.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

using Rows = Maybe<View<const int64_t, 2>>;
using Blocks = Maybe<View<const int32_t, 2>>;

constexpr int BLOCK_PART = 4096;

// The elements of one block of threads. row: null without tables.
struct BlockPart {
  const int64_t* row;
  int64_t first;
  int count;

  // Where the block's elements start in an array that starts at `base` or, by the row's column, elsewhere.
  template <class T>
  GPUDL_DEVICE T* at(T* base, int column) const {
    return base + first + (row == nullptr ? 0 : row[column]);
  }
};

GPUDL_DEVICE BlockPart block_part(const Rows& rows, const Blocks& blocks, int64_t n) {
  if (!rows) {
    const int64_t first = static_cast<int64_t>(blockIdx.x) * BLOCK_PART, rest = n - first;
    return {nullptr, first, static_cast<int>(rest < BLOCK_PART ? rest : BLOCK_PART)};
  }
  const int32_t* const block = blocks.data + static_cast<int64_t>(blockIdx.x) * 3;
  return {rows.data + static_cast<int64_t>(block[0]) * rows.dim[1], block[1], block[2]};
}

inline unsigned block_count(const Blocks& blocks, int64_t n) {
  return blocks ? static_cast<unsigned>(blocks.dim[0]) : static_cast<unsigned>((n + BLOCK_PART - 1) / BLOCK_PART);
}

// each(integral_constant<N>, i) for elements i to i + N - 1 of the part, N = PACK as far as that goes if the memory is
// aligned for it, else 1.
template <int PACK, class Each>
GPUDL_DEVICE void for_part(const BlockPart& part, bool aligned, const Each& each) {
  int done = 0;
  if (aligned) {
    done = part.count / PACK * PACK;
    for (int i = static_cast<int>(threadIdx.x) * PACK; i < done; i += MAP_BLOCK * PACK)
      each(std::integral_constant<int, PACK>{}, i);
  }
  for (int i = done + static_cast<int>(threadIdx.x); i < part.count; i += MAP_BLOCK)
    each(std::integral_constant<int, 1>{}, i);
}

template <int PACK, class T>
GPUDL_DEVICE bool is_aligned_at(const T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % alignof(Pack<T, PACK>) == 0;
}

}  // namespace gpudl::prim
