#include "parallel/row_exchange.h"

#include <numeric>
#include <optional>

#include "parallel/traced.h"
#include "runtime/meta_engine.h"

namespace tessera {

/// What travels, there or back.
struct RowExchange::Flight {
  Names names;
  std::string purpose;
  Communicator* communicator;
  int64_t width;
  std::vector<int64_t> sent, received;  ///< elements by rank, forward
  std::optional<Pending<Tensor>> arriving{};

  /// The tensor that will hold what arrives.
  Tensor start(const Tensor& rows, const std::vector<int64_t>& from, const std::vector<int64_t>& to) {
    const Stream stream = rows.stream();
    const TracedRange range(stream, names.start);
    const MemoryFor use(MemoryUse::communication, stream);
    const int64_t count = std::reduce(to.begin(), to.end());
    const Tensor room = Tensor::empty({count / width, width}, rows.dtype(), stream);
    const About about(*communicator, purpose);
    arriving = communicator->all_to_all(rows, from, room, to, stream);
    return room;
  }
  Tensor wait(Stream stream) {
    const TracedRange range(stream, names.wait);
    const Tensor rows = std::move(*arriving).wait(stream);
    arriving.reset();
    return rows;
  }
};

RowExchange::RowExchange(Names names, const std::string& experts, const Var& x, Communicator& communicator,
                         const RowCounts& counts)
    : flight_(std::make_shared<Flight>(Flight{names, str(names.start, " ", experts), &communicator,
                                              x.shape()[1], counts.send, counts.receive})) {
  for (int64_t& count : flight_->sent) count *= flight_->width;
  for (int64_t& count : flight_->received) count *= flight_->width;
  const Tensor room = flight_->start(x.value(), flight_->sent, flight_->received);
  // Nothing but wait() uses the flying rows, so that the gradient which arrives here is the one that it sent for.
  flying_ = record(names.start, room,
                   {{x, [flight = flight_](const Tensor& room) { return flight->wait(room.stream()); }}});
}

Var RowExchange::wait() && {
  const Tensor rows = flight_->wait(flying_.stream());
  return record(flight_->names.wait, rows, {{flying_, [flight = flight_](const Tensor& dy) {
                                               return flight->start(dy, flight->received, flight->sent);
                                             }}});
}

}  // namespace tessera
