#pragma once
// Text to pieces and back: byte-pair encoding by SentencePiece.  Nothing is normalised, and characters without a piece
// become their bytes, so decoding gives back every valid UTF-8 text.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

class TextTokenizer {
 public:
  /// Learns pieces from lines (without line ends), on one thread: the same lines give the same model.  Fewer pieces than
  /// asked for come out when the lines have no more to offer.  Throws Error when pieces < 320 (256 bytes and room for
  /// characters) or there is no text.
  static TextTokenizer train(const std::vector<std::string>& lines, int64_t pieces);
  /// Throws Error when the file is missing or not a SentencePiece model with all 256 bytes.
  static TextTokenizer load(const std::string& path);
  void save(const std::string& path) const;

  TextTokenizer(TextTokenizer&&) noexcept;
  TextTokenizer& operator=(TextTokenizer&&) noexcept;
  ~TextTokenizer();

  int64_t pieces() const;
  /// Piece numbers in [0, pieces()).  Thread-safe.
  std::vector<int32_t> encode(std::string_view text) const;
  /// Bytes that are not valid UTF-8 come out as U+FFFD.  Throws Error for a number out of range.
  std::string decode(std::span<const int32_t> numbers) const;

 private:
  struct Model;
  explicit TextTokenizer(std::unique_ptr<Model> model);
  static TextTokenizer from_bytes(std::string bytes, const std::string& name);
  std::unique_ptr<Model> model_;
};

}  // namespace tessera
