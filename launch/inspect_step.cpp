#include "launch/inspect_step.h"

#include <filesystem>

#include "launch/process.h"
#include "launch/rows.h"
#include "launch/trained_model.h"
#include "runtime/hdf5.h"

namespace tessera {
namespace {

std::vector<int64_t> sizes_of(const Shape& shape) {
  std::vector<int64_t> sizes;
  for (int dim = 0; dim < shape.rank(); ++dim) sizes.push_back(shape[dim]);
  return sizes;
}

/// As f32 or i32, whatever the compute dtype was.
void write(hdf5::File& file, const std::string& name, const Tensor& tensor) {
  const std::vector<int64_t> sizes = sizes_of(tensor.shape());
  if (tensor.dtype() == DType::i32) {
    file.write(name, sizes, std::span<const int32_t>(tensor.values<int32_t>()));
    return;
  }
  const Tensor wide = cast(tensor, DType::f32).value();
  file.write(name, sizes, std::span<const float>(wide.values<float>()));
}

void write_inputs(hdf5::File& file, const Batch& batch, const Rows& rows) {
  write(file, "/inputs/tokens", batch.tokens);
  write(file, "/inputs/targets", batch.targets);
  write(file, "/inputs/positions", batch.positions);
  file.write("/inputs/segments", batch.segments);
  file.write("/inputs/units", batch.units);
  for (int modality = 0; modality < kModalities; ++modality)
    write(file, str("/inputs/rows_", name_of(static_cast<Modality>(modality))),
          rows.of_modality[static_cast<size_t>(modality)].index);
}

void write_routing(hdf5::File& file, const std::string& group, const LayerRouting& chosen) {
  write(file, group + "index", chosen.routing.index);
  file.write(group + "offsets", chosen.routing.offsets);
  if (chosen.scores.value()) write(file, group + "scores", chosen.scores.value());
}

/// Fills the file at path.
void inspect_step(const InspectStepOptions& options, const std::string& path, Communicator& world) {
  CpuEngine engine;
  const Stream stream = engine.stream();
  TrainedModel trained(options.checkpoint, world, stream);
  const Config& config = trained.config();
  const TokenDataset dataset = trained.open_data(options.data, "train");
  Loader loader(dataset, config.loader, static_cast<uint64_t>(config.seed), stream);
  const std::vector<UnitRef> units = loader.sampler().micro_batch(trained.step(), 0);
  const Batch batch = read_batch(dataset, units, config.loader.attend_across_documents, stream);
  int64_t targets = 0;
  for (int64_t count : batch.target_counts) targets += count;

  Rows rows = rows_of(batch, stream);
  Routings routings;
  rows.record = &routings;
  hdf5::File file = hdf5::File::create(path);
  trained.shards().begin_round(0, 1);
  {
    Tape tape;
    Transformer& model = trained.model();
    const Var x = model.hidden(rows);
    {
      const Tape::Pause pause;  // the loss forms logits of its own
      write(file, "/logits", model.head(x.value()).value());
    }
    const Loss loss = model.loss(x, batch.targets, 1.0f / static_cast<float>(targets), config.z_loss);
    tape.backward(loss.total);
    write(file, "/nll", loss.nll);
    write(file, "/log_sum", loss.log_sum);
    write(file, "/loss", loss.total.value());
  }
  trained.shards().finish_step();
  write_inputs(file, batch, rows);
  for (const auto& [block, chosen] : routings.experts)
    write_routing(file, str("/routing/", block, "/"), chosen);
  for (const auto& [block, depth] : routings.depths)
    write_routing(file, str("/routing/", block, "/depth/"), depth.chosen);
  for (const ShardPiece& piece : trained.shards().pieces()) {
    const Shape shape = piece.parameter->shape;
    write(file, "/parameters/" + piece.parameter->name, piece.value.reshape(shape));
    write(file, "/gradients/" + piece.parameter->name, piece.grad.reshape(shape));
  }
  Config stored = config;
  file.set_attribute("/", "config", to_json(stored).dump());
  file.set_attribute("/", "step", trained.step());
  file.set_attribute("/", "isa", std::string(name_of(engine.isa)));
  file.close();
}

}  // namespace

int run_inspect_step(const InspectStepOptions& options) {
  return run_process(1, [&](Communicator& world) {
    const std::string making = options.out + ".tmp";
    std::error_code failure;
    try {
      inspect_step(options, making, world);
      std::filesystem::rename(making, options.out, failure);
      TESSERA_CHECK(!failure, options.out, ": cannot be written: ", failure.message());
    } catch (...) {
      std::filesystem::remove(making, failure);
      throw;
    }
    return kExitSuccess;
  });
}

}  // namespace tessera
