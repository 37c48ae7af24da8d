#pragma once
// Entries of the op table: vector quantisation and the error of a reconstruction.

#include "tests/support/op_case.h"

namespace tessera {

void add_quantise_cases(std::vector<OpCase>& cases);

}  // namespace tessera
