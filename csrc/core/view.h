// View: a typed pointer with its dimensions, a tensor as kernels see it.
#pragma once
#include <cstdint>

#include "platform/host_device.h"

namespace gpudl {

// The memory order of a tensor. nchw: the last logical axis is fastest (plain row-major, any rank). nhwc:
// channels-last, a logical (N,C,H,W) tensor stored as (N,H,W,C). any: dense in some order, which an elementwise kernel
// ignores. rows: plain row-major of any rank, seen as rows of the last axis (RANK 2) or as one long row (RANK 1).
enum class Layout { nchw, nhwc, any, rows };
using enum Layout;

// Dimensions are in memory order: dim[RANK-1] is the fastest. An nhwc view of a (N,C,H,W) tensor has dim = {N,H,W,C}.
// One of rank 5, {N,D,H,W,C}, also takes (N,C), (N,C,W) and (N,C,H,W) tensors: missing axes have size 1.
template <class T, int RANK, Layout LAYOUT = Layout::nchw>
struct View {
  T* data = nullptr;
  int dim[RANK] = {};

  template <class... Index>
  GPUDL_HD int64_t offset(Index... index) const {
    static_assert(sizeof...(Index) == RANK, "one index per axis");
    const int at[] = {static_cast<int>(index)...};
    int64_t flat = at[0];
    for (int axis = 1; axis < RANK; ++axis) flat = flat * dim[axis] + at[axis];
    return flat;
  }
  template <class... Index>
  GPUDL_HD T& operator()(Index... index) const {
    return data[offset(index...)];
  }
  GPUDL_HD int64_t size() const {
    int64_t n = 1;
    for (int axis = 0; axis < RANK; ++axis) n *= dim[axis];
    return n;
  }
};

// Channels-last activations or weights, {N, D, H, W, C}.
template <class T>
using Volume = View<T, 5, nhwc>;

// A stack of matrices: an array of any rank in plain row-major order, dim = {product of the leading axes, rows,
// columns}. An array with one axis is a single row.
template <class T>
struct Matrices : View<T, 3> {};

// An argument that may be absent; data is then null.
template <class V>
struct Maybe : V {
  GPUDL_HD explicit operator bool() const { return this->data != nullptr; }
};

// A two-dimensional parameter: kernel size, stride, padding, dilation.
struct Pair {
  int h, w;
};

// The same in three dimensions.
struct Triple {
  int d, h, w;
};

}  // namespace gpudl
