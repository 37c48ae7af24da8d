// The program: subcommands, their options, and what they call.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <optional>

#include "launch/caption_match.h"
#include "launch/compare_image_tokenizers.h"
#include "launch/config.h"
#include "launch/doctor.h"
#include "launch/dry_run.h"
#include "launch/engines.h"
#include "launch/evaluate.h"
#include "launch/generate_command.h"
#include "launch/inspect.h"
#include "launch/inspect_step.h"
#include "launch/post_mortem.h"
#include "launch/prepare.h"
#include "launch/process.h"
#include "launch/recovery_commands.h"
#include "launch/report.h"
#include "launch/slurm/slurm.h"
#include "launch/study.h"
#include "launch/tokenize_images.h"
#include "launch/trace_command.h"
#include "launch/train.h"
#include "launch/train_image_tokenizer.h"
#include "launch/train_routers.h"
#include "launch/upcycle.h"
#include "launch/version.h"
#include "runtime/log.h"

namespace tessera {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 success; 1 bad input, or a failed read or write (one sentence on stderr);\n"
    "2 the command line could not be understood, or names a device that this machine lacks; 85 stopped by\n"
    "SIGTERM, SIGINT, SIGUSR1 or SIGUSR2 after saving a checkpoint: start the same command again and it\n"
    "goes on from there (mpirun passes the last two on; it answers SIGTERM and SIGINT with a code of its "
    "own);\n"
    "86 the watchdog ended a run that hung (what happened: stderr, and tessera post-mortem RUN); 87 stopped\n"
    "before a step that would have spoilt the model (config guard).\n\n"
    "A first run:\n"
    "  tessera prepare launch/configs/demo_data.json manifest=corpus/manifest/default.jsonl "
    "out=corpus/tokens\n"
    "  tessera train launch/configs/demo_1t1i.json steps=100\n"
    "  mpirun -n 2 tessera train launch/configs/demo_1t1i.json steps=100      the same bits, on two ranks\n"
    "  tessera evaluate --run runs/demo_1t1i\n"
    "  tessera generate runs/demo_1t1i --text \"red heart\" --begin-image --out generated\n"
    "  tessera report runs/demo_1t1i --out report.html";

/// A training: load() gives its config from file and overrides, on every rank, since ranks may see different files.
template <class Load, class Train>
int run_training(const Load& load, const Train& train_on) {
  const int64_t thread_ranks = under_mpi() ? 1 : load().thread_ranks;
  return run_process(static_cast<int>(thread_ranks), [&](Communicator& world) {
    decltype(load()) config;
    agree(world, [&] {
      config = load();
      TESSERA_CHECK(config.thread_ranks == 1 || !under_mpi(), "thread_ranks must be 1 under mpirun, got ",
                    config.thread_ranks);
    });
    require_same(world, "the resolved config", flat_settings(to_json(config)));
    return train_on(config, world);
  });
}

/// train, where every rank can use the config's device.
template <class Train>
auto on_device(Train train) {
  return [train](const auto& config, Communicator& world) {
    return device_usable(world, config.device) ? train(config, world) : static_cast<int>(kExitUsage);
  };
}

int run_prepare(const std::string& path, const std::vector<std::string>& overrides) {
  PrepareConfig config;
  read_settings(path, overrides, config);
  prepare(config, log_line);
  return kExitSuccess;
}

/// A config file, key=value overrides, and a flag that prints the keys.
struct Settings {
  std::string path;
  std::vector<std::string> overrides;
  bool print_keys = false;

