// The driver encodes tensor maps. Its function is looked up at run time, so that the module loads without a driver.
#include <cuda.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "platform/cuda/launch.h"
#include "platform/cuda/tma.h"
#include "platform/tensor_map_check.h"

namespace gpudl::device {

namespace {

template <class Encode>
Encode find_encode(const char* name) {
  constexpr unsigned SINCE = 12000;  // the first version of CUDA that has them
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  cuda::check(cudaGetDriverEntryPointByVersion(name, &function, SINCE, cudaEnableDefault, &found),
              "find the driver's encoder of tensor maps");
  if (found != cudaDriverEntryPointSuccess || function == nullptr)
    throw std::runtime_error("the NVIDIA driver is too old for tensor maps (TMA): it must support CUDA 12.0 or later");
  return reinterpret_cast<Encode>(function);
}

CUtensorMapDataType type_code(ElementType type) {
  switch (type) {
    case ElementType::bfloat16: return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case ElementType::float16: return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case ElementType::float32: return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case ElementType::int32: return CU_TENSOR_MAP_DATA_TYPE_INT32;
    default: return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  }
}

CUtensorMapSwizzle swizzle_code(Swizzle swizzle) {
  switch (swizzle) {
    case Swizzle::bytes32: return CU_TENSOR_MAP_SWIZZLE_32B;
    case Swizzle::bytes64: return CU_TENSOR_MAP_SWIZZLE_64B;
    case Swizzle::bytes128: return CU_TENSOR_MAP_SWIZZLE_128B;
    default: return CU_TENSOR_MAP_SWIZZLE_NONE;
  }
}

}  // namespace

TensorMap encode_tensor_map(const TensorBox& tensor) {
  check_tensor_box(tensor);
  cuuint64_t extent[5], stride[4];
  cuuint32_t box[5], every[5];
  for (int axis = 0; axis < tensor.rank; ++axis) {
    extent[axis] = static_cast<cuuint64_t>(tensor.extent[axis]);
    if (axis > 0) stride[axis - 1] = static_cast<cuuint64_t>(tensor.stride[axis]);  // the innermost is implied
    box[axis] = static_cast<cuuint32_t>(tensor.box[axis]);
    const bool of_pixels = tensor.pixels > 0 && axis > 0 && axis < tensor.rank - 1;
    every[axis] = of_pixels ? static_cast<cuuint32_t>(tensor.step[axis - 1]) : 1;
  }
  const auto rank = static_cast<cuuint32_t>(tensor.rank);
  TensorMap map;
  CUresult status;
  if (tensor.pixels > 0) {
    static const auto encode = find_encode<decltype(&cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
    status =
        encode(&map, type_code(tensor.type), rank, const_cast<void*>(tensor.data), extent, stride, tensor.first,
               tensor.beyond_last, box[0], static_cast<cuuint32_t>(tensor.pixels), every, CU_TENSOR_MAP_INTERLEAVE_NONE,
               swizzle_code(tensor.swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  } else {
    static const auto encode = find_encode<decltype(&cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
    status = encode(&map, type_code(tensor.type), rank, const_cast<void*>(tensor.data), extent, stride, box, every,
                    CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle_code(tensor.swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  }
  if (status != CUDA_SUCCESS)
    throw std::runtime_error("make_tensor_map: the driver refused it with code " + std::to_string(status));
  return map;
}

}  // namespace gpudl::device
