// GPUDL_EXPORT makes a launcher callable from Python. Its name is written as three words, operator, direction and
// algorithm, so that a search for any of them finds it. The C++ signature is the schema: types give the dtype, rank,
// layout and constness of every argument, the macro gives the names, and arguments that do not fit are refused by name
// before the launcher runs.
//
//   void max_pool2d_forward_direct(View<const float, 4, nhwc> x, View<float, 4, nhwc> y, Pair kernel_size);
//   GPUDL_EXPORT(max_pool2d, forward, direct, x, y, kernel_size);
//
// A launcher takes scratch memory as `workspace`, of float32 elements. Such a launcher also exports a function that
// computes how many elements it wants from some of the other arguments, listed by name; the function must not read
// their data. A launcher that does not compute in float32 on CUDA cores declares what it computes with.
//
//   int64_t linear_forward_workspace(Matrices<const float> x, View<const float, 2> weight) { … }
//   GPUDL_EXPORT(linear, forward, mma_tf32x3, x, weight, y, workspace)
//       .computes({Numbers::tf32, Unit::mma, 3})
//       .workspace<linear_forward_workspace>("x, weight");
//
// If a template defines the launchers of several operators or algorithms, a macro of the family takes the words, names
// each instance (constexpr auto& max_pool2d_forward_wide = max_pool_forward<int>;) and exports it:
//
//   GPUDL_MAX_POOL(max_pool2d, wide, int);
#pragma once
#include <algorithm>
#include <array>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/check.h"
#include "core/registry.h"
#include "core/view.h"
#include "platform/types.h"

namespace gpudl {

template <class T>
constexpr DType dtype_of() {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>) return DType::f32;
  else if constexpr (std::is_same_v<U, double>) return DType::f64;
  else if constexpr (std::is_same_v<U, bfloat16>) return DType::bf16;
  else if constexpr (std::is_same_v<U, float16>) return DType::f16;
  else if constexpr (std::is_same_v<U, int32_t>) return DType::i32;
  else if constexpr (std::is_same_v<U, int64_t>) return DType::i64;
  else if constexpr (std::is_same_v<U, uint8_t>) return DType::u8;
  else {
    static_assert(std::is_same_v<U, bool>,
                  "a launcher takes float, double, bfloat16, float16, int32_t, int64_t, uint8_t or bool");
    return DType::boolean;
  }
}

// Describes a parameter type for the schema, and makes a value of it from an Argument.
template <class P>
struct Bind;

template <>
struct Bind<bool> {
  static Parameter describe() { return {.name = "", .kind = "bool"}; }
  static bool make(const Argument& a, const Parameter& p) {
    check(std::holds_alternative<bool>(a), p.name, "must be a bool");
    return std::get<bool>(a);
  }
};

template <class Int>
  requires std::is_integral_v<Int>
struct Bind<Int> {
  static Parameter describe() { return {.name = "", .kind = "int"}; }
  static Int make(const Argument& a, const Parameter& p) {
    check(std::holds_alternative<int64_t>(a), p.name, "must be an integer");
    const int64_t value = std::get<int64_t>(a);
    check(std::in_range<Int>(value), p.name, std::to_string(value) + " does not fit the kernel's integer type");
    return static_cast<Int>(value);
  }
};

template <class Real>
  requires std::is_floating_point_v<Real>
struct Bind<Real> {
  static Parameter describe() { return {.name = "", .kind = "float"}; }
  static Real make(const Argument& a, const Parameter& p) {
    if (std::holds_alternative<int64_t>(a)) return static_cast<Real>(std::get<int64_t>(a));
    check(std::holds_alternative<double>(a), p.name, "must be a number");
    return static_cast<Real>(std::get<double>(a));
  }
};

// N 32-bit integers from a tuple.
template <size_t N>
std::array<int, N> bind_ints(const Argument& a, const Parameter& p) {
  check(std::holds_alternative<Ints>(a) && std::get<Ints>(a).size() == N, p.name,
        std::string("must be a ") + p.kind + " of integers");
  std::array<int, N> values;
  for (size_t i = 0; i < N; ++i) {
    const int64_t value = std::get<Ints>(a)[i];
    check(std::in_range<int>(value), p.name, std::to_string(value) + " does not fit a 32-bit integer");
    values[i] = static_cast<int>(value);
  }
  return values;
}

template <>
struct Bind<Pair> {
  static Parameter describe() { return {.name = "", .kind = "pair"}; }
  static Pair make(const Argument& a, const Parameter& p) {
    const auto [h, w] = bind_ints<2>(a, p);
    return {h, w};
  }
};

