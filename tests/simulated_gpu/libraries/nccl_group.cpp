#include "tests/simulated_gpu/libraries/nccl_group.h"

#include <utility>
#include <vector>

#include "tests/simulated_gpu/libraries/nccl_transfer.h"

namespace simulated_gpu {
namespace {

/// The sends and receives of one communicator and stream.
struct Bundle {
  CommunicatorPointer communicator;
  cudaStream_t stream;
  std::vector<Transfer> transfers;
};

struct Group {
  int depth = 0;
  std::vector<std::function<ncclResult_t()>> calls;
  std::vector<Bundle> bundles;
};

Group& group() {
  thread_local Group value;
  return value;
}

ncclResult_t enqueue_bundle(const Bundle& bundle) {
  const std::string name = "ncclSend and ncclRecv, " + std::to_string(bundle.transfers.size());
  auto transfers = std::make_shared<Transfers>(bundle.communicator, bundle.transfers);
  return enqueue_operation(
      bundle.communicator, bundle.stream, name,
      [transfers](const OperationPointer& operation) { return transfers->advance(operation); });
}

/// Everything is queued even if one fails; the first failure is told.
ncclResult_t enqueue_group(const Group& ended) {
  ncclResult_t result = ncclSuccess;
  const auto note = [&](ncclResult_t code) { result = result == ncclSuccess ? code : result; };
  for (const Bundle& bundle : ended.bundles) note(enqueue_bundle(bundle));
  for (const auto& call : ended.calls) note(call());
  return result;
}

}  // namespace

ncclResult_t in_group(std::function<ncclResult_t()> call) {
  if (group().depth == 0) return call();
  group().calls.push_back(std::move(call));
  return ncclSuccess;
}

ncclResult_t transfer_in_group(const CommunicatorPointer& communicator, cudaStream_t stream,
                               const Transfer& transfer) {
  if (group().depth == 0) return enqueue_bundle({communicator, stream, {transfer}});
  for (Bundle& bundle : group().bundles) {
    if (bundle.communicator != communicator || bundle.stream != stream) continue;
    bundle.transfers.push_back(transfer);
    return ncclSuccess;
  }
  group().bundles.push_back({communicator, stream, {transfer}});
  return ncclSuccess;
}

}  // namespace simulated_gpu

using namespace simulated_gpu;

extern "C" {

ncclResult_t ncclGroupStart() {
  ++group().depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  return nccl_call([&] {
    if (group().depth == 0) return failed(ncclInvalidUsage, "ncclGroupEnd: no group has been started");
    if (--group().depth > 0) return ncclSuccess;
    const Group ended = std::exchange(group(), {});
    return enqueue_group(ended);
  });
}

}  // extern "C"
