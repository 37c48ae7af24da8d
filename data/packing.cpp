#include "data/packing.h"

#include <algorithm>
#include <span>

#include "runtime/error.h"

namespace tessera {
namespace {

using Tokens = std::vector<int32_t>;

/// A part of a document, [begin, end) of its ids.
struct Run {
  const Tokens* document = nullptr;
  int64_t begin = 0;
  int64_t end = 0;

  bool ends_document() const { return end == std::ssize(*document); }
  /// Positions that it takes in a unit.
  int64_t positions() const { return 1 + (end - begin) + ends_document(); }
};

void append(Unit& unit, const Run& run) {
  unit.documents.push_back(static_cast<int32_t>(unit.tokens.size()));
  unit.tokens.push_back(Vocabulary::kBegin);
  unit.tokens.insert(unit.tokens.end(), run.document->begin() + run.begin, run.document->begin() + run.end);
  if (run.ends_document()) unit.tokens.push_back(Vocabulary::kEnd);
}

class Packer {
 public:
  Packer(const Vocabulary& vocabulary, const PackingOptions& options)
      : vocabulary_(vocabulary),
        options_(options),
        image_positions_(options.codes_per_image + 2),
        quota_(options.images_per_unit ? options.length / options.images_per_unit : 0) {
    TESSERA_CHECK(options.length >= kShortestPiece, "packing: a unit has at least ", kShortestPiece,
                  " tokens, got ", options.length);
    TESSERA_CHECK(options.images_per_unit == 0 || quota_ >= image_positions_ + 2,
                  "packing: ", options.images_per_unit, " images of ", options.codes_per_image,
                  " codes do not fit a unit of ", options.length, " tokens");
  }

  Packed pack(const std::vector<Tokens>& documents) {
    for (const Tokens& document : documents) place(document);
    if (images_ > 0) {
      packed_.images_dropped = images_;
      for (int32_t id : open_.tokens)
        packed_.text_tokens_dropped += vocabulary_.modality_of(id) == Modality::text;
    }
    for (Unit& unit : packed_.mixed) fill(unit);
    while (next_text_ < texts_.size()) {
      packed_.text.emplace_back();
      fill(packed_.text.back());
    }
    return std::move(packed_);
  }

 private:
  int64_t next_image(const Tokens& document, int64_t from) const {
    return std::find(document.begin() + from, document.end(), vocabulary_.begin_of_image()) -
           document.begin();
  }

  void keep_text(const Run& run) {
    if (run.begin < run.end) texts_.push_back(run);
  }

  /// Cuts a document into pieces for the mixed units and runs of text.
  void place(const Tokens& document) {
    const int64_t size = std::ssize(document);
    int64_t at = 0;
    for (int64_t image = next_image(document, at); image < size; image = next_image(document, at)) {
      TESSERA_CHECK(options_.images_per_unit > 0, "packing: a document has images, but units have none");
      // What stands before an image beyond its quota is text of its own.  2: <s>, and </s> should the document end here.
      const int64_t room = quota_ - image_positions_ - 2;
      if (image - at > room) {
        keep_text({&document, at, image - room});
        at = image - room;
      }
      const Run piece = longest_piece(document, at);
      append(open_, piece);
      at = piece.end;
      if (images_ == options_.images_per_unit) {
        packed_.mixed.push_back(std::move(open_));
        open_ = {};
        images_ = 0;
      }
    }
    keep_text({&document, at, size});
  }

  /// The longest run from `at` that is within the quota of its images and within the images that the open unit still
  /// takes.  There is one, because the caller has left room for the first image.
  Run longest_piece(const Tokens& document, int64_t at) {
    Run best;
    const int64_t before = images_;
    for (int64_t end = at, images = 0; end < std::ssize(document);) {
      if (document[static_cast<size_t>(end)] == vocabulary_.begin_of_image()) {
        if (before + ++images > options_.images_per_unit) break;
        end += image_positions_;
      } else {
        ++end;
      }
      const Run run{&document, at, end};
      if (images > 0 && run.positions() <= quota_ * images) {
        best = run;
        images_ = before + images;
      }
    }
    return best;
  }

  /// Text, then padding, up to the length.
  void fill(Unit& unit) {
    for (;;) {
      const int64_t room = options_.length - std::ssize(unit.tokens);
      if (room < kShortestPiece || next_text_ == texts_.size()) break;
      Run& text = texts_[next_text_];
      if (text.positions() <= room) {
        append(unit, text);
        ++next_text_;
      } else {
        // At least one id stays behind, so that </s> never makes a piece alone.
        const Run head{text.document, text.begin, text.begin + std::min(room - 1, text.end - text.begin - 1)};
        append(unit, head);
        text.begin = head.end;
      }
    }
    if (std::ssize(unit.tokens) == options_.length) return;
    unit.documents.push_back(static_cast<int32_t>(unit.tokens.size()));
    unit.tokens.resize(static_cast<size_t>(options_.length), Vocabulary::kPad);
  }

  const Vocabulary& vocabulary_;
  const PackingOptions& options_;
  const int64_t image_positions_, quota_;
  Packed packed_;
  Unit open_;           ///< the mixed unit under construction
  int64_t images_ = 0;  ///< in it
  std::vector<Run> texts_;
  size_t next_text_ = 0;
};

}  // namespace

Packed pack(const std::vector<std::vector<int32_t>>& documents, const Vocabulary& vocabulary,
            const PackingOptions& options) {
  return Packer(vocabulary, options).pack(documents);
}

}  // namespace tessera
