#include "launch/generate.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "data/corpus.h"
#include "launch/engines.h"
#include "launch/format.h"
#include "launch/interleaver.h"
#include "launch/learned_tokenizer.h"
#include "launch/process.h"
#include "launch/progress.h"
#include "launch/thread_count.h"
#include "parallel/checkpoint.h"
#include "runtime/json.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

/// Text, or the codes of a picture.
struct Part {
  std::string text;
  std::vector<int32_t> codes;
};

struct Answered {
  std::string id;
  std::vector<Part> prompt, reply;
  std::string stopped;
  int64_t tokens = 0;  ///< of the reply
};

/// The tokenizers of a dataset.
class Tokenizers {
 public:
  Tokenizers(const std::string& dataset, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary), text_(TextTokenizer::load(dataset + "/text.model")) {
    if (!image_tokenizer_in(dataset).empty()) images_ = open_image_tokenizer(dataset);
  }

  const TextTokenizer& text() const { return text_; }
  const ImageTokenizer& images() const { return *images_; }
  int64_t codes_per_image() const { return images_ ? images_->codes_per_image() : 0; }

  /// Ids of each document without <s> and </s>.
  std::vector<std::vector<int32_t>> encode(const std::vector<ManifestDocument>& documents,
                                           ThreadPool& pool) const {
    std::vector<std::string> paths;
    for (const ManifestDocument& document : documents)
      for (const ManifestPart& part : document.parts) {
        if (!part.is_image) continue;
        TESSERA_CHECK(images_, document.id, ": ", part.value,
                      " is a picture, and the model knows text alone");
        paths.push_back(part.value);
      }
    ImageLibrary library(paths);
    if (!paths.empty()) library.encode(*images_, pool);
    return encode_documents(documents, text_, library, vocabulary_, pool);
  }

  std::vector<Part> decode(std::span<const int32_t> tokens) const {
    std::vector<Part> parts;
    std::vector<int32_t> pieces;
    const auto end_text = [&] {
      if (!pieces.empty()) parts.push_back({text_.decode(pieces), {}});
      pieces.clear();
    };
    for (int32_t token : tokens) {
      if (token >= vocabulary_.first_text()) {
        pieces.push_back(token - vocabulary_.first_text());
      } else if (token == vocabulary_.begin_of_image()) {
        end_text();
        parts.emplace_back();
      } else if (vocabulary_.modality_of(token) == Modality::image) {
        parts.back().codes.push_back(token - Vocabulary::kFirstImage);
      }
    }
    end_text();
    return parts;
  }

 private:
  const Vocabulary vocabulary_;
  TextTokenizer text_;
  std::unique_ptr<ImageTokenizer> images_;
};

std::vector<ManifestDocument> read_prompts(const GenerateOptions& options) {
  if (options.prompts.empty()) return {{.id = "prompt", .source = "command line", .parts = options.prompt}};
  TESSERA_CHECK(options.prompt.empty(), "generate: give a manifest of prompts or one prompt, not both");
  ManifestReader reader(options.prompts);
  std::vector<ManifestDocument> documents(1);
  while (reader.next(documents.back())) documents.emplace_back();
  documents.pop_back();
  TESSERA_CHECK(!documents.empty(), options.prompts, ": holds no prompts");
  return documents;
}

/// Tokens of a reply to a prompt of so many.
int64_t room_for(const GenerateOptions& options, int64_t context, const std::string& id, int64_t prompt,
                 int64_t codes_per_image) {
  TESSERA_CHECK(prompt + 1 < context, id, ": the prompt has ", prompt,
                " tokens, and with the begin of the document and a reply ", "it does not fit the context of ",
                context);
  const int64_t left = context - prompt - 1;
  const int64_t room = options.max_tokens > 0 ? std::min(left, options.max_tokens) : left;
  TESSERA_CHECK(!options.begin_image || (codes_per_image > 0 && room >= codes_per_image + 2), id,
                ": a picture takes ", codes_per_image + 2, " tokens, the reply to a prompt of ", prompt,
                " has room for ", room);
  return room;
}

