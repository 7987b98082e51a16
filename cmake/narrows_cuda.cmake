# gpu.so, the module that knows CUDA, where the toolkit is installed (CUDA 13: nvcc, cuBLASLt, CUPTI and NCCL's headers).
# It links none of their libraries: it opens them when they are needed, so that it loads without a driver. Without the
# toolkit the project builds as it is, and says so here.
set(NARROWS_CUDA AUTO CACHE STRING "Build gpu.so: AUTO (where CUDA is installed), ON or OFF")
set(NARROWS_CUDA_ARCHITECTURES "80-real;90a-real" CACHE STRING "What gpu.so runs on")

function(narrows_find_cuda out)
  set(${out} "" PARENT_SCOPE)
  if(NARROWS_CUDA STREQUAL "OFF")
    set(NARROWS_CUDA_MISSING "NARROWS_CUDA is OFF" PARENT_SCOPE)
    return()
  endif()
  # A sanitizer's program loads the same module; it is tested without them.
  if(NARROWS_SANITIZE AND NOT NARROWS_CUDA STREQUAL "ON")
    set(NARROWS_CUDA_MISSING "the build is for a sanitizer" PARENT_SCOPE)
    return()
  endif()
  # Not by FindCUDAToolkit, which in CMake 3.25 fails for good on a toolkit without nvToolsExt, as CUDA 13 is.
  find_program(NARROWS_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
  mark_as_advanced(NARROWS_NVCC)
  if(NOT NARROWS_NVCC)
    set(NARROWS_CUDA_MISSING "no nvcc" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${NARROWS_NVCC} --version OUTPUT_VARIABLE version ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+)\\.[0-9]+" release "${version}")
  if(NOT release OR CMAKE_MATCH_1 LESS 13)
    set(NARROWS_CUDA_MISSING "expected CUDA 13, found ${NARROWS_NVCC} of '${release}'" PARENT_SCOPE)
    return()
  endif()
  get_filename_component(root ${NARROWS_NVCC} DIRECTORY)
  get_filename_component(root ${root} DIRECTORY)
  foreach(header cublasLt.h cupti.h nccl.h)
    find_path(NARROWS_HAVE_${header} ${header}
              HINTS ${root}/include ${root}/targets/x86_64-linux/include ${root}/extras/CUPTI/include)
    mark_as_advanced(NARROWS_HAVE_${header})
    if(NOT NARROWS_HAVE_${header})
      set(NARROWS_CUDA_MISSING "${NARROWS_NVCC} has no ${header} beside it" PARENT_SCOPE)
      return()
    endif()
    list(APPEND includes ${NARROWS_HAVE_${header}})
  endforeach()
  list(REMOVE_DUPLICATES includes)
  set(NARROWS_CUDA_INCLUDES ${includes} PARENT_SCOPE)
  set(NARROWS_CUDA_LIBRARIES_AT "${root}/lib64;${root}/lib;${root}/extras/CUPTI/lib64" PARENT_SCOPE)
  set(${out} ${NARROWS_NVCC} PARENT_SCOPE)
endfunction()

narrows_find_cuda(narrows_nvcc)
if(NOT narrows_nvcc)
  if(NARROWS_CUDA STREQUAL "ON")
    message(FATAL_ERROR "NARROWS_CUDA is ON: ${NARROWS_CUDA_MISSING}")
  endif()
  message(STATUS "gpu.so is not built: ${NARROWS_CUDA_MISSING}")
  return()
endif()

# check_language looks on PATH only.
if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${narrows_nvcc})
endif()
set(CMAKE_CUDA_ARCHITECTURES ${NARROWS_CUDA_ARCHITECTURES})
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)
# CMake 3.25 does not know that nvcc 13 speaks C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()
file(GLOB narrows_gpu_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/*.cu)
add_library(narrows_gpu MODULE ${narrows_gpu_sources})
target_include_directories(narrows_gpu PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/src)
target_include_directories(narrows_gpu SYSTEM PRIVATE ${NARROWS_CUDA_INCLUDES})
# A kernel that spills registers is a mistake, and is refused where warnings are.
target_compile_options(narrows_gpu PRIVATE --expt-relaxed-constexpr -lineinfo
                       "SHELL:-Xptxas --warn-on-spills" "SHELL:-Xcompiler -Wall,-Wextra,-Wno-missing-field-initializers"
                       $<$<BOOL:${NARROWS_WERROR}>:-Werror=all-warnings>)
set_target_properties(narrows_gpu PROPERTIES
  PREFIX "" OUTPUT_NAME gpu CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_RUNTIME_LIBRARY Static
  CUDA_VISIBILITY_PRESET hidden LIBRARY_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}
  BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN;${NARROWS_CUDA_LIBRARIES_AT}")
target_link_libraries(narrows_gpu PRIVATE ${CMAKE_DL_LIBS})
message(STATUS "gpu.so is built by ${narrows_nvcc} for ${NARROWS_CUDA_ARCHITECTURES}")
