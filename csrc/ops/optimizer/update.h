// Updates of parameters, elementwise, over flat arrays: one launch for all parameters of an optimizer.
//
//   struct Momentum {
//     static constexpr int STATES = 1, NUMBERS = 2;
//     GPUDL_DEVICE float operator()(float p, float g, float (&state)[1], const float (&hyper)[2]) const { … }
//   };
//   prim::update(Momentum{}, arguments, {buffer.data});
//
// `hyper` holds two penalties and the rule's numbers (gpudl/ops/optimizer/rules.py names them) on the device, so that a
// captured graph may be replayed with others. `active` marks the elements to update; absent: all. The others and their
// state stay as they are.
#pragma once
#include "core/check.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

struct UpdateArguments {
  View<float, 1> param;
  View<const float, 1> grad;
  View<const float, 1> hyper;
  Maybe<View<const uint8_t, 1>> active;
  bool maximize;
};

template <int STATES>
struct UpdateState {
  float* at[STATES];
};

constexpr int PENALTIES = 2;  // weight_decay and l1 come first in hyper

template <int PACK, class Rule>
__global__ void __launch_bounds__(MAP_BLOCK)
    update_kernel(Rule rule, UpdateArguments a, UpdateState<Rule::STATES == 0 ? 1 : Rule::STATES> state) {
  constexpr int STATES = Rule::STATES, ROOM = STATES == 0 ? 1 : STATES;
  const float weight_decay = a.hyper.data[0], l1 = a.hyper.data[1];
  float hyper[Rule::NUMBERS];
#pragma unroll
  for (int k = 0; k < Rule::NUMBERS; ++k) hyper[k] = a.hyper.data[PENALTIES + k];

  const auto one = [&](float& p, float g, float (&s)[ROOM]) {
    if (a.maximize) g = -g;
    if (weight_decay != 0) g += weight_decay * p;
    if (l1 != 0) g += l1 * static_cast<float>((p > 0) - (p < 0));
    p = rule(p, g, s, hyper);
  };
  const auto each = [&](auto size, int64_t first) {
    constexpr int N = decltype(size)::value;
    auto flags = a.active ? load_pack<N>(a.active.data + first) : Pack<uint8_t, N>{};
    bool any = !a.active;
#pragma unroll
    for (int i = 0; i < N; ++i) any |= flags.at[i] != 0;
    if (!any) return;  // parameters start at multiples of 32 elements: most packs are all or nothing
    auto p = load_pack<N>(a.param.data + first);
    const auto g = load_pack<N>(a.grad.data + first);
    Pack<float, N> s[ROOM];
#pragma unroll
    for (int k = 0; k < STATES; ++k) s[k] = load_pack<N>(state.at[k] + first);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (a.active && flags.at[i] == 0) continue;
      float now[ROOM];
#pragma unroll
      for (int k = 0; k < STATES; ++k) now[k] = s[k].at[i];
      one(p.at[i], g.at[i], now);
#pragma unroll
      for (int k = 0; k < STATES; ++k) s[k].at[i] = now[k];
    }
    store_pack<N>(a.param.data + first, p);
#pragma unroll
    for (int k = 0; k < STATES; ++k) store_pack<N>(state.at[k] + first, s[k]);
  };

  const int64_t n = a.param.size(), stride = static_cast<int64_t>(gridDim.x) * MAP_BLOCK * PACK;
  int64_t first = (static_cast<int64_t>(blockIdx.x) * MAP_BLOCK + threadIdx.x) * PACK;
  for (; first + PACK <= n; first += stride) each(std::integral_constant<int, PACK>{}, first);
  if constexpr (PACK > 1)
    for (; first < n; ++first) each(std::integral_constant<int, 1>{}, first);
}

// One launch. A rule without state gets one pointer that is not used: {}.
template <class Rule>
void update(Rule rule, const UpdateArguments& a, UpdateState<Rule::STATES == 0 ? 1 : Rule::STATES> state) {
  check(a.hyper.dim[0] == PENALTIES + Rule::NUMBERS, "hyper", "holds too many or too few numbers for the rule");
  constexpr int PACK = PACK_OF<float>;
  const int64_t n = a.param.size();
  bool aligned = is_aligned<PACK>(a.param.data) && is_aligned<PACK>(a.grad.data) && is_aligned<PACK>(a.active.data);
  for (int k = 0; k < Rule::STATES; ++k) aligned &= is_aligned<PACK>(state.at[k]);
  if (aligned) launch(update_kernel<PACK, Rule>, map_blocks<PACK>(n), MAP_BLOCK, 0, rule, a, state);
  else launch(update_kernel<1, Rule>, map_blocks<1>(n), MAP_BLOCK, 0, rule, a, state);
}

}  // namespace gpudl::prim
