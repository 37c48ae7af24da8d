#pragma once
// Every knob of a training run: default, unit and range in one place.  `tessera train --keys` prints this list.

#include <string>

#include "autograd/optimizer.h"
#include "data/loader.h"
#include "launch/flight.h"
#include "launch/guard.h"
#include "layers/rows.h"
#include "parallel/mesh.h"
#include "runtime/json.h"

namespace tessera {

/// How ranks exchange data.
struct CommConfig {
  std::string progress = "thread";

  auto fields() {
    return std::tuple{Field{"progress", progress,
                            "one of none|thread: MPI moves data only while it is called; thread: a thread of "
                            "each process calls it "
                            "while the rank computes"}};
  }
};

struct Config {
  std::string data = "corpus/tokens";
  std::string out = "runs/default";
  int64_t steps = 1000;
  int64_t stop_at = 0;
  int64_t seed = 1;
  bool resume = true;
  int64_t save_every = 500;
  int64_t keep = 2;
  int64_t save_buffer = 256;
  std::string damaged_checkpoint = "refuse";
  std::string device = "cpu";
  std::string compute = "f32";
  std::string isa = "auto";
  int64_t threads = 0;
  int64_t thread_ranks = 1;
  bool reshard_after_forward = false;
  std::vector<std::string> recompute;
  MeshConfig mesh;
  bool trace = false;
  double clip = 1;
  float z_loss = 1e-5f;
  double threshold_decay = 0.99;
  std::string trained = "model";
  std::string init_from;
  GuardConfig guard;
  ModelConfig model;
  LoaderConfig loader;
  AdamWConfig adamw;
  ScheduleConfig schedule;
  FlightConfig flight_recorder;
  CommConfig comm;

  auto fields() {
    return std::tuple{
        Field{"data", data, "dataset folder made by `tessera prepare`"},
        Field{"out", out, "run folder: config, metrics, checkpoints"},
        Field{"steps", steps, "optimizer steps of the whole run", 1, 1e12},
        Field{"stop_at", stop_at,
              "save and stop when this many steps are done, the schedule unchanged; 0 = at the end", 0, 1e12},
        Field{"seed", seed, "of initial values and the order of the data", 0, 9e15},
        Field{"resume", resume,
              "continue from the latest checkpoint in out; false refuses a folder that has one"},
        Field{"save_every", save_every, "steps between checkpoints; the last step is always saved", 1, 1e12},
        Field{"keep", keep, "latest checkpoints to keep", 1, 1e6},
        Field{
            "save_buffer", save_buffer,
            "MiB of host memory of a rank for values on their way to a checkpoint while training goes on; it "
            "waits for what does not fit",
            1, 1 << 20},
        Field{
            "damaged_checkpoint", damaged_checkpoint,
            "one of refuse|set_aside: what to do when the checkpoint to continue from is damaged; set_aside "
            "renames it to damaged_step_N and takes the one before"},
        Field{"device", device, "one of cpu|cuda: where the model lives; cuda takes one GPU per rank"},
        Field{"compute", compute,
              "one of f32|bf16: dtype of activations and of the gathered parameters; masters are f32"},
        Field{"isa", isa,
              "one of auto|avx2|avx512|avx512_bf16|amx: instruction-set level; auto = the least over all "
              "ranks"},
        Field{"threads", threads, "compute threads of a rank; 0 = cores / ranks on this machine", 0, 1024},
        Field{"thread_ranks", thread_ranks, "without mpirun: ranks as threads of this process", 1, 256},
        Field{"reshard_after_forward", reshard_after_forward,
              "drop gathered parameters between forward and backward: less memory, more traffic, the same "
              "bits"},
        Field{"recompute", recompute,
              "list of attention|experts|blocks: what runs again in backward instead of keeping what it "
              "saved; the same bits"},
        Field{"mesh", mesh},
        Field{"trace", trace, "write trace_RANK.json with the time range of every kernel"},
        Field{"clip", clip, "largest Euclidean norm of the whole gradient", 1e-12, 1e12},
        Field{"z_loss", z_loss, "weight of the squared log of the softmax normaliser", 0, 1},
        Field{"threshold_decay", threshold_decay,
              "per step, of the running means of expert choice's cut-offs, by which trained models route "
              "causally",
              0, 1},
        Field{"trained", trained,
              "one of model|auxiliary_routers: what learns; the other keeps its values, and router noise is "
              "off while "
              "the model does not learn"},
        Field{
            "init_from", init_from,
            "safetensors file (tessera export-safetensors) whose values the parameters begin with where out "
            "holds no checkpoint; empty: they are drawn"},
        Field{"guard", guard},
        Field{"model", model},
        Field{"loader", loader},
        Field{"adamw", adamw},
        Field{"schedule", schedule},
        Field{"flight_recorder", flight_recorder},
        Field{"comm", comm}};
  }
  DType compute_dtype() const { return compute == "bf16" ? DType::bf16 : DType::f32; }
  Recompute recomputed() const;
};

/// Sets key=value pairs in the JSON of settings.  Throws Error naming the pair.
void override_settings(const std::vector<std::string>& pairs, Json& json);

/// A JSON file (none when path is empty) with key=value overrides on top.  Throws Error naming file or command line, key and
/// value.
template <HasFields Settings>
void read_settings(const std::string& path, const std::vector<std::string>& overrides, Settings& settings) {
  Json json = path.empty() ? Json::object() : read_json(path);
  from_json(json, path, settings);  // by itself first, so that a message blames the right one of the two
  override_settings(overrides, json);
  from_json(json, "command line", settings);
}

/// Throws Error naming the field when members do not fit each other.
void check(const Config& config);

/// The same as read_settings(), with members that fit each other.
Config load_config(const std::string& path, const std::vector<std::string>& overrides);

/// One flat object of every setting: {"model.width": 128, ...}.
Json flat_settings(Config config);
Json flat_settings(const Json& settings);  ///< the same of any settings

}  // namespace tessera
