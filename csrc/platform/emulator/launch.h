// launch(kernel, grid, block, shared_bytes, arguments...): run a kernel and return when it has ended.
#pragma once
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "platform/emulator/words.h"

namespace gpudl {

namespace emulator {
// Calls body(arguments) once per thread of the grid. Throws what a thread throws; the engine can be used again after
// that.
void run(dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(void*), void* arguments);
}  // namespace emulator

// Same signature as the CUDA platform's. Throws emulator::Error, a std::runtime_error, for a kernel's mistakes.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter of the kernel");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;  // an empty tensor: nothing to do
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> arguments;
  } call{kernel, {static_cast<Parameters>(std::forward<Arguments>(arguments))...}};
  emulator::run(
      grid, block, shared_bytes,
      [](void* pointer) {
        auto& call = *static_cast<Call*>(pointer);
        std::apply(call.kernel, call.arguments);
      },
      &call);
}

}  // namespace gpudl
