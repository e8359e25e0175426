# Shared by both modules.

file(GLOB_RECURSE GPUDL_KERNELS CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/csrc/prim/*.cu ${PROJECT_SOURCE_DIR}/csrc/ops/*.cu)
file(GLOB GPUDL_CORE CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/core/*.cpp)

# gpudl_add_module(<name> <sources>...): the extension module gpudl.<name>, which records how it was built.
function(gpudl_add_module name)
  pybind11_add_module(${name} MODULE NO_EXTRAS ${PROJECT_SOURCE_DIR}/csrc/binding.cpp ${GPUDL_CORE} ${ARGN})
  target_compile_definitions(${name} PRIVATE GPUDL_MODULE_NAME=${name} "GPUDL_COMPILER=\"${GPUDL_COMPILER}\""
    "GPUDL_NVCC_VERSION=\"${GPUDL_NVCC_VERSION}\"" "GPUDL_ARCHS=\"${GPUDL_ARCHS}\"")
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/csrc)
  target_compile_options(${name} PRIVATE -O2 -ffp-contract=off -Wall -Wextra)
  target_link_options(${name} PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map)
  set_target_properties(${name} PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)
  install(TARGETS ${name} DESTINATION gpudl)
  if(NOT GPUDL_SANITIZE STREQUAL "asan")
    # Extensions leave Python's symbols undefined, so the linker cannot reject undefined symbols: load the module.
    add_custom_command(TARGET ${name} POST_BUILD VERBATIM
      COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/check_module.py $<TARGET_FILE:${name}>)
  endif()
endfunction()
