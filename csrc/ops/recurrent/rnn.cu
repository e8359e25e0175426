// rnn_sequence: a plain recurrent layer in one direction, after its input projections.
// sass: recurrent_forward_kernel FFMA SHFL registers<=255
// sass: recurrent_backward_kernel FFMA registers<=255
// sass: recurrent_forward_step_kernel registers<=64
// sass: recurrent_backward_step_kernel registers<=64
#include "ops/recurrent/recurrent_launch.h"

namespace gpudl {
namespace {

using namespace prim;

#define RNN_SEQUENCE(algorithm)                                                                                       \
  void rnn_sequence_forward_##algorithm(Steps x, View<const float, 2> weight, View<const float, 2> h0,                \
                                        Lengths lengths, View<float, 3> y, View<float, 2> hn, Workspace workspace,    \
                                        bool reverse, int nonlinearity) {                                             \
    recurrent_forward_##algorithm(RnnCell{nonlinearity},                                                              \
                                  {sequence_of(x, weight, lengths, reverse), x.data, weight.data, nullptr, h0.data,   \
                                   nullptr, y.data, hn.data, nullptr, nullptr, nullptr},                              \
                                  workspace);                                                                         \
  }                                                                                                                   \
  GPUDL_EXPORT(rnn_sequence_forward_##algorithm, x, weight, h0, lengths, y, hn, workspace, reverse, nonlinearity);    \
  void rnn_sequence_backward_##algorithm(MaybeSteps dy, Maybe<View<const float, 2>> dhn, View<const float, 2> weight, \
                                         View<const float, 2> h0, Lengths lengths, Steps y, View<float, 3> dx,        \
                                         Maybe<View<float, 2>> dweight, Maybe<View<float, 2>> dh0,                    \
                                         Workspace workspace, bool reverse, int nonlinearity) {                       \
    recurrent_backward<RnnCell>(                                                                                      \
        {sequence_of(y, weight, lengths, reverse), dy.data, dhn.data, nullptr, weight.data, h0.data, nullptr, y.data, \
         nullptr, nullptr, dx.data, nullptr, nullptr, dh0.data, nullptr},                                             \
        dweight.data, nullptr, workspace, [&](const RecurrentBackward& b, Workspace rest) {                           \
          recurrent_backward_##algorithm(RnnCell{nonlinearity}, b, rest);                                             \
        });                                                                                                           \
  }                                                                                                                   \
  GPUDL_EXPORT(rnn_sequence_backward_##algorithm, dy, dhn, weight, h0, lengths, y, dx, dweight, dh0, workspace,       \
               reverse, nonlinearity)

RNN_SEQUENCE(persistent);
RNN_SEQUENCE(stepwise);

}  // namespace
}  // namespace gpudl
