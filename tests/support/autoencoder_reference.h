#pragma once
// The model of layers/image_autoencoder.h in double precision, from the same parameter values and a given assignment of codes.

#include "layers/image_autoencoder.h"
#include "tests/support/transformer_reference.h"

namespace tessera::reference {

/// What the straight-through rule holds fixed: at the point where gradients are taken, the code of every row, and the values
/// behind which no gradient goes.
struct Assignment {
  std::vector<int32_t> codes;
  Values encoded, quantised;  ///< [rows, code_width]
};

/// The assignment at these parameters, with the given codes.
Assignment assignment_of(const ImageAutoencoderConfig& config, const Parameters& parameters,
                         const Values& patches, std::vector<int32_t> codes);

/// The function whose ordinary gradient at the point of the assignment is the straight-through gradient: the decoder reads
/// the encoder's output plus the fixed difference between code and output.
double loss(const ImageAutoencoderConfig& config, const Parameters& parameters, const Values& patches,
            const Assignment& assignment, double scale);

}  // namespace tessera::reference
