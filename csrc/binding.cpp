// The Python extension module: one function per launcher and function of the registry, and the launchers' schema.
// A new operator never edits this file. Built twice, as gpudl._emulator and as gpudl._cuda.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/registry.h"

namespace py = pybind11;
using namespace gpudl;

namespace {

DType dtype_of(const py::object& dtype) {
  const char kind = dtype.attr("kind").cast<char>();
  const int bytes = dtype.attr("itemsize").cast<int>();
  if (kind == 'f') {
    if (bytes == 4) return DType::f32;
    if (bytes == 8) return DType::f64;
    if (bytes == 2) return DType::f16;
  }
  if (kind == 'i' && bytes == 4) return DType::i32;
  if (kind == 'i' && bytes == 8) return DType::i64;
  if (kind == 'u' && bytes == 1) return DType::u8;
  if (kind == 'b') return DType::boolean;
  const auto name = dtype.attr("name").cast<std::string>();
  if (name == "bfloat16") return DType::bf16;
  throw py::type_error("no kernel takes arrays of dtype " + name);
}

void set_rank(Array& array, py::ssize_t rank) {
  if (rank > MAX_RANK) throw py::value_error("an array has " + std::to_string(rank) + " axes; kernels take at most 8");
  array.rank = static_cast<int>(rank);
}

Array from_numpy(const py::array& a) {
  Array array{};
  array.data = const_cast<void*>(a.data());
  array.device = HOST;
  array.dtype = dtype_of(a.dtype());
  array.writable = a.writeable();
  set_rank(array, a.ndim());
  for (int axis = 0; axis < array.rank; ++axis) {
    array.shape[axis] = a.shape(axis);
    array.stride[axis] = a.strides(axis) / a.itemsize();
  }
  return array;
}

Array from_cupy(const py::handle& a) {
  Array array{};
  array.data = reinterpret_cast<void*>(a.attr("data").attr("ptr").cast<uintptr_t>());
  array.device = a.attr("device").attr("id").cast<int>();
  array.dtype = dtype_of(a.attr("dtype"));
  array.writable = true;
  const auto shape = a.attr("shape").cast<py::tuple>();
  const auto strides = a.attr("strides").cast<py::tuple>();
  const auto itemsize = a.attr("itemsize").cast<int64_t>();
  set_rank(array, static_cast<py::ssize_t>(shape.size()));
  for (int axis = 0; axis < array.rank; ++axis) {
    array.shape[axis] = shape[axis].cast<int64_t>();
    array.stride[axis] = strides[axis].cast<int64_t>() / itemsize;
  }
  return array;
}

Argument from_python(const py::handle& value) {
  if (value.is_none()) return Absent{};
  if (py::isinstance<py::array>(value)) return from_numpy(py::reinterpret_borrow<py::array>(value));
  if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
  if (py::isinstance<py::int_>(value)) return value.cast<int64_t>();
  if (py::isinstance<py::float_>(value)) return value.cast<double>();
  if (py::isinstance<py::tuple>(value)) return value.cast<Ints>();
  if (py::hasattr(value, "__cuda_array_interface__")) return from_cupy(value);
  throw py::type_error("a launcher takes arrays, numbers and tuples of integers, not " +
                       py::str(py::type::of(value)).cast<std::string>());
}

// run(arguments); errors are prefixed with the function's name.
template <class F>
int64_t call(const Function& function, const py::args& values, F run) {
  std::vector<Argument> arguments;
  arguments.reserve(values.size());
  for (const auto& value : values) arguments.push_back(from_python(value));
  try {
    return run(arguments);
  } catch (const std::invalid_argument& error) {
    throw py::value_error(function.name + ": " + error.what());
  } catch (const std::exception& error) {
    throw std::runtime_error(function.name + ": " + error.what());
  }
}

py::dict describe(const Parameter& p) {
  py::dict d;
  d["name"] = p.name;
  d["kind"] = p.kind;
  d["dtype"] = name_of(p.dtype);
  d["rank"] = p.rank;
  d["layout"] = p.layout;
  d["writable"] = p.writable;
  d["optional"] = p.optional;
  return d;
}

py::dict describe(const Launcher& launcher) {
  py::list parameters;
  for (const Parameter& p : launcher.parameters) parameters.append(describe(p));
  py::dict d;
  d["op"] = launcher.op;
  d["direction"] = launcher.direction;
  d["algorithm"] = launcher.algorithm;
  d["file"] = launcher.file;
  d["line"] = launcher.line;
  const Computes& c = launcher.computes;
  d["computes"] = py::make_tuple(name_of(c.numbers), name_of(c.unit), c.products, c.fewest);
  d["parameters"] = parameters;
  return d;
}

// The registry is complete at this point and lives as long as the module.
void define(py::module_& m, const Function& function) {
  m.def(function.name.c_str(), [&function](const py::args& values) {
    return call(function, values, [&](const auto& given) { return function.call(function.parameters, given); });
  });
}

// <launcher>_workspace takes the launcher's arguments, with None for the workspace.
void define_workspace(py::module_& m, const Launcher& launcher) {
  if (!launcher.workspace) return;
  m.def((launcher.name + "_workspace").c_str(),
        [&launcher](const py::args& values) { return call(launcher, values, launcher.workspace); });
}

}  // namespace

PYBIND11_MODULE(GPUDL_MODULE_NAME, m) {
  m.doc() = "The kernels of gpudl, one function per launcher.";
  py::dict schema;
  for (const Launcher& launcher : launchers()) {
    schema[py::str(launcher.name)] = describe(launcher);
    define(m, launcher);
    define_workspace(m, launcher);
  }
  for (const Function& function : functions()) define(m, function);
  m.attr("schema") = schema;
  m.attr("compiler") = GPUDL_COMPILER;
  m.attr("nvcc") = GPUDL_NVCC_VERSION;
  m.attr("archs") = GPUDL_ARCHS;
}
