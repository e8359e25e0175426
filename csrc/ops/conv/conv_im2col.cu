// Convolution as a matrix product with the columns of x (ops/conv/im2col.h), in float32 on CUDA cores
// (prim/gemm/gemm.h).
//   y = columns · weightᵀ + bias,  dcolumns = dy · weight,  dweight = dyᵀ · columns, one product per group.
// Images are processed a few at a time, so that their columns fit in the workspace; a 1x1 window's columns are x
// itself.
//
// sass: im2col_kernel registers<=40
// sass: col2im_kernel registers<=64
#include "ops/conv/im2col.h"

#include <algorithm>

#include "ops/conv/conv_export.h"
#include "prim/gemm/gemm.h"

namespace gpudl {
namespace {

using Gemm = prim::Gemm<float>;
using prim::GemmMatrix;

constexpr int MAX_IMAGES = 65535;         // the limit of gridDim.y
constexpr int64_t MAX_COLUMNS = 1 << 24;  // elements in the workspace at once, unless a single image has more

int64_t columns_of_image(const ConvShape& conv) {
  return int64_t{1} * conv.output_pixels() * conv.groups * conv.filter_size();
}

// The batch split into parts of as many images as the workspace holds columns for; the rest of the workspace is for
// partial sums of the weights' gradient.
struct Parts {
  ConvShape conv;
  bool pointwise;      // the columns are x itself
  int images;          // per part
  float* columns;      // of the current part
  Workspace partials;  // the rest of the workspace

  Parts(const ConvShape& shape, Workspace workspace) : conv(shape), columns(workspace.data) {
    const int64_t image = columns_of_image(conv);
    pointwise = is_pointwise(conv);
    check(pointwise || workspace.size() >= image, "workspace",
          "must hold the " + std::to_string(image) + " columns of at least one image");
    const int64_t room = pointwise ? INT32_MAX / 2 / conv.output_pixels() : workspace.size() / image;
    images = static_cast<int>(std::clamp<int64_t>(std::min(room, int64_t{conv.N}), 1, MAX_IMAGES));
    const int64_t used = pointwise ? 0 : images * image;
    partials = {workspace.data + used, {static_cast<int>(std::max<int64_t>(0, workspace.size() - used))}};
  }

  int pixels(int count) const { return count * conv.output_pixels(); }
  int64_t first_pixel(int first) const { return int64_t{1} * first * conv.output_pixels(); }

  // The matrix of columns, with groups side by side. x: the columns of a 1x1 window.
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

  // Call f(first image, number of images), at least once.
  template <class F>
  void each(F f) const {
    int first = 0;
    do {
      f(first, std::min(images, conv.N - first));
      first += images;
    } while (first < conv.N);
  }
};

// values[i] = finish(values[i]) over pixels of `channels`. Grid: one thread per element.
constexpr int FINISH_BLOCK = 256;
__global__ void __launch_bounds__(FINISH_BLOCK)
    conv_finish_kernel(float* values, int64_t size, int channels, ConvFinish<float> finish) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * FINISH_BLOCK + threadIdx.x;
  if (i < size) values[i] = finish(values[i], static_cast<int>(i % channels), i);
}

void finish_sums(float* values, int64_t size, int channels, const ConvFinish<float>& finish) {
  if (finish.bias == nullptr && finish.residual == nullptr && !finish.relu) return;
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(size, FINISH_BLOCK)));
  launch(conv_finish_kernel, grid, FINISH_BLOCK, 0, values, size, channels, finish);
}

struct Im2col {
  using Element = float;
  static constexpr Computes COMPUTES{};

  // Number of images whose columns the workspace holds.
  static int64_t images(const ConvShape& conv) {
    return std::clamp<int64_t>(MAX_COLUMNS / std::max<int64_t>(1, columns_of_image(conv)), 1, std::max(1, conv.N));
  }
  static int64_t forward_workspace(const ConvShape& conv) {
    return is_pointwise(conv) ? 0 : images(conv) * columns_of_image(conv);
  }
  static int64_t data_workspace(const ConvShape& conv) { return forward_workspace(conv); }
  static int64_t weight_workspace(const ConvShape& conv) {
    const int64_t pixels = images(conv) * conv.output_pixels();
    return forward_workspace(conv) + prim::gemm_workspace(conv.group_k(), conv.filter_size(), pixels, conv.groups);
  }

  // The product adds the bias and applies the activation if it can. Its epilogue counts biases from each product's
  // first column, so not with groups, and it does not support a residual.
  static void forward(const ConvShape& conv, const float* x, const float* weight, float* y,
                      const ConvFinish<float>& finish, Workspace workspace) {
    const Parts parts(conv, workspace);
    const bool epilogue = finish.residual == nullptr && conv.groups == 1;
    parts.each([&](int first, int images) {
      if (!parts.pointwise) prim::im2col(x, parts.columns, conv, first, images);
      Gemm gemm{.m = parts.pixels(images), .n = conv.group_k(), .k = conv.filter_size(), .batch = conv.groups};
      gemm.a = parts.matrix(x, first);
      gemm.b = parts.filters(weight);
      gemm.b.transposed = true;
      gemm.c = parts.output(y, first);
      if (epilogue) {
        gemm.epilogue.bias = finish.bias;
        if (finish.relu) gemm.epilogue.activation = prim::Activation::relu;
      }
      prim::gemm_simt(gemm);
    });
    if (!epilogue) finish_sums(y, conv.pixels() * conv.K, conv.K, finish);
  }

  static void data_gradient(const ConvShape& conv, const float* dy, const float* weight, float* dx,
                            const ConvFinish<float>& finish, Workspace workspace) {
    const Parts parts(conv, workspace);
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
    finish_sums(dx, int64_t{1} * conv.N * conv.image_pixels() * conv.C, conv.C, finish);
  }

  static void weight_gradient(const ConvShape& conv, const float* dy, const float* x, float* dweight,
                              Workspace workspace) {
    const Parts parts(conv, workspace);
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
};

GPUDL_CONV(conv1d, im2col, Im2col);
GPUDL_CONV(conv2d, im2col, Im2col);
GPUDL_CONV(conv3d, im2col, Im2col);
GPUDL_CONV_TRANSPOSE(conv_transpose1d, im2col, Im2col);
GPUDL_CONV_TRANSPOSE(conv_transpose2d, im2col, Im2col);
GPUDL_CONV_TRANSPOSE(conv_transpose3d, im2col, Im2col);

}  // namespace
}  // namespace gpudl
