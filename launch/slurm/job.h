#pragma once
// A training as a batch job of Slurm.

#include <string>
#include <vector>

#include "runtime/fields.h"

namespace tessera {

/// What a job asks for and starts.  `tessera slurm --keys` prints this list.
struct SlurmJob {
  std::string name = "tessera";
  int64_t nodes = 1;
  int64_t ranks_per_node = 1;
  int64_t cpus_per_rank = 1;
  int64_t gpus_per_node = 0;
  std::string time = "01:00:00";
  std::string partition;
  std::string account;
  std::vector<std::string> options;
  std::string output;
  std::string array;
  int64_t save_seconds = 120;
  int64_t requeues = 20;
  std::string launcher = "srun";
  std::vector<std::string> setup;
  std::string program;
  std::vector<std::string> command;

  auto fields() {
    return std::tuple{
        Field{"name", name, "of the job"},
        Field{"nodes", nodes, "machines", 1, 1e6},
        Field{"ranks_per_node", ranks_per_node, "processes on each of them", 1, 1e4},
        Field{"cpus_per_rank", cpus_per_rank, "processors of a rank, as many threads can compute", 1, 1e4},
        Field{"gpus_per_node", gpus_per_node, "with device=cuda one per rank", 0, 1e4},
        Field{"time", time, "limit of one stay on the machines, as sbatch takes it: hours:minutes:seconds"},
        Field{"partition", partition, "empty = the cluster's default"},
        Field{"account", account, "empty = the user's default"},
        Field{"options", options, "more options of sbatch, e.g. [\"--mem=0\", \"--constraint=ib\"]"},
        Field{"output", output, "log file; empty = %x-%j.log, in arrays %x-%A_%a.log"},
        Field{"array", array, "task numbers, e.g. 0-7%2; {task} in the command stands for the number"},
        Field{"save_seconds", save_seconds,
              "before the time limit at which ranks are told to save and the job goes back to the queue", 1,
              65535},
        Field{"requeues", requeues,
              "the job no longer requeues itself when it has come back so often, whatever the cause", 0, 1e6},
        Field{"launcher", launcher, "one of srun|mpirun"},
        Field{"setup", setup, "lines of shell before the launch, e.g. [\"module load openmpi\"]"},
        Field{"program", program, "empty = this program, where it is"},
        Field{"command", command,
              "what the ranks run, e.g. [\"train\", \"launch/configs/demo_1t1i.json\", \"out=runs/mine\"]"}};
  }
};

/// The script for sbatch: it starts the ranks, tells them to save when Slurm is about to end the job, and puts the job back
/// into the queue when they have.  Throws Error when lint_batch_script() finds an error in it.
std::string sbatch_script(const SlurmJob& job);

}  // namespace tessera
