#pragma once
// frequencies[i] = base^(-2i / head_dim), radians per position, for the head_dim / 2 pairs of a head
// (kernels/rope.h). From basic operations, so that no C library decides the bits.

#include <span>

namespace tessera::kernels {

void rope_frequencies(std::span<double> frequencies, double base);

}  // namespace tessera::kernels
