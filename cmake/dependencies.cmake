# Finds every library, or says in one line which Debian package has it.

function(tessera_need found package)
  if(NOT ${found})
    message(FATAL_ERROR "${found} is false: install ${package} (all packages at once: cmake/install_dependencies.sh)")
  endif()
endfunction()

find_package(Threads REQUIRED)

find_package(nlohmann_json QUIET)
tessera_need(nlohmann_json_FOUND nlohmann-json3-dev)

find_package(MPI QUIET COMPONENTS CXX)
tessera_need(MPI_CXX_FOUND libopenmpi-dev)

# A header and a library that come without a CMake package of their own.
function(tessera_find name header library package)
  find_path(${name}_include ${header} ${ARGN})
  find_library(${name}_library ${library} ${ARGN})
  mark_as_advanced(${name}_include ${name}_library)
  tessera_need(${name}_include ${package})
  tessera_need(${name}_library ${package})
  add_library(${name} INTERFACE)
  target_include_directories(${name} SYSTEM INTERFACE ${${name}_include})
  target_link_libraries(${name} INTERFACE ${${name}_library})
endfunction()

# The serial HDF5: it is thread-safe, and every rank opens its own files.
tessera_find(tessera_hdf5 hdf5.h hdf5 libhdf5-dev PATH_SUFFIXES hdf5/serial)
tessera_find(tessera_sentencepiece sentencepiece_processor.h sentencepiece libsentencepiece-dev)
tessera_find(tessera_sentencepiece_train sentencepiece_trainer.h sentencepiece_train libsentencepiece-dev)
target_link_libraries(tessera_sentencepiece INTERFACE tessera_sentencepiece_train)
tessera_find(tessera_xxhash xxhash.h xxhash libxxhash-dev)

find_package(PNG QUIET)
tessera_need(PNG_FOUND libpng-dev)
find_package(JPEG QUIET)
tessera_need(JPEG_FOUND libjpeg62-turbo-dev)
add_library(tessera_images INTERFACE)
target_link_libraries(tessera_images INTERFACE PNG::PNG JPEG::JPEG)

# Debian's libsentencepiece.so exports a protobuf of its own, older and partial; whichever copy the dynamic linker meets
# first would serve both.  So ours is linked statically, ahead of SentencePiece, and none of its symbols leave the program.
find_program(tessera_protoc protoc)
find_library(tessera_protobuf_archive libprotobuf.a)
mark_as_advanced(tessera_protoc tessera_protobuf_archive)
tessera_need(tessera_protoc protobuf-compiler)
tessera_need(tessera_protobuf_archive libprotobuf-dev)
add_library(tessera_protobuf INTERFACE)
target_link_libraries(tessera_protobuf INTERFACE ${tessera_protobuf_archive} Threads::Threads)
target_link_options(tessera_protobuf INTERFACE -Wl,--exclude-libs,libprotobuf.a)

find_path(tessera_cli11_include CLI/CLI.hpp)
mark_as_advanced(tessera_cli11_include)
tessera_need(tessera_cli11_include libcli11-dev)
add_library(tessera_cli11 INTERFACE)
target_include_directories(tessera_cli11 SYSTEM INTERFACE ${tessera_cli11_include})

if(TESSERA_TESTS)
  find_package(GTest QUIET)
  tessera_need(GTest_FOUND libgtest-dev)
endif()
if(TESSERA_BENCHMARKS)
  find_package(benchmark QUIET)
  tessera_need(benchmark_FOUND libbenchmark-dev)
  # What our matrix products are measured against.
  tessera_find(tessera_openblas cblas.h openblas libopenblas-dev)
  # Not find_package: the package file of Debian wants the OpenCL headers, which the CPU interface does not use.
  tessera_find(tessera_dnnl dnnl.hpp dnnl libdnnl-dev)
  # oneDNN's threads are OpenMP's; benchmarks/matmul_race.cpp sets their number.
  find_package(OpenMP QUIET COMPONENTS CXX)
  tessera_need(OpenMP_CXX_FOUND g++)
  target_link_libraries(tessera_dnnl INTERFACE ${OpenMP_CXX_LIBRARIES})
endif()
