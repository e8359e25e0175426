// Definitions for tensor_map.h, in plain C++; exactly one source file of each platform includes this.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

#include "platform/tensor_map.h"

namespace gpudl::device {

int element_bytes(ElementType type) {
  switch (type) {
    case ElementType::uint8: return 1;
    case ElementType::bfloat16:
    case ElementType::float16: return 2;
    default: return 4;
  }
}

int swizzle_bytes(Swizzle swizzle) {
  switch (swizzle) {
    case Swizzle::bytes32: return 32;
    case Swizzle::bytes64: return 64;
    case Swizzle::bytes128: return 128;
    default: return 0;
  }
}

int64_t window_positions(const TensorBox& tensor, int axis) {
  const int64_t span = tensor.extent[axis + 1] + tensor.beyond_last[axis] - tensor.first[axis];
  return (span + tensor.step[axis] - 1) / tensor.step[axis];
}

// Additional limits of cuTensorMapEncodeIm2col.
inline void check_image_box(const TensorBox& tensor) {
  const auto demand = [](bool met, const std::string& what) {
    if (!met) throw std::invalid_argument("make_image_map: " + what);
  };
  demand(tensor.pixels <= 1024, std::to_string(tensor.pixels) + " pixels per copy; at most 1024 are allowed");
  const int axes = tensor.rank - 2, reach = axes == 1 ? 32768 : axes == 2 ? 128 : 16;
  for (int axis = 0; axis < axes; ++axis) {
    const int first = tensor.first[axis], beyond = tensor.beyond_last[axis], step = tensor.step[axis];
    demand(first >= -reach && first < reach && beyond >= -reach && beyond < reach,
           "windows from " + std::to_string(first) + " to " + std::to_string(beyond) + " beyond the last pixel; with " +
               std::to_string(axes) + " axes both must be from " + std::to_string(-reach) + " to " +
               std::to_string(reach - 1));
    demand(step >= 1 && step <= 8, "windows " + std::to_string(step) + " pixels apart; it must be from 1 to 8");
    demand(window_positions(tensor, axis) >= 1, "no window fits into the image");
  }
}

// The limits of cuTensorMapEncodeTiled (CUDA driver API, "Tensor Map Object Management").
void check_tensor_box(const TensorBox& tensor) {
  const auto demand = [](bool met, int axis, const std::string& what) {
    if (!met) throw std::invalid_argument("make_tensor_map: axis " + std::to_string(axis) + ": " + what);
  };
  if (reinterpret_cast<uintptr_t>(tensor.data) % 16 != 0)
    throw std::invalid_argument("make_tensor_map: the tensor must start at a multiple of 16 bytes");
  const int64_t bytes = element_bytes(tensor.type);
  for (int axis = 0; axis < tensor.rank; ++axis) {
    const int64_t extent = tensor.extent[axis], stride = tensor.stride[axis];
    demand(extent >= 1 && extent <= int64_t{1} << 32, axis,
           "extent " + std::to_string(extent) + " must be from 1 to 2^32");
    demand(tensor.box[axis] >= 1 && tensor.box[axis] <= 256, axis,
           "box of " + std::to_string(tensor.box[axis]) + " elements must be from 1 to 256");
    if (axis == 0) demand(stride == bytes, 0, "the innermost stride must be one element");
    else
      demand(stride % 16 == 0 && stride >= 0 && stride < int64_t{1} << 40, axis,
             "stride of " + std::to_string(stride) + " bytes must be a multiple of 16, below 2^40");
  }
  const int64_t inner = tensor.box[0] * bytes;
  demand(inner % 16 == 0, 0, "a box of " + std::to_string(inner) + " bytes must be a multiple of 16");
  const int width = swizzle_bytes(tensor.swizzle);
  demand(width == 0 || inner == width, 0,
         "a box of " + std::to_string(inner) + " bytes must be as wide as its swizzle, " + std::to_string(width) +
             " bytes");
  if (tensor.pixels > 0) check_image_box(tensor);
}

}  // namespace gpudl::device
