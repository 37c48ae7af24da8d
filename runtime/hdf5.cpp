#include "runtime/hdf5.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/hdf5_internal.h"

namespace tessera::hdf5 {

static_assert(std::same_as<hid_t, int64_t>, "handles are kept as int64_t so that the header needs no hdf5.h");

void silence() {
  [[maybe_unused]] static const herr_t once = H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

std::string reason() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* entry, void* result) -> herr_t {
        auto& first = *static_cast<std::string*>(result);
        if (first.empty() && entry->desc) first = entry->desc;
        return 0;
      },
      &text);
  const std::string mark = "error message = '";
  if (const size_t begin = text.find(mark); begin != std::string::npos) {
    const size_t from = begin + mark.size();
    return text.substr(from, text.find('\'', from) - from);
  }
  if (text.rfind("truncated file", 0) == 0) return "the file is truncated";
  return text.empty() ? "unknown failure" : text;
}

void fail(const std::string& where, const char* what) {
  throw Error(str("hdf5: ", where, ": cannot ", what, ": ", reason()));
}

hid_t checked(hid_t id, const std::string& where, const char* what) {
  if (id < 0) fail(where, what);
  return id;
}

ElementTypes types_of(Element element) {
  switch (element) {
    case Element::f32:
      return {"f32", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT};
    case Element::f64:
      return {"f64", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE};
    case Element::i32:
      return {"i32", H5T_STD_I32LE, H5T_NATIVE_INT32};
    case Element::i64:
      return {"i64", H5T_STD_I64LE, H5T_NATIVE_INT64};
    case Element::u16:
      return {"u16", H5T_STD_U16LE, H5T_NATIVE_UINT16};
    case Element::u8:
      return {"u8", H5T_STD_U8LE, H5T_NATIVE_UINT8};
  }
  throw Error("hdf5: unknown element");
}

namespace {

std::string place(const std::string& path, const std::string& object) { return path + ": " + object; }

std::vector<hsize_t> unsigned_sizes(const std::vector<int64_t>& shape) {
  return {shape.begin(), shape.end()};
}

/// Access properties shared by all files: no advisory locks (read-only and network file systems refuse them),
/// and closing a file closes what is open in it.
Handle file_access(const std::string& path) {
  Handle access(checked(H5Pcreate(H5P_FILE_ACCESS), path, "make properties"), H5Pclose);
  if (H5Pset_file_locking(access.id(), false, true) < 0 ||
      H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG) < 0)
    fail(path, "set properties");
  return Handle(access.release(), H5Pclose);
}

}  // namespace

const char* name_of(Element element) { return types_of(element).name; }

Dataset::Dataset(int64_t id, std::string where, std::vector<int64_t> shape, Element element)
    : id_(id), where_(std::move(where)), shape_(std::move(shape)), element_(element) {}

Dataset::Dataset(Dataset&& other) noexcept
    : id_(std::exchange(other.id_, -1)),
      where_(std::move(other.where_)),
      shape_(std::move(other.shape_)),
      element_(other.element_) {}

Dataset& Dataset::operator=(Dataset&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(where_, other.where_);
  std::swap(shape_, other.shape_);
  std::swap(element_, other.element_);
  return *this;
}

Dataset::~Dataset() {
  silence();
  if (id_ >= 0) H5Dclose(id_);
}

int64_t Dataset::count() const {
  int64_t total = 1;
  for (int64_t size : shape_) total *= size;
  return total;
}

