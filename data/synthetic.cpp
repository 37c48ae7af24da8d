#include "data/synthetic.h"

#include <algorithm>

#include "data/folder_draft.h"
#include "data/shard.h"
#include "runtime/error.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr Purpose kText("synthetic text"), kPicture("synthetic image");
constexpr int64_t kShortestText = 4, kLongestText = 24;  // tokens of a text document, ends included
constexpr int64_t kPictureExtra = 5;                     // <s>, caption, begin, end, </s> around the codes
constexpr int64_t kRow = 4;                              // codes of a picture repeat with this period

/// Fills units one document after another; draws are numbered by document, so a unit never depends on another run.
class Composer {
 public:
  Composer(uint64_t seed, const SyntheticOptions& options, const Vocabulary& vocabulary)
      : seed_(seed), options_(options), vocabulary_(vocabulary) {}

  Unit compose(int64_t images) {
    Unit unit;
    for (int64_t i = 0; i < images; ++i) add_picture(unit);
    while (options_.length - std::ssize(unit.tokens) >= kShortestText) add_text(unit);
    if (std::ssize(unit.tokens) < options_.length) {
      unit.documents.push_back(static_cast<int32_t>(unit.tokens.size()));
      unit.tokens.resize(static_cast<size_t>(options_.length), Vocabulary::kPad);
    }
    return unit;
  }

 private:
  int32_t piece(int64_t number) const {
    return vocabulary_.first_text() + static_cast<int32_t>(number % vocabulary_.text_pieces);
  }

  void begin(Unit& unit) {
    unit.documents.push_back(static_cast<int32_t>(unit.tokens.size()));
    unit.tokens.push_back(Vocabulary::kBegin);
    ++drawn_;
  }

  void add_picture(Unit& unit) {
    begin(unit);
    const auto codes = static_cast<uint64_t>(options_.image_codes);
    const auto first = static_cast<int64_t>(random_below(seed_, kPicture, 2 * drawn_, codes));
    const auto stride = static_cast<int64_t>(random_below(seed_, kPicture, 2 * drawn_ + 1, codes));
    unit.tokens.push_back(piece(first));
    unit.tokens.push_back(vocabulary_.begin_of_image());
    for (int64_t j = 0; j < options_.codes_per_image; ++j) {
      const int64_t code = (first + stride * (j % kRow)) % options_.image_codes;
      unit.tokens.push_back(Vocabulary::kFirstImage + static_cast<int32_t>(code));
    }
    unit.tokens.push_back(vocabulary_.end_of_image());
    unit.tokens.push_back(Vocabulary::kEnd);
  }

  void add_text(Unit& unit) {
    begin(unit);
    const auto pieces = static_cast<uint64_t>(options_.text_pieces);
    const auto first = static_cast<int64_t>(random_below(seed_, kText, 3 * drawn_, pieces));
    const auto stride = static_cast<int64_t>(random_below(seed_, kText, 3 * drawn_ + 1, pieces));
    const auto wanted = kShortestText + static_cast<int64_t>(random_below(seed_, kText, 3 * drawn_ + 2,
                                                                          kLongestText - kShortestText));
    const int64_t tokens = std::min(wanted, options_.length - unit.documents.back());
    for (int64_t i = 0; i < tokens - 2; ++i) unit.tokens.push_back(piece(first + stride * i));
    unit.tokens.push_back(Vocabulary::kEnd);
  }

  uint64_t seed_, drawn_ = 0;
  const SyntheticOptions& options_;
  const Vocabulary& vocabulary_;
};

}  // namespace

void write_synthetic_dataset(const std::string& folder, uint64_t seed, const SyntheticOptions& options) {
  const int64_t pictures = options.images_per_unit * (options.codes_per_image + kPictureExtra);
  TESSERA_CHECK(options.length >= kShortestText && pictures <= options.length,
                "synthetic: ", options.images_per_unit, " images take ", pictures, " tokens, a unit has ",
                options.length);
  TESSERA_CHECK(options.text_pieces >= 1 && options.image_codes >= 1,
                "synthetic: needs at least one piece and one code");
  DatasetIndex index;
  index.fingerprint = str("synthetic ", seed, ' ', options.length, ' ', pictures);
  index.vocabulary = {options.image_codes, options.text_pieces};
  index.length = options.length;
  index.codes_per_image = options.codes_per_image;
  index.images_per_unit = options.images_per_unit;

  FolderDraft draft(folder);
  DatasetWriter writer(draft.path(), index, /*shard_bytes=*/1 << 20);
  Composer composer(seed, options, index.vocabulary);
  for (const std::string split : {"train", "validation"}) {
    const int64_t share = split == "train" ? 1 : 4;
    const auto write = [&](UnitKind kind, int64_t count, int64_t images) {
      std::vector<Unit> units;
      for (int64_t i = 0; i < (count + share - 1) / share; ++i) units.push_back(composer.compose(images));
      for (const Unit& unit : units) writer.counts(split).documents += std::ssize(unit.documents);
      writer.write(split, "synthetic", kind, units);
    };
    write(UnitKind::mixed, options.mixed_units, options.images_per_unit);
    write(UnitKind::text, options.text_units, 0);
  }
  writer.finish();
  draft.publish();
}

}  // namespace tessera
