// Stands in for nccl.cpp in builds without CUDA.
#include "parallel/communicator.h"

namespace tessera {

std::unique_ptr<Communicator> nccl_communicator(Communicator&, Device device) {
  throw Error(str("communicator: this build has no NCCL, asked for one on ", device));
}

std::string nccl_version() { return "none"; }

}  // namespace tessera
