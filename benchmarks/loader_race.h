#pragma once
// Reading units against reading their bytes: four contestants over the same units of the same files, which are in the page
// cache, in the same order, in turns.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "tests/data/temporary_folder.h"

namespace tessera::benchmarks {

class LoaderRace {
 public:
  /// Units of so many tokens, half of them of images; 32 MiB of ids.
  explicit LoaderRace(int64_t length);

  /// Each contestant goes through all units once.  The dataset is opened anew first, so that pages are mapped while they
  /// are read, as in the first pass of a run.
  void round();
  /// The same from the disk, on the wall: pread against the loader, whole micro-batches, through a part of the units.
  void cold_round();

  /// Bytes of ids per second by pread alone, a call for each unit: the rate that the others are fractions of.
  double raw_gigabytes() const;
  /// Medians over the rounds so far of the seconds of pread over the seconds of:
  double library_fraction() const;  ///< HDF5's read of each unit's ids, nothing else
  double read_fraction() const;     ///< TokenDataset::read_tokens: checksum, range of ids, u16 to i32
  double batch_fraction() const;  ///< read_batch of micro-batches: targets, positions, rows by modality, too
  double cold_fraction() const;   ///< the loader, in cold rounds

 private:
  struct Times {
    double raw, library, read, batch;
  };
  double fraction(double Times::*contestant) const;
  void drop_from_memory() const;

  TemporaryFolder folder_;
  int64_t bytes_ = 0;
  std::vector<Times> rounds_;
  std::vector<double> cold_fractions_;
};

}  // namespace tessera::benchmarks
