#pragma once
// A dataset without text.

#include <string>

namespace tessera {

/// Units of 64 image codes and nothing else, of the vocabulary of data/synthetic.h.
void write_images_alone(const std::string& folder);

}  // namespace tessera
