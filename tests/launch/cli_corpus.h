#pragma once
// A corpus that the program can prepare: pictures with captions, and text.

#include "data/image.h"
#include "tests/launch/cli.h"

namespace tessera {

/// CRC-32 as in PNG (ISO 3309).
inline uint32_t crc32(std::string_view bytes) {
  uint32_t sum = ~0u;
  for (char byte : bytes) {
    sum ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) ? 0xedb88320u : 0u);
  }
  return ~sum;
}

inline std::string big_endian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

/// The same file, whose header claims another size and is whole otherwise.
inline std::string with_size(std::string png, uint32_t width, uint32_t height) {
  png.replace(16, 8, big_endian(width) + big_endian(height));  // signature 8, length 4, "IHDR" 4
  png.replace(29, 4, big_endian(crc32(std::string_view(png).substr(12, 17))));
  return png;
}

class CliCorpusTest : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    std::string manifest;
    for (uint8_t n = 0; n < 8; ++n) {
      Image image{16, 16, {}};
      for (size_t i = 0; i < 768; ++i) image.rgb.push_back(static_cast<uint8_t>(i / 64 * n));
      const auto png = encode_png(image);
      write_file(picture(n), {png.begin(), png.end()});
      manifest += str("{\"id\":\"p", int{n}, "\",\"source\":\"pairs\",\"split\":\"",
                      n < 6 ? "train" : "validation", "\",\"parts\":[{\"text\":\"a picture with the number ",
                      int{n}, "\"},{\"image\":\"", int{n}, ".png\"}]}\n");
    }
    for (int n = 0; n < 40; ++n)
      manifest +=
          str("{\"id\":\"t", n, "\",\"source\":\"texts\",\"parts\":[{\"text\":\"the quick brown fox number ",
              n, " jumps over the lazy dog and on and on\"}]}\n");
    write_file(manifest_, manifest);
  }

  std::string picture(int number) const { return folder_ / (std::to_string(number) + ".png"); }

  Words prepare_words(const Words& overrides = {}) const {
    return tessera_words({"prepare", "manifest=" + manifest_, "out=" + tokens_, "length=64", "vocabulary=400",
                          "images.image_side=16", "images.patch_side=4", "images.codes=20", "images.rounds=3",
                          "validation_share=0.2"}) +
           overrides;
  }

  const std::string manifest_ = folder_ / "manifest.jsonl", tokens_ = folder_ / "tokens";
};

}  // namespace tessera