template <>
struct Bind<Triple> {
  static Parameter describe() { return {.name = "", .kind = "triple"}; }
  static Triple make(const Argument& a, const Parameter& p) {
    const auto [d, h, w] = bind_ints<3>(a, p);
    return {d, h, w};
  }
};

template <class T, int RANK, Layout LAYOUT>
struct Bind<View<T, RANK, LAYOUT>> {
  static_assert(LAYOUT != Layout::any || RANK == 1, "a View of layout any is flat: its rank is 1");
  static_assert(LAYOUT != Layout::nhwc || RANK == 4 || RANK == 5, "nhwc is a layout of rank 4 or 5");
  static_assert(LAYOUT != Layout::rows || RANK <= 2, "a View of rows has rank 1 or 2");
  static constexpr bool any_rank = LAYOUT == Layout::any || LAYOUT == Layout::rows;

  static Parameter describe() {
    constexpr const char* layouts[] = {"nchw", "nhwc", "any", "rows"};
    const char* layout = layouts[static_cast<int>(LAYOUT)];
    return {"", "array", dtype_of<T>(), any_rank ? -1 : RANK, layout, !std::is_const_v<T>, false};
  }
  static View<T, RANK, LAYOUT> make(const Argument& a, const Parameter& p) {
    check(std::holds_alternative<Array>(a), p.name, "must be an array");
    const Array& array = std::get<Array>(a);
    check(array.dtype == p.dtype, p.name,
          std::string("must be ") + name_of(p.dtype) + ", got " + describe_array(array));
    check(array.writable || !p.writable, p.name, "is written by the kernel, but the array is read-only");
    View<T, RANK, LAYOUT> view;
    view.data = static_cast<T*>(array.data);
    if constexpr (LAYOUT == Layout::any) {
      view.dim[0] = static_cast<int>(check_any_dense(array, p.name));
    } else if constexpr (LAYOUT == Layout::rows) {
      const int64_t size = check_rows(array, RANK, p.name);
      if constexpr (RANK == 2) view.dim[1] = static_cast<int>(array.shape[array.rank - 1]);
      view.dim[0] = static_cast<int>(RANK == 1 ? size : size == 0 ? 0 : size / view.dim[1]);
    } else {
      constexpr bool volume = LAYOUT == Layout::nhwc && RANK == 5;
      check(array.rank == RANK || (volume && array.rank >= 2 && array.rank <= 4), p.name,
            std::string("must have ") + (volume ? "2 to 5" : std::to_string(RANK)) + " axes, got " +
                describe_array(array));
      int order[RANK];
      memory_order(array.rank, order);
      check_dense(array, order, p.name, p.layout);
      check_size(array, p.name);
      const int lacking = RANK - array.rank;
      std::fill_n(view.dim, RANK, 1);
      for (int axis = 0; axis < array.rank; ++axis)
        view.dim[axis == 0 ? 0 : axis + lacking] = static_cast<int>(array.shape[order[axis]]);
    }
    return view;
  }
  // The axes from slowest to fastest.
  static void memory_order(int rank, int* order) {
    for (int axis = 0; axis < rank; ++axis)
      order[axis] = LAYOUT != Layout::nhwc || axis == 0 ? axis : axis == rank - 1 ? 1 : axis + 1;
  }
  static std::string describe_array(const Array& array) { return gpudl::describe(array); }
};

template <class T>
struct Bind<Matrices<T>> {
  static Parameter describe() { return {"", "array", dtype_of<T>(), -1, "nchw", !std::is_const_v<T>, false}; }
  static Matrices<T> make(const Argument& a, const Parameter& p) {
    check(std::holds_alternative<Array>(a), p.name, "must be an array");
    const Array& array = std::get<Array>(a);
    check(array.dtype == p.dtype, p.name,
          std::string("must be ") + name_of(p.dtype) + ", got " + gpudl::describe(array));
    check(array.writable || !p.writable, p.name, "is written by the kernel, but the array is read-only");
    int order[MAX_RANK];
    for (int axis = 0; axis < array.rank; ++axis) order[axis] = axis;
    check_dense(array, order, p.name, p.layout);
    int64_t dim[3] = {1, 1, 1};
    for (int axis = 0; axis < array.rank; ++axis) dim[std::max(0, axis + 3 - array.rank)] *= array.shape[axis];
    Matrices<T> view;
    view.data = static_cast<T*>(array.data);
    for (int axis = 0; axis < 3; ++axis) {
      check(std::in_range<int>(dim[axis]), p.name, "is too large: " + gpudl::describe(array));
      view.dim[axis] = static_cast<int>(dim[axis]);
    }
    return view;
  }
};

