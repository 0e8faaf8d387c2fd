# The module _cuda: from the CUDA toolkit of the machine, or from PyPI's wheels (nvidia-cuda-nvcc, nvidia-cuda-runtime,
# nvidia-cuda-cccl, nvidia-cublas and what they need, one tree under site-packages/nvidia/cu13). AUTO builds without it where either nvcc
# or cuBLAS is missing, or nvcc can't work with this compiler.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c "
import importlib.util, pathlib
spec = importlib.util.find_spec('nvidia')
print(';'.join(str(pathlib.Path(p) / 'cu13') for p in (spec.submodule_search_locations if spec else ())), end='')"
  OUTPUT_VARIABLE wheel_trees ERROR_QUIET)
set(cuda_roots ${wheel_trees} $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda)
find_program(EIGENCONTEXT_NVCC nvcc HINTS ${cuda_roots} PATH_SUFFIXES bin)
find_path(EIGENCONTEXT_CUBLAS_INCLUDE cublas_v2.h HINTS ${cuda_roots} PATH_SUFFIXES include)
find_library(EIGENCONTEXT_CUBLAS NAMES cublas libcublas.so.13 HINTS ${cuda_roots} PATH_SUFFIXES lib lib64)

set(cuda_missing "")
if(NOT EIGENCONTEXT_NVCC)
  set(cuda_missing "nvcc was not found")
elseif(NOT EIGENCONTEXT_CUBLAS_INCLUDE OR NOT EIGENCONTEXT_CUBLAS)
  set(cuda_missing "cuBLAS was not found")
else()
  file(WRITE ${CMAKE_BINARY_DIR}/nvcc_works.cu "#include <bit>\n#include <cublas_v2.h>\n__global__ void f() {}\n")
  set(nvcc_flags -std=c++20 --expt-relaxed-constexpr -ccbin ${CMAKE_CXX_COMPILER}
    -I${EIGENCONTEXT_CUBLAS_INCLUDE})
  execute_process(
    COMMAND ${EIGENCONTEXT_NVCC} ${nvcc_flags} -arch=sm_80 -c nvcc_works.cu -o nvcc_works.o
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR} RESULT_VARIABLE nvcc_status OUTPUT_VARIABLE nvcc_text ERROR_VARIABLE nvcc_text)
  if(NOT nvcc_status EQUAL 0)
    set(cuda_missing "nvcc fails: ${nvcc_text}")
  endif()
endif()
if(cuda_missing)
  if(EIGENCONTEXT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "EIGENCONTEXT_CUDA is ON, but ${cuda_missing}")
  endif()
  message(STATUS "Without CUDA: ${cuda_missing}")
  return()
endif()
message(STATUS "With CUDA: ${EIGENCONTEXT_NVCC}, ${EIGENCONTEXT_CUBLAS}")

get_filename_component(nvcc_real ${EIGENCONTEXT_NVCC} REALPATH)
get_filename_component(nvcc_bin ${nvcc_real} DIRECTORY)
find_path(EIGENCONTEXT_CUDA_INCLUDE cuda_runtime.h HINTS ${nvcc_bin}/../include ${cuda_roots} PATH_SUFFIXES include)
find_library(EIGENCONTEXT_CUDART NAMES libcudart_static.a HINTS ${nvcc_bin}/.. ${cuda_roots} PATH_SUFFIXES lib lib64 REQUIRED)

# 554: nvcc takes a conversion that its `requires` clause rules out for one to the type itself.
list(APPEND nvcc_flags -O3 -DNDEBUG -DEIGENCONTEXT_CUDA -diag-suppress 554
  -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90
  -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra
  -I${CMAKE_SOURCE_DIR}/csrc)
if(EIGENCONTEXT_WERROR)
  list(APPEND nvcc_flags -Werror all-warnings)
endif()
foreach(source ${kernel_sources})
  get_filename_component(name ${source} NAME_WE)
  set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
  # The numbers of the CPU bit for bit: no contraction to fma where Gaussians are made.
  set(own_flags "")
  if(name STREQUAL "random")
    set(own_flags -fmad=false)
  endif()
  add_custom_command(OUTPUT ${object}
    COMMAND ${EIGENCONTEXT_NVCC} ${nvcc_flags} ${own_flags} -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d COMMENT "nvcc ${name}.cu" VERBATIM)
  list(APPEND kernel_objects ${object})
endforeach()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/cuda)

pybind11_add_module(_cuda MODULE NO_EXTRAS ${device_sources} ${kernel_objects})
engine_module(_cuda)
target_include_directories(_cuda SYSTEM PRIVATE
  ${EIGENCONTEXT_CUDA_INCLUDE} ${EIGENCONTEXT_CUDA_INCLUDE}/cccl ${EIGENCONTEXT_CUBLAS_INCLUDE})
target_compile_definitions(_cuda PRIVATE EIGENCONTEXT_CUDA)
target_link_libraries(_cuda PRIVATE ${EIGENCONTEXT_CUBLAS} ${EIGENCONTEXT_CUDART} ${CMAKE_DL_LIBS} rt)
get_filename_component(cublas_folder ${EIGENCONTEXT_CUBLAS} DIRECTORY)
set_property(TARGET _cuda APPEND PROPERTY INSTALL_RPATH "$ORIGIN/../nvidia/cu13/lib" ${cublas_folder})
set_property(TARGET _cuda APPEND PROPERTY BUILD_RPATH ${cublas_folder})
install(TARGETS _cuda DESTINATION eigencontext)
