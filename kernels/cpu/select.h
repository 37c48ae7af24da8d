#pragma once
// Picks the variant of a kernel for an instruction-set level.

#include "runtime/cpu_engine.h"

namespace tessera::kernels::cpu {

/// select(stream, avx2::rows<T>, avx512::rows<T>)
template <class Function>
Function* select(Stream stream, Function* avx2, Function* avx512) {
  return engine_of(stream).isa >= Isa::avx512 ? avx512 : avx2;
}

}  // namespace tessera::kernels::cpu
