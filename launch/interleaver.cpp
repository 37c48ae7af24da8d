#include "launch/interleaver.h"

#include <algorithm>

#include "runtime/random.h"

namespace tessera {

AllowedIds Interleaver::allowed() const {
  const int32_t begin = vocabulary_.begin_of_image(), end = vocabulary_.end_of_image();
  switch (state_) {
    case State::begin_image:
      return {{begin, begin + 1}};
    case State::image:
      return {{Vocabulary::kFirstImage, end}};
    case State::end_image:
      return {{end, end + 1}};
    case State::text:
      break;
  }
  AllowedIds ids{{Vocabulary::kEnd, Vocabulary::kEnd + 1},
                 {vocabulary_.first_text(), static_cast<int32_t>(vocabulary_.size())}};
  if (images_ < options_.images && codes_per_image_ > 0 && left() >= codes_per_image_ + 2)
    ids.push_back({begin, begin + 1});
  return ids;
}

/// Of the next token; the contexts that are asked read what is new to them.
std::vector<float> Interleaver::logits() {
  const bool is_guided =
      state_ == State::image && (options_.text_guidance != 1 || options_.image_guidance != 1);
  std::vector<Decoder::Reading> readings;
  for (size_t context = 0; context < (is_guided ? unread_.size() : 1); ++context)
    readings.push_back({static_cast<int64_t>(context), unread_[context]});
  const std::vector<std::vector<float>> read = decoder_.read(readings);
  for (size_t context = 0; context < read.size(); ++context) unread_[context].clear();
  if (!is_guided) return read[kFull];
  return guided(read[kFull], read[kImages], read[kNothing], options_.text_guidance, options_.image_guidance);
}

/// The token joins the contexts and decides the next state.
void Interleaver::append(int32_t token) {
  const State before = state_;
  if (token == vocabulary_.begin_of_image()) {
    state_ = State::image;
    codes_ = 0;
    ++images_;
    decoder_.forget(kNothing);
    unread_[kNothing] = {Vocabulary::kBegin};
  } else if (before == State::image) {
    if (++codes_ == codes_per_image_) state_ = State::end_image;
  } else if (before == State::end_image) {
    state_ = State::text;
    text_begin_ = reply_.tokens.size() + 1;
  } else {
    seen_text_.push_back(token);
  }
  reply_.tokens.push_back(token);
  unread_[kFull].push_back(token);
  if (before == State::text && state_ == State::text) return;
  unread_[kImages].push_back(token);
  unread_[kNothing].push_back(token);
}

std::string Interleaver::text_in_hand() const {
  std::vector<int32_t> pieces;
  for (size_t i = text_begin_; i < reply_.tokens.size(); ++i)
    pieces.push_back(reply_.tokens[i] - vocabulary_.first_text());
  return text_.decode(pieces);
}

bool Interleaver::cut_at_stop() {
  if (state_ != State::text || options_.stop.empty()) return false;
  const std::string text = text_in_hand();
  size_t at = std::string::npos;
  for (const std::string& stop : options_.stop) at = std::min(at, text.find(stop));
  if (at == std::string::npos) return false;
  // Pieces go as a whole: all that reach past the beginning of the stop string.
  while (text_in_hand().size() > at) reply_.tokens.pop_back();
  return true;
}

Reply Interleaver::reply_to(std::span<const int32_t> prompt, int64_t room, const std::string& name) {
  state_ = options_.begin_image ? State::begin_image : State::text;
  room_ = room;
  images_ = 0;
  text_begin_ = 0;
  reply_ = {};
  seen_text_.clear();
  for (int64_t context = 0; context < kSequences; ++context) decoder_.forget(context);
  unread_ = {};
  unread_[kFull] = unread_[kImages] = {Vocabulary::kBegin};
  for (int32_t token : prompt) {
    unread_[kFull].push_back(token);
    if (token >= vocabulary_.first_text())
      seen_text_.push_back(token);
    else
      unread_[kImages].push_back(token);
  }

  const Purpose purpose("sample " + name);
  for (uint64_t step = 0;; ++step) {
    if (left() == 0) {
      reply_.stopped = "length";
      return reply_;
    }
    const int32_t token = sample(logits(), allowed(), seen_text_, options_.sampling,
                                 random_uniform(options_.seed, purpose, step));
    if (token == Vocabulary::kEnd) {
      reply_.stopped = "end";
      return reply_;
    }
    append(token);
    if (cut_at_stop()) {
      reply_.stopped = "stop";
      return reply_;
    }
  }
}

}  // namespace tessera
