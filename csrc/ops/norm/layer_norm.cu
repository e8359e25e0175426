// Layer and RMS normalisation over the last axes, seen as rows: a group of threads per row (prim/held_rows.h) reads it
// once, 8 bytes per element forward, 12 backward for dx. The gradients of weight and bias are sums over the rows, in
// two stages of fixed order, with one more read of dy and x.
#include "core/export.h"
#include "prim/column_parts.h"
#include "prim/held_rows.h"

namespace gpudl {
namespace {

using namespace prim;
// Tensors of any rank as one long row.
using In = View<const float, 1, rows>;
using Out = View<float, 1, rows>;

struct Two {
  float a, b;
};
struct AddTwo {
  GPUDL_DEVICE Two operator()(Two x, Two y) const { return {x.a + y.a, x.b + y.b}; }
};

// y = (x - mean)·invstd·weight + bias; RMS: y = x·invrms·weight (mean is null). Mean and variance come from two passes
// over registers; the second corrects the rounding error of the mean (Chan, Golub, LeVeque 1983).
// sass: layer_norm_forward_rows_kernel SHFL registers<=64
template <class R>
__global__ void __launch_bounds__(HELD_BLOCK, 4)
    layer_norm_forward_rows_kernel(int rows, int columns, const float* x, const float* weight, const float* bias,
                                   float* y, float* mean, float* invstd, float eps) {
  const R row(rows, columns);
  const auto values = row.load(x);
  const float share = 1.f / static_cast<float>(columns);
  float center = 0;
  if (mean) {
    float sum = 0;
    row.each([&](int, float v) { sum += v; }, values);
    center = row.reduce(sum, Sum{}) * share;
  }
  Two sums{0, 0};
  row.each(
      [&](int, float v) {
        sums.a += v - center;
        sums.b += (v - center) * (v - center);
      },
      values);
  sums = row.reduce(sums, AddTwo{});
  const float correction = mean ? sums.a * share : 0.f;
  center += correction;
  const float scale = __fdiv_rn(1.f, __fsqrt_rn(sums.b * share - correction * correction + eps));
  if (row.inside && row.lane == 0) {
    if (mean) mean[row.index] = center;
    invstd[row.index] = scale;
  }
  row.write(
      y, [=](int, float v, float w, float b) { return (v - center) * scale * w + b; }, values, row.vector(weight, 1),
      row.vector(bias, 0));
}

struct Backward {
  const float *dy, *x, *weight, *mean, *invstd, *dmean, *dinvstd;
  float *dx, *dweight, *dbias;
};

// With g = dy·weight and xhat = (x - mean)·invstd:
// dx = invstd·(g - Σ g/C - xhat·Σ(g·xhat)/C) + dmean/C - dinvstd·invstd²·xhat/C, without Σ g for RMS.
// sass: layer_norm_backward_rows_kernel SHFL registers<=64
template <class R>
__global__ void __launch_bounds__(HELD_BLOCK, 4) layer_norm_backward_rows_kernel(int rows, int columns, Backward b) {
  const R row(rows, columns);
  const auto gradient = row.load(b.dy), values = row.load(b.x);
  const auto scales = row.vector(b.weight, 1);
  const auto of_row = [&](const float* from) { return from && row.inside ? from[row.index] : 0.f; };
  const float center = of_row(b.mean), scale = of_row(b.invstd);
  Two sums{0, 0};
  row.each(
      [&](int, float d, float v, float w) {
        sums.a += d * w;
        sums.b += d * w * ((v - center) * scale);
      },
      gradient, values, scales);
  sums = row.reduce(sums, AddTwo{});
  const float share = 1.f / static_cast<float>(columns);
  const float slope = scale * share * (sums.b + of_row(b.dinvstd) * scale);
  const float constant = share * (of_row(b.dmean) - (b.mean ? sums.a * scale : 0.f));
  row.write(
      b.dx, [=](int, float d, float v, float w) { return scale * (d * w) - (v - center) * scale * slope + constant; },
      gradient, values, scales);
}

// partial[part] = Σ dy·xhat and Σ dy of each column over every gridDim.x-th row group. Grid: (parts, tiles); a thread
// takes four columns of a row.
// sass: layer_norm_column_sums_kernel registers<=64
template <bool ALIGNED>
__global__ void __launch_bounds__(CHUNK_BLOCK, 4)
    layer_norm_column_sums_kernel(ChannelRows m, const float* dy, const float* x, const float* mean,
                                  const float* invstd, float* partial) {
  GPUDL_SHARED(Eight, shared, [CHUNK_BLOCK]);
  const ChannelPlace place(m, blockIdx.y);
  Eight sums{};
  const int64_t step = static_cast<int64_t>(gridDim.x) * m.lanes;
#pragma unroll 2
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * m.lanes + place.lane; row < m.rows; row += step) {
    if (place.count == 0) break;
    const int64_t at = row * m.channels + place.channel;
    const Four g = load_four<ALIGNED>(dy + at, place.count), v = load_four<ALIGNED>(x + at, place.count);
    const float center = mean ? mean[row] : 0.f, scale = invstd[row];
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      sums.at[c] += g.at[c] * ((v.at[c] - center) * scale);
      sums.at[4 + c] += g.at[c];
    }
  }
  store_partial(m, place, combine_lanes(m, sums, shared, AddPacks{}), partial, blockIdx.x);
}

