// Batch normalisation, fused with an addition and an activation. A channels-last activation (N,H,W,C) is a matrix of
// rows (n,h,w) and one column per channel, and so is a (N,C) batch: one set of kernels serves both.
//
// All kernels cut the matrix into tiles: a block of 256 threads takes `columns` neighbouring channels (a power of two
// up to 32, so that accesses coalesce) and 256/columns rows at a time. Sums go over rows in three fixed steps: a
// thread's own rows, the threads of a block in a tree, the blocks in order. No bit depends on timing.
#include "core/export.h"
#include "platform/device.h"

// sass: batch_norm_statistics_kernel registers<=40
// sass: batch_norm_forward_kernel registers<=40
// sass: batch_norm_backward_kernel registers<=48

namespace gpudl {
namespace {

constexpr int BLOCK = 256;
constexpr int ROWS_PER_THREAD = 8;  // of the elementwise kernels

using Vector = View<const float, 1>;
using MaybeVector = Maybe<Vector>;

struct Matrix {
  int64_t rows;
  int channels, columns;

  int tile_rows() const { return BLOCK / columns; }
  unsigned column_tiles() const { return static_cast<unsigned>((channels + columns - 1) / columns); }
  // One block row per `per_thread` rows of each of its threads.
  dim3 grid(int per_thread) const {
    const int64_t per_block = static_cast<int64_t>(tile_rows()) * per_thread;
    return dim3(static_cast<unsigned>((rows + per_block - 1) / per_block), column_tiles());
  }
  dim3 per_channel() const { return dim3((channels + BLOCK - 1) / BLOCK); }
};

template <class T, int RANK, Layout LAYOUT>
Matrix matrix_of(const View<T, RANK, LAYOUT>& x) {
  const int channels = x.dim[RANK - 1];
  int columns = 1;
  while (columns < 32 && columns < channels) columns *= 2;
  return {channels ? x.size() / channels : 0, channels, columns};
}

// A thread's place: its channel, and the first of its rows among `begin` to `end`.
struct Place {
  int channel, lane;
  GPUDL_DEVICE explicit Place(const Matrix& m)
      : channel(blockIdx.y * m.columns + threadIdx.x % m.columns), lane(threadIdx.x / m.columns) {}
};

// Rows of part `part` of `parts`.
struct Range {
  int64_t begin, end;
};
GPUDL_DEVICE Range rows_of(const Matrix& m, int part, int parts) {
  const int64_t each = (m.rows + parts - 1) / parts;
  const int64_t begin = part * each < m.rows ? part * each : m.rows;
  return {begin, begin + each < m.rows ? begin + each : m.rows};
}

// Count, mean and sum of squared distances from it of a set of numbers.
struct Moments {
  float count, mean, squares;
};

// Of the union of two sets (Chan, Golub, LeVeque 1979).
GPUDL_DEVICE Moments merge(Moments a, Moments b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float distance = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + distance * share, a.squares + b.squares + distance * distance * a.count * share};
}

// partial[part] = moments of each channel over the rows of one part: [part][mean, squares][channel].
// Grid: (parts, column tiles). A thread follows Welford 1962 down its rows. All numbers are taken relative to the
// channel's first, which keeps the digits of the variance when the mean is thousands of times larger.
__global__ void __launch_bounds__(BLOCK) batch_norm_statistics_kernel(Matrix m, const float* x, float* partial) {
  GPUDL_SHARED(Moments, shared, [BLOCK]);
  const Place place(m);
  const Range rows = rows_of(m, blockIdx.x, gridDim.x);
  const int step = BLOCK / m.columns;
  Moments mine{0, 0, 0};
  if (place.channel < m.channels) {
    const float origin = x[place.channel];
    for (int64_t row = rows.begin + place.lane; row < rows.end; row += step) {
      const float value = x[row * m.channels + place.channel] - origin, distance = value - mine.mean;
      mine.count += 1;
      mine.mean += __fdividef(distance, mine.count);  // 2 ulp of a small step; an exact one spills
      mine.squares += distance * (value - mine.mean);
    }
  }
  shared[threadIdx.x] = mine;
  for (int half = step / 2; half > 0; half /= 2) {
    __syncthreads();
    if (place.lane < half) shared[threadIdx.x] = merge(shared[threadIdx.x], shared[threadIdx.x + half * m.columns]);
  }
  if (place.lane == 0 && place.channel < m.channels) {
    partial[(2 * blockIdx.x) * m.channels + place.channel] = shared[threadIdx.x].mean;
    partial[(2 * blockIdx.x + 1) * m.channels + place.channel] = shared[threadIdx.x].squares;
  }
}

struct Running {
  float *mean, *var;
  float momentum;
};

// Merges the parts in order; writes mean, 1/sqrt(var + eps) and moves the running statistics towards the batch's.
// One thread per channel.
__global__ void batch_norm_merge_kernel(Matrix m, const float* x, const float* partial, int parts, float eps,
                                        float* mean, float* invstd, Running running) {
  const int c = blockIdx.x * BLOCK + threadIdx.x;
  if (c >= m.channels) return;
  Moments all{0, 0, 0};
  for (int part = 0; part < parts; ++part) {
    const Range rows = rows_of(m, part, parts);
    const float count = static_cast<float>(rows.end - rows.begin);
    all = merge(all, {count, partial[2 * part * m.channels + c], partial[(2 * part + 1) * m.channels + c]});
  }
  mean[c] = x[c] + all.mean;
  invstd[c] = __fdiv_rn(1.f, __fsqrt_rn(all.squares / all.count + eps));
  const float keep = 1 - running.momentum;
  if (running.mean) running.mean[c] = keep * running.mean[c] + running.momentum * mean[c];
  if (running.var) running.var[c] = keep * running.var[c] + running.momentum * (all.squares / (all.count - 1));
}

// Inference: the running statistics stand in for the batch's. One thread per channel.
__global__ void batch_norm_running_kernel(Matrix m, Running running, float eps, float* mean, float* invstd) {
  const int c = blockIdx.x * BLOCK + threadIdx.x;
  if (c >= m.channels) return;
  mean[c] = running.mean[c];
  invstd[c] = __fdiv_rn(1.f, __fsqrt_rn(running.var[c] + eps));
}

// y = activation((x - mean)·invstd·weight + bias + residual). Grid: (row tiles, column tiles).
__global__ void __launch_bounds__(BLOCK)
    batch_norm_forward_kernel(Matrix m, const float* x, const float* residual, float* y, Vector mean, Vector invstd,
                              MaybeVector weight, MaybeVector bias, bool relu) {
  const Place place(m);
  if (place.channel >= m.channels) return;
  const int c = place.channel, step = BLOCK / m.columns;
  const float center = mean(c), scale = weight ? invstd(c) * weight(c) : invstd(c), shift = bias ? bias(c) : 0.f;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * step * ROWS_PER_THREAD + place.lane;
#pragma unroll
  for (int i = 0; i < ROWS_PER_THREAD; ++i) {
    const int64_t row = first + i * step, at = row * m.channels + c;
    if (row >= m.rows) return;
    float value = (x[at] - center) * scale + shift;
    if (residual) value += residual[at];
    y[at] = relu && value <= 0 ? 0.f : value;
  }
}

// What backward reads: gradient, output (only where an activation masks it) and input.
struct Gradient {
  const float *dy, *y, *x;
  GPUDL_DEVICE float operator()(int64_t at) const { return y && y[at] <= 0 ? 0.f : dy[at]; }
};

// partial[part] = sums of g and of g·(x - mean)·invstd over the rows of one part: [part][2][channel].
__global__ void __launch_bounds__(BLOCK)
    batch_norm_gradient_sums_kernel(Matrix m, Gradient g, Vector mean, Vector invstd, float* partial) {
  GPUDL_SHARED(float2, shared, [BLOCK]);
  const Place place(m);
  const Range rows = rows_of(m, blockIdx.x, gridDim.x);
  const int c = place.channel, step = BLOCK / m.columns;
  float2 mine = make_float2(0, 0);
  if (c < m.channels) {
    const float center = mean(c), scale = invstd(c);
    for (int64_t row = rows.begin + place.lane; row < rows.end; row += step) {
      const int64_t at = row * m.channels + c;
      mine.x += g(at);
      mine.y += g(at) * ((g.x[at] - center) * scale);
    }
  }
  shared[threadIdx.x] = mine;
  for (int half = step / 2; half > 0; half /= 2) {
    __syncthreads();
    if (place.lane < half) {
      const float2 other = shared[threadIdx.x + half * m.columns];
      shared[threadIdx.x].x += other.x;
      shared[threadIdx.x].y += other.y;
    }
  }
  if (place.lane == 0 && c < m.channels) {
    partial[2 * blockIdx.x * m.channels + c] = shared[threadIdx.x].x;
    partial[(2 * blockIdx.x + 1) * m.channels + c] = shared[threadIdx.x].y;
  }
}

// Adds the parts in order into sums[2][channel], which are also the gradients of bias and weight. One thread per
// channel.
__global__ void batch_norm_gradient_merge_kernel(Matrix m, const float* partial, int parts, float* sums,
                                                 Maybe<View<float, 1>> dweight, Maybe<View<float, 1>> dbias) {
  const int c = blockIdx.x * BLOCK + threadIdx.x;
  if (c >= m.channels) return;
  float sum_g = 0, sum_gx = 0;
  for (int part = 0; part < parts; ++part) {
    sum_g += partial[2 * part * m.channels + c];
    sum_gx += partial[(2 * part + 1) * m.channels + c];
  }
  sums[c] = sum_g;
  sums[m.channels + c] = sum_gx;
  if (dbias) dbias(c) = sum_g;
  if (dweight) dweight(c) = sum_gx;
}

// What is saved or given per channel.
struct Channels {
  Vector mean, invstd;
  MaybeVector weight, dmean, dinvstd;
};

// dx = scale·(g - sum g/M - xhat·sum(g·xhat)/M) + dmean/M - dinvstd·invstd²·xhat/M with scale = weight·invstd; in
// inference dx = scale·g, and `sums` is null. dresidual = g. Grid: (row tiles, column tiles).
__global__ void __launch_bounds__(BLOCK)
    batch_norm_backward_kernel(Matrix m, Gradient g, Channels per, const float* sums, float* dx, float* dresidual) {
  const Place place(m);
  if (place.channel >= m.channels) return;
  const int c = place.channel, step = BLOCK / m.columns;
  const float center = per.mean(c), invstd = per.invstd(c), scale = per.weight ? invstd * per.weight(c) : invstd;
  float constant = 0, slope = 0;
  if (sums) {
    const float share = 1.f / static_cast<float>(m.rows);
    constant = -scale * sums[c] * share + (per.dmean ? per.dmean(c) * share : 0.f);
    slope = -scale * sums[m.channels + c] * share - (per.dinvstd ? per.dinvstd(c) * invstd * invstd * share : 0.f);
  }
  const int64_t first = static_cast<int64_t>(blockIdx.x) * step * ROWS_PER_THREAD + place.lane;
#pragma unroll
  for (int i = 0; i < ROWS_PER_THREAD; ++i) {
    const int64_t row = first + i * step, at = row * m.channels + c;
    if (row >= m.rows) return;
    const float gradient = g(at);
    if (dx) dx[at] = gradient * scale + ((g.x[at] - center) * invstd * slope + constant);
    if (dresidual) dresidual[at] = gradient;
  }
}

// What `workspace` has room for: [part][2][channel].
int parts_in(const View<float, 1>& workspace, const Matrix& m) {
  return m.channels ? static_cast<int>(workspace.size() / (2 * m.channels)) : 0;
}

template <int RANK, Layout LAYOUT>
struct BatchNorm {
  using Input = View<const float, RANK, LAYOUT>;
  using MaybeInput = Maybe<Input>;
  using Output = View<float, RANK, LAYOUT>;
  using MaybeOutput = Maybe<Output>;
  using Statistic = Maybe<View<float, 1>>;

