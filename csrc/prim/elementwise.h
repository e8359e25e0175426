// Elementwise kernels: out[i] = f(in[i], …), for any function object f, in 16-byte accesses where memory allows.
//
//   struct LeakyRelu { float slope; GPUDL_DEVICE float operator()(float x) const { return x > 0 ? x : slope * x; } };
//   prim::map(LeakyRelu{0.01f}, y, x);
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/view.h"
#include "platform/device.h"

namespace gpudl::prim {

// A dense array in its order of memory.
template <class T>
using Flat = View<T, 1, Layout::any>;

// N neighbouring elements, moved together: one 16-byte access for four floats.
template <class T, int N>
struct alignas(std::min<size_t>(16, N * sizeof(T))) Pack {
  T at[N];
};

template <int N, class T>
bool is_aligned(const T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % alignof(Pack<T, N>) == 0;
}

// The pack that starts at `pointer`, which must be aligned to it.
template <int N, class T>
GPUDL_DEVICE Pack<T, N> load_pack(const T* pointer) {
  return *reinterpret_cast<const Pack<T, N>*>(pointer);
}

template <int N, class T>
GPUDL_DEVICE void store_pack(T* pointer, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(pointer) = pack;
}

constexpr int MAP_BLOCK = 256;
constexpr int MAP_PACK = 4;  // elements a thread

// Grid: one thread per PACK elements. PACK = 1 where an array does not start at a multiple of 16 bytes.
template <int PACK, class F, class Out, class... In>
__global__ void __launch_bounds__(MAP_BLOCK) map_kernel(F f, int64_t n, Out* out, const In*... in) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * MAP_BLOCK + threadIdx.x) * PACK;
  if (first + PACK <= n) {
    const auto apply = [&](const auto&... loaded) {
      Pack<Out, PACK> result;
#pragma unroll
      for (int i = 0; i < PACK; ++i) result.at[i] = f(loaded.at[i]...);
      store_pack<PACK>(out + first, result);
    };
    apply(load_pack<PACK>(in + first)...);
  } else {
    for (int64_t i = first; i < n; ++i) out[i] = f(in[i]...);
  }
}

// out[i] = f(in[i], …). `out` may be one of the inputs.
template <class F, class Out, class... In>
void map(F f, Flat<Out> out, Flat<const In>... in) {
  const int64_t n = out.size();
  const bool aligned = is_aligned<MAP_PACK>(out.data) && (is_aligned<MAP_PACK>(in.data) && ...);
  const auto blocks = [&](int pack) {
    return dim3(static_cast<unsigned>((n + MAP_BLOCK * pack - 1) / (MAP_BLOCK * pack)));
  };
  if (aligned) launch(map_kernel<MAP_PACK, F, Out, In...>, blocks(MAP_PACK), MAP_BLOCK, 0, f, n, out.data, in.data...);
  else launch(map_kernel<1, F, Out, In...>, blocks(1), MAP_BLOCK, 0, f, n, out.data, in.data...);
}

}  // namespace gpudl::prim
