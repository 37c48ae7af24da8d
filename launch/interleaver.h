#pragma once
// The interleaved loop of generation: which state a reply is in, what may come next, and what each guiding context has read.

#include <array>
#include <string>
#include <vector>

#include "data/text_tokenizer.h"
#include "data/vocabulary.h"
#include "launch/decoder.h"
#include "launch/generate.h"

namespace tessera {

struct Reply {
  std::vector<int32_t> tokens;  ///< without </s>
  std::string stopped;  ///< why: "end" of the document, "stop" string, or "length": there is no room for more
};

class Interleaver {
 public:
  static constexpr int64_t kSequences = 3;  ///< of decoder: everything, images alone, nothing

  /// limit: tokens of a reply.
  Interleaver(const GenerateOptions& options, const Vocabulary& vocabulary, int64_t codes_per_image,
              const TextTokenizer& text, Decoder& decoder)
      : options_(options),
        vocabulary_(vocabulary),
        codes_per_image_(codes_per_image),
        text_(text),
        decoder_(decoder) {}

  /// prompt: ids without <s>.  room: tokens of the reply, at most.  name: of the random numbers.
  Reply reply_to(std::span<const int32_t> prompt, int64_t room, const std::string& name);

 private:
  enum class State : uint8_t { text, begin_image, image, end_image };
  enum Context : size_t { kFull, kImages, kNothing };

  AllowedIds allowed() const;
  std::vector<float> logits();
  void append(int32_t token);
  /// The text since the last picture, and whether it was cut before a stop string.
  std::string text_in_hand() const;
  bool cut_at_stop();
  int64_t left() const { return room_ - std::ssize(reply_.tokens); }

  const GenerateOptions& options_;
  const Vocabulary vocabulary_;
  const int64_t codes_per_image_;
  const TextTokenizer& text_;
  Decoder& decoder_;

  State state_ = State::text;
  int64_t room_ = 0, codes_ = 0, images_ = 0;
  size_t text_begin_ = 0;  ///< where the text in hand begins in the reply
  Reply reply_;
  std::vector<int32_t> seen_text_;  ///< pieces of prompt and reply; codes of pictures may repeat
  std::array<std::vector<int32_t>, kSequences> unread_;
};

}  // namespace tessera