  static void forward(Input x, Statistic running_mean, Statistic running_var, MaybeVector weight, MaybeVector bias,
                      MaybeInput residual, Output y, View<float, 1> mean, View<float, 1> invstd,
                      View<float, 1> workspace, bool training, float momentum, float eps, int activation) {
    const Matrix m = matrix_of(x);
    const Running running{running_mean.data, running_var.data, momentum};
    if (training) {
      const int parts = parts_in(workspace, m);
      launch(batch_norm_statistics_kernel, dim3(parts, m.column_tiles()), BLOCK, 0, m, x.data, workspace.data);
      launch(batch_norm_merge_kernel, m.per_channel(), BLOCK, 0, m, x.data, workspace.data, parts, eps, mean.data,
             invstd.data, running);
    } else {
      launch(batch_norm_running_kernel, m.per_channel(), BLOCK, 0, m, running, eps, mean.data, invstd.data);
    }
    const Vector center{mean.data, {mean.dim[0]}}, scale{invstd.data, {invstd.dim[0]}};
    launch(batch_norm_forward_kernel, m.grid(ROWS_PER_THREAD), BLOCK, 0, m, x.data, residual.data, y.data, center,
           scale, weight, bias, activation != 0);
  }

  static void backward(Input dy, MaybeVector dmean, MaybeVector dinvstd, Input x, MaybeVector weight, MaybeInput y,
                       Vector mean, Vector invstd, MaybeOutput dx, Statistic dweight, Statistic dbias,
                       MaybeOutput dresidual, View<float, 1> workspace, bool training) {
    const Matrix m = matrix_of(x);
    const Gradient g{dy.data, y.data, x.data};
    const int parts = parts_in(workspace, m) - 1;
    float* const sums = workspace.data + 2 * static_cast<int64_t>(parts) * m.channels;
    const bool sums_needed = training || dweight || dbias;
    if (sums_needed) {
      launch(batch_norm_gradient_sums_kernel, dim3(parts, m.column_tiles()), BLOCK, 0, m, g, mean, invstd,
             workspace.data);
      launch(batch_norm_gradient_merge_kernel, m.per_channel(), BLOCK, 0, m, workspace.data, parts, sums, dweight,
             dbias);
    }
    if (dx || dresidual)
      launch(batch_norm_backward_kernel, m.grid(ROWS_PER_THREAD), BLOCK, 0, m, g,
             Channels{mean, invstd, weight, dmean, dinvstd}, training ? sums : nullptr, dx.data, dresidual.data);
  }
};

constexpr auto& batch_norm_forward_nhwc = BatchNorm<4, nhwc>::forward;
constexpr auto& batch_norm_forward_matrix = BatchNorm<2, nchw>::forward;
constexpr auto& batch_norm_backward_nhwc = BatchNorm<4, nhwc>::backward;
constexpr auto& batch_norm_backward_matrix = BatchNorm<2, nchw>::backward;

GPUDL_EXPORT(batch_norm_forward_nhwc, x, running_mean, running_var, weight, bias, residual, y, mean, invstd, workspace,
             training, momentum, eps, activation);
GPUDL_EXPORT(batch_norm_forward_matrix, x, running_mean, running_var, weight, bias, residual, y, mean, invstd,
             workspace, training, momentum, eps, activation);
GPUDL_EXPORT(batch_norm_backward_nhwc, dy, dmean, dinvstd, x, weight, y, mean, invstd, dx, dweight, dbias, dresidual,
             workspace, training);
GPUDL_EXPORT(batch_norm_backward_matrix, dy, dmean, dinvstd, x, weight, y, mean, invstd, dx, dweight, dbias, dresidual,
             workspace, training);

}  // namespace
}  // namespace gpudl
