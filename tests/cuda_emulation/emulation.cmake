# The CUDA sources as C++, with the headers of this folder in place of CUDA's.
set(here ${CMAKE_CURRENT_LIST_DIR})
set(emulated_kernels ${kernel_sources} ${here}/faults.cu)
set_source_files_properties(${emulated_kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++")
pybind11_add_module(_cuda_emulated MODULE NO_EXTRAS EXCLUDE_FROM_ALL
  ${device_sources} ${emulated_kernels} ${here}/emulation.cpp ${here}/control.cpp)
engine_module(_cuda_emulated)
target_include_directories(_cuda_emulated BEFORE PRIVATE ${here}/include)
target_include_directories(_cuda_emulated PRIVATE ${here})
# Small tiles and groups of rows: several of them at the sizes of the tests.
target_compile_definitions(_cuda_emulated PRIVATE
  EIGENCONTEXT_CUDA EIGENCONTEXT_CUDA_EMULATION EIGENCONTEXT_CUDA_TILE=96
  EIGENCONTEXT_CUDA_STREAM_BYTES=8192)
target_compile_options(_cuda_emulated PRIVATE -O1 -Wno-unknown-pragmas)
