#include "launch/trace_session.h"

#include "launch/trace_file.h"
#include "parallel/agree.h"
#include "parallel/clock.h"
#include "runtime/stream.h"

namespace tessera {

TraceSession::TraceSession(bool wanted, Stream stream, Communicator& world)
    : trace_(*trace_of(stream)), world_(world), header_{world.rank(), world.size()} {
  if (!wanted) return;
  trace_.start();
  header_.clock.push_back(compare_clocks(world));
  const double mine[] = {static_cast<double>(Trace::now_ns())};
  header_.started_ns = static_cast<int64_t>(all_gather_values(world, mine)[0]);
}

void TraceSession::write(const std::string& out) {
  if (!trace_.running()) return;
  header_.clock.push_back(compare_clocks(world_));
  agree(world_, [&] { trace_.write(trace_path(out, header_.rank), header_); });
}

}  // namespace tessera
