#pragma once
// What a rank computes with: its processor, its GPU when the config asks for one, and the ranks as tensors there see them.

#include <memory>
#include <optional>
#include <string>

#include "parallel/communicator.h"
#include "runtime/cpu_engine.h"
#include "runtime/cuda_engine.h"

namespace tessera {

/// Collective: true when every rank can use device ("cpu" or "cuda").  Else rank 0 says why not, in one sentence; the caller
/// returns kExitUsage.
bool device_usable(Communicator& world, const std::string& device);

struct EngineOptions {
  std::string device = "cpu";  ///< or "cuda": the GPU with the number of this rank on its machine
  int64_t threads = 0;         ///< 0 = cores / ranks on this machine
  std::string isa = "auto";    ///< auto: the least level of all ranks
};

class Engines {
 public:
  /// Collective.  Throws AgreedError when a processor does not support isa, or there are fewer GPUs than ranks on a machine.
  Engines(Communicator& world, const EngineOptions& options);

  Isa isa() const { return host_->isa; }
  /// For data before it goes to the model.
  Stream host() { return host_->stream(); }
  /// Where the model lives.
  Stream stream() { return cuda_ ? cuda_->stream() : host_->stream(); }
  /// The ranks of world, for tensors of stream().
  Communicator& ranks() { return nccl_ ? *nccl_ : world_; }

 private:
  Communicator& world_;
  std::optional<CpuEngine> host_;
  std::optional<CudaEngine> cuda_;
  std::unique_ptr<Communicator> nccl_;
};

}  // namespace tessera
