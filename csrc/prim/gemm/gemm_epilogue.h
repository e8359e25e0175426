// Epilogues: what a matrix product does with its sums before they are stored.
//
// An epilogue is called with four neighbouring columns of a row at a time:
//
//   GPUDL_DEVICE void operator()(const float (&sum)[4], const GemmQuad&, T* c, int64_t offset, bool aligned) const;
//   bool aligned() const;  // host: whether its other arrays allow accesses as wide as those of c
//
// It writes c[offset] to c[offset + quad.count - 1]; `aligned`: all four at once if count is 4. All lanes of a warp
// call it together, those outside c with a count of at most 0, so it may use warp shuffles. Other arrays with the
// layout of c use the same offset. Features that an epilogue's type lacks cost no registers.
#pragma once
#include <cstdint>
#include <type_traits>

#include "platform/bfloat16.h"
#include "platform/device.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

enum class Activation : int { none, relu, sigmoid, tanh };

GPUDL_DEVICE float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::relu: return x <= 0 ? 0.f : x;  // NaN propagates
    case Activation::sigmoid: return 1.f / (1.f + expf(-x));
    case Activation::tanh: return tanhf(x);
    default: return x;
  }
}

// Four neighbouring columns from `column` on, of which `count` lie inside c. The lane whose number differs in the bits
// of `neighbour` holds the other half of an aligned group of eight columns.
struct GemmQuad {
  int batch, row, column, count, neighbour;
};

// Four neighbouring elements, of which `count` exist; the others are zero.
template <class T>
GPUDL_DEVICE void load_four(float (&value)[4], const T* from, int count, bool aligned) {
  if (aligned && count >= 4) {
    const Pack<T, 4> four = load_pack<4>(from);
#pragma unroll
    for (int i = 0; i < 4; ++i) value[i] = as_float(four.at[i]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) value[i] = i < count ? as_float(from[i]) : 0.f;
  }
}

template <class T>
GPUDL_DEVICE void store_four(T* to, const float (&value)[4], int count, bool aligned) {
  if (aligned && count >= 4) {
    store_pack<4, T>(
        to, {from_float<T>(value[0]), from_float<T>(value[1]), from_float<T>(value[2]), from_float<T>(value[3])});
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < count) to[i] = from_float<T>(value[i]);
  }
}

// c = activation(alpha·sum + bias + residual) + (accumulate ? c : 0). One bias per column or per row; the biases of
// batches are bias_batch_stride apart. residual has the layout of c. mask (products without batches only): one bit per
// element, set where ReLU passed it, in rows of mask_bytes bytes, lowest bit first; bits beyond the last column are
// zero.
//
// Only activations whose gradient follows from y or from that bit. GELU and SiLU would also have to store their
// argument, an array as large as y, and GELU would cost 40 instructions for each of up to 128 unrolled elements per
// thread.
template <class T>
struct GemmEpilogue {
  const T* bias = nullptr;
  bool bias_of_row = false;
  Activation activation = Activation::none;
  bool accumulate = false;
  const T* residual = nullptr;
  float alpha = 1;
  int64_t bias_batch_stride = 0;
  uint8_t* mask = nullptr;
  int mask_bytes = 0;

  bool aligned() const { return reinterpret_cast<uintptr_t>(residual) % (4 * sizeof(T)) == 0; }

  // Compute the new elements of c and write the mask.
  GPUDL_DEVICE void values(float (&value)[4], const float (&sum)[4], const GemmQuad& quad, const T* c, int64_t offset,
                           bool aligned) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) value[i] = alpha * sum[i];
    if (bias != nullptr) {
      const T* from = bias + quad.batch * bias_batch_stride;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (i < quad.count) value[i] += as_float(from[bias_of_row ? quad.row : quad.column + i]);
    }
    float old[4];
    if (residual != nullptr) {
      load_four(old, residual + offset, quad.count, aligned);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] += old[i];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) value[i] = activate(activation, value[i]);
    if (mask != nullptr) store_mask(value, quad);
    if (accumulate) {
      load_four(old, c + offset, quad.count, aligned);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] = old[i] + value[i];
    }
  }
  GPUDL_DEVICE void operator()(const float (&sum)[4], const GemmQuad& quad, T* c, int64_t offset, bool aligned) const {
    float value[4];
    values(value, sum, quad, c, offset, aligned);
    store_four(c + offset, value, quad.count, aligned);
  }

 private:
  // The lane with the first of eight columns writes their byte.
  GPUDL_DEVICE void store_mask(const float (&value)[4], const GemmQuad& quad) const {
    unsigned bits = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) bits |= i < quad.count && !(value[i] <= 0) ? 1u << i : 0u;  // NaN passes
    const unsigned other = __shfl_xor_sync(~0u, bits, quad.neighbour);
    if (quad.count > 0 && quad.column % 8 == 0)
      mask[int64_t{1} * quad.row * mask_bytes + quad.column / 8] = static_cast<uint8_t>(bits | other << 4);
  }
};

// Two lanes of a tensor core's result swap halves, so that each holds four neighbours of one row. Before:
// {[row][column], [row][column + 1], [row + 8][column], [row + 8][column + 1]} with row = lane/4, column = lane%4*2.
// After: row lane/4 + lane%2*8, columns lane%4/2*4 to + 3. GemmQuad's neighbour is then 2.
GPUDL_DEVICE void quad_of_fragment(float (&quad)[4], const float (&d)[4]) {
  const bool odd = threadIdx.x % 2 != 0;
  const float first = __shfl_xor_sync(~0u, odd ? d[0] : d[2], 1);
  const float second = __shfl_xor_sync(~0u, odd ? d[1] : d[3], 1);
  quad[0] = odd ? first : d[0];
  quad[1] = odd ? second : d[1];
  quad[2] = odd ? d[2] : first;
  quad[3] = odd ? d[3] : second;
}

}  // namespace gpudl::prim
