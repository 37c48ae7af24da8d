#include "launch/train.h"

#include <algorithm>
#include <memory>

#include "launch/clip_scale.h"
#include "launch/engines.h"
#include "launch/process.h"
#include "launch/rows.h"
#include "launch/run.h"
#include "launch/trace_session.h"
#include "layers/transformer.h"
#include "runtime/stream.h"

namespace tessera {
namespace {

/// This rank's leaves of every step.
LeafSequence leaves_of(const Mesh& mesh, int64_t leaves) {
  const LeafRange all = mesh.leaves_of_this_replica(leaves);
  return {all.first + mesh.replica().rank(), all.end, mesh.replica().size()};
}

Batch next_batch(Loader& loader, Trace& trace) {
  const TraceRange range(trace, "wait_for_batch");
  return loader.next();
}

StepSummary summary_of(StepStatistics& statistics, const StepPlan& plan, const Mesh& mesh, Trace& trace) {
  const TraceRange range(trace, "count_statistics");
  return statistics.total(plan, mesh);
}

/// By block; collective.
std::map<std::string, double> router_gradient_norms(const Transformer& model, const Shards& shards,
                                                    Trace& trace) {
  const TraceRange range(trace, "count_statistics");
  std::vector<std::string> places;
  std::vector<const Parameter*> routers;
  const auto add = [&](const std::string& place, const Parameter& router) {
    places.push_back(place);
    routers.push_back(&router);
  };
  for (size_t block = 0; block < model.blocks.size(); ++block) {
    if (const auto& depth = model.blocks[block].depth) add(str(block, "/depth"), depth->layer.router);
    const auto* experts = std::get_if<Sharded<MixtureOfExperts>>(&model.blocks[block].feed_forward);
    if (experts && experts->layer.router) add(str(block), *experts->layer.router);
  }
  const std::vector<double> norms = shards.gradient_norms(routers);
  std::map<std::string, double> by_place;
  for (size_t i = 0; i < places.size(); ++i) by_place[places[i]] = norms[i];
  return by_place;
}

}  // namespace

std::unique_ptr<Loader> open_loader(const Config& config, Communicator& world, Stream stream) {
  std::unique_ptr<Loader> loader;
  agree(world, [&] {
    check(config.mesh, world.size());
    TESSERA_CHECK(world.size() <= config.loader.micro_batches, "loader.micro_batches: ", world.size(),
                  " ranks need at least as many, got ", config.loader.micro_batches);
    TokenDataset dataset(config.data, "train");
    TESSERA_CHECK(dataset.vocabulary().size() == config.model.vocab, "model.vocab: is ", config.model.vocab,
                  ", the dataset ", config.data, " has ", dataset.vocabulary());
    loader = std::make_unique<Loader>(std::move(dataset), config.loader, static_cast<uint64_t>(config.seed),
                                      stream);
  });
  return loader;
}

void choose_trained(Transformer& model, bool trains_model) {
  for_each_parameter(model, "", [&](const std::string&, Parameter& parameter) {
    parameter.trained = is_auxiliary(parameter) != trains_model;
  });
}

int train(const Config& config, Communicator& plain_world) {
  if (config.comm.progress == "thread") plain_world.progress_in_background();
  Flight flight(config.flight_recorder, plain_world);
  return flight.guard([&] { return train_recorded(config, flight.world(), flight); });
}

int train_recorded(const Config& config, Communicator& recorded_world, Flight& flight) {
  FlightRecorder& recorder = flight.recorder();
  Engines engines(recorded_world, {config.device, config.threads, config.isa});
  const Stream stream = engines.stream();
  TraceSession session(config.trace, stream, recorded_world);
  Trace& trace = session.trace();
  const std::unique_ptr<Communicator> traced_world = traced(recorded_world, trace),
                                      ranks = traced(flight.record(engines.ranks(), recorded_world), trace);
  Communicator& world = *traced_world;
  const auto seed = static_cast<uint64_t>(config.seed);
  const std::unique_ptr<Loader> loader = open_loader(config, world, engines.host());

  Transformer model(config.model);
  const ShardOptions sharding{config.compute_dtype(), config.reshard_after_forward};
  Shards shards = shard(model, Mesh(*ranks, config.mesh), stream, sharding, seed, config.model.deviation);
  const Mesh& mesh = shards.mesh();
  const bool trains_model = config.trained == "model";
  choose_trained(model, trains_model);
  AdamW optimizer = adamw_over(shards.pieces(), config.adamw);
  Run run(config, {shards.pieces(), &optimizer}, *loader, engines, world,
          recorder);  // restores the latest checkpoint
  flight.persist(config.out);
  StepStatistics statistics(model, config.model, loader->dataset().vocabulary());
  loader->start(run.first_step(), leaves_of(mesh, loader->sampler().leaves()));

  bool running = run.first_step() < run.last_step();
  for (int64_t step = run.first_step(); running; ++step) {
    recorder.step(step);
    const TraceRange in_step(trace, "step", Track::compute, step);
    const StepPlan plan = loader->plan(step);
    const float scale = 1.0f / static_cast<float>(plan.target_count);
    for (int64_t round = 0; round < mesh.rounds(plan.leaves); ++round) {  // one micro-batch per rank
      recorder.round(static_cast<int32_t>(round));
      shards.begin_round(round, plan.leaves);
      const std::optional<int64_t> leaf = mesh.leaf(round, plan.leaves);
      recorder.phase(FlightPhase::loader);
      const Batch batch = leaf ? next_batch(*loader, trace) : empty_batch(engines.host());
      recorder.phase(FlightPhase::forward);
      Routings routings;
      Tensor output;
      Rows rows = rows_of_round(batch, config, mesh, *loader, step, round, routings, stream);
      rows.output = &output;
      if (trains_model) rows.noise = RouterNoise{seed, step, batch.leaf};
      Tape tape;  // everything below is recorded
      const Loss loss = model.loss(model.hidden(rows), batch.targets.to(stream), scale, config.z_loss);
      const Var objective =
          trains_model ? loss.total : prediction_loss(routings, 1.0f / static_cast<float>(plan.leaves));
      recorder.phase(FlightPhase::backward);
      tape.backward(objective);  // gathers, reduces and frees as it goes
      if (!leaf) continue;
      const TraceRange counting(trace, "count_statistics");
      statistics.add(batch, loss, rows, tape.ledger());
    }
    recorder.phase(FlightPhase::optimizer);
    shards.finish_step();

    Update update{.gradient_norm = shards.gradient_norm(),
                  .learning_rate = learning_rate(config.schedule, step, config.steps),
                  .router_gradient_norms = router_gradient_norms(model, shards, trace)};
    const StepSummary summary = summary_of(statistics, plan, mesh, trace);
    if (run.admits(step, summary, update, {model, shards, *loader, statistics})) {
      update.clip_scale = clip_scale(update.gradient_norm, config.clip, step);
      optimizer.step(step, static_cast<float>(update.learning_rate), static_cast<float>(update.clip_scale));
      shards.stepped();
    }
    recorder.phase(FlightPhase::report);
    running = run.finish_step(step, summary, update);
  }
  session.write(config.out);
  return run.exit_code();
}

}  // namespace tessera
