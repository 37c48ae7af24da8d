#include "parallel/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "parallel/agree.h"
#include "parallel/checkpoint_tensors.h"
#include "runtime/json.h"

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little, "values are stored little-endian");

constexpr int64_t kLongestHeader = 100'000'000;  ///< as in the format's own library
constexpr const char* kMetadata = "__metadata__";

const char* stored_name(DType dtype) { return dtype == DType::f32 ? "F32" : "BF16"; }

/// Refuses a key that comes twice in one object, which the parser alone would take.
class NoDuplicates {
 public:
  explicit NoDuplicates(const std::string& path) : path_(path) {}
  bool operator()(int, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key)
      TESSERA_CHECK(keys_.back().insert(parsed.get<std::string>()).second, path_, ": the header has ", parsed,
                    " twice");
    return true;
  }

 private:
  const std::string& path_;
  std::vector<std::set<std::string>> keys_;
};

Json parse_header(const std::string& path, const std::string& text) {
  try {
    return Json::parse(text, NoDuplicates(path));
  } catch (const Json::exception& error) {
    throw Error(str(path, ": the header is not valid JSON: ", error.what()));
  }
}

bool is_whole(const Json& value) { return value.is_number_unsigned() && value.get<uint64_t>() <= INT64_MAX; }

/// The product of sizes times bytes; none when it does not fit 63 bits.
std::optional<int64_t> bytes_of_shape(const std::vector<int64_t>& shape, int64_t bytes) {
  for (int64_t size : shape)
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  return bytes;
}

SafetensorsEntry parse_entry(const std::string& where, const Json& json) {
  TESSERA_CHECK(json.is_object() && json.size() == 3 && json.contains("dtype") && json.contains("shape") &&
                    json.contains("data_offsets"),
                where, " must have dtype, shape and data_offsets, got ", json);
  SafetensorsEntry entry;
  const Json &dtype = json["dtype"], &shape = json["shape"], &offsets = json["data_offsets"];
  TESSERA_CHECK(dtype == "F32" || dtype == "BF16", where, ": dtype must be \"F32\" or \"BF16\", got ", dtype);
  entry.dtype = dtype == "F32" ? DType::f32 : DType::bf16;
  TESSERA_CHECK(shape.is_array() && std::ranges::all_of(shape, is_whole), where,
                ": shape must be whole numbers, got ", shape);
  entry.shape = shape.get<std::vector<int64_t>>();
  TESSERA_CHECK(offsets.is_array() && offsets.size() == 2 && std::ranges::all_of(offsets, is_whole), where,
                ": data_offsets must be two whole numbers, got ", offsets);
  entry.begin = offsets[0].get<int64_t>();
  entry.end = offsets[1].get<int64_t>();
  const std::optional<int64_t> bytes = bytes_of_shape(entry.shape, bytes_of(entry.dtype));
  TESSERA_CHECK(bytes && entry.begin <= entry.end && entry.end - entry.begin == *bytes, where,
                ": data_offsets ", offsets, " do not fit ", stored_name(entry.dtype), " ", shape);
  return entry;
}

/// That the tensors fill the data part from end to end.
void check_cover(const std::string& path, const std::map<std::string, SafetensorsEntry>& tensors,
                 int64_t data_bytes) {
  std::vector<std::pair<std::string, const SafetensorsEntry*>> in_order;
  for (const auto& [name, entry] : tensors) in_order.emplace_back(name, &entry);
  std::ranges::stable_sort(
      in_order, {}, [](const auto& named) { return std::pair(named.second->begin, named.second->end); });
  int64_t at = 0;
  for (const auto& [name, entry] : in_order) {
    TESSERA_CHECK(entry->end <= data_bytes, path, ": ", name, " ends at byte ", entry->end,
                  " of the data, the file has ", data_bytes);
    TESSERA_CHECK(entry->begin == at, path, ": ", name, " begins at byte ", entry->begin,
                  " of the data, expected ", at, entry->begin < at ? ": it overlaps another" : ": a hole");
    at = entry->end;
  }
  TESSERA_CHECK(at == data_bytes, path, ": the tensors end at byte ", at, " of the data, the file has ",
                data_bytes);
}

}  // namespace

Safetensors::Safetensors(std::string path) : path_(std::move(path)), file_(path_, std::ios::binary) {
  TESSERA_CHECK(file_, path_, ": cannot be opened: ", std::strerror(errno));
  TESSERA_CHECK(!std::filesystem::is_directory(path_), path_, ": is a folder, expected a safetensors file");
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path_));
  uint64_t length = 0;
  TESSERA_CHECK(bytes >= static_cast<int64_t>(sizeof length) &&
                    file_.read(reinterpret_cast<char*>(&length), sizeof length),
                path_, ": has ", bytes, " bytes, too few for a safetensors file");
  TESSERA_CHECK(length <= uint64_t{kLongestHeader}, path_, ": the header has ", length, " bytes, at most ",
                kLongestHeader, " are allowed");
  data_begin_ = static_cast<int64_t>(sizeof length + length);
  TESSERA_CHECK(data_begin_ <= bytes, path_, ": is cut off in its header of ", length, " bytes");
  std::string text(static_cast<size_t>(length), '\0');
  TESSERA_CHECK(file_.read(text.data(), std::ssize(text)), path_, ": cannot be read");

  const Json header = parse_header(path_, text);
  TESSERA_CHECK(header.is_object(), path_, ": the header must be an object, got ", header);
  for (const auto& [name, value] : header.items()) {
    if (name != kMetadata) {
      tensors_[name] = parse_entry(str(path_, ": ", name), value);
      continue;
    }
    TESSERA_CHECK(value.is_object(), path_, ": ", kMetadata, " must be an object, got ", value);
    for (const auto& [key, word] : value.items()) {
      TESSERA_CHECK(word.is_string(), path_, ": ", kMetadata, ".", key, " must be a string, got ", word);
      metadata_[key] = word.get<std::string>();
    }
  }
  check_cover(path_, tensors_, bytes - data_begin_);
}

