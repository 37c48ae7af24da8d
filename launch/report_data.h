#pragma once
// What a report page is made from: run folders and sample pictures, read and checked.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/json.h"

namespace tessera {

/// One part of evaluation.json: nats per token on held-out targets.
struct HeldOut {
  int64_t tokens = 0;
  std::optional<double> nats, unigram, bigram;  ///< none: null in the file
  std::map<std::string, double> causal;         ///< nats by way to route: "thresholds", "auxiliary_routers"
};

struct Evaluation {
  std::string checkpoint, routing;
  int64_t step = 0;
  std::map<std::string, HeldOut> parts;  ///< "text", "image", "image_plain"; those that the file has
  std::optional<int64_t> parameters;
  std::optional<double> forward_flops_per_token;
};

struct ReportRun {
  std::string folder, name;    ///< name: the last step of the path, or all of it where two are alike
  std::optional<Json> config;  ///< config.json
  std::vector<double> steps;   ///< of the lines of metrics.jsonl
  std::map<std::string, std::vector<double>> columns;   ///< a number per line; NaN where it is null
  std::map<std::string, double> expert_load, unrouted;  ///< means over the last tenth of the lines
  std::vector<std::string> nonfinite;                   ///< "step 12: loss, gradient_norm"
  std::optional<Evaluation> evaluation;                 ///< evaluation.json
};

struct SamplePair {
  std::string name, original, reconstruction;  ///< the bytes of PNG files
};
struct Samples {
  std::vector<SamplePair> pairs;  ///< the first in the order of names
  int64_t left_out = 0;           ///< pairs beyond the limit
};

/// Throws Error when the folder is missing or a file in it is damaged; missing files leave empty members.
ReportRun read_run(const std::string& folder);
/// The runs in order, with names that differ.  Throws Error as read_run does, and when there is none.
std::vector<ReportRun> read_runs(const std::vector<std::string>& folders);
/// Pairs in data_directory/samples, most of them at most.  Throws Error when a file is not a PNG, or too
/// large for a page.
Samples read_samples(const std::string& data_directory, size_t most);

/// Median of the finite values; none when there are none.
std::optional<double> median(std::vector<double> values);

}  // namespace tessera
