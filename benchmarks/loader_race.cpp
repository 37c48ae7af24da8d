#include "benchmarks/loader_race.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "benchmarks/machine_limits.h"
#include "benchmarks/median.h"
#include "data/synthetic.h"
#include "runtime/cpu_engine.h"
#include "runtime/hdf5.h"
#include "runtime/trace.h"

namespace tessera::benchmarks {
namespace {

constexpr int64_t kUnitsPerBatch = 8, kTokens = int64_t{16} << 20;

/// The ids of each unit in the files, by pread and by the library.
class RawUnits {
 public:
  explicit RawUnits(const TokenDataset& dataset) : buffer_(static_cast<size_t>(dataset.length())) {
    for (const ShardEntry& entry : dataset.index().shards) {
      if (entry.split != "train" || entry.kind != name_of(UnitKind::mixed)) continue;
      const std::string path = dataset.folder() + "/" + entry.file;
      files_.push_back({::open(path.c_str(), O_RDONLY), hdf5::File::open(path), {}});
      files_.back().array.emplace(files_.back().library.dataset("/tokens"));
      for (int64_t unit = 0; unit < entry.units; ++unit)
        units_.push_back({files_.size() - 1, unit, entry.tokens_at + unit * bytes()});
    }
  }
  ~RawUnits() {
    for (const File& file : files_) ::close(file.descriptor);
  }
  RawUnits(const RawUnits&) = delete;
  RawUnits& operator=(const RawUnits&) = delete;

  void read_raw(UnitRef ref) {
    const Place& place = units_[static_cast<size_t>(ref.unit)];
    const ssize_t got =
        ::pread(files_[place.file].descriptor, buffer_.data(), static_cast<size_t>(bytes()), place.offset);
    TESSERA_CHECK(got == bytes(), "loader race: read ", got, " of ", bytes(), " bytes of ", ref);
  }
  void read_by_library(UnitRef ref) {
    const Place& place = units_[static_cast<size_t>(ref.unit)];
    files_[place.file].array->read(place.unit * std::ssize(buffer_), std::span(buffer_));
  }

 private:
  struct File {
    int descriptor;
    hdf5::File library;
    std::optional<hdf5::Dataset> array;
  };
  struct Place {
    size_t file;
    int64_t unit, offset;
  };
  int64_t bytes() const { return std::ssize(buffer_) * static_cast<int64_t>(sizeof(uint16_t)); }

  std::vector<uint16_t> buffer_;
  std::vector<File> files_;
  std::vector<Place> units_;
};

double seconds_of(const std::function<void()>& body) {
  const int64_t begin = clock_ns(1);
  body();
  return 1e-9 * static_cast<double>(clock_ns(1) - begin);
}

}  // namespace

LoaderRace::LoaderRace(int64_t length) : bytes_(kTokens * static_cast<int64_t>(sizeof(uint16_t))) {
  write_synthetic_dataset(folder_ / "tokens", 1,
                          {.length = length,
                           .codes_per_image = 59,
                           .images_per_unit = length / 128,
                           .image_codes = 512,
                           .text_pieces = 1530,
                           .mixed_units = kTokens / length,
                           .text_units = 1});
}

void LoaderRace::round() {
  CpuEngine engine(1);
  const Loader loader(TokenDataset(folder_ / "tokens", "train"),
                      {.micro_batches = 1, .mixed_units = kUnitsPerBatch}, 1, engine.stream());
  const TokenDataset& dataset = loader.dataset();
  RawUnits raw(dataset);
  std::vector<std::vector<UnitRef>> batches;
  for (int64_t step = 0; step < dataset.units(UnitKind::mixed) / kUnitsPerBatch; ++step)
    batches.push_back(loader.sampler().micro_batch(step, 0));
  const auto each_unit = [&](const std::function<void(UnitRef)>& read) {
    return seconds_of([&] {
      for (const std::vector<UnitRef>& batch : batches)
        for (const UnitRef ref : batch) read(ref);
    });
  };
  std::vector<int32_t> tokens(static_cast<size_t>(dataset.length()));
  each_unit([&](UnitRef ref) { raw.read_raw(ref); });  // into memory, where a cold round has taken them from
  Times times{};
  times.raw = each_unit([&](UnitRef ref) { raw.read_raw(ref); });
  times.library = each_unit([&](UnitRef ref) { raw.read_by_library(ref); });
  times.read = each_unit([&](UnitRef ref) { dataset.read_tokens(ref, tokens); });
  const TokenDataset fresh(folder_ / "tokens", "train");
  times.batch = seconds_of([&] {
    for (const std::vector<UnitRef>& batch : batches) read_batch(fresh, batch, false, engine.stream());
  });
  rounds_.push_back(times);
}

/// What no process has mapped and the disk already has.
void LoaderRace::drop_from_memory() const {
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "tokens")) {
    const int file = ::open(entry.path().c_str(), O_RDONLY);
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }
}

void LoaderRace::cold_round() {
  constexpr int64_t kBatches = 64;
  CpuEngine engine(1);
  const LoaderConfig config{.micro_batches = 1, .mixed_units = kUnitsPerBatch};
  const auto wall_seconds = [](const std::function<void()>& body) {
    const int64_t begin = Trace::now_ns();
    body();
    return 1e-9 * static_cast<double>(Trace::now_ns() - begin);
  };
  double raw_seconds = 0;
  {
    const Loader loader(TokenDataset(folder_ / "tokens", "train"), config, 1, engine.stream());
    RawUnits raw(loader.dataset());
    drop_from_memory();
    raw_seconds = wall_seconds([&] {
      for (int64_t step = 0; step < kBatches; ++step)
        for (const UnitRef ref : loader.sampler().micro_batch(step, 0)) raw.read_raw(ref);
    });
  }
  drop_from_memory();
  Loader loader(TokenDataset(folder_ / "tokens", "train"), config, 1, engine.stream());
  cold_fractions_.push_back(raw_seconds / wall_seconds([&] {
                              loader.start(0, {0, 1, 1});
                              for (int64_t step = 0; step < kBatches; ++step) loader.next();
                            }));
}

double LoaderRace::raw_gigabytes() const {
  std::vector<double> seconds;
  for (const Times& times : rounds_) seconds.push_back(times.raw);
  return 1e-9 * static_cast<double>(bytes_) / median(seconds);
}

double LoaderRace::fraction(double Times::*contestant) const {
  std::vector<double> fractions;
  for (const Times& times : rounds_) fractions.push_back(times.raw / times.*contestant);
  return median(fractions);
}

double LoaderRace::library_fraction() const { return fraction(&Times::library); }
double LoaderRace::read_fraction() const { return fraction(&Times::read); }
double LoaderRace::batch_fraction() const { return fraction(&Times::batch); }
double LoaderRace::cold_fraction() const { return median(cold_fractions_); }

}  // namespace tessera::benchmarks