void Safetensors::read(const std::string& name, int64_t begin, std::span<float> values) {
  const SafetensorsEntry& entry = tensors_.at(name);
  TESSERA_CHECK(0 <= begin && begin + std::ssize(values) <= entry.count(), path_, ": ", name, " has ",
                entry.count(), " elements, asked for [", begin, ", ", begin + std::ssize(values), ")");
  visit_float(entry.dtype, [&]<class T>() {
    std::vector<T> stored(values.size());
    file_.seekg(data_begin_ + entry.begin + begin * static_cast<int64_t>(sizeof(T)));
    file_.read(reinterpret_cast<char*>(stored.data()), std::ssize(stored) * static_cast<int64_t>(sizeof(T)));
    TESSERA_CHECK(file_, path_, ": ", name, " cannot be read");
    std::ranges::transform(stored, values.begin(), [](T value) { return static_cast<float>(value); });
  });
}

SafetensorsWriter::SafetensorsWriter(std::string path,
                                     const std::map<std::string, std::vector<int64_t>>& shapes, DType dtype,
                                     const SafetensorsMetadata& metadata)
    : path_(std::move(path)), dtype_(dtype), making_{path_ + ".tmp"} {
  Json header = Json::object();
  header[kMetadata] = metadata;
  int64_t at = 0;
  for (const auto& [name, shape] : shapes) {
    const std::optional<int64_t> bytes = bytes_of_shape(shape, bytes_of(dtype));
    TESSERA_CHECK(bytes, path_, ": ", name, " is too large: ", Json(shape));
    header[name] = {{"dtype", stored_name(dtype)}, {"shape", shape}, {"data_offsets", {at, at + *bytes}}};
    at += *bytes;
  }
  left_ = at / bytes_of(dtype);
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the values begin at a multiple of 8 bytes
  TESSERA_CHECK(std::ssize(text) <= kLongestHeader, path_, ": the header would have ", text.size(),
                " bytes, at most ", kLongestHeader, " are allowed");
  making_.descriptor = ::open(making_.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  TESSERA_CHECK(making_.descriptor >= 0, path_, ": cannot be written: ", std::strerror(errno));
  const uint64_t length = text.size();
  write(&length, sizeof length);
  write(text.data(), text.size());
}

SafetensorsWriter::Unfinished::~Unfinished() {
  if (descriptor < 0) return;
  ::close(descriptor);
  ::unlink(path.c_str());
}

void SafetensorsWriter::append(std::span<const float> values) {
  left_ -= std::ssize(values);
  if (dtype_ == DType::f32) return write(values.data(), values.size_bytes());
  std::vector<bf16> rounded(values.size());
  std::ranges::transform(values, rounded.begin(), [](float value) { return bf16(value); });
  write(rounded.data(), rounded.size() * sizeof(bf16));
}

void SafetensorsWriter::finish() {
  TESSERA_CHECK(left_ == 0, path_, ": ", left_, " elements are still to be written");
  TESSERA_CHECK(::fsync(making_.descriptor) == 0 && std::rename(making_.path.c_str(), path_.c_str()) == 0,
                path_, ": cannot be written: ", std::strerror(errno));
  ::close(std::exchange(making_.descriptor, -1));
}

void SafetensorsWriter::write(const void* bytes, size_t count) {
  const auto* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(making_.descriptor, at, count);
    if (written < 0 && errno == EINTR) continue;
    TESSERA_CHECK(written >= 0, path_, ": cannot be written: ", std::strerror(errno));
    at += written;
    count -= static_cast<size_t>(written);
  }
}

void load_safetensors(const std::string& path, const std::vector<ShardPiece>& pieces,
                      Communicator& communicator) {
  const std::map<std::string, Sizes> model = gather_parameters({pieces, nullptr}, communicator);
  agree(communicator, [&] {
    Safetensors file(path);
    for (const auto& [name, sizes] : model) {
      const auto found = file.tensors().find(name);
      TESSERA_CHECK(found != file.tensors().end(), path, ": ", name, " of this model is missing there");
      TESSERA_CHECK(found->second.shape == sizes, path, ": ", name, " is ", Json(found->second.shape),
                    " there, ", Json(sizes), " in this model");
    }
    for (const auto& [name, entry] : file.tensors())
      TESSERA_CHECK(model.contains(name), path, ": ", name, " ", Json(entry.shape),
                    " is there but not in this model");
    for (const ShardPiece& piece : pieces)
      fill_in_parts(piece.value, [&](int64_t at, std::span<float> values) {
        file.read(piece.parameter->name, piece.begin + at, values);
      });
  });
}

}  // namespace tessera
