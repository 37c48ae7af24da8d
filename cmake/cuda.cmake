# CUDA: kernels/*.cu compiled by nvcc, or left out in one line where there is no nvcc.

set(TESSERA_CUDA AUTO CACHE STRING "AUTO (when nvcc is there), ON or OFF")
set(TESSERA_CUDA_ARCHITECTURES "80-virtual" CACHE STRING "As CMAKE_CUDA_ARCHITECTURES; 80-virtual, PTX for sm_80, is always among them")

set(tessera_has_cuda FALSE)
if(NOT TESSERA_CUDA STREQUAL "OFF")
  # Before check_language, which would set a default that real GPUs need not have.
  set(CMAKE_CUDA_ARCHITECTURES ${TESSERA_CUDA_ARCHITECTURES})
  include(CheckLanguage)
  find_program(tessera_nvcc nvcc HINTS $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
  mark_as_advanced(tessera_nvcc)
  if(tessera_nvcc)
    set(CMAKE_CUDA_COMPILER ${tessera_nvcc})
    # CMake 3.25 does not know this flag of nvcc.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    set(tessera_has_cuda TRUE)
  elseif(TESSERA_CUDA STREQUAL "ON")
    message(FATAL_ERROR "TESSERA_CUDA is ON but there is no nvcc: install the CUDA Toolkit, or leave TESSERA_CUDA at AUTO")
  else()
    message(NOTICE "CUDA is left out: no nvcc in the path")
  endif()
endif()

if(tessera_has_cuda)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # named by tessera_cuda_libraries, so that the simulated one can take its place
  add_library(tessera_cuda_flags INTERFACE)
  # The PTX of the baseline stays readable in the object (--no-compress) with line numbers: the simulated GPU runs it.
  # -fmad=false: a product and a sum fuse where the source says so (docs/design.md).
  target_compile_options(tessera_cuda_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CUDA>:--no-compress -lineinfo -fmad=false --expt-relaxed-constexpr -Werror=all-warnings
    -Xptxas=-warn-spills,-warn-lmem-usage,-Werror -Xcompiler=-Wall,-Wextra,-Wno-psabi,-Werror>)
  target_include_directories(tessera_cuda_flags SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
endif()

# What a program links so that CUDA works in it: NVIDIA's libraries here, the simulated ones in tests/simulated_gpu.  This
# choice is made for each program, and no source knows of it.
add_library(tessera_cuda_libraries INTERFACE)
if(tessera_has_cuda)
  find_library(tessera_nccl NAMES libnccl.so.2 HINTS ${CUDAToolkit_LIBRARY_DIR})
  find_library(tessera_cublas NAMES libcublas.so.${CUDAToolkit_VERSION_MAJOR} HINTS ${CUDAToolkit_LIBRARY_DIR})
  mark_as_advanced(tessera_nccl tessera_cublas)
  tessera_need(tessera_nccl "NCCL 2 (libnccl.so.2) beside the CUDA Toolkit")
  tessera_need(tessera_cublas "cuBLAS of the CUDA Toolkit")
  get_filename_component(tessera_nccl_name ${tessera_nccl} NAME)
  get_filename_component(tessera_cublas_name ${tessera_cublas} NAME)
  target_sources(tessera_cuda_libraries INTERFACE ${CMAKE_SOURCE_DIR}/runtime/cuda_libraries/lazy.cpp)
  target_compile_definitions(tessera_cuda_libraries INTERFACE TESSERA_CUBLAS_LIBRARY="${tessera_cublas_name}"
                             TESSERA_NCCL_LIBRARY="${tessera_nccl_name}")
  target_link_libraries(tessera_cuda_libraries INTERFACE CUDA::cudart ${CMAKE_DL_LIBS})
endif()
