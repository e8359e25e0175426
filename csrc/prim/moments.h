// Count, mean and sum of squared distances from it of a set of numbers: a variance that keeps its digits however large
// the mean is.
#pragma once
#include "platform/device.h"

namespace gpudl::prim {

struct Moments {
  float count, mean, squares;
};

// Of the union of two sets (Chan, Golub, LeVeque 1979). Commutative up to rounding only: combine in a fixed order.
GPUDL_DEVICE Moments merge(Moments a, Moments b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float distance = b.mean - a.mean, share = __fdividef(b.count, count);
  return {count, a.mean + distance * share, a.squares + b.squares + distance * distance * a.count * share};
}

// Of four channels that have the same number of rows.
struct FourMoments {
  float count, mean[4], squares[4];

  GPUDL_DEVICE Moments at(int i) const { return {count, mean[i], squares[i]}; }
};

GPUDL_DEVICE FourMoments merge(const FourMoments& a, const FourMoments& b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float share = __fdividef(b.count, count), weight = a.count * share;
  FourMoments all{count, {}, {}};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float distance = b.mean[i] - a.mean[i];
    all.mean[i] = a.mean[i] + distance * share;
    all.squares[i] = a.squares[i] + b.squares[i] + distance * distance * weight;
  }
  return all;
}

}  // namespace gpudl::prim