namespace {

/// A flat range of a row-major array as boxes: a partial first row, whole rows, a partial last row, and so on
/// inside. Calls box(start, size) in flat order; both have one entry per dim.
template <class Box>
void for_each_box(const std::vector<int64_t>& shape, size_t dim, std::vector<hsize_t>& start, int64_t begin,
                  int64_t end, const Box& box) {
  int64_t row = 1;
  for (size_t inner = dim + 1; inner < shape.size(); ++inner) row *= shape[inner];
  const int64_t first_whole = (begin + row - 1) / row, past_whole = end / row;
  if (first_whole > past_whole) {
    start[dim] = static_cast<hsize_t>(past_whole);
    return for_each_box(shape, dim + 1, start, begin - past_whole * row, end - past_whole * row, box);
  }
  if (begin < first_whole * row) {
    start[dim] = static_cast<hsize_t>(first_whole - 1);
    for_each_box(shape, dim + 1, start, begin - (first_whole - 1) * row, row, box);
  }
  if (first_whole < past_whole) {
    std::vector<hsize_t> size(shape.size(), 1);
    start[dim] = static_cast<hsize_t>(first_whole);
    size[dim] = static_cast<hsize_t>(past_whole - first_whole);
    for (size_t inner = dim + 1; inner < shape.size(); ++inner) {
      start[inner] = 0;
      size[inner] = static_cast<hsize_t>(shape[inner]);
    }
    box(start, size);
  }
  if (past_whole * row < end) {
    start[dim] = static_cast<hsize_t>(past_whole);
    for_each_box(shape, dim + 1, start, 0, end - past_whole * row, box);
  }
}

}  // namespace

void Dataset::transfer(Direction direction, Element element, int64_t begin, int64_t amount,
                       void* values) const {
  silence();
  TESSERA_CHECK(element == element_, "hdf5: ", where_, " holds ", name_of(element_), ", expected ",
                name_of(element));
  TESSERA_CHECK(0 <= begin && begin + amount <= count(), "hdf5: ", where_, " has ", count(),
                " elements, asked for [", begin, ", ", begin + amount, ")");
  if (amount == 0) return;
  const char* what = direction == Direction::read ? "read" : "write";
  const hid_t memory_type = types_of(element).memory;
  const Handle file_space(checked(H5Dget_space(id_), where_, what), H5Sclose);
  auto* bytes = static_cast<char*>(values);
  const auto move_box = [&](const std::vector<hsize_t>& start, const std::vector<hsize_t>& size) {
    hsize_t elements = 1;
    for (hsize_t extent : size) elements *= extent;
    if (H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr) < 0)
      fail(where_, what);
    const Handle memory(checked(H5Screate_simple(1, &elements, nullptr), where_, what), H5Sclose);
    const herr_t status = direction == Direction::read
                              ? H5Dread(id_, memory_type, memory.id(), file_space.id(), H5P_DEFAULT, bytes)
                              : H5Dwrite(id_, memory_type, memory.id(), file_space.id(), H5P_DEFAULT, bytes);
    if (status < 0) fail(where_, what);
    bytes += elements * H5Tget_size(memory_type);
  };
  std::vector<hsize_t> start(shape_.size(), 0);
  for_each_box(shape_, 0, start, begin, begin + amount, move_box);
}

namespace {

/// Brings everything to the disk and closes; returns the reason when that fails.  The library cannot close a
/// file whose cached metadata it cannot write: half freed, its identifier stays.  So the rest of a failed
/// file goes to memory.
std::string close_or_abandon(hid_t file) {
  void* handle = nullptr;
  if (H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) < 0) return reason();
  const int descriptor = *static_cast<int*>(handle);
  std::string failure;
  if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0)
    failure = reason();
  else if (::fsync(descriptor) != 0)
    failure = std::strerror(errno);
  if (!failure.empty()) {
    if (const int memory = ::memfd_create("abandoned", MFD_CLOEXEC); memory >= 0) {
      ::dup2(memory, descriptor);
      ::close(memory);
    }
  }
  if (H5Fclose(file) < 0 && failure.empty()) failure = reason();
  return failure;
}

}  // namespace

File File::open(const std::string& path) {
  silence();
  const int probe = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  TESSERA_CHECK(probe >= 0, "hdf5: cannot open ", path, ": ", std::strerror(errno));
  ::close(probe);
  TESSERA_CHECK(H5Fis_hdf5(path.c_str()) > 0, "hdf5: ", path, " is not an HDF5 file");
  const Handle access = file_access(path);
  return File(checked(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), path, "open"), path);
}

File File::create(const std::string& path) {
  silence();
  const Handle access = file_access(path);
  const Handle creation(checked(H5Pcreate(H5P_FILE_CREATE), path, "make properties"), H5Pclose);
  if (H5Pset_obj_track_times(creation.id(), false) < 0) fail(path, "set properties");
  return File(checked(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()), path, "create"),
              path);
}

