// lstm_sequence: an LSTM layer in one direction, given its input projections.
// sass: recurrent_forward_kernel FFMA SHFL registers<=255
// sass: recurrent_backward_kernel FFMA registers<=255
// sass: recurrent_forward_step_kernel registers<=64
// sass: recurrent_backward_step_kernel registers<=64
#include "ops/recurrent/recurrent_launch.h"

namespace gpudl {
namespace {

using namespace prim;

template <class Algorithm>
void forward(Steps x, View<const float, 2> weight, View<const float, 2> h0, View<const float, 2> c0, Lengths lengths,
             View<float, 3> y, View<float, 2> hn, View<float, 2> cn, View<float, 3> gates, View<float, 3> cells,
             Workspace workspace, bool reverse) {
  Algorithm::forward(LstmCell{},
                     {sequence_of(x, weight, lengths, reverse), x.data, weight.data, nullptr, h0.data, c0.data, y.data,
                      hn.data, cn.data, gates.data, cells.data},
                     workspace);
}

template <class Algorithm>
void backward(MaybeSteps dy, Maybe<View<const float, 2>> dhn, Maybe<View<const float, 2>> dcn,
              View<const float, 2> weight, View<const float, 2> h0, View<const float, 2> c0, Lengths lengths, Steps y,
              Steps gates, Steps cells, View<float, 3> dx, Maybe<View<float, 2>> dweight, Maybe<View<float, 2>> dh0,
              Maybe<View<float, 2>> dc0, Workspace workspace, bool reverse) {
  recurrent_backward<Algorithm>(
      LstmCell{},
      {sequence_of(y, weight, lengths, reverse), dy.data, dhn.data, dcn.data, weight.data, h0.data, c0.data, y.data,
       gates.data, cells.data, dx.data, nullptr, nullptr, dh0.data, dc0.data},
      dweight.data, nullptr, workspace);
}

#define GPUDL_LSTM(op, algorithm, Algorithm)                                                                           \
  constexpr auto& op##_forward_##algorithm = forward<Algorithm>;                                                       \
  GPUDL_EXPORT(op, forward, algorithm, x, weight, h0, c0, lengths, y, hn, cn, gates, cells, workspace, reverse)        \
      .workspace<recurrent_forward_workspace<Algorithm>>("x, weight");                                                 \
  constexpr auto& op##_backward_##algorithm = backward<Algorithm>;                                                     \
  GPUDL_EXPORT(op, backward, algorithm, dy, dhn, dcn, weight, h0, c0, lengths, y, gates, cells, dx, dweight, dh0, dc0, \
               workspace, reverse)                                                                                     \
      .workspace<recurrent_backward_workspace<Algorithm, LstmCell, 2>>("y, weight")

GPUDL_LSTM(lstm_sequence, persistent, Persistent);
GPUDL_LSTM(lstm_sequence, stepwise, Stepwise);

}  // namespace
}  // namespace gpudl