struct Forward {
  const float *x, *weight, *bias;
  float *y, *mean, *invstd;
};

void forward(const Forward& f, int64_t size, int columns, float eps) {
  if (size == 0 || columns == 0) return;
  const int rows = static_cast<int>(size / columns);
  for_rows_of(
      columns,
      [&](auto* kind) {
        using R = std::remove_pointer_t<decltype(kind)>;
        launch(layer_norm_forward_rows_kernel<R>, R::grid(rows), HELD_BLOCK, 0, rows, columns, f.x, f.weight, f.bias,
               f.y, f.mean, f.invstd, eps);
      },
      f.x, f.weight, f.bias, static_cast<const float*>(f.y));
}

void backward(const Backward& b, int64_t size, int columns, const View<float, 1>& workspace) {
  if (columns == 0) return;
  const int rows = static_cast<int>(size / columns);
  const float* const dx = b.dx;
  if (dx)
    for_rows_of(
        columns,
        [&](auto* kind) {
          using R = std::remove_pointer_t<decltype(kind)>;
          launch(layer_norm_backward_rows_kernel<R>, R::grid(rows), HELD_BLOCK, 0, rows, columns, b);
        },
        b.dy, b.x, b.weight, dx);
  if (!b.dweight && !b.dbias) return;
  const ChannelRows m = ChannelRows::of(View<const float, 2>{b.x, {rows, columns}}, CHUNK_BLOCK, CHUNK_COLUMNS);
  const bool wide = columns % 4 == 0 && is_aligned<4>(b.dy) && is_aligned<4>(b.x);
  const int64_t room = workspace.size() / (2 * static_cast<int64_t>(columns)), enough = (rows + m.lanes - 1) / m.lanes;
  const int parts = static_cast<int>(std::min(room, enough));
  launch(wide ? layer_norm_column_sums_kernel<true> : layer_norm_column_sums_kernel<false>, dim3(parts, m.tile_rows()),
         CHUNK_BLOCK, 0, m, b.dy, b.x, b.mean, b.invstd, workspace.data);
  add_parts(workspace.data, parts, columns, b.dweight, b.dbias);
}

void layer_norm_forward_rows(In x, Maybe<In> weight, Maybe<In> bias, Out y, Out mean, Out invstd, int columns,
                             float eps) {
  forward({x.data, weight.data, bias.data, y.data, mean.data, invstd.data}, x.size(), columns, eps);
}
GPUDL_EXPORT(layer_norm, forward, rows, x, weight, bias, y, mean, invstd, columns, eps);

void layer_norm_backward_rows(In dy, Maybe<In> dmean, Maybe<In> dinvstd, In x, Maybe<In> weight, In mean, In invstd,
                              Maybe<Out> dx, Maybe<Out> dweight, Maybe<Out> dbias, View<float, 1> workspace,
                              int columns) {
  backward({dy.data, x.data, weight.data, mean.data, invstd.data, dmean.data, dinvstd.data, dx.data, dweight.data,
            dbias.data},
           x.size(), columns, workspace);
}

// The partial sums of the gradients of weight and bias: up to 512 parts of 32 rows.
int64_t layer_norm_backward_workspace(In x, int columns) {
  const int64_t part = int64_t{32} * std::max(1, columns);
  return 2 * std::clamp<int64_t>((x.size() + part - 1) / part, 1, 512) * columns;
}
GPUDL_EXPORT(layer_norm, backward, rows, dy, dmean, dinvstd, x, weight, mean, invstd, dx, dweight, dbias, workspace,
             columns)
    .workspace<layer_norm_backward_workspace>("x, columns");

void rms_norm_forward_rows(In x, Maybe<In> weight, Out y, Out invrms, int columns, float eps) {
  forward({x.data, weight.data, nullptr, y.data, nullptr, invrms.data}, x.size(), columns, eps);
}
GPUDL_EXPORT(rms_norm, forward, rows, x, weight, y, invrms, columns, eps);

void rms_norm_backward_rows(In dy, Maybe<In> dinvrms, In x, Maybe<In> weight, In invrms, Maybe<Out> dx,
                            Maybe<Out> dweight, View<float, 1> workspace, int columns) {
  backward({dy.data, x.data, weight.data, nullptr, invrms.data, nullptr, dinvrms.data, dx.data, dweight.data, nullptr},
           x.size(), columns, workspace);
}
GPUDL_EXPORT(rms_norm, backward, rows, dy, dinvrms, x, weight, invrms, dx, dweight, workspace, columns)
    .workspace<layer_norm_backward_workspace>("x, columns");

}  // namespace
}  // namespace gpudl
