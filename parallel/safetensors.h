#pragma once
// The safetensors format: 8 bytes little-endian length of a JSON header, the header, then the values of all tensors without
// holes.  {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"key": "text"}}; offsets
// count from the end of the header.  Source: https://huggingface.co/docs/safetensors.

#include <cstdint>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "parallel/sharded.h"
#include "runtime/dtype.h"

namespace tessera {

using SafetensorsMetadata = std::map<std::string, std::string>;

struct SafetensorsEntry {
  DType dtype = DType::f32;  ///< f32 or bf16
  std::vector<int64_t> shape{};
  int64_t begin = 0, end = 0;  ///< bytes, after the header

  int64_t count() const { return (end - begin) / bytes_of(dtype); }
};

/// A file that is read, by one thread.
class Safetensors {
 public:
  /// Throws Error, one sentence with file, tensor and value, when anything in the header is not as above: cut off, too long,
  /// not JSON, a name twice, another dtype than F32 and BF16, offsets that overlap, leave holes, point outside or do not fit
  /// the shape, or values that are missing or left over.
  explicit Safetensors(std::string path);

  const std::map<std::string, SafetensorsEntry>& tensors() const { return tensors_; }
  const SafetensorsMetadata& metadata() const { return metadata_; }

  /// Elements [begin, begin + values.size()) of a tensor, as f32.  Throws Error when they cannot be read.
  void read(const std::string& name, int64_t begin, std::span<float> values);

 private:
  std::string path_;
  std::ifstream file_;
  int64_t data_begin_ = 0;
  std::map<std::string, SafetensorsEntry> tensors_;
  SafetensorsMetadata metadata_;
};

/// A file that is written front to back, to path.tmp until finish().
class SafetensorsWriter {
 public:
  /// shapes: by name, which is the order of the values.  dtype: f32, or bf16, rounded to nearest even.  Throws Error when the
  /// file cannot be written, like all below.
  SafetensorsWriter(std::string path, const std::map<std::string, std::vector<int64_t>>& shapes, DType dtype,
                    const SafetensorsMetadata& metadata);
  /// The next values, in order of names and elements.
  void append(std::span<const float> values);
  /// Everything reaches the disk, then the file gets its name.  Throws Error when the values are not all there.
  void finish();

 private:
  /// Closes and removes the file unless its descriptor was taken.
  struct Unfinished {
    std::string path;
    int descriptor = -1;
    ~Unfinished();
  };
  void write(const void* bytes, size_t count);

  std::string path_;
  DType dtype_;
  Unfinished making_;
  int64_t left_ = 0;  ///< elements that are still to come
};

/// Fills this rank's ranges from a file that holds exactly the parameters of the model.  Collective.  Throws AgreedError
/// naming file and tensor when one is missing, surplus or of another shape, or the file is malformed.
void load_safetensors(const std::string& path, const std::vector<ShardPiece>& pieces,
                      Communicator& communicator);

}  // namespace tessera
