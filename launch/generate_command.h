#pragma once
// The options of `tessera generate`.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "launch/engines.h"
#include "launch/generate.h"
#include "launch/process.h"

namespace tessera {

struct GenerateCommand {
  CLI::App* command;
  GenerateOptions options;

  explicit GenerateCommand(CLI::App& app)
      : command(
            app.add_subcommand("generate", "go on with prompts of text and pictures, in text and pictures")) {
    const auto number = [&]<class T>(const char* name, T& value, const char* meaning, double least,
                                     double most) {
      command->add_option(name, value, meaning)
          ->capture_default_str()
          ->check(CLI::Range(static_cast<T>(least), static_cast<T>(most)));
    };
    command->add_option("run", options.run, "run folder; its latest checkpoint is used")->required();
    command->add_option("--out", options.out, "folder for page.md, replies.jsonl and images")->required();
    text_ = part("--text", texts_, "text of the prompt; --text and --image may come several times, in order");
    image_ = part("--image", images_, "PNG or JPEG file of the prompt");
    command->add_option("--prompts", options.prompts, "instead: a manifest with a prompt per line");
    command->add_option("--data", options.data, "dataset folder with the tokenizers (default: the run's)");
    command->add_flag("--begin-image", options.begin_image, "the reply begins with a picture");
    number("--images", options.images, "pictures of a reply, at most", 0, 1e6);
    number("--max-tokens", options.max_tokens, "tokens of a reply, 0 = as many as there is room for", 0, 1e9);
    number("--context", options.context, "tokens of prompt and reply, 0 = as in training", 0, 1e9);
    command->add_option("--stop", options.stop, "a reply ends before this text; may come several times");
    number("--temperature", options.sampling.temperature,
           "logits are divided by it; 0 = always the likeliest", 0, 1e3);
    number("--top-p", options.sampling.top_p, "of the likeliest tokens with this much probability", 0, 1);
    number("--repetition-penalty", options.sampling.repetition_penalty, "of text seen before, 1 = none", 1,
           1e3);
    number("--text-guidance", options.text_guidance, "of pictures by text, 1 = none", 0, 1e3);
    number("--image-guidance", options.image_guidance, "of pictures by pictures, 1 = none", 0, 1e3);
    command
        ->add_option("--routing", options.routing, "of experts (default: auxiliary routers, else thresholds)")
        ->check(CLI::IsMember({"thresholds", "auxiliary_routers"}));
    command->add_option("--seed", options.seed, "of the draws")->capture_default_str();
    number("--threads", options.threads, "compute threads, 0 = one per processor", 0, 1024);
    command->add_option("--device", options.device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
  }

  int run() {
    size_t text = 0, image = 0;
    for (const CLI::Option* given : command->parse_order()) {
      if (given == text_) options.prompt.push_back({false, texts_[text++]});
      if (given == image_) options.prompt.push_back({true, images_[image++]});
    }
    return run_process(1, [&](Communicator& world) {
      return device_usable(world, options.device) ? run_generate(options, world) : kExitUsage;
    });
  }

 private:
  /// One value at a time, so that the order of several is known.
  CLI::Option* part(const char* name, std::vector<std::string>& values, const char* meaning) {
    return command->add_option(name, values, meaning)->allow_extra_args(false);
  }

  CLI::Option *text_, *image_;
  std::vector<std::string> texts_, images_;
};

}  // namespace tessera
