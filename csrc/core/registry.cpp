#include "core/registry.h"

namespace gpudl {

std::vector<Launcher>& launchers() {
  static std::vector<Launcher> all;
  return all;
}

std::vector<Function>& functions() {
  static std::vector<Function> all;
  return all;
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::f64: return "float64";
    case DType::bf16: return "bfloat16";
    case DType::f16: return "float16";
    case DType::i32: return "int32";
    case DType::i64: return "int64";
    case DType::u8: return "uint8";
    case DType::boolean: return "bool";
  }
  return "unknown";
}

const char* name_of(Numbers numbers) {
  switch (numbers) {
    case Numbers::float32: return "float32";
    case Numbers::tf32: return "tf32";
    case Numbers::bfloat16: return "bfloat16";
    case Numbers::float16: return "float16";
  }
  return "unknown";
}

const char* name_of(Unit unit) {
  switch (unit) {
    case Unit::simt: return "simt";
    case Unit::mma: return "mma";
    case Unit::wgmma: return "wgmma";
  }
  return "unknown";
}

int bytes_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
    default: return 1;
  }
}

}  // namespace gpudl
