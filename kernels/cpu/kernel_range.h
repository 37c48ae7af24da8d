#pragma once
// What the trace says of a kernel of the CPU.

#include "runtime/cpu_engine.h"
#include "runtime/tensor.h"

namespace tessera::kernels::cpu {

/// Records its own lifetime with the bytes of tensors: one read of what the kernel reads and one write of what it writes, a tensor
/// that it changes in place counted twice.  Tensors without storage count as none.
template <class... Tensors>
TraceRange kernel_range(Stream stream, const char* name, const Tensors&... tensors) {
  return {engine_of(stream).trace, name, Track::compute, -1, ((tensors ? tensors.bytes() : 0) + ... + 0)};
}

}  // namespace tessera::kernels::cpu
