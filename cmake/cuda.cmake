# gpudl._cuda: the kernels compiled by nvcc. nvcc is called directly, once per file, because CMake's CUDA language
# does not support toolkits installed as Python wheels.

foreach(name GPUDL_NVCC GPUDL_CUDA_INCLUDE GPUDL_CUDART GPUDL_GENCODE)
  if(NOT ${name})
    message(FATAL_ERROR "${name} is not set; build with `make cuda` or pip, which find nvcc and set it.")
  endif()
endforeach()

file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/platform/cuda/*.cpp)
file(GLOB cuda_kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/platform/cuda/*.cu)
list(APPEND cuda_kernels ${GPUDL_KERNELS})

# Compression divides the size by 3; line numbers would multiply it by 1.5.
set(options -Xfatbin=-compress-all)
if(GPUDL_LINEINFO)
  list(APPEND options -lineinfo)
endif()

set(objects)
foreach(source ${cuda_kernels})
  file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR}/csrc ${source})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
  get_filename_component(folder ${object} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d VERBATIM
    COMMENT "nvcc ${name}"
    COMMAND ${GPUDL_NVCC} -c -std=c++20 -O3 ${options} -ccbin ${CMAKE_CXX_COMPILER}
      -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wno-unknown-pragmas ${GPUDL_GENCODE}
      -I${PROJECT_SOURCE_DIR}/csrc -MD -MF ${object}.d ${source} -o ${object})
  list(APPEND objects ${object})
endforeach()

gpudl_add_module(_cuda ${cuda_sources} ${objects})
target_include_directories(_cuda SYSTEM PRIVATE ${GPUDL_CUDA_INCLUDE})
# After the objects, which need them. The module then loads without a driver or a toolkit.
target_link_libraries(_cuda PRIVATE ${GPUDL_CUDART} rt pthread dl)
