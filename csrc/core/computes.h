// What a kernel computes with. A launcher says it (core/export.h); predictions, precisions and the choice of kernels
// read it.
#pragma once

namespace gpudl {

enum class Numbers { float32, tf32, bfloat16, float16 };  // that are multiplied; products are added in float32
enum class Unit { simt, mma, wgmma };                     // CUDA cores; tensor cores by mma.sync, by wgmma

// products: of such numbers, for one of float32 numbers that are split into parts. fewest: summands; shorter sums are
// computed in float32 on CUDA cores.
struct Computes {
  Numbers numbers = Numbers::float32;
  Unit unit = Unit::simt;
  int products = 1;
  int fewest = 0;
};

const char* name_of(Numbers numbers);
const char* name_of(Unit unit);

}  // namespace gpudl