/// Markdown and HTML characters as themselves; lines stay lines.
std::string markdown(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    if (c == '\n') {
      escaped += "  \n";
      continue;
    }
    if (c == '<' || c == '&') {
      escaped += c == '<' ? "&lt;" : "&amp;";
      continue;
    }
    if (std::string_view("\\`*_{}[]()#+-!>|~").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

/// Writes pictures, and what the page and the lines say of the parts.
class Page {
 public:
  Page(std::string folder, const Tokenizers& tokenizers)
      : folder_(std::move(folder)), tokenizers_(tokenizers) {
    std::error_code failure;
    std::filesystem::create_directories(folder_ + "/images", failure);
    TESSERA_CHECK(!failure, folder_, ": cannot be made: ", failure.message());
  }

  void add(const Answered& answered) {
    const std::string number = zero_padded(count_++, 5);
    text_ += "\n## " + markdown(answered.id) + "\n\n**Prompt**\n\n";
    Json line{{"id", answered.id}};
    line["prompt"] = add_parts(answered.prompt, number + "_prompt_");
    text_ += "**Reply** (" + std::to_string(answered.tokens) + " tokens, until " + answered.stopped + ")\n\n";
    line["reply"] = add_parts(answered.reply, number + "_reply_");
    line["stopped"] = answered.stopped;
    line["tokens"] = answered.tokens;
    lines_ += line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  }

  void write(const std::string& title) const {
    replace_file(folder_ + "/replies.jsonl", lines_);
    replace_file(folder_ + "/page.md", "# " + title + "\n" + text_);
  }

 private:
  Json add_parts(const std::vector<Part>& parts, const std::string& prefix) {
    Json list = Json::array();
    size_t pictures = 0;
    for (const Part& part : parts) {
      if (part.codes.empty()) {
        text_ += markdown(part.text) + "\n\n";
        list.push_back({{"text", part.text}});
        continue;
      }
      const std::string path = "images/" + prefix + std::to_string(pictures++) + ".png";
      write_png(folder_ + "/" + path, tokenizers_.images().decode(part.codes));
      text_ += "![picture](" + path + ")\n\n";
      list.push_back({{"image", path}, {"codes", part.codes}});
    }
    if (parts.empty()) text_ += "*nothing*\n\n";
    return list;
  }

  std::string folder_, text_, lines_;
  const Tokenizers& tokenizers_;
  int64_t count_ = 0;
};

}  // namespace

int run_generate(const GenerateOptions& options, Communicator& world) {
  const std::optional<std::string> checkpoint = latest_checkpoint(options.run);
  TESSERA_CHECK(checkpoint, options.run, ": holds no checkpoint to generate with");
  Engines engines(world, {options.device, options.threads, "auto"});
  TrainedModel trained(*checkpoint, engines.ranks(), engines.stream());
  const DatasetIndex index = trained.read_data_index(options.data);
  const Vocabulary vocabulary = index.vocabulary;
  const Tokenizers tokenizers(trained.data_folder(options.data), vocabulary);
  const CausalRouting routing = causal_routing_of(trained, options.routing);

  ThreadPool pool(thread_count(static_cast<int>(options.threads)));
  const std::vector<ManifestDocument> documents = read_prompts(options);
  const std::vector<std::vector<int32_t>> prompts = tokenizers.encode(documents, pool);
  const int64_t context = options.context > 0 ? options.context : index.length;
  std::vector<int64_t> rooms;
  for (size_t i = 0; i < prompts.size(); ++i)
    rooms.push_back(
        room_for(options, context, documents[i].id, std::ssize(prompts[i]), tokenizers.codes_per_image()));

  Decoder decoder(trained, vocabulary, routing, Interleaver::kSequences, context, engines.stream());
  Interleaver interleaver(options, vocabulary, tokenizers.codes_per_image(), tokenizers.text(), decoder);
  Progress progress("generate", std::ssize(prompts));
  std::vector<Answered> answers;
  int64_t tokens = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Reply reply = interleaver.reply_to(prompts[i], rooms[i], std::to_string(i));
    answers.push_back({documents[i].id, tokenizers.decode(prompts[i]), tokenizers.decode(reply.tokens),
                       reply.stopped, std::ssize(reply.tokens)});
    tokens += answers.back().tokens;
    progress.update(static_cast<int64_t>(i) + 1, str(tokens, " tokens"));
  }
  progress.clear();

  Page page(options.out, tokenizers);
  for (const Answered& answered : answers) page.add(answered);
  page.write(str("Generated by ", markdown(*checkpoint), ", step ", trained.step()));
  if (answers.size() == 1)
    for (const Part& part : answers[0].reply)
      std::printf("%s\n", part.codes.empty() ? part.text.c_str() : "[picture]");
  std::printf("%zu replies, %s tokens: %s/page.md\n", answers.size(), std::to_string(tokens).c_str(),
              options.out.c_str());
  return kExitSuccess;
}

}  // namespace tessera
