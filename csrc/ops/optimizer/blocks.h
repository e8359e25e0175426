// Many arrays in one launch: a kernel over an optimizer's parameters, or their gradients, locates each of them by two
// tables from the caller:
//
//   rows     one row per array: its start as an offset in elements from the start of an argument, and further columns
//            that the kernel defines. An offset may point anywhere in memory, like a pointer.
//   blocks   for each thread block the row of its array, its first element in that array, and its number of elements.
//
// Without tables there is one array, the argument itself, and each block takes BLOCK_PART elements.
#pragma once
#include "core/view.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

using Rows = Maybe<View<const int64_t, 2>>;
using Blocks = Maybe<View<const int32_t, 2>>;

constexpr int BLOCK_PART = 4096;

// The elements of a thread block. row: null without tables.
struct BlockPart {
  const int64_t* row;
  int64_t first;
  int count;

  // The block's elements in an array at `base`, or at base + row[column] with tables.
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

// Call each(integral_constant<N>, i) for elements i to i + N - 1 of the part: N = PACK as far as possible if the memory
// is aligned, else 1.
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
