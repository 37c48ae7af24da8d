#pragma once
// A manifest: one JSON object per line, one document per object.
//
//   {"id": "emoji/1f600/en", "source": "emoji", "split": "train", "group": "1f600", "flip": true,
//    "parts": [{"text": "grinning face"}, {"image": "images/emoji/1f600.png"}]}
//
// id      unique name of the document            source  corpus it came from: what prepare limits and groups by
// parts   in reading order; paths of images are absolute or relative to the manifest's folder
// split   train or validation; left out, it is drawn by a hash of group, or of id where there is no group, so that
//         documents of one group never end up on both sides
// flip    picture and text may change places (the order of parts is reversed for half of the documents)
// Empty lines are skipped; other keys are refused.

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace tessera {

struct ManifestPart {
  bool is_image = false;
  std::string value;  ///< the text, or the path of the image as it can be opened
};

struct ManifestDocument {
  std::string id = {}, source = {}, split = {}, group = {};  ///< split and group may be empty
  bool flip = false;
  std::vector<ManifestPart> parts = {};
};

class ManifestReader {
 public:
  /// Throws Error when the file cannot be opened.
  explicit ManifestReader(const std::string& path);

  /// False at the end.  Throws Error naming file, line and field when a line is not a document.
  bool next(ManifestDocument& document);

  int64_t line() const { return line_; }                    ///< number of the line last read, from 1
  const std::string& line_bytes() const { return bytes_; }  ///< that line, for fingerprints

 private:
  std::string path_, folder_, bytes_;
  std::ifstream in_;
  int64_t line_ = 0;
};

}  // namespace tessera