  void add_to(CLI::App& command) {
    command.add_option(
        "settings", overrides,
        "a JSON config file (launch/configs has ready ones), then key=value, e.g. model.width=128");
    command.add_flag("--keys", print_keys, "print every key with its default, range and meaning");
  }
  /// The first word is the file unless it is an override.
  void split() {
    if (overrides.empty() || overrides[0].find('=') != std::string::npos) return;
    path = overrides[0];
    overrides.erase(overrides.begin());
  }
};

template <class Keys>
int print_keys() {
  Keys defaults;
  std::printf("%s", describe(defaults).c_str());
  return kExitSuccess;
}

/// The commands around image tokenizers.
struct ImageCommands {
  CLI::App *train, *compare, *tokenize, *decode;
  Settings train_settings;
  CompareImageTokenizersOptions comparison;
  TokenizeImagesOptions to_codes;
  DecodeImagesOptions to_pictures;

  explicit ImageCommands(CLI::App& app)
      : train(app.add_subcommand("train-image-tokenizer",
                                 "learn codes for pictures: a VQ autoencoder of patches")),
        compare(app.add_subcommand(
            "compare-image-tokenizers",
            "a learned tokenizer beside k-means on held-out pictures, with a contact sheet")),
        tokenize(app.add_subcommand("tokenize-images", "turn pictures into codes, a JSON line each")),
        decode(app.add_subcommand("decode-images", "turn codes back into PNG files")) {
    const char* any_tokenizer = "run folder, checkpoint or dataset, or an image_codebook.h5";
    train_settings.add_to(*train);
    compare->add_option("--learned", comparison.learned, "run folder or checkpoint of train-image-tokenizer")
        ->required();
    compare->add_option("--manifest", comparison.manifest, "manifest of pictures (default: the run's)");
    compare->add_option("--codebook", comparison.codebook,
                        "dataset or file of the k-means codebook (default: learned from the run's pictures)");
    compare->add_option("--out", comparison.out, "folder for comparison.json and contact_sheet.png")
        ->required();
    compare->add_option("--threads", comparison.threads, "compute threads, 0 = one per processor")
        ->check(CLI::Range(0, 1024));
    tokenize->add_option("pictures", to_codes.pictures, "PNG or JPEG files")->required();
    tokenize->add_option("--tokenizer", to_codes.tokenizer, any_tokenizer)->required();
    tokenize->add_option("--out", to_codes.out, "file of JSON lines to write")->required();
    decode->add_option("codes", to_pictures.codes, "file of JSON lines, as tokenize-images writes")
        ->required();
    decode->add_option("--tokenizer", to_pictures.tokenizer, any_tokenizer)->required();
    decode->add_option("--out", to_pictures.out, "folder for the PNG files")->required();
  }

  /// The exit code when one of them was asked for.
  std::optional<int> run() {
    if (train->parsed()) {
      if (train_settings.print_keys) return print_keys<ImageTokenizerConfig>();
      train_settings.split();
      return run_training(
          [&] {
            ImageTokenizerConfig config;
            read_settings(train_settings.path, train_settings.overrides, config);
            return config;
          },
          on_device(train_image_tokenizer));
    }
    for (const CLI::App* command : {compare, tokenize, decode})
      TESSERA_CHECK(!command->parsed() || !under_mpi(), command->get_name(),
                    " runs as one process: start it without mpirun");
    if (compare->parsed()) compare_image_tokenizers(comparison);
    if (tokenize->parsed()) tokenize_images(to_codes);
    if (decode->parsed()) decode_images(to_pictures);
    if (compare->parsed() || tokenize->parsed() || decode->parsed()) return kExitSuccess;
    return std::nullopt;
  }
};

struct SlurmCommand {
  CLI::App* command;

  explicit SlurmCommand(CLI::App& app)
      : command(
            app.add_subcommand("slurm", "write a batch script for sbatch, or say what is wrong with one")) {
    settings_.add_to(*command);
    command->add_option("--command", words_, "what the ranks run, e.g. train CONFIG out=runs/mine");
    command->add_option("--out", out_, "file to write (default: standard output)");
    command->add_option("--check", checked_, "instead: a batch script to read");
  }

