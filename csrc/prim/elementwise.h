// Elementwise kernels: out[i] = f(in[i], …) for any function object f, in 16-byte accesses if alignment allows.
//
//   struct LeakyRelu { float slope; GPUDL_DEVICE float operator()(float x) const { return x > 0 ? x : slope * x; } };
//   prim::map(LeakyRelu{0.01f}, y, x);
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/view.h"
#include "platform/bfloat16.h"
#include "platform/device.h"
#include "platform/float16.h"

namespace gpudl::prim {

// A dense array in memory order.
template <class T>
using Flat = View<T, 1, Layout::any>;

// N neighbouring elements, accessed together: 16 bytes for four floats.
template <class T, int N>
struct alignas(std::min<size_t>(16, N * sizeof(T))) Pack {
  T at[N];
};

template <int N, class T>
bool is_aligned(const T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % alignof(Pack<T, N>) == 0;
}

// The pack that starts at `pointer`, which must be aligned to the pack.
template <int N, class T>
GPUDL_DEVICE Pack<T, N> load_pack(const T* pointer) {
  return *reinterpret_cast<const Pack<T, N>*>(pointer);
}

template <int N, class T>
GPUDL_DEVICE void store_pack(T* pointer, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(pointer) = pack;
}

// Elementwise sum of packs, for reductions.
struct AddPacks {
  template <int N>
  GPUDL_DEVICE Pack<float, N> operator()(Pack<float, N> a, const Pack<float, N>& b) const {
#pragma unroll
    for (int i = 0; i < N; ++i) a.at[i] += b.at[i];
    return a;
  }
};

// Arithmetic is float32, whatever the format in memory.
template <class T>
GPUDL_DEVICE float as_float(T value) {
  if constexpr (std::is_same_v<T, float>) return value;
  else return device::to_float(value);
}
template <class T>
GPUDL_DEVICE T from_float(float value) {
  if constexpr (std::is_same_v<T, bfloat16>) return device::to_bfloat16(value);
  else if constexpr (std::is_same_v<T, float16>) return device::to_float16(value);
  else return value;
}

constexpr int MAP_BLOCK = 256;
constexpr int MAP_BLOCKS = 8192;  // fills any GPU several times; beyond that, threads take several packs

// Number of elements of the widest of these types in 16 bytes.
template <class... T>
constexpr int PACK_OF = 16 / static_cast<int>(std::max({sizeof(T)...}));

// Threads stride over the packs. PACK = 1 if an array is not aligned to 16 bytes. INDEXED: f takes the element's index
// first.
template <int PACK, bool INDEXED, class F, class Out, class... In>
__global__ void __launch_bounds__(MAP_BLOCK) map_kernel(F f, int64_t n, Out* out, const In*... in) {
  const auto call = [&](int64_t i, const auto&... values) {
    if constexpr (INDEXED) return f(i, values...);
    else return f(values...);
  };
  const int64_t stride = static_cast<int64_t>(gridDim.x) * MAP_BLOCK * PACK;
  int64_t first = (static_cast<int64_t>(blockIdx.x) * MAP_BLOCK + threadIdx.x) * PACK;
  for (; first + PACK <= n; first += stride) {
    const auto apply = [&](const auto&... loaded) {
      Pack<Out, PACK> result;
#pragma unroll
      for (int i = 0; i < PACK; ++i) result.at[i] = call(first + i, loaded.at[i]...);
      store_pack<PACK>(out + first, result);
    };
    apply(load_pack<PACK>(in + first)...);
  }
  if constexpr (PACK > 1)  // at most one thread has a remainder shorter than a pack
    for (int64_t i = first; i < n; ++i) out[i] = call(i, in[i]...);
}

// Blocks for n elements, PACK per thread.
template <int PACK>
unsigned map_blocks(int64_t n, int64_t most = MAP_BLOCKS) {
  return static_cast<unsigned>(std::min<int64_t>((n + MAP_BLOCK * PACK - 1) / (MAP_BLOCK * PACK), most));
}

template <bool INDEXED, class F, class Out, class... In>
void launch_map(F f, Flat<Out> out, Flat<const In>... in) {
  constexpr int PACK = PACK_OF<Out, In...>;
  const int64_t n = out.size();
  if (is_aligned<PACK>(out.data) && (is_aligned<PACK>(in.data) && ...))
    launch(map_kernel<PACK, INDEXED, F, Out, In...>, map_blocks<PACK>(n), MAP_BLOCK, 0, f, n, out.data, in.data...);
  else launch(map_kernel<1, INDEXED, F, Out, In...>, map_blocks<1>(n), MAP_BLOCK, 0, f, n, out.data, in.data...);
}

// out[i] = f(in[i], …). `out` may be one of the inputs.
template <class F, class Out, class... In>
void map(F f, Flat<Out> out, Flat<const In>... in) {
  launch_map<false>(f, out, in...);
}

// out[i] = f(i, in[i], …), i int64_t.
template <class F, class Out, class... In>
void map_indexed(F f, Flat<Out> out, Flat<const In>... in) {
  launch_map<true>(f, out, in...);
}

}  // namespace gpudl::prim
