#include "tests/support/images_alone.h"

#include <filesystem>

#include "data/shard.h"
#include "runtime/random.h"

namespace tessera {

void write_images_alone(const std::string& folder) {
  DatasetIndex index;
  index.fingerprint = "images alone";
  index.vocabulary = {32, 26};
  index.length = index.codes_per_image = 64;
  index.images_per_unit = 1;
  std::filesystem::create_directories(folder);
  DatasetWriter writer(folder, index, 1 << 20);
  for (const char* split : {"train", "validation"}) {
    std::vector<Unit> units;
    for (uint64_t unit = 0; unit < 40; ++unit) {
      units.push_back({{}, {0}});
      for (uint64_t i = 0; i < 64; ++i)
        units.back().tokens.push_back(
            Vocabulary::kFirstImage +
            static_cast<int32_t>(random_below(3, Purpose("code"), unit * 64 + i % 7, 32)));
    }
    writer.write(split, "images", UnitKind::mixed, units);
  }
  writer.finish();
}

}  // namespace tessera
