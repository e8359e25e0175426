// What a kernel computes with. Launchers declare it (core/export.h) for the tables of precisions, the predictions of
// time and the choice of kernels.
#pragma once

namespace gpudl {

enum class Numbers { float32, tf32, bfloat16, float16 };  // the factors; products are added in float32
enum class Unit { simt, mma, wgmma };                     // CUDA cores; tensor cores through mma.sync or wgmma

// products: number of products of parts that replace one product of split float32 numbers. fewest: sums of fewer terms
// are computed in float32 on CUDA cores.
struct Computes {
  Numbers numbers = Numbers::float32;
  Unit unit = Unit::simt;
  int products = 1;
  int fewest = 0;
};

const char* name_of(Numbers numbers);
const char* name_of(Unit unit);

}  // namespace gpudl
