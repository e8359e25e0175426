// The direct convolution of csrc/ops/conv/conv_direct.cu, for the operators built on it.
#pragma once
#include "ops/conv/conv_export.h"

namespace gpudl {

struct Direct {
  using Element = float;
  static constexpr Computes COMPUTES{};
  static int64_t forward_workspace(const ConvShape&) { return 0; }
  static int64_t data_workspace(const ConvShape&) { return 0; }
  static int64_t weight_workspace(const ConvShape& conv);
  static void forward(const ConvShape& conv, const float* x, const float* weight, float* y,
                      const ConvFinish<float>& finish, Workspace workspace);
  static void data_gradient(const ConvShape& conv, const float* dy, const float* weight, float* dx,
                            const ConvFinish<float>& finish, Workspace workspace);
  // The workspace holds one copy of the weights' gradient for each split of the pixels.
  static void weight_gradient(const ConvShape& conv, const float* dy, const float* x, float* dweight,
                              Workspace workspace);
};

// Call f<TC> with the number of channels per thread that suits the group.
template <class F>
void with_channels(int group, F f) {
  if (group == 1) f.template operator()<1>();
  else if (group <= 4) f.template operator()<4>();
  else f.template operator()<8>();
}

}  // namespace gpudl
