#include "parallel/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "parallel/agree.h"
#include "runtime/hdf5.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "tessera checkpoint";
constexpr int64_t kVersion = 1;
constexpr std::string_view kStep = "step_";

/// Elements [begin, begin + count) of a flattened parameter.
struct Range {
  std::string parameter;
  int64_t begin = 0, count = 0;

  auto fields() {
    return std::tuple{Field{"parameter", parameter}, Field{"begin", begin, "", 0},
                      Field{"count", count, "", 1}};
  }
};

struct RankFile {
  std::string name;
  int64_t bytes = 0;
  std::string xxh3{};
  std::vector<Range> ranges{};

  auto fields() {
    return std::tuple{Field{"name", name}, Field{"bytes", bytes}, Field{"xxh3", xxh3},
                      Field{"ranges", ranges}};
  }
};

using Sizes = std::vector<int64_t>;

/// The manifest without the caller's state.
struct Manifest {
  std::string format = "none";
  int64_t version = 0;
  int64_t step = 0;
  bool has_moments = false;
  std::map<std::string, Sizes> parameters{};
  std::vector<RankFile> files{};

  auto fields() {
    return std::tuple{
        Field{"format", format},           Field{"version", version},       Field{"step", step},
        Field{"has_moments", has_moments}, Field{"parameters", parameters}, Field{"files", files}};
  }
};

/// What one rank tells the others of its part of the model.
struct Part {
  RankFile file{};
  std::map<std::string, Sizes> parameters{};

  auto fields() { return std::tuple{Field{"file", file}, Field{"parameters", parameters}}; }
};

/// agree(), with the checkpoint in front of the message.
template <class Action>
void together(Communicator& communicator, const std::string& checkpoint, const Action& action) {
  agree(communicator, [&] {
    try {
      action();
    } catch (const std::exception& error) {
      throw Error(str("checkpoint ", checkpoint, ": ", error.what()));
    }
  });
}

void sync(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  TESSERA_CHECK(descriptor >= 0, path, ": cannot be opened: ", std::strerror(errno));
  const int failure = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  TESSERA_CHECK(failure == 0, path, ": cannot be brought to the disk: ", std::strerror(failure));
}

std::string checksum(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_64bits_reset(state.get());
  std::vector<char> buffer(1 << 20);
  while (in.read(buffer.data(), std::ssize(buffer)) || in.gcount() > 0)
    XXH3_64bits_update(state.get(), buffer.data(), static_cast<size_t>(in.gcount()));
  TESSERA_CHECK(in.eof(), path, ": cannot be read");
  std::ostringstream digits;
  digits << std::hex << XXH3_64bits_digest(state.get());
  return digits.str();
}

std::string padded(int64_t number, size_t digits) {
  const std::string text = std::to_string(number);
  return std::string(digits - std::min(digits, text.size()), '0') + text;
}

std::string manifest_path(const std::string& checkpoint) { return checkpoint + "/manifest.json"; }

Sizes sizes_of(const Shape& shape) {
  Sizes sizes;
  for (int dim = 0; dim < shape.rank(); ++dim) sizes.push_back(shape[dim]);
  return sizes;
}

std::string name_of(const Sizes& sizes) { return Json(sizes).dump(); }

/// The parameters of which this rank holds a part.
std::map<std::string, Sizes> parameters_of(const CheckpointTensors& tensors) {
  std::map<std::string, Sizes> parameters{};
  for (const ShardPiece& piece : tensors.pieces)
    parameters[piece.parameter->name] = sizes_of(piece.parameter->shape);
  return parameters;
}

/// Calls visit(group in the file, tensor) for everything that is stored of piece i.
template <class Visit>
void for_each_tensor(const CheckpointTensors& tensors, size_t i, const Visit& visit) {
  visit("/parameters/", tensors.pieces[i].value);
  if (!tensors.optimizer) return;
  visit("/first/", tensors.optimizer->first(i));
  visit("/second/", tensors.optimizer->second(i));
}

RankFile write_rank_file(const std::string& folder, int rank, const CheckpointTensors& tensors) {
  RankFile entry{.name = str("rank_", padded(rank, 5), ".h5")};
  const std::string path = folder + "/" + entry.name;
  hdf5::File file = hdf5::File::create(path);
  for (size_t i = 0; i < tensors.pieces.size(); ++i) {
    const ShardPiece& piece = tensors.pieces[i];
    entry.ranges.push_back({piece.parameter->name, piece.begin, piece.value.count()});
    for_each_tensor(tensors, i, [&](const char* group, const Tensor& tensor) {
      const std::string name = group + piece.parameter->name;
      file.write<float>(name, {tensor.count()}, tensor.to_vector<float>());
      file.set_attribute(name, "begin", piece.begin);
    });
  }
  file.close();
  entry.bytes = static_cast<int64_t>(fs::file_size(path));
  entry.xxh3 = checksum(path);
  return entry;
}

