#pragma once
// TensorBoard event files: TFRecord framing (length, masked CRC32C of the length, data, masked CRC32C of
// the data; little-endian) around the messages of event.proto.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "launch/append_file.h"

namespace tessera {

/// Castagnoli polynomial, reflected.  Source: RFC 3720, appendix B.4.
uint32_t crc32c(std::string_view bytes);

/// The frame of one record.
std::string tfrecord(std::string_view data);

class TensorBoard {
 public:
  /// A new event file in an existing folder.  Viewers drop what earlier files of the folder say of
  /// first_step and later.
  TensorBoard(const std::string& directory, int64_t first_step);

  const std::string& path() const { return file_.path(); }
  /// Tags and values at one step, in one record.  Throws Error when it cannot be written.
  void scalars(int64_t step, std::span<const std::pair<std::string, double>> values);

 private:
  AppendFile file_;
};

}  // namespace tessera
