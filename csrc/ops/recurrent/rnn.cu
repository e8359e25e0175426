// rnn_sequence: a simple recurrent layer in one direction, given its input projections.
// sass: recurrent_forward_kernel FFMA SHFL registers<=255
// sass: recurrent_backward_kernel FFMA registers<=255
// sass: recurrent_forward_step_kernel registers<=64
// sass: recurrent_backward_step_kernel registers<=64
#include "ops/recurrent/recurrent_launch.h"

namespace gpudl {
namespace {

using namespace prim;

// For all recurrent layers (gpudl/ops/recurrent/base.py).
GPUDL_FUNCTION(recurrent_shared_bytes, hidden, gates, batch, multiprocessors);

template <class Algorithm>
void forward(Steps x, View<const float, 2> weight, View<const float, 2> h0, Lengths lengths, View<float, 3> y,
             View<float, 2> hn, Workspace workspace, bool reverse, int nonlinearity) {
  Algorithm::forward(RnnCell{nonlinearity},
                     {sequence_of(x, weight, lengths, reverse), x.data, weight.data, nullptr, h0.data, nullptr, y.data,
                      hn.data, nullptr, nullptr, nullptr},
                     workspace);
}

template <class Algorithm>
void backward(MaybeSteps dy, Maybe<View<const float, 2>> dhn, View<const float, 2> weight, View<const float, 2> h0,
              Lengths lengths, Steps y, View<float, 3> dx, Maybe<View<float, 2>> dweight, Maybe<View<float, 2>> dh0,
              Workspace workspace, bool reverse, int nonlinearity) {
  recurrent_backward<Algorithm>(
      RnnCell{nonlinearity},
      {sequence_of(y, weight, lengths, reverse), dy.data, dhn.data, nullptr, weight.data, h0.data, nullptr, y.data,
       nullptr, nullptr, dx.data, nullptr, nullptr, dh0.data, nullptr},
      dweight.data, nullptr, workspace);
}

#define GPUDL_RNN(op, algorithm, Algorithm)                                                                    \
  constexpr auto& op##_forward_##algorithm = forward<Algorithm>;                                               \
  GPUDL_EXPORT(op, forward, algorithm, x, weight, h0, lengths, y, hn, workspace, reverse, nonlinearity)        \
      .workspace<recurrent_forward_workspace<Algorithm>>("x, weight");                                         \
  constexpr auto& op##_backward_##algorithm = backward<Algorithm>;                                             \
  GPUDL_EXPORT(op, backward, algorithm, dy, dhn, weight, h0, lengths, y, dx, dweight, dh0, workspace, reverse, \
               nonlinearity)                                                                                   \
      .workspace<recurrent_backward_workspace<Algorithm, RnnCell, 1>>("y, weight")

GPUDL_RNN(rnn_sequence, persistent, Persistent);
GPUDL_RNN(rnn_sequence, stepwise, Stepwise);

}  // namespace
}  // namespace gpudl
