# gpudl._emulator: the kernels as C++ for the host.

file(GLOB emulator_sources CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/csrc/platform/emulator/*.cpp ${PROJECT_SOURCE_DIR}/csrc/platform/emulator/*.cu)

# `#pragma unroll` is for nvcc; the warnings about passing vector types concern old compilers only.
set(kernel_options -xc++ -Wno-unknown-pragmas -Wno-psabi)
if(GPUDL_SANITIZE STREQUAL "race")
  # The compiler reports every memory access of the kernels to the platform's race detector, which replaces libtsan:
  # nothing else may be instrumented, and libtsan is not linked.
  list(APPEND kernel_options -fsanitize=thread)
endif()

gpudl_add_module(_emulator ${GPUDL_KERNELS} ${emulator_sources})
target_compile_definitions(_emulator PRIVATE GPUDL_EMULATOR)
# One unit for all files of the emulator: it compiles in a third of the time and inlines across files.
set_target_properties(_emulator PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
set_source_files_properties(${emulator_sources} PROPERTIES UNITY_GROUP emulator)
set(cu_sources ${GPUDL_KERNELS} ${emulator_sources})
list(FILTER cu_sources INCLUDE REGEX "\\.cu$")
set_source_files_properties(${cu_sources} PROPERTIES LANGUAGE CXX)
set_source_files_properties(${GPUDL_KERNELS} PROPERTIES COMPILE_OPTIONS "${kernel_options}")

# Each build of a variant runs once or twice, so halving the compile time matters more than some speed.
set(quick_to_build -O1 -g1)
if(GPUDL_SANITIZE STREQUAL "asan")
  target_compile_definitions(_emulator PRIVATE GPUDL_ASAN)
  # The vptr check needs pybind11's type information, which is not visible to other modules.
  set(sanitizers -fsanitize=address,undefined -fno-sanitize=vptr)
  target_compile_options(_emulator PRIVATE ${quick_to_build} ${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(_emulator PRIVATE ${sanitizers})
elseif(GPUDL_SANITIZE STREQUAL "race")
  target_compile_definitions(_emulator PRIVATE GPUDL_RACE)
  target_compile_options(_emulator PRIVATE ${quick_to_build})
elseif(GPUDL_SANITIZE)
  message(FATAL_ERROR "GPUDL_SANITIZE is '${GPUDL_SANITIZE}'; it must be asan, race or empty.")
endif()
