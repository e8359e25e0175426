// Everything that Python can call: launchers and functions of the module, with the name and kind of every argument.
// Plain C++, so that the binding needs neither the kernels nor a device.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "core/computes.h"
#include "platform/control.h"

namespace gpudl {

enum class DType { f32, f64, bf16, f16, i32, i64, u8, boolean };
const char* name_of(DType dtype);
int bytes_of(DType dtype);

constexpr int MAX_RANK = 8;

// An array passed from Python; strides count elements. device: the number of its GPU, or HOST.
struct Array {
  void* data;
  int device;
  DType dtype;
  int rank;
  int64_t shape[MAX_RANK];
  int64_t stride[MAX_RANK];
  bool writable;
};

struct Absent {};
using Ints = std::vector<int64_t>;
using Argument = std::variant<Absent, Array, bool, int64_t, double, Ints>;

// One parameter. kind: array, int, float, bool, pair or triple; the other members describe arrays.
struct Parameter {
  std::string name;
  const char* kind = "array";
  DType dtype = DType::f32;
  int rank = 0;
  const char* layout = "";
  bool writable = false;
  bool optional = false;
};

struct Function {
  std::string name;
  std::vector<Parameter> parameters;
  int64_t (*call)(const std::vector<Parameter>&, const std::vector<Argument>&);  // returns 0 if there is no result
};

// Launches the kernels of one algorithm, forward or backward. Its name is <op>_<direction>_<algorithm>.
struct Launcher : Function {
  std::string op, direction, algorithm;
  std::string file;  // source of the export: csrc/ops/…
  int line;
  Computes computes;
  // Number of elements of the argument `workspace` for the other arguments; empty if the launcher has no workspace.
  std::function<int64_t(const std::vector<Argument>&)> workspace;
};

std::vector<Launcher>& launchers();
std::vector<Function>& functions();

}  // namespace gpudl