template <class V>
struct Bind<Maybe<V>> {
  static Parameter describe() {
    Parameter p = Bind<V>::describe();
    p.optional = true;
    return p;
  }
  static Maybe<V> make(const Argument& a, const Parameter& p) {
    if (std::holds_alternative<Absent>(a)) return {};
    return {Bind<V>::make(a, p)};
  }
};

// The names in "x, y, kernel_size".
std::vector<std::string> split_names(std::string_view names);
constexpr size_t count_names(std::string_view names) {
  size_t n = names.empty() ? 0 : 1;
  for (char c : names) n += c == ',';
  return n;
}

void check_count(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments);

// Checks across the arrays of a launch: all are on the module's device, an array that is written overlaps no other, and
// those of layout `any` have the same order of axes (otherwise elements would be paired wrongly).
void check_arrays(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments);

template <auto FUNCTION>
struct Export;

template <class R, class... P, R (*FUNCTION)(P...)>
struct Export<FUNCTION> {
  static constexpr size_t arity = sizeof...(P);

  static int64_t call(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments) {
    check_count(parameters, arguments);
    return [&]<size_t... I>(std::index_sequence<I...>) -> int64_t {
      if constexpr (std::is_void_v<R>) {
        FUNCTION(Bind<P>::make(arguments[I], parameters[I])...);
        return 0;
      } else {
        return FUNCTION(Bind<P>::make(arguments[I], parameters[I])...);
      }
    }(std::index_sequence_for<P...>{});
  }
  static int64_t launch(const std::vector<Parameter>& parameters, const std::vector<Argument>& arguments) {
    check_count(parameters, arguments);
    check_arrays(parameters, arguments);
    return call(parameters, arguments);
  }

  static std::vector<Parameter> describe(const char* names) {
    std::vector<Parameter> parameters{Bind<P>::describe()...};
    const auto split = split_names(names);
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i].name = split.at(i);
    return parameters;
  }
};

// Positions, among the launcher's arguments, of those in `wanted`, which a workspace function takes.
std::vector<size_t> find_arguments(const Launcher& launcher, const std::vector<Parameter>& wanted);

// An exported launcher, to add declarations.
class Exported {
 public:
  explicit Exported(Launcher& launcher) : launcher(launcher) {}

  Exported computes(Computes computes) const {
    launcher.computes = computes;
    return *this;
  }
  // FUNCTION returns the number of elements of `workspace` for the arguments listed in `names`.
  template <auto FUNCTION>
  Exported workspace(const char* names) const {
    const std::vector<Parameter> wanted = Export<FUNCTION>::describe(names);
    const std::vector<size_t> at = find_arguments(launcher, wanted);
    launcher.workspace = [wanted, at](const std::vector<Argument>& all) {
      std::vector<Argument> arguments;
      for (const size_t i : at) arguments.push_back(all.at(i));
      return Export<FUNCTION>::call(wanted, arguments);
    };
    return *this;
  }

 private:
  Launcher& launcher;
};

Exported add_launcher(const char* op, const char* direction, const char* algorithm, const char* file, int line,
                      std::vector<Parameter> parameters, decltype(Function::call) launch);
bool add_function(const char* name, std::vector<Parameter> parameters, decltype(Function::call) call);

}  // namespace gpudl

#define GPUDL_CHECK_NAMES(function, ...) \
  static_assert(::gpudl::count_names(#__VA_ARGS__) == ::gpudl::Export<&function>::arity, "one name per argument")

#define GPUDL_EXPORT(op, direction, algorithm, ...)                                                   \
  GPUDL_CHECK_NAMES(op##_##direction##_##algorithm, __VA_ARGS__);                                     \
  static const ::gpudl::Exported op##_##direction##_##algorithm##_exported =                          \
      ::gpudl::add_launcher(#op, #direction, #algorithm, __FILE__, __LINE__,                          \
                            ::gpudl::Export<&op##_##direction##_##algorithm>::describe(#__VA_ARGS__), \
                            &::gpudl::Export<&op##_##direction##_##algorithm>::launch)

// A function of the module that launches nothing. It may return an integer.
#define GPUDL_FUNCTION(function, ...)                            \
  GPUDL_CHECK_NAMES(function, __VA_ARGS__);                      \
  static const bool function##_exported = ::gpudl::add_function( \
      #function, ::gpudl::Export<&function>::describe(#__VA_ARGS__), &::gpudl::Export<&function>::call)
