#pragma once
// HDF5 files through the C API: handles that close themselves, and failures that become Error with the file,
// the object and the system's own words.  Object names are paths inside the file
// ("/model/blocks.0.up.weight"); groups on the way are made as needed.  Files carry no time stamps: the same
// writes give the same bytes.
//
// Elements: float f32, double f64, int32_t i32, int64_t i64, uint16_t u16, uint8_t u8, stored little-endian;
// bf16 is stored as the u16 of its bits.  Reading converts nothing: another element type is an Error.
// The library holds one lock: any number of threads may read, the same file too; a file is written by one thread.

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/dtype.h"

namespace tessera::hdf5 {

enum class Element : uint8_t { f32, f64, i32, i64, u16, u8 };

const char* name_of(Element element);

template <class T>
inline constexpr Element element_of = [] { static_assert(sizeof(T) == 0, "not an HDF5 element"); }();
template <>
inline constexpr Element element_of<float> = Element::f32;
template <>
inline constexpr Element element_of<double> = Element::f64;
template <>
inline constexpr Element element_of<int32_t> = Element::i32;
template <>
inline constexpr Element element_of<int64_t> = Element::i64;
template <>
inline constexpr Element element_of<uint16_t> = Element::u16;
template <>
inline constexpr Element element_of<bf16> = Element::u16;
template <>
inline constexpr Element element_of<uint8_t> = Element::u8;

/// Where the rows (entries of the first dim) of an array lie in its file, for those who read without the library and its
/// lock: row r is the row_bytes bytes from chunks[r / rows_per_chunk] + r % rows_per_chunk * row_bytes on.
struct RowPlaces {
  int64_t rows_per_chunk = 0;
  int64_t row_bytes = 0;
  std::vector<int64_t> chunks;  ///< bytes from the start of the file; an array in one piece has one

  int64_t of(int64_t row) const {
    return chunks[static_cast<size_t>(row / rows_per_chunk)] + row % rows_per_chunk * row_bytes;
  }
};

/// An open array.  Must not outlive its file.
class Dataset {
 public:
  Dataset(Dataset&& other) noexcept;
  Dataset& operator=(Dataset&& other) noexcept;
  ~Dataset();

  const std::vector<int64_t>& shape() const { return shape_; }
  Element element() const { return element_; }
  int64_t count() const;  ///< product of the shape

  /// None where rows do not lie in the file as they are read: filtered (compressed), cut by chunks, in other files, never
  /// written, or no rows at all.
  std::optional<RowPlaces> row_places() const;

  /// Elements [begin, begin + values.size()) of the flat (row-major) array.  Throws Error when they are not
  /// inside, when T is not the element, and when the transfer fails.
  template <class T>
  void read(int64_t begin, std::span<T> values) const {
    transfer(Direction::read, element_of<T>, begin, static_cast<int64_t>(values.size()), values.data());
  }
  template <class T>
  void write(int64_t begin, std::span<const T> values) {
    transfer(Direction::write, element_of<T>, begin, static_cast<int64_t>(values.size()),
             const_cast<T*>(values.data()));
  }

 private:
  friend class File;
  enum class Direction : uint8_t { read, write };
  Dataset(int64_t id, std::string where, std::vector<int64_t> shape, Element element);
  void transfer(Direction direction, Element element, int64_t begin, int64_t count, void* values) const;

  int64_t id_;
  std::string where_;  ///< file and object, for messages
  std::vector<int64_t> shape_;
  Element element_;
};

class File {
 public:
  /// For reading.  Throws Error when the file is missing, not HDF5, or shorter than it says it is.
  static File open(const std::string& path);
  /// For writing; replaces a file of that name.  Call close() at the end: it is what reports a full disk.
  static File create(const std::string& path);

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();  ///< closes; a file that was being written and not closed is left incomplete

  const std::string& path() const { return path_; }

  /// Everything reaches the disk (flush and fsync), then the file is closed.  Throws Error when that fails.
  void close();

  bool exists(const std::string& name) const;
  /// Names of the objects directly in a group, sorted.  Throws Error when there is no such group.
  std::vector<std::string> children(const std::string& group) const;
  void make_group(const std::string& name);

  /// A new array in one contiguous piece, zero until written.  Throws Error when the name is taken.
  Dataset make_dataset(const std::string& name, const std::vector<int64_t>& shape, Element element);
  /// Throws Error when there is no such dataset or it holds elements of another kind than the list above.
  Dataset dataset(const std::string& name) const;

  template <class T>
  void write(const std::string& name, const std::vector<int64_t>& shape, std::span<const T> values) {
    Dataset made = make_dataset(name, shape, element_of<T>);
    TESSERA_CHECK(made.count() == static_cast<int64_t>(values.size()), "hdf5: ", path_, ": ", name,
                  " has room for ", made.count(), " elements, got ", values.size());
    made.write(0, values);
  }
  template <class T>
  void write(const std::string& name, const std::vector<T>& values) {
    write(name, {static_cast<int64_t>(values.size())}, std::span<const T>(values));
  }
  template <class T>
  std::vector<T> read(const std::string& name) const {
    const Dataset whole = dataset(name);
    std::vector<T> values(static_cast<size_t>(whole.count()));
    whole.read(0, std::span<T>(values));
    return values;
  }

  /// Attributes of a group or dataset; "/" is the file's own.  A string holds at most 60000 bytes.
  void set_attribute(const std::string& object, const std::string& name, int64_t value);
  void set_attribute(const std::string& object, const std::string& name, double value);
  void set_attribute(const std::string& object, const std::string& name, const std::string& value);
  bool has_attribute(const std::string& object, const std::string& name) const;
  /// T is int64_t, double or std::string.  Throws Error when it is missing or of another type.
  template <class T>
  T attribute(const std::string& object, const std::string& name) const;

 private:
  File(int64_t id, std::string path) : id_(id), path_(std::move(path)) {}

  int64_t id_;
  std::string path_;
};

template <>
int64_t File::attribute<int64_t>(const std::string& object, const std::string& name) const;
template <>
double File::attribute<double>(const std::string& object, const std::string& name) const;
template <>
std::string File::attribute<std::string>(const std::string& object, const std::string& name) const;

}  // namespace tessera::hdf5
