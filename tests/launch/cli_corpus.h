#pragma once
// A corpus that the program can prepare: pictures with captions, and text.

#include "data/image.h"
#include "tests/launch/cli.h"

namespace tessera {

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
