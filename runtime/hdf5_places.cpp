// Where the rows of an array lie in its file.

#include "runtime/hdf5_internal.h"

namespace tessera::hdf5 {

namespace {

/// The places of the chunks of rows; none where one was never written.
std::optional<std::vector<int64_t>> chunk_places(hid_t dataset, const std::vector<int64_t>& shape,
                                                 int64_t rows_per_chunk, const std::string& where) {
  std::vector<int64_t> places;
  std::vector<hsize_t> first(shape.size(), 0);
  for (int64_t row = 0; row < shape[0]; row += rows_per_chunk) {
    first[0] = static_cast<hsize_t>(row);
    unsigned skipped_filters = 0;
    haddr_t place = HADDR_UNDEF;
    hsize_t bytes = 0;
    if (H5Dget_chunk_info_by_coord(dataset, first.data(), &skipped_filters, &place, &bytes) < 0)
      fail(where, "find chunk");
    if (place == HADDR_UNDEF) return {};
    places.push_back(static_cast<int64_t>(place));
  }
  return places;
}

}  // namespace

std::optional<RowPlaces> Dataset::row_places() const {
  silence();
  const Handle creation(checked(H5Dget_create_plist(id_), where_, "read layout"), H5Pclose);
  if (count() == 0 || H5Pget_external_count(creation.id()) != 0 || H5Pget_nfilters(creation.id()) != 0)
    return {};
  RowPlaces rows{
      shape_[0], count() / shape_[0] * static_cast<int64_t>(H5Tget_size(types_of(element_).stored)), {}};
  const H5D_layout_t layout = H5Pget_layout(creation.id());
  if (layout == H5D_CONTIGUOUS) {
    const haddr_t place = H5Dget_offset(id_);
    if (place == HADDR_UNDEF) return {};
    rows.chunks = {static_cast<int64_t>(place)};
    return rows;
  }
  if (layout != H5D_CHUNKED) return {};
  std::vector<hsize_t> chunk(shape_.size());
  if (H5Pget_chunk(creation.id(), static_cast<int>(chunk.size()), chunk.data()) < 0)
    fail(where_, "read layout");
  for (size_t dim = 1; dim < chunk.size(); ++dim)
    if (static_cast<int64_t>(chunk[dim]) != shape_[dim]) return {};
  rows.rows_per_chunk = static_cast<int64_t>(chunk[0]);
  auto places = chunk_places(id_, shape_, rows.rows_per_chunk, where_);
  if (!places) return {};
  rows.chunks = std::move(*places);
  return rows;
}

}  // namespace tessera::hdf5
