// The host's description of a tensor in global memory from which TMA copies boxes, and the hardware's requirements.
#pragma once
#include <cstdint>

#include "platform/types.h"

namespace gpudl::device {

// How TMA permutes a tile in shared memory to put the elements of a column into different banks: the index of a 16-byte
// chunk in its row of 32, 64 or 128 bytes is XORed with the index of the 128-byte line, modulo the chunks of a row.
enum class Swizzle { none, bytes32, bytes64, bytes128 };

enum class ElementType { bfloat16, float16, float32, int32, uint8 };

// Axes are listed innermost first. Strides are in bytes. A copy moves `box` elements; those outside the tensor are 0.
struct TensorBox {
  const void* data;
  ElementType type;
  int rank;
  int64_t extent[5];
  int64_t stride[5];
  int box[5];
  Swizzle swizzle;
  // Only for maps of images (make_image_map); axes of pixels, innermost first.
  int pixels = 0;  // per copy
  int first[3] = {}, beyond_last[3] = {}, step[3] = {};
};

int element_bytes(ElementType type);
int swizzle_bytes(Swizzle swizzle);  // 0 for none

// Number of window positions along an axis of pixels.
int64_t window_positions(const TensorBox& tensor, int axis);

// Throws std::invalid_argument that names the hardware requirement that is not met.
void check_tensor_box(const TensorBox& tensor);

template <class T>
constexpr ElementType element_type_of();
template <>
constexpr ElementType element_type_of<bfloat16>() {
  return ElementType::bfloat16;
}
template <>
constexpr ElementType element_type_of<float16>() {
  return ElementType::float16;
}
template <>
constexpr ElementType element_type_of<float>() {
  return ElementType::float32;
}
template <>
constexpr ElementType element_type_of<int>() {
  return ElementType::int32;
}
template <>
constexpr ElementType element_type_of<unsigned char>() {
  return ElementType::uint8;
}

// Strides count elements here, as in a View; the innermost must be 1.
template <class T, int RANK>
TensorBox tensor_box(const T* data, const int64_t (&extent)[RANK], const int64_t (&stride)[RANK],
                     const int (&box)[RANK], Swizzle swizzle) {
  static_assert(RANK >= 1 && RANK <= 5, "TMA copies tensors of 1 to 5 axes");
  TensorBox tensor{data, element_type_of<T>(), RANK, {}, {}, {}, swizzle};
  for (int axis = 0; axis < RANK; ++axis) {
    tensor.extent[axis] = extent[axis];
    tensor.stride[axis] = stride[axis] * static_cast<int64_t>(sizeof(T));
    tensor.box[axis] = box[axis];
  }
  return tensor;
}

// Images with 1 to 3 axes of pixels: the axes are {channels, pixels …, images}, as in tensor_box. A copy moves
// `channels` of `pixels` pixels: those that one tap of a sliding window reads, window after window. Along each axis of
// pixels, windows start at first, first + step … up to extent - 1 + beyond_last; for a convolution, first is -padding
// and beyond_last is padding - (window - 1) * dilation. Pixels outside the images are zero.
template <class T, int RANK>
TensorBox image_box(const T* data, const int64_t (&extent)[RANK], const int64_t (&stride)[RANK],
                    const int (&first)[RANK - 2], const int (&beyond_last)[RANK - 2], const int (&step)[RANK - 2],
                    int channels, int pixels, Swizzle swizzle) {
  static_assert(RANK >= 3 && RANK <= 5, "images have 1 to 3 axes of pixels");
  int box[RANK];
  for (int& axis : box) axis = 1;
  box[0] = channels;
  TensorBox tensor = tensor_box(data, extent, stride, box, swizzle);
  tensor.pixels = pixels;
  for (int axis = 0; axis < RANK - 2; ++axis) {
    tensor.first[axis] = first[axis];
    tensor.beyond_last[axis] = beyond_last[axis];
    tensor.step[axis] = step[axis];
  }
  return tensor;
}

}  // namespace gpudl::device
