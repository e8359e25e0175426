// Shared by the kernels of batch normalisation: the final activation, the running statistics, and the coefficients of
// each channel.
#pragma once
#include <algorithm>

#include "prim/channels.h"

namespace gpudl::prim {

using Vector = View<const float, 1>;
using MaybeVector = Maybe<Vector>;
using Statistic = Maybe<View<float, 1>>;
using Bits = View<uint8_t, 2>;  // the activation's mask; (0, 0) if it is not stored

// Number of parts of a sum over rows. A part is about 4096 elements: rows of as many channels as a block covers.
constexpr int64_t NORM_COLUMNS = 4 * CHUNK_COLUMNS;
inline int64_t norm_parts(int64_t rows, int64_t channels, int64_t most) {
  const int64_t enough = (rows * std::min(channels, NORM_COLUMNS) + 4095) / 4096;
  return std::max<int64_t>(1, std::min(most, enough));
}

constexpr int64_t NORM_BLOCKS = 512;  // maximum number of blocks that sum over an array
inline int64_t batch_norm_parts(const View<const float, 5, nhwc>& x) {
  const int64_t channels = std::max(1, x.dim[4]);
  return norm_parts(x.size() / channels, channels, NORM_BLOCKS * NORM_COLUMNS / std::max(channels, NORM_COLUMNS));
}

// y = f(z), z the value after the addition. f either passes z or applies a fixed slope, so one bit per element suffices
// for backward. NaN passes, as in PyTorch.
struct NormActivation {
  enum Kind : int { none, relu, relu6, leaky_relu };
  int kind;

  GPUDL_DEVICE float operator()(float z) const {
    if (kind == none || (z > 0 && kind != relu6)) return z;
    if (kind == leaky_relu) return z * SLOPE;
    if (kind == relu6 && z > 6) return 6;
    return z <= 0 ? 0.f : z;
  }
  GPUDL_DEVICE bool passes(float y) const { return !(y <= 0 || (kind == relu6 && y >= 6)); }
  // The factor of dy where z did not pass.
  GPUDL_DEVICE float slope() const { return kind == leaky_relu ? SLOPE : 0.f; }

  static constexpr float SLOPE = 0.01f;
};

// g = dz, from dy and what forward saved: one bit per element, the output, or nothing.
struct Gradient {
  const float* dy;
  const float* y;
  const uint8_t* mask;
  NormActivation activation;

  template <bool ALIGNED>
  GPUDL_DEVICE Four load(const ChannelRows& m, int64_t row, int channel, int count) const {
    const int64_t at = row * m.channels + channel;
    Four g = load_four<ALIGNED>(dy + at, count);
    if (activation.kind == NormActivation::none) return g;
    unsigned bits = 0;
    if (mask) {
      bits = load_bits(mask, m, row, channel);
    } else {
      const Four out = load_four<ALIGNED>(y + at, count);
#pragma unroll
      for (int i = 0; i < 4; ++i) bits |= activation.passes(out.at[i]) ? 1u << i : 0u;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (!(bits >> i & 1u)) g.at[i] = activation.slope() == 0 ? 0.f : g.at[i] * activation.slope();
    return g;
  }
};

// Running statistics. batches counts the batches; `cumulative` averages over all of them by that count.
struct Running {
  float *mean, *var;
  int64_t* batches;
  float momentum;
  bool cumulative;

  // Called by one thread of the grid, before any other reads the count.
  GPUDL_DEVICE void count() const {
    if (batches) ++*batches;
  }
  GPUDL_DEVICE void update(int channel, float batch_mean, float squares, float rows) const {
    if (!mean) return;
    const float share = cumulative && batches ? 1.f / static_cast<float>(*batches) : momentum;
    mean[channel] = (1 - share) * mean[channel] + share * batch_mean;
    var[channel] = (1 - share) * var[channel] + share * (squares / (rows - 1));
  }
};

// dx = g·scale + (x - mean)·slope + constant.
struct Slopes {
  float scale, slope, constant;
};

struct BackwardVectors {
  MaybeVector weight, dmean, dinvstd;

  // sum_g = Σ g and sum_gx = Σ g·(x - mean)·invstd over `count` rows, in training; from
  // dx = scale·(g - sum_g/count - xhat·sum_gx/count) + dmean/count - dinvstd·invstd²·xhat/count, scale = weight·invstd.
  GPUDL_DEVICE Slopes slopes(int c, float invstd, float sum_g, float sum_gx, float count, bool training) const {
    const float scale = weight ? invstd * weight(c) : invstd;
    if (!training) return {scale, 0, 0};
    const float given = dinvstd ? dinvstd(c) * invstd * invstd : 0.f;
    return {scale, -(scale * sum_gx + given) * invstd / count, ((dmean ? dmean(c) : 0.f) - scale * sum_g) / count};
  }
};

}  // namespace gpudl::prim
