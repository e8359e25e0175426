// Elementwise activations, forward and backward. Grid: one thread per element, BLOCK threads a block.
#include "core/export.h"
#include "platform/device.h"

namespace gpudl {
namespace {

constexpr int BLOCK = 256;

template <class T>
using Flat = View<T, 1, any>;

__device__ int64_t element() { return static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x; }

dim3 blocks_for(int64_t elements) { return dim3(static_cast<unsigned>((elements + BLOCK - 1) / BLOCK)); }

// y = max(x, 0). The comparison is written so that NaN passes.
__global__ void relu_forward_flat_kernel(Flat<const float> x, Flat<float> y) {
  const int64_t i = element();
  if (i < x.size()) y(i) = x(i) <= 0 ? 0.f : x(i);
}

// dx = 0 where y <= 0, else dy; a NaN passes its gradient, as in PyTorch.
__global__ void relu_backward_flat_kernel(Flat<const float> dy, Flat<const float> y, Flat<float> dx) {
  const int64_t i = element();
  if (i < y.size()) dx(i) = y(i) <= 0 ? 0.f : dy(i);
}

void relu_forward_flat(Flat<const float> x, Flat<float> y) {
  launch(relu_forward_flat_kernel, blocks_for(x.size()), BLOCK, 0, x, y);
}
GPUDL_EXPORT(relu_forward_flat, x, y);

void relu_backward_flat(Flat<const float> dy, Flat<const float> y, Flat<float> dx) {
  launch(relu_backward_flat_kernel, blocks_for(y.size()), BLOCK, 0, dy, y, dx);
}
GPUDL_EXPORT(relu_backward_flat, dy, y, dx);

}  // namespace
}  // namespace gpudl
