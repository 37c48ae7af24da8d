#include "data/text_tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <fstream>
#include <unordered_map>
#include <utility>

#include "runtime/error.h"

namespace tessera {

struct TextTokenizer::Model {
  std::string bytes;
  sentencepiece::SentencePieceProcessor processor;
};

namespace {

class LineIterator : public sentencepiece::SentenceIterator {
 public:
  explicit LineIterator(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return next_ == lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  size_t next_ = 0;
};

}  // namespace

TextTokenizer::TextTokenizer(std::unique_ptr<Model> model) : model_(std::move(model)) {}
TextTokenizer::TextTokenizer(TextTokenizer&&) noexcept = default;
TextTokenizer& TextTokenizer::operator=(TextTokenizer&&) noexcept = default;
TextTokenizer::~TextTokenizer() = default;

TextTokenizer TextTokenizer::train(const std::vector<std::string>& lines, int64_t pieces) {
  TESSERA_CHECK(pieces >= 320, "text tokenizer: needs at least 320 pieces, got ", pieces);
  bool has_text = false;
  for (const std::string& line : lines) has_text = has_text || !line.empty();
  TESSERA_CHECK(has_text, "text tokenizer: there is no text to learn from");
  // The vocabulary limit is soft because a small corpus may not have that many pairs; no control symbols, since the
  // vocabulary has its own (data/vocabulary.h).
  const std::unordered_map<std::string, std::string> options{
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(pieces)},
      {"hard_vocab_limit", "false"},
      {"byte_fallback", "true"},
      {"character_coverage", "0.9995"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "true"},
      {"num_threads", "1"},
      {"bos_id", "-1"},
      {"eos_id", "-1"},
      {"pad_id", "-1"},
      {"minloglevel", "2"},
  };
  std::string bytes;
  LineIterator iterator(lines);
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &iterator, &bytes);
  TESSERA_CHECK(status.ok(), "text tokenizer: ", status.message());
  return from_bytes(std::move(bytes), "the trained model");
}

TextTokenizer TextTokenizer::load(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  TESSERA_CHECK(in, "text tokenizer: ", path, " cannot be opened");
  return from_bytes({std::istreambuf_iterator<char>(in), {}}, path);
}

TextTokenizer TextTokenizer::from_bytes(std::string bytes, const std::string& name) {
  auto model = std::make_unique<Model>();
  model->bytes = std::move(bytes);
  const auto status = model->processor.LoadFromSerializedProto(model->bytes);
  TESSERA_CHECK(status.ok(), "text tokenizer: ", name, " is not a SentencePiece model");
  int byte_pieces = 0;
  for (int piece = 0; piece < model->processor.GetPieceSize(); ++piece)
    byte_pieces += model->processor.IsByte(piece);
  TESSERA_CHECK(byte_pieces == 256, "text tokenizer: ", name, " must have a piece for every byte, has ",
                byte_pieces);
  return TextTokenizer(std::move(model));
}

void TextTokenizer::save(const std::string& path) const {
  std::ofstream out(path, std::ios::binary);
  out << model_->bytes;
  out.close();
  TESSERA_CHECK(out, "text tokenizer: ", path, " cannot be written");
}

int64_t TextTokenizer::pieces() const { return model_->processor.GetPieceSize(); }

std::vector<int32_t> TextTokenizer::encode(std::string_view text) const {
  std::vector<int> numbers;
  const auto status = model_->processor.Encode({text.data(), text.size()}, &numbers);
  TESSERA_CHECK(status.ok(), "text tokenizer: ", status.message());
  return numbers;
}

std::string TextTokenizer::decode(std::span<const int32_t> numbers) const {
  for (int32_t number : numbers)
    TESSERA_CHECK(0 <= number && number < pieces(), "text tokenizer: no piece ", number, ", there are ",
                  pieces());
  std::string text;
  const auto status = model_->processor.Decode(std::vector<int>(numbers.begin(), numbers.end()), &text);
  TESSERA_CHECK(status.ok(), "text tokenizer: ", status.message());
  return text;
}

}  // namespace tessera
