// Elementwise updates of parameters in place: one launch for all parameters of an optimizer.
//
//   struct Momentum {
//     static constexpr int STATES = 1, NUMBERS = 2;
//     GPUDL_DEVICE float operator()(float p, float g, float (&state)[1], const float (&hyper)[2]) const { … }
//   };
//   prim::update(Momentum{}, arguments, {buffer.data});
//
// `hyper` holds two penalties and the rule's numbers (named in gpudl/ops/optimizer/rules.py) on the device, so that a
// captured graph may be replayed with others; each row is one set. The columns of `rows` (ops/optimizer/blocks.h): the
// offsets of the parameter and its gradient, the index of its set of numbers, the offset of each state.
#pragma once
#include "core/check.h"
#include "ops/optimizer/blocks.h"

namespace gpudl::prim {

struct UpdateArguments {
  View<float, 1> param;
  View<const float, 1> grad;
  View<const float, 2> hyper;
  Rows rows;
  Blocks blocks;
  bool maximize;
};

template <int STATES>
struct UpdateState {
  float* at[STATES];
};

constexpr int PENALTIES = 2;                                     // weight_decay and l1 come first in hyper
constexpr int AT_PARAM = 0, AT_GRAD = 1, SET = 2, AT_STATE = 3;  // columns

template <int PACK, class Rule>
__global__ void __launch_bounds__(MAP_BLOCK)
    update_kernel(Rule rule, UpdateArguments a, UpdateState<Rule::STATES == 0 ? 1 : Rule::STATES> state) {
  constexpr int STATES = Rule::STATES, ROOM = STATES == 0 ? 1 : STATES;
  const BlockPart part = block_part(a.rows, a.blocks, a.param.size());
  float* const param = part.at(a.param.data, AT_PARAM);
  const float* const grad = part.at(a.grad.data, AT_GRAD);
  float* states[ROOM];
  bool aligned = is_aligned_at<PACK>(param) && is_aligned_at<PACK>(grad);
#pragma unroll
  for (int k = 0; k < STATES; ++k) {
    states[k] = part.at(state.at[k], AT_STATE + k);
    aligned &= is_aligned_at<PACK>(states[k]);
  }
  const float* const numbers = a.hyper.data + (part.row == nullptr ? 0 : part.row[SET]) * a.hyper.dim[1];
  const float weight_decay = numbers[0], l1 = numbers[1];
  float hyper[Rule::NUMBERS];
#pragma unroll
  for (int k = 0; k < Rule::NUMBERS; ++k) hyper[k] = numbers[PENALTIES + k];

  const auto one = [&](float& p, float g, float (&s)[ROOM]) {
    if (a.maximize) g = -g;
    if (weight_decay != 0) g += weight_decay * p;
    if (l1 != 0) g += l1 * static_cast<float>((p > 0) - (p < 0));
    p = rule(p, g, s, hyper);
  };
  for_part<PACK>(part, aligned, [&](auto size, int i) {
    constexpr int N = decltype(size)::value;
    auto p = load_pack<N>(param + i);
    const auto g = load_pack<N>(grad + i);
    Pack<float, N> s[ROOM];
#pragma unroll
    for (int k = 0; k < STATES; ++k) s[k] = load_pack<N>(states[k] + i);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      float now[ROOM];
#pragma unroll
      for (int k = 0; k < STATES; ++k) now[k] = s[k].at[j];
      one(p.at[j], g.at[j], now);
#pragma unroll
      for (int k = 0; k < STATES; ++k) s[k].at[j] = now[k];
    }
    store_pack<N>(param + i, p);
#pragma unroll
    for (int k = 0; k < STATES; ++k) store_pack<N>(states[k] + i, s[k]);
  });
}

// One launch. A rule without state gets one unused pointer: {}.
template <class Rule>
void update(Rule rule, const UpdateArguments& a, UpdateState<Rule::STATES == 0 ? 1 : Rule::STATES> state) {
  check(a.hyper.dim[1] == PENALTIES + Rule::NUMBERS, "hyper", "holds too many or too few numbers for the rule");
  check(!a.rows || a.rows.dim[1] == AT_STATE + Rule::STATES, "rows", "has too many or too few columns for the rule");
  launch(update_kernel<PACK_OF<float>, Rule>, block_count(a.blocks, a.param.size()), MAP_BLOCK, 0, rule, a, state);
}

}  // namespace gpudl::prim