File::File(File&& other) noexcept : id_(std::exchange(other.id_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  silence();
  if (id_ >= 0) close_or_abandon(id_);
}

void File::close() {
  silence();
  TESSERA_CHECK(id_ >= 0, "hdf5: ", path_, ": is closed already");
  const std::string failure = close_or_abandon(std::exchange(id_, -1));
  TESSERA_CHECK(failure.empty(), "hdf5: ", path_, ": cannot write: ", failure);
}

bool File::exists(const std::string& name) const {
  silence();
  // The library refuses to answer for a path whose groups are missing, so each step is asked in turn.
  for (size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    const std::string step = name.substr(0, end);
    if (step != "/" && H5Lexists(id_, step.c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

std::vector<std::string> File::children(const std::string& group) const {
  silence();
  const Handle handle(checked(H5Gopen2(id_, group.c_str(), H5P_DEFAULT), place(path_, group), "open group"),
                      H5Gclose);
  std::vector<std::string> names;
  const herr_t status = H5Literate(
      handle.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr,
      [](hid_t, const char* name, const H5L_info_t*, void* result) -> herr_t {
        static_cast<std::vector<std::string>*>(result)->emplace_back(name);
        return 0;
      },
      &names);
  if (status < 0) fail(place(path_, group), "list");
  std::sort(names.begin(), names.end());
  return names;
}

namespace {

Handle make_parents(const std::string& where) {
  Handle properties(checked(H5Pcreate(H5P_LINK_CREATE), where, "make properties"), H5Pclose);
  if (H5Pset_create_intermediate_group(properties.id(), 1) < 0) fail(where, "set properties");
  return Handle(properties.release(), H5Pclose);
}

}  // namespace

void File::make_group(const std::string& name) {
  silence();
  const std::string where = place(path_, name);
  const Handle parents = make_parents(where);
  const Handle group(
      checked(H5Gcreate2(id_, name.c_str(), parents.id(), H5P_DEFAULT, H5P_DEFAULT), where, "make group"),
      H5Gclose);
}

Dataset File::make_dataset(const std::string& name, const std::vector<int64_t>& shape, Element element) {
  silence();
  const std::string where = place(path_, name);
  TESSERA_CHECK(!shape.empty(), "hdf5: ", where, ": a dataset has at least one dim");
  const std::vector<hsize_t> sizes = unsigned_sizes(shape);
  const Handle space(
      checked(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr), where, "make space"),
      H5Sclose);
  const Handle creation(checked(H5Pcreate(H5P_DATASET_CREATE), where, "make properties"), H5Pclose);
  if (H5Pset_obj_track_times(creation.id(), false) < 0 || H5Pset_layout(creation.id(), H5D_CONTIGUOUS) < 0)
    fail(where, "set properties");
  const Handle parents = make_parents(where);
  const hid_t id = H5Dcreate2(id_, name.c_str(), types_of(element).stored, space.id(), parents.id(),
                              creation.id(), H5P_DEFAULT);
  return Dataset(checked(id, where, "make dataset"), where, shape, element);
}

Dataset File::dataset(const std::string& name) const {
  silence();
  const std::string where = place(path_, name);
  TESSERA_CHECK(exists(name), "hdf5: ", path_, " has no dataset ", name);
  Handle handle(checked(H5Dopen2(id_, name.c_str(), H5P_DEFAULT), where, "open dataset"), H5Dclose);
  const Handle type(checked(H5Dget_type(handle.id()), where, "read type"), H5Tclose);
  const Handle space(checked(H5Dget_space(handle.id()), where, "read shape"), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.id());
  TESSERA_CHECK(rank > 0, "hdf5: ", where, " is not an array");
  std::vector<hsize_t> sizes(static_cast<size_t>(rank));
  if (H5Sget_simple_extent_dims(space.id(), sizes.data(), nullptr) < 0) fail(where, "read shape");
  for (Element element : {Element::f32, Element::f64, Element::i32, Element::i64, Element::u16, Element::u8})
    if (H5Tequal(type.id(), types_of(element).stored) > 0)
      return Dataset(handle.release(), where, {sizes.begin(), sizes.end()}, element);
  throw Error(str("hdf5: ", where, " holds elements that are none of f32, f64, i32, i64, u16, u8"));
}

}  // namespace tessera::hdf5