/// Where a checkpoint of one step is made, and where it goes.
struct Places {
  std::string folder, target, making, replaced;

  Places(const std::string& directory, int64_t step) : folder(directory) {
    const std::string name = str(kStep, padded(step, 8));
    target = folder + "/" + name;
    making = folder + "/." + name + ".making";
    replaced = folder + "/." + name + ".replaced";
  }

  /// Also removes what killed runs left.
  void prepare() const {
    fs::create_directories(folder);
    std::vector<fs::path> left;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder))
      if (entry.path().filename().string().starts_with(str(".", kStep))) left.push_back(entry.path());
    for (const fs::path& path : left) fs::remove_all(path);
    fs::create_directory(making);
  }

  void publish() const {
    sync(making);
    if (fs::exists(target)) fs::rename(target, replaced);  // a folder cannot be renamed over another
    fs::rename(making, target);
    sync(folder);
    fs::remove_all(replaced);
  }

  void abandon() const noexcept {
    std::error_code ignored;  // the failure that led here is what gets reported
    fs::remove_all(making, ignored);
    if (fs::exists(replaced, ignored)) fs::rename(replaced, target, ignored);
  }
};

void write_manifest(const std::string& folder, Manifest manifest, const std::vector<std::string>& parts,
                    const Json& state) {
  for (const std::string& text : parts) {
    Part part;
    from_json(Json::parse(text), "part", part);
    manifest.files.push_back(std::move(part.file));
    manifest.parameters.merge(part.parameters);
  }
  Json json = to_json(manifest);
  json["state"] = state;
  write_json(manifest_path(folder), json);
  sync(manifest_path(folder));
}

Manifest parse_manifest(const std::string& checkpoint) {
  Json json = read_checkpoint_manifest(checkpoint);
  json.erase("state");
  Manifest manifest;
  from_json(json, manifest_path(checkpoint), manifest);
  return manifest;
}

void check_parameters(const Manifest& manifest, const std::map<std::string, Sizes>& model) {
  for (const auto& [name, sizes] : model) {
    const auto stored = manifest.parameters.find(name);
    TESSERA_CHECK(stored != manifest.parameters.end(), name, " of this model is missing there");
    TESSERA_CHECK(stored->second == sizes, name, " is ", name_of(stored->second), " there, ", name_of(sizes),
                  " in this model");
  }
  for (const auto& [name, sizes] : manifest.parameters)
    TESSERA_CHECK(model.contains(name), name, " ", name_of(sizes), " is there but not in this model");
}

void check_file(const std::string& checkpoint, const RankFile& file) {
  const std::string path = checkpoint + "/" + file.name;
  TESSERA_CHECK(fs::exists(path), path, " is missing");
  const auto bytes = static_cast<int64_t>(fs::file_size(path));
  TESSERA_CHECK(bytes == file.bytes, path, " should have ", file.bytes, " bytes, got ", bytes);
  const std::string sum = checksum(path);
  TESSERA_CHECK(sum == file.xxh3, path, " is damaged: its XXH3 checksum should be ", file.xxh3, ", got ",
                sum);
}

/// Reads ranges of parameters wherever they lie.
class Reader {
 public:
  Reader(std::string checkpoint, const Manifest& manifest) : checkpoint_(std::move(checkpoint)) {
    for (const RankFile& file : manifest.files)
      for (const Range& range : file.ranges)
        stored_[range.parameter].push_back({range.begin, range.begin + range.count, file.name});
    for (auto& [name, ranges] : stored_) std::ranges::sort(ranges, {}, &Stored::begin);
  }

  /// Elements [begin, begin + tensor.count()) of the array group + parameter.
  void read(const std::string& group, const std::string& parameter, int64_t begin, const Tensor& tensor) {
    const int64_t end = begin + tensor.count();
    int64_t at = begin;
    for (const Stored& stored : stored_[parameter]) {
      if (stored.end <= at || stored.begin > at) continue;
      const int64_t stop = std::min(stored.end, end);
      const hdf5::File& file = open(stored.file);
      const std::string name = group + parameter;
      const hdf5::Dataset dataset = file.dataset(name);
      const auto first = file.attribute<int64_t>(name, "begin");
      TESSERA_CHECK(first == stored.begin && dataset.count() == stored.end - stored.begin, file.path(), ": ",
                    name, " holds [", first, ", ", first + dataset.count(), "), the manifest says [",
                    stored.begin, ", ", stored.end, ")");
      std::vector<float> values(static_cast<size_t>(stop - at));
      dataset.read(at - stored.begin, std::span(values));
      tensor.slice(at - begin, {stop - at}).assign(std::span<const float>(values));
      at = stop;
      if (at == end) return;
    }
    throw Error(str(group, parameter, ": element ", at, " is in no file"));
  }

