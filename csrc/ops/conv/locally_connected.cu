// Locally connected layers: a convolution whose weights differ at each output position. The weights are the bulk of the
// traffic, so each kernel reads or writes every weight once for a whole tile of images, in packs of output channels.
// x {N,H,W,C}, weight {P*Q*R*S, C, K}, bias {P,Q,K}, y {N,P,Q,K}; j counts the R*S*C weights of one output.
#include <algorithm>

#include "core/export.h"
#include "prim/elementwise.h"

namespace gpudl {
namespace {

using namespace prim;
using Image = View<const float, 4, nhwc>;
using ImageOut = View<float, 4, nhwc>;

constexpr int LANES = 32;   // packs of output channels, side by side
constexpr int SLICES = 8;   // slices of j
constexpr int IMAGES = 16;  // images that a thread processes at a time
constexpr int STAGE = 64;   // values of j in shared memory
constexpr dim3 BLOCK(LANES, SLICES);
constexpr int THREADS = LANES * SLICES;

struct Shape {
  int N, C, H, W, K, R, S, P, Q;
  Pair stride, padding;

  GPUDL_HD int inputs() const { return R * S * C; }
  // The element of image 0 that weight j of output (p, q) multiplies; -1 in the padding.
  GPUDL_DEVICE int64_t element(int p, int q, int j) const {
    const int tap = j / C, h = p * stride.h - padding.h + tap / S, w = q * stride.w - padding.w + tap % S;
    return h < 0 || h >= H || w < 0 || w >= W ? -1 : (static_cast<int64_t>(h) * W + w) * C + j % C;
  }
  GPUDL_HD int64_t image() const { return static_cast<int64_t>(H) * W * C; }
};

template <int PACK>
GPUDL_DEVICE void multiply_add(Pack<float, PACK>& sum, float x, const Pack<float, PACK>& w) {
#pragma unroll
  for (int i = 0; i < PACK; ++i) sum.at[i] = __fmaf_rn(x, w.at[i], sum.at[i]);
}

// y[n] = bias + sum over j of x[n,j]·weight[j]. Grid: x an output position, y a tile of channels. Lanes are channels;
// slices take every SLICES-th j of a stage, and their sums are added in order.
// sass: locally_connected_forward_kernel LDG STG registers<=128
template <int PACK>
__global__ void __launch_bounds__(THREADS, 2)
    locally_connected_forward_kernel(Shape shape, const float* x, const float* weight, const float* bias, float* y) {
  GPUDL_SHARED(float, staged, [STAGE][IMAGES + 4]);  // padded against bank conflicts
  GPUDL_SHARED(float, partial, [SLICES][LANES * PACK]);
  const int lane = threadIdx.x, slice = threadIdx.y, position = blockIdx.x;
  const int p = position / shape.Q, q = position % shape.Q, k = (blockIdx.y * LANES + lane) * PACK;
  const int J = shape.inputs();
  const bool inside = k < shape.K;
  weight += static_cast<int64_t>(position) * J * shape.K + k;
  for (int n = 0; n < shape.N; n += IMAGES) {
    Pack<float, PACK> sum[IMAGES] = {};
    for (int from = 0; from < J; from += STAGE) {
      __syncthreads();
      for (int i = slice * LANES + lane; i < STAGE * IMAGES; i += THREADS) {
        const int image = n + i / STAGE, j = from + i % STAGE;
        const int64_t at = j < J && image < shape.N ? shape.element(p, q, j) : -1;
        staged[i % STAGE][i / STAGE] = at < 0 ? 0 : x[image * shape.image() + at];
      }
      __syncthreads();
      for (int j = slice; inside && j < min(STAGE, J - from); j += SLICES) {
        const auto w = load_pack<PACK>(weight + static_cast<int64_t>(from + j) * shape.K);
#pragma unroll
        for (int i = 0; i < IMAGES; ++i) multiply_add(sum[i], staged[j][i], w);
      }
    }
#pragma unroll
    for (int i = 0; i < IMAGES; ++i) {
      __syncthreads();
      store_pack(&partial[slice][lane * PACK], sum[i]);
      __syncthreads();
      if (slice != 0 || !inside || n + i >= shape.N) continue;
      const int64_t to = static_cast<int64_t>(position) * shape.K + k;
      Pack<float, PACK> total{};
      if (bias != nullptr) total = load_pack<PACK>(bias + to);
      for (int other = 0; other < SLICES; ++other)
        multiply_add(total, 1.f, load_pack<PACK>(&partial[other][lane * PACK]));
      store_pack(y + static_cast<int64_t>(n + i) * shape.P * shape.Q * shape.K + to, total);
    }
  }
}

// dweight[j] = sum over n of x[n,j]·dy[n]; dbias = sum over n of dy[n]. Grid: x an output position, y a tile of
// channels, z a tile of j.
// sass: locally_connected_weights_kernel LDG STG registers<=80
constexpr int PER_THREAD = 4;  // weights along j
template <int PACK>
__global__ void __launch_bounds__(THREADS, 3)
    locally_connected_weights_kernel(Shape shape, const float* dy, const float* x, float* dweight, float* dbias) {
  const int position = blockIdx.x, k = (blockIdx.y * LANES + threadIdx.x) * PACK, J = shape.inputs();
  if (k >= shape.K) return;
  const int64_t output = static_cast<int64_t>(position) * shape.K + k;
  const int64_t outputs = static_cast<int64_t>(shape.P) * shape.Q * shape.K;
  int64_t at[PER_THREAD];
  const int first = (blockIdx.z * SLICES + threadIdx.y) * PER_THREAD;
#pragma unroll
  for (int i = 0; i < PER_THREAD; ++i)
    at[i] = first + i < J ? shape.element(position / shape.Q, position % shape.Q, first + i) : -1;
  Pack<float, PACK> sum[PER_THREAD] = {}, total{};
  for (int n = 0; n < shape.N; ++n) {
    const auto gradient = load_pack<PACK>(dy + n * outputs + output);
    multiply_add(total, 1.f, gradient);
#pragma unroll
    for (int i = 0; i < PER_THREAD; ++i) multiply_add(sum[i], at[i] < 0 ? 0.f : x[n * shape.image() + at[i]], gradient);
  }
  if (dbias != nullptr && first == 0) store_pack(dbias + output, total);
  if (dweight == nullptr) return;
#pragma unroll
  for (int i = 0; i < PER_THREAD; ++i)
    if (first + i < J) store_pack(dweight + (static_cast<int64_t>(position) * J + first + i) * shape.K + k, sum[i]);
}

// dx[n,c] of a pixel = sum over the outputs (p, q) and taps (r, s) that read it, and over k, of
// dy[n,p,q,k]·weight[p,q,r,s,c,k]: small matrix products of tiles in shared memory.
// Grid: x a pixel, y a tile of channels. Lanes are channels; a thread has IMAGES_DX images of a tile.
constexpr int IMAGES_DX = 4;
constexpr int TILE = 32;  // channels, images and values of k per product
// sass: locally_connected_data_kernel LDG STG registers<=80
__global__ void __launch_bounds__(THREADS, 3)
    locally_connected_data_kernel(Shape shape, const float* dy, const float* weight, float* dx) {
  GPUDL_SHARED(float, weights, [TILE][TILE + 1]);
  GPUDL_SHARED(float, gradients, [TILE][TILE]);
  const int lane = threadIdx.x, group = threadIdx.y, h = blockIdx.x / shape.W, w = blockIdx.x % shape.W;
  const int c = blockIdx.y * TILE;
  for (int n = 0; n < shape.N; n += TILE) {
    float sum[IMAGES_DX] = {};
    for (int tap = 0; tap < shape.R * shape.S; ++tap) {
      const int down = h + shape.padding.h - tap / shape.S, right = w + shape.padding.w - tap % shape.S;
      if (down < 0 || right < 0 || down % shape.stride.h != 0 || right % shape.stride.w != 0) continue;
      const int p = down / shape.stride.h, q = right / shape.stride.w;
      if (p >= shape.P || q >= shape.Q) continue;
      const int64_t position = static_cast<int64_t>(p) * shape.Q + q;
      for (int k = 0; k < shape.K; k += TILE) {
        __syncthreads();
        for (int i = group; i < TILE; i += SLICES) {
          const bool in_k = k + lane < shape.K;
          const int64_t row = (position * shape.R * shape.S + tap) * shape.C + c + i;
          weights[i][lane] = in_k && c + i < shape.C ? weight[row * shape.K + k + lane] : 0.f;
          const int64_t image = static_cast<int64_t>(n + i) * shape.P * shape.Q + position;
          gradients[i][lane] = in_k && n + i < shape.N ? dy[image * shape.K + k + lane] : 0.f;
        }
        __syncthreads();
#pragma unroll 8
        for (int i = 0; i < TILE; ++i) {
#pragma unroll
          for (int m = 0; m < IMAGES_DX; ++m)
            sum[m] = __fmaf_rn(weights[lane][i], gradients[group * IMAGES_DX + m][i], sum[m]);
        }
      }
    }
#pragma unroll
    for (int m = 0; m < IMAGES_DX; ++m) {
      const int image = n + group * IMAGES_DX + m;
      if (image < shape.N && c + lane < shape.C)
        dx[image * shape.image() + (static_cast<int64_t>(h) * shape.W + w) * shape.C + c + lane] = sum[m];
    }
  }
}

Shape shape_of(const int* x, const int* y, Pair kernel, Pair stride, Pair padding) {
  return {x[0], x[3], x[1], x[2], y[3], kernel.h, kernel.w, y[1], y[2], stride, padding};
}

dim3 grid_of(const Shape& shape, int pack, int j_tiles) {
  const int channels = (shape.K / pack + LANES - 1) / LANES;
  return dim3(static_cast<unsigned>(shape.P) * shape.Q, static_cast<unsigned>(channels),
              static_cast<unsigned>(j_tiles));
}

template <class... T>
bool packs(const Shape& shape, const T*... data) {
  return shape.K % 4 == 0 && (is_aligned<4>(data) && ...);
}

void locally_connected2d_forward_direct(Image x, Matrices<const float> weight, Maybe<View<const float, 3>> bias,
                                        ImageOut y, Pair kernel_size, Pair stride, Pair padding) {
  const Shape shape = shape_of(x.dim, y.dim, kernel_size, stride, padding);
  const bool four = packs(shape, weight.data, bias.data, y.data);
  launch(four ? locally_connected_forward_kernel<4> : locally_connected_forward_kernel<1>,
         grid_of(shape, four ? 4 : 1, 1), BLOCK, 0, shape, x.data, weight.data, bias.data, y.data);
}
GPUDL_EXPORT(locally_connected2d, forward, direct, x, weight, bias, y, kernel_size, stride, padding);

void locally_connected2d_backward_direct(Image dy, Image x, Matrices<const float> weight, Maybe<ImageOut> dx,
                                         Maybe<Matrices<float>> dweight, Maybe<View<float, 3>> dbias, Pair kernel_size,
                                         Pair stride, Pair padding) {
  const Shape shape = shape_of(x.dim, dy.dim, kernel_size, stride, padding);
  if (dx) {
    const dim3 grid(static_cast<unsigned>(shape.H) * shape.W, static_cast<unsigned>((shape.C + TILE - 1) / TILE));
    launch(locally_connected_data_kernel, grid, BLOCK, 0, shape, dy.data, weight.data, dx.data);
  }
  if (dweight || dbias) {
    const bool four = packs(shape, dy.data, dweight.data, dbias.data);
    const int j_tiles = dweight ? (shape.inputs() + SLICES * PER_THREAD - 1) / (SLICES * PER_THREAD) : 1;
    launch(four ? locally_connected_weights_kernel<4> : locally_connected_weights_kernel<1>,
           grid_of(shape, four ? 4 : 1, j_tiles), BLOCK, 0, shape, dy.data, x.data, dweight.data, dbias.data);
  }
}
GPUDL_EXPORT(locally_connected2d, backward, direct, dy, x, weight, dx, dweight, dbias, kernel_size, stride, padding);

}  // namespace
}  // namespace gpudl
