#include "launch/compare_image_tokenizers.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "launch/code_usage.h"
#include "launch/format.h"
#include "launch/image_tokenizer_run.h"
#include "launch/learned_tokenizer.h"
#include "launch/picture_sides.h"
#include "launch/progress.h"
#include "launch/thread_count.h"
#include "runtime/log.h"

namespace tessera {
namespace {

/// How a tokenizer does on some pictures.
struct Fidelity {
  double mse = 0;
  CodeUsage usage;
  std::vector<Image> reconstructions;
};

Fidelity measure(const std::string& name, const ImageTokenizer& tokenizer,
                 const std::vector<Image>& pictures) {
  Fidelity result;
  std::vector<int64_t> counts(static_cast<size_t>(tokenizer.codebook_size()), 0);
  int64_t squares = 0, values = 0;
  Progress progress(name, std::ssize(pictures));
  for (const Image& picture : pictures) {
    const std::vector<int32_t> codes = tokenizer.encode(picture);
    for (int32_t code : codes) ++counts[static_cast<size_t>(code)];
    result.reconstructions.push_back(tokenizer.decode(codes));
    for (size_t i = 0; i < picture.rgb.size(); ++i) {
      const int64_t difference = int64_t{picture.rgb[i]} - result.reconstructions.back().rgb[i];
      squares += difference * difference;
    }
    values += std::ssize(picture.rgb);
    progress.update(std::ssize(result.reconstructions), "");
  }
  result.mse = static_cast<double>(squares) / static_cast<double>(values);
  result.usage = usage_of(counts);
  return result;
}

/// From the pictures that the learned tokenizer learned from.
std::unique_ptr<ImageTokenizer> learn_codebook(const ImageTokenizerConfig& config, const PictureSides& sides,
                                               ThreadPool& pool) {
  const auto seed = static_cast<uint64_t>(config.seed);
  const ImageAutoencoderConfig& model = config.model;
  const std::vector<Image> pictures =
      load_pictures(sides.train, config.sample_images, model.image_side, seed, pool);
  log_line(str("k-means: ", model.codes, " codes from ", pictures.size(), " pictures"));
  return std::make_unique<PatchCodebook>(PatchCodebook::train(
      pictures, {.image_side = model.image_side, .patch_side = model.patch_side, .codes = model.codes}, seed,
      pool));
}

/// A row of pictures for each list, side by side on white.
Image contact_sheet(const std::vector<const std::vector<Image>*>& rows) {
  constexpr int64_t kGap = 4, kMostColumns = 16;
  const int64_t pictures = std::ssize(*rows[0]), columns = std::min(pictures, kMostColumns);
  const int64_t side = (*rows[0])[0].width, pitch = side + kGap;
  Image sheet{columns * pitch + kGap, std::ssize(rows) * pitch + kGap, {}};
  sheet.rgb.assign(static_cast<size_t>(sheet.width * sheet.height * 3), 255);
  for (int64_t row = 0; row < std::ssize(rows); ++row)
    for (int64_t column = 0; column < columns; ++column) {
      const Image& picture =
          (*rows[static_cast<size_t>(row)])[static_cast<size_t>(column * pictures / columns)];
      for (int64_t y = 0; y < side; ++y)
        std::copy_n(picture.rgb.begin() + y * side * 3, side * 3,
                    sheet.rgb.begin() + ((row * pitch + kGap + y) * sheet.width + column * pitch + kGap) * 3);
    }
  return sheet;
}

Json to_json(const Fidelity& fidelity) {
  return {{"mse", fidelity.mse},
          {"psnr", fidelity.mse > 0 ? Json(psnr_of(fidelity.mse)) : Json()},
          {"codes_used", fidelity.usage.used},
          {"code_perplexity", fidelity.usage.perplexity}};
}

void print(const std::string& name, const Fidelity& fidelity) {
  std::printf("%-10s %10s %10s %12s %12s\n", name.c_str(), format_fixed(fidelity.mse, 1).c_str(),
              format_fixed(psnr_of(fidelity.mse), 2).c_str(), format_percent(fidelity.usage.used).c_str(),
              format_fixed(fidelity.usage.perplexity, 1).c_str());
}

}  // namespace

void compare_image_tokenizers(const CompareImageTokenizersOptions& options) {
  const std::string found = find_image_tokenizer(options.learned);
  TESSERA_CHECK(std::filesystem::is_directory(found), options.learned, ": is not a learned tokenizer");
  const LearnedTokenizer learned(found, options.threads);
  const ImageTokenizerConfig& config = learned.config();
  const PictureSides sides = read_picture_sides(options.manifest.empty() ? config.manifest : options.manifest,
                                                config.validation_share, static_cast<uint64_t>(config.seed));
  ThreadPool pool(thread_count(options.threads));
  const std::unique_ptr<ImageTokenizer> codebook =
      options.codebook.empty() ? learn_codebook(config, sides, pool) : open_image_tokenizer(options.codebook);
  TESSERA_CHECK(codebook->side() == learned.side() &&
                    codebook->codes_per_image() == learned.codes_per_image() &&
                    codebook->codebook_size() == learned.codebook_size(),
                "compare: ", options.codebook, " gives ", codebook->codes_per_image(), " of ",
                codebook->codebook_size(), " codes to ", codebook->side(), " x ", codebook->side(),
                " pixels, ", options.learned, " ", learned.codes_per_image(), " of ", learned.codebook_size(),
                " to ", learned.side(), " x ", learned.side());
  const std::vector<Image> pictures = load_pictures(sides.held_out, std::ssize(sides.held_out),
                                                    learned.side(), static_cast<uint64_t>(config.seed), pool);
  const Fidelity k_means = measure("k-means", *codebook, pictures),
                 trained = measure("learned", learned, pictures);

  std::error_code failure;
  std::filesystem::create_directories(options.out, failure);
  TESSERA_CHECK(!failure, options.out, ": cannot be made: ", failure.message());
  write_json(options.out + "/comparison.json", {{"pictures", pictures.size()},
                                                {"codes_per_image", learned.codes_per_image()},
                                                {"codebook_size", learned.codebook_size()},
                                                {"learned", to_json(trained)},
                                                {"k_means", to_json(k_means)}});
  write_png(options.out + "/contact_sheet.png",
            contact_sheet({&pictures, &k_means.reconstructions, &trained.reconstructions}));
  std::printf("%zu held-out pictures\n%-10s %10s %10s %12s %12s\n", pictures.size(), "", "mse", "psnr dB",
              "codes used", "perplexity");
  print("k-means", k_means);
  print("learned", trained);
}

}  // namespace tessera
