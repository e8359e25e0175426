// Convolution as a matrix product with the columns of x (prim/im2col.h), in float32 on CUDA cores (prim/gemm.h).
//   y = columns · weightᵀ + bias,  dcolumns = dy · weight,  dweight = dyᵀ · columns, one product a group.
// Images are taken a few at a time, so that their columns fit the workspace; a 1x1 window's columns are x itself.
#include <algorithm>

#include "core/check.h"
#include "core/export.h"
#include "prim/gemm.h"
#include "prim/im2col.h"
#include "prim/pixel_sums.h"

namespace gpudl {
namespace {

using Gemm = prim::Gemm<float>;
using prim::GemmMatrix;

constexpr int MAX_IMAGES = 65535;  // the limit of a grid's second extent

// The work cut into parts of as many images as the workspace holds columns of; what it holds beyond that is for partial
// sums of the weights' gradient.
struct Parts {
  ConvShape conv;
  bool pointwise;           // the columns are x itself
  int images;               // of one part
  float* columns;           // of one part
  View<float, 1> partials;  // the rest of the workspace

  Parts(const ConvShape& shape, View<float, 1> workspace) : conv(shape), columns(workspace.data) {
    const int64_t image = int64_t{1} * conv.P * conv.Q * conv.groups * conv.filter_size();
    pointwise = conv.R * conv.S * conv.stride.h * conv.stride.w == 1 && conv.P == conv.H && conv.Q == conv.W;
    check(pointwise || workspace.size() >= image, "workspace",
          "must hold the " + std::to_string(image) + " columns of at least one image");
    const int64_t room = pointwise ? INT32_MAX / 2 / (conv.P * conv.Q) : workspace.size() / image;
    images = static_cast<int>(std::clamp<int64_t>(std::min(room, int64_t{conv.N}), 1, MAX_IMAGES));
    const int64_t used = pointwise ? 0 : images * image;
    partials = {workspace.data + used, {static_cast<int>(std::max<int64_t>(0, workspace.size() - used))}};
  }

  int pixels(int count) const { return count * conv.P * conv.Q; }
  int64_t first_pixel(int first) const { return int64_t{1} * first * conv.P * conv.Q; }

  // Rows of the matrix of columns: one group's lie beside the other's. x: where a 1x1 window finds them.
  template <class T>
  GemmMatrix<T> matrix(T* x, int first) const {
    T* data = pointwise ? x + first_pixel(first) * conv.C : columns;
    return {data, int64_t{1} * conv.groups * conv.filter_size(), conv.filter_size()};
  }
  GemmMatrix<const float> filters(const float* weight) const {
    return {weight, conv.filter_size(), int64_t{1} * conv.group_k() * conv.filter_size()};
  }
  template <class T>
  GemmMatrix<T> output(T* y, int first) const {
    return {y + first_pixel(first) * conv.K, conv.K, conv.group_k()};
  }

  // f(first image, number of images), at least once.
  template <class F>
  void each(F f) const {
    int first = 0;
    do {
      f(first, std::min(images, conv.N - first));
      first += images;
    } while (first < conv.N);
  }
};

void conv2d_forward_im2col(Image x, Image weight, Maybe<View<const float, 1>> bias, ImageOut y,
                           View<float, 1> workspace, Pair stride, Pair padding, Pair dilation, int groups) {
  const Parts parts(conv_shape(x, weight, y.dim, stride, padding, dilation, groups), workspace);
  const ConvShape& conv = parts.conv;
  parts.each([&](int first, int images) {
    if (!parts.pointwise) prim::im2col(x.data, parts.columns, conv, first, images);
    Gemm gemm{.m = parts.pixels(images), .n = conv.group_k(), .k = conv.filter_size(), .batch = groups};
    gemm.a = parts.matrix(x.data, first);
    gemm.b = parts.filters(weight.data);
    gemm.b.transposed = true;
    gemm.c = parts.output(y.data, first);
    if (!bias || groups == 1) {
      gemm.epilogue.bias = bias.data;
      prim::gemm_simt(gemm);
      return;
    }
    gemm.batch = 1;  // the epilogue counts its bias from each product's first column
    for (int group = 0; group < groups; ++group) {
      gemm.epilogue.bias = bias.data + group * conv.group_k();
      prim::gemm_simt(gemm);
      gemm.a.data += gemm.a.batch_stride;
      gemm.b.data += gemm.b.batch_stride;
      gemm.c.data += gemm.c.batch_stride;
    }
  });
}
GPUDL_EXPORT(conv2d_forward_im2col, x, weight, bias, y, workspace, stride, padding, dilation, groups);

void data_gradient(const Parts& parts, const float* dy, const float* weight, float* dx) {
  const ConvShape& conv = parts.conv;
  parts.each([&](int first, int images) {
    prim::gemm_simt({.m = parts.pixels(images),
                     .n = conv.filter_size(),
                     .k = conv.group_k(),
                     .batch = conv.groups,
                     .a = parts.output(dy, first),
                     .b = parts.filters(weight),
                     .c = parts.matrix(dx, first)});
    if (!parts.pointwise) prim::col2im(parts.columns, dx, conv, first, images);
  });
}

void weight_gradient(const Parts& parts, const float* dy, const float* x, float* dweight) {
  const ConvShape& conv = parts.conv;
  parts.each([&](int first, int images) {
    if (!parts.pointwise) prim::im2col(x, parts.columns, conv, first, images);
    Gemm gemm{.m = conv.group_k(), .n = conv.filter_size(), .k = parts.pixels(images), .batch = conv.groups};
    gemm.a = parts.output(dy, first);
    gemm.a.transposed = true;
    gemm.b = parts.matrix(x, first);
    gemm.c = {dweight, conv.filter_size(), int64_t{1} * conv.group_k() * conv.filter_size()};
    gemm.epilogue.accumulate = first > 0;
    gemm.workspace = parts.partials;
    prim::gemm_simt(gemm);
  });
}

// The workspace holds columns and partial sums of the weights' gradient, then partial sums of the bias's: at least K.
void conv2d_backward_im2col(Image dy, Image x, Image weight, Maybe<ImageOut> dx, Maybe<ImageOut> dweight,
                            Maybe<View<float, 1>> dbias, View<float, 1> workspace, Pair stride, Pair padding,
                            Pair dilation, int groups) {
  const Parts parts(conv_shape(x, weight, dy.dim, stride, padding, dilation, groups), workspace);
  const ConvShape& conv = parts.conv;
  if (dx) data_gradient(parts, dy.data, weight.data, dx.data);
  if (dweight) weight_gradient(parts, dy.data, x.data, dweight.data);
  if (!dbias) return;
  const int splits = channel_splits(conv.pixels(), workspace.size() / conv.K);
  channel_sums(dy.data, dbias.data, conv.pixels(), conv.K, splits, workspace.data);
}
GPUDL_EXPORT(conv2d_backward_im2col, dy, x, weight, dx, dweight, dbias, workspace, stride, padding, dilation, groups);

}  // namespace
}  // namespace gpudl