  int run() {
    if (settings_.print_keys) return print_keys<SlurmJob>();
    if (!checked_.empty()) return check_batch_script(checked_, std::cout);
    settings_.split();
    SlurmJob job;
    read_settings(settings_.path, settings_.overrides, job);
    if (!words_.empty()) job.command = words_;
    write_batch_script(job, out_, std::cout);
    return kExitSuccess;
  }

 private:
  Settings settings_;
  std::vector<std::string> words_;
  std::string out_, checked_;
};

/// What is wrong with the command line, in one sentence.
std::string usage_problem(const CLI::App& app, int argc, char** argv, const CLI::ParseError& error) {
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands({})) commands.push_back(command->get_name());
  const std::string first = argc > 1 ? argv[1] : "-";
  if (first[0] != '-' && std::ranges::find(commands, first) == commands.end())
    return str("unknown command \"", first, "\"; did you mean \"", nearest(first, commands), "\"?");
  return str(error.what(), " (see tessera --help)");
}

int run(int argc, char** argv) {
  CLI::App app{"Tessera trains sparse multimodal transformers on text and images, sharded over MPI ranks."};
  app.require_subcommand(1);
  app.footer(kFooter);

  CLI::App* train_command = app.add_subcommand("train", "train a model, or go on where a run stopped");
  Settings train_settings;
  train_settings.add_to(*train_command);
  std::string train_device;
  train_command->add_option("--device", train_device, "cpu or cuda; the same as device=...");
  DryRunOptions dry;
  bool is_dry = false;
  CLI::Option* const dry_flag = train_command->add_flag(
      "--dry-run", is_dry,
      "instead of training: the memory that each rank will take, and whether the machine has it");
  const auto add_dry = [&](CLI::Option* option) { option->needs(dry_flag); };
  const CLI::Range count(int64_t{1}, int64_t{1} << 16);
  add_dry(train_command->add_option("--ranks", dry.ranks, "to think up for a dry run")->check(count));
  add_dry(train_command->add_option("--ranks-per-node", dry.ranks_per_node, "that share a machine's memory")
              ->check(count));
  add_dry(train_command->add_option("--memory", dry.memory,
                                    "of a machine (of a GPU), e.g. 16GiB; default: what this one has left"));
  add_dry(train_command->add_flag("--json", dry.json, "a dry run for machines"));

  CLI::App* prepare_command =
      app.add_subcommand("prepare", "turn a manifest of documents into a dataset of token shards");
  Settings prepare_settings;
  prepare_settings.add_to(*prepare_command);

  CLI::App* evaluate_command =
      app.add_subcommand("evaluate", "loss on held-out data beside unigram and bigram baselines");
  EvaluateOptions evaluate;
  evaluate_command->add_option("--run", evaluate.run, "run folder; its latest checkpoint is used")
      ->required();
  evaluate_command->add_option("--data", evaluate.data, "dataset folder (default: the run's)");
  evaluate_command->add_option("--units", evaluate.units, "held-out units per kind, 0 = all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  evaluate_command->add_option("--device", evaluate.device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  evaluate_command->add_option("--threads", evaluate.threads, "compute threads of a rank, 0 = cores / ranks")
      ->check(CLI::Range(int64_t{0}, int64_t{1024}));

  CLI::App* upcycle_command = app.add_subcommand(
      "upcycle", "make the networks of a trained model the experts of a larger one, and go on from there");
  UpcycleOptions upcycle;
  upcycle_command->add_option("source", upcycle.source, "run folder; its latest checkpoint is the seed")
      ->required();
  upcycle_command
      ->add_option("settings", upcycle.overrides,
                   "key=value on top of the seed's config, e.g. out=runs/4t4i "
                   "model.feed_forward='[\"4t4i\"]' steps=2000")
      ->required();
  upcycle_command->add_option("--moments", upcycle.moments, "of AdamW: reset to zero, or clone")
      ->check(CLI::IsMember({"reset", "clone"}));
  upcycle_command
      ->add_option("--reinitialise", upcycle.reinitialise, "share of each clone's hidden units to draw anew")
      ->check(CLI::Range(0.0, 1.0));

  CLI::App* routers_command = app.add_subcommand(
      "train-routers",
      "teach auxiliary routers what the routers of a trained model do, so that it routes causally");
  TrainRoutersOptions routers;
  routers_command->add_option("source", routers.source, "run folder; its latest checkpoint is used")
      ->required();
  routers_command
      ->add_option("settings", routers.overrides,
                   "key=value on top of the run's config, e.g. out=runs/4t4i_causal steps=1200 "
                   "schedule.peak=1e-3; default: a tenth more steps")
      ->required();

  CLI::App* inspect_command =
      app.add_subcommand("inspect", "say what is in a dataset, shard, checkpoint or run");
  std::string inspect_path;
  bool inspect_json = false;
  inspect_command->add_option("path", inspect_path, "file or folder");
  inspect_command->add_flag("--json", inspect_json, "for machines");
  CLI::App* step_command = inspect_command->add_subcommand(
      "step", "write inputs, routing, logits, loss and every gradient of one micro-batch");
  InspectStepOptions step;
  step_command->add_option("--checkpoint", step.checkpoint, "checkpoint folder")->required();
  step_command->add_option("--data", step.data, "dataset folder (default: the run's)");
  step_command->add_option("--out", step.out, "HDF5 file to write")->required();

  CLI::App* report_command = app.add_subcommand("report", "write one HTML page about one or several runs");
  std::vector<std::string> report_runs;
  std::string report_out = "report.html", report_data;
  report_command->add_option("runs", report_runs, "run folders")->required();
  report_command->add_option("--data", report_data, "dataset folder, for sample pictures");
  report_command->add_option("--out", report_out, "HTML file to write");

  CLI::App* study_command =
      app.add_subcommand("study", "compare variants of a model over seeds: loss against operations");
  std::vector<std::string> study_variants;
  std::string study_out = "study";
  study_command
      ->add_option("variants", study_variants,
                   "NAME=RUN,RUN,... with a run per seed; the first one is the baseline")
      ->required();
  study_command->add_option("--out", study_out, "path of the page and the JSON file, without extension");

  CLI::App* trace_command = app.add_subcommand(
      "trace", "put the traces of all ranks on one clock, and say where a step's time goes");
  TraceOptions trace;
  trace_command->add_option("run", trace.run, "run folder of a training with trace=true")->required();
  trace_command->add_option("--out", trace.out, "file for Perfetto (default: RUN/trace.json)");
  trace_command->add_option("--page", trace.page, "HTML file with a bar for every rank");
  trace_command->add_option("--first", trace.first, "first step of the tables")
      ->check(CLI::NonNegativeNumber);
  trace_command->add_option("--last", trace.last, "last step of the tables")->check(CLI::NonNegativeNumber);
  trace_command->add_flag("--json", trace.json, "tables for machines");

  CLI::App* match_command = app.add_subcommand(
      "match-captions", "test whether generated pictures fit the captions they were made for");
  CaptionMatchOptions match;
  match_command->add_option("--replies", match.replies, "replies.jsonl of tessera generate")->required();
  match_command
      ->add_option("--references", match.references, "manifest of captioned pictures to look them up in")
      ->required();
  match_command->add_option("--out", match.out, "JSON file to write")->required();
  match_command->add_option("--deals", match.deals, "random deals of pictures to prompts")
      ->check(CLI::Range(1, 1 << 24));
  match_command->add_option("--seed", match.seed, "of the deals");

  CLI::App* mortem_command = app.add_subcommand(
      "post-mortem", "say which rank of a run hung or went wrong, where, and what the others did");
  std::string mortem_run;
  bool mortem_json = false;
  mortem_command->add_option("run", mortem_run, "run folder")->required();
  mortem_command->add_flag("--json", mortem_json, "for machines");

  CLI::App* doctor_command =
      app.add_subcommand("doctor", "check launcher, MPI, processor, memory and file system");
  std::string doctor_folder = ".";
  bool doctor_json = false;
  doctor_command->add_option("folder", doctor_folder, "where runs will be written");
  doctor_command->add_flag("--json", doctor_json, "for machines");

  SlurmCommand slurm_command(app);
  GenerateCommand generate_command(app);
  ImageCommands image_commands(app);
  RecoveryCommands recovery_commands(app);

  app.add_subcommand("version", "print version and build");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return fail_process(usage_problem(app, argc, argv, error), kExitUsage);
  }

  for (const CLI::App* command :
       {prepare_command, upcycle_command, generate_command.command, inspect_command, report_command,
        slurm_command.command, study_command, match_command, mortem_command, trace_command})
    TESSERA_CHECK(!command->parsed() || !under_mpi(), command->get_name(),
                  " runs as one process: start it without mpirun");
  if (const std::optional<int> code = image_commands.run()) return *code;
  if (const std::optional<int> code = recovery_commands.run()) return *code;
  if (train_command->parsed()) {
    if (train_settings.print_keys) return print_keys<Config>();
    train_settings.split();
    if (!train_device.empty()) train_settings.overrides.push_back("device=" + train_device);
    const auto load = [&] { return load_config(train_settings.path, train_settings.overrides); };
    if (!is_dry) return run_training(load, on_device(train));
    return run_training(load, [&](const Config& config, Communicator& world) {
      dry_run(config, dry, world, std::cout);
      return static_cast<int>(kExitSuccess);
    });
  }
  if (prepare_command->parsed()) {
    if (prepare_settings.print_keys) return print_keys<PrepareConfig>();
    prepare_settings.split();
    return run_prepare(prepare_settings.path, prepare_settings.overrides);
  }
  if (evaluate_command->parsed())
    return run_process(1, [&](Communicator& world) {
      return device_usable(world, evaluate.device) ? run_evaluate(evaluate, world) : kExitUsage;
    });
  if (upcycle_command->parsed()) return run_upcycle(upcycle);
  if (routers_command->parsed())
    return run_training([&] { return routers_config(routers); },
                        on_device([&](const Config& config, Communicator& world) {
                          return train_routers(routers, config, world);
                        }));
  if (generate_command.command->parsed()) return generate_command.run();
  if (slurm_command.command->parsed()) return slurm_command.run();
  if (step_command->parsed()) return run_inspect_step(step);
  if (inspect_command->parsed()) {
    if (inspect_path.empty())
      return fail_process("inspect: a path is needed (see tessera inspect --help)", kExitUsage);
    return run_inspect(inspect_path, std::cout, inspect_json ? InspectFormat::json : InspectFormat::text);
  }
  if (report_command->parsed()) {
    write_report(report_runs, report_data, report_out);
    return kExitSuccess;
  }
  if (study_command->parsed()) {
    write_study(study_variants, study_out);
    return kExitSuccess;
  }
  if (trace_command->parsed()) {
    run_trace(trace, std::cout);
    return kExitSuccess;
  }
  if (match_command->parsed()) {
    match_captions(match);
    return kExitSuccess;
  }
  if (mortem_command->parsed()) {
    std::printf("%s", post_mortem(mortem_run, mortem_json).c_str());
    return kExitSuccess;
  }
  if (doctor_command->parsed()) {
    return run_process(1, [&](Communicator& world) {
      return run_doctor(doctor_folder, world, std::cout,
                        doctor_json ? DoctorFormat::json : DoctorFormat::text);
    });
  }
  std::printf("%s\n", version_text().c_str());
  return kExitSuccess;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  try {
    return tessera::run(argc, argv);
  } catch (const std::exception& error) {
    return tessera::fail_process(error.what(), tessera::kExitError);
  }
}
