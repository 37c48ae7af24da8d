#pragma once
// `tessera tokenize-images` and `tessera decode-images`: pictures to codes and back.  Codes are JSON lines, one picture each:
//
//   {"image": "photos/cat.png", "codes": [17, 4, 230, ...]}
//
// codes    as many as the tokenizer has per image, row after row
// image    the path as it was given; decode-images does not look at it

#include <string>
#include <vector>

namespace tessera {

struct TokenizeImagesOptions {
  std::string tokenizer;  ///< what open_image_tokenizer() takes (launch/learned_tokenizer.h)
  std::vector<std::string> pictures;
  std::string out;  ///< file of JSON lines
};
/// Pictures of any size are cropped to the square in their middle and resampled, as prepare does.  Writes the file when all
/// pictures have been read.  Throws Error naming the picture that cannot be (data/image.h).
void tokenize_images(const TokenizeImagesOptions& options);

struct DecodeImagesOptions {
  std::string tokenizer;
  std::string codes;  ///< file of JSON lines; other keys than codes are passed over
  std::string out;    ///< folder; 00000.png is the picture of the first line
};
/// Writes the pictures when all lines have been read.  Throws Error naming file, line and what is wrong with it.
void decode_images(const DecodeImagesOptions& options);

}  // namespace tessera
