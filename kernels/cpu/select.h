#pragma once
// Picks the variant of a kernel for an instruction-set level.

#include "runtime/cpu_engine.h"

namespace tessera::kernels::cpu {

/// select(stream, avx2::rows<T>, avx512::rows<T>)
template <class Function>
Function* select(Stream stream, Function* avx2, Function* avx512) {
  return engine_of(stream).isa >= Isa::avx512 ? avx512 : avx2;
}

/// select(stream, avx2::rows<T>, avx512::rows<T>, avx512_bf16::rows<T>)
template <class Function>
Function* select(Stream stream, Function* avx2, Function* avx512, Function* avx512_bf16) {
  return engine_of(stream).isa >= Isa::avx512_bf16 ? avx512_bf16 : select(stream, avx2, avx512);
}

}  // namespace tessera::kernels::cpu
