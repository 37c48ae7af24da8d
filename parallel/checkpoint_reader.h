#pragma once
// Ranges of the arrays of a checkpoint, wherever they lie.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint_files.h"
#include "runtime/hdf5.h"

namespace tessera {

class CheckpointReader {
 public:
  CheckpointReader(std::string checkpoint, const CheckpointManifest& manifest);

  /// Elements [begin, begin + values.size()) of a parameter's array in group ("/parameters/", "/first/" or "/second/").
  /// Throws Error naming array and element when one is in no file, or a file is not what the manifest says.
  void read(const std::string& group, const std::string& parameter, int64_t begin, std::span<float> values);

 private:
  struct Stored {
    int64_t begin, end;
    std::string file;
  };
  const hdf5::File& open(const std::string& name);

  std::string checkpoint_;
  std::map<std::string, std::vector<Stored>> stored_;  ///< by parameter, in order
  std::map<std::string, hdf5::File> files_;
};

}  // namespace tessera
