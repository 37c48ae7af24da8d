#pragma once
// The rate that fractions of the matrix peak refer to.

#include "runtime/device.h"
#include "runtime/dtype.h"

namespace tessera {

/// Best rate in FLOP/s of this library's own matrix product, [1024, 1024] by [1024, 1024], with all
/// threads of the stream's engine or its whole GPU, over about 0.2 s after a warm-up.  dtype: f32 or bf16, that of the
/// operands.
/// Ranks that share a machine must measure at the same time to see what they will have.
double measure_matrix_peak(Stream stream, DType dtype = DType::f32);

}  // namespace tessera