 private:
  struct Stored {
    int64_t begin, end;
    std::string file;
  };

  const hdf5::File& open(const std::string& name) {
    const auto found = files_.find(name);
    return found != files_.end()
               ? found->second
               : files_.emplace(name, hdf5::File::open(checkpoint_ + "/" + name)).first->second;
  }

  std::string checkpoint_;
  std::map<std::string, std::vector<Stored>> stored_;  ///< by parameter, in order
  std::map<std::string, hdf5::File> files_;
};

/// The step of a folder's name, if it is that of a checkpoint.
std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kStep)) return std::nullopt;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, failure] = std::from_chars(name.data() + kStep.size(), end, step);
  return failure == std::errc() && stop == end && step >= 0 ? std::optional(step) : std::nullopt;
}

}  // namespace

void save_checkpoint(const std::string& directory, int64_t step, const CheckpointTensors& tensors,
                     const Json& state, Communicator& communicator) {
  const Places places(directory, step);
  const bool leads = communicator.rank() == 0;
  Part part{.parameters = parameters_of(tensors)};
  try {
    together(communicator, places.target, [&] {
      if (leads) places.prepare();
    });
    together(communicator, places.target,
             [&] { part.file = write_rank_file(places.making, communicator.rank(), tensors); });
    const std::vector<std::string> parts = all_gather_strings(communicator, to_json(part).dump());
    together(communicator, places.target, [&] {
      if (!leads) return;
      const Manifest manifest{
          .format = kFormat, .version = kVersion, .step = step, .has_moments = tensors.optimizer != nullptr};
      write_manifest(places.making, manifest, parts, state);
      places.publish();
    });
  } catch (...) {
    if (leads) places.abandon();
    throw;
  }
}

void load_checkpoint(const std::string& checkpoint, const CheckpointTensors& tensors,
                     Communicator& communicator) {
  Manifest manifest;
  together(communicator, checkpoint, [&] {
    manifest = parse_manifest(checkpoint);
    TESSERA_CHECK(manifest.has_moments || !tensors.optimizer, "it has no state of the optimizer");
  });
  Part part{.parameters = parameters_of(tensors)};
  std::map<std::string, Sizes> model;
  for (const std::string& text : all_gather_strings(communicator, to_json(part).dump())) {
    from_json(Json::parse(text), "part", part);
    model.merge(part.parameters);
  }
  together(communicator, checkpoint, [&] { check_parameters(manifest, model); });
  together(communicator, checkpoint,
           [&] {  // the files are shared out, so that each is read for its checksum once
             for (size_t i = static_cast<size_t>(communicator.rank()); i < manifest.files.size();
                  i += static_cast<size_t>(communicator.size()))
               check_file(checkpoint, manifest.files[i]);
           });
  together(communicator, checkpoint, [&] {
    Reader reader(checkpoint, manifest);
    for (size_t i = 0; i < tensors.pieces.size(); ++i) {
      const ShardPiece& piece = tensors.pieces[i];
      for_each_tensor(tensors, i, [&](const char* group, const Tensor& tensor) {
        reader.read(group, piece.parameter->name, piece.begin, tensor);
      });
    }
  });
}

Json read_checkpoint_manifest(const std::string& checkpoint) {
  const std::string path = manifest_path(checkpoint);
  TESSERA_CHECK(fs::exists(path), "checkpoint ", checkpoint, ": there is no manifest.json");
  Json json = read_json(path);
  TESSERA_CHECK(json.is_object() && json.value("format", Json()) == kFormat, path,
                ": is not the manifest of a checkpoint");
  const Json version = json.value("version", Json());
  TESSERA_CHECK(version == kVersion, path, ": format version must be ", kVersion, ", got ", version);
  TESSERA_CHECK(json.contains("step") && json["step"].is_number_unsigned(), path,
                ": step must be a whole number, got ", json.value("step", Json()));
  TESSERA_CHECK(json.contains("state"), path, ": state is missing");
  return json;
}

std::vector<std::string> damaged_files(const std::string& checkpoint) {
  std::vector<std::string> damages;
  for (const RankFile& file : parse_manifest(checkpoint).files) {
    try {
      check_file(checkpoint, file);
    } catch (const Error& error) {
      damages.push_back(error.what());
    }
  }
  return damages;
}

std::optional<std::string> latest_checkpoint(const std::string& directory) {
  int64_t highest = -1;
  std::optional<std::string> latest;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, missing)) {
    const std::string path = entry.path().string();
    const std::optional<int64_t> step = step_of(entry.path().filename().string());
    if (!step || *step <= highest || !fs::exists(manifest_path(path))) continue;
    highest = *step;
    latest = path;
  }
  return latest;
}

}  // namespace tessera
