#pragma once
// `tessera generate`: a trained model goes on with prompts of text and pictures, in text and pictures.
//
//   text      pieces, end of document, or begin-of-image while there is room for a whole image
//   image     after begin-of-image exactly as many codes as an image has, then end-of-image, then text again
//
// What may come next is a mask over the vocabulary in every state.  Pictures are guided by three contexts that are read side by
// side: everything, the images without the text, and nothing (launch/sampling.h).
//
//   OUT/page.md           prompts and replies, for people
//   OUT/replies.jsonl     one object per prompt: id, prompt and reply as parts {"text"} or {"image", "codes"}, stopped, tokens
//   OUT/images/           PNG files, NNNNN_prompt_N and NNNNN_reply_N
//
// Source: Chameleon (arXiv 2405.09818), 2.4 and its released decoder.

#include <cstdint>
#include <string>
#include <vector>

#include "data/manifest.h"
#include "launch/sampling.h"
#include "parallel/communicator.h"

namespace tessera {

struct GenerateOptions {
  std::string run;                   ///< run folder; its latest checkpoint is used
  std::string data;                  ///< dataset with the tokenizers; empty: what the model was trained on
  std::string prompts;               ///< manifest with a prompt per line (data/manifest.h), or empty
  std::vector<ManifestPart> prompt;  ///< one prompt, where prompts is empty; may be empty itself
  std::string out;                   ///< folder

  SamplingOptions sampling;     ///< the repetition penalty is for text alone
  double text_guidance = 3;     ///< of pictures by the text before them; 1 = none
  double image_guidance = 1.2;  ///< of pictures by the pictures before them; 1 = none
  bool begin_image = false;     ///< the reply begins with a picture
  int64_t images = 1;           ///< pictures of a reply, at most
  int64_t max_tokens = 0;       ///< of a reply; 0 = as many as there is room for
  int64_t context = 0;          ///< tokens of prompt and reply; 0 = the length of the units it was trained on
  std::vector<std::string> stop;  ///< a reply ends before the first of these in its text

  std::string routing;  ///< of models whose routers compare tokens: launch/decoder.h
  uint64_t seed = 1;
  int64_t threads = 0;
  std::string device = "cpu";  ///< or "cuda"
};

/// For one rank.  Returns the exit code.  Throws Error when a prompt or its picture cannot be read, a prompt does not fit the
/// context, or the model cannot decode causally; then nothing is written.
int run_generate(const GenerateOptions& options, Communicator& world);

}  // namespace tessera
