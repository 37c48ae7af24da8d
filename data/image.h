#pragma once
// Pictures: PNG and JPEG in, 8-bit RGB inside, PNG out.  What a file's header claims is checked before memory is taken.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tessera {

struct Image {
  static constexpr int64_t kMostPixels = int64_t{64} << 20;

  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> rgb;  ///< height rows of width pixels of red, green, blue

  friend bool operator==(const Image&, const Image&) = default;
};

/// Any PNG (palette, grey, 16 bit, transparency: composited on white) or JPEG (grey, YCbCr, RGB; CMYK is refused).
/// name is for messages.  Throws Error when the bytes are neither, damaged or truncated, or more than kMostPixels.
/// Cameras' orientation tags are not followed.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name);

/// Reads and decodes a file.  Throws Error when it is missing, empty, larger than 1 GiB or not an image.
Image read_image(const std::string& path);

/// The square in the middle, as large as the shorter side, resampled to side x side pixels with a triangle filter that
/// widens when it shrinks.  Sums and products only, in a fixed order, so that every machine gives the same bytes.
Image centre_square(const Image& image, int64_t side);

std::vector<uint8_t> encode_png(const Image& image);
/// Replaces the file at path in one step.
void write_png(const std::string& path, const Image& image);

}  // namespace tessera
