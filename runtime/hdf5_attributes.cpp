// Attributes of groups and datasets: one number or one string each.

#include <cstring>

#include "runtime/hdf5_internal.h"

namespace tessera::hdf5 {

namespace {

void write_attribute(hid_t file, const std::string& object, const std::string& name, const std::string& where,
                     hid_t stored, hid_t memory, const void* value) {
  silence();
  const Handle holder(checked(H5Oopen(file, object.c_str(), H5P_DEFAULT), where, "open object"), H5Oclose);
  if (H5Aexists(holder.id(), name.c_str()) > 0 && H5Adelete(holder.id(), name.c_str()) < 0)
    fail(where, "replace attribute");
  const Handle space(checked(H5Screate(H5S_SCALAR), where, "make space"), H5Sclose);
  const Handle attribute(
      checked(H5Acreate2(holder.id(), name.c_str(), stored, space.id(), H5P_DEFAULT, H5P_DEFAULT), where,
              "make attribute"),
      H5Aclose);
  if (H5Awrite(attribute.id(), memory, value) < 0) fail(where, "write attribute");
}

std::string attribute_place(const std::string& path, const std::string& object, const std::string& name) {
  return str(path, ": ", object, " attribute ", name);
}

/// Calls read(attribute, stored type) on an attribute that exists and has one value.
template <class Read>
auto read_attribute(hid_t file, const std::string& path, const std::string& object, const std::string& name,
                    const Read& read) {
  silence();
  const std::string where = attribute_place(path, object, name);
  const Handle holder(checked(H5Oopen(file, object.c_str(), H5P_DEFAULT), where, "open object"), H5Oclose);
  TESSERA_CHECK(H5Aexists(holder.id(), name.c_str()) > 0, "hdf5: ", path, ": ", object, " has no attribute ",
                name);
  const Handle attribute(checked(H5Aopen(holder.id(), name.c_str(), H5P_DEFAULT), where, "open attribute"),
                         H5Aclose);
  const Handle type(checked(H5Aget_type(attribute.id()), where, "read type"), H5Tclose);
  const Handle space(checked(H5Aget_space(attribute.id()), where, "read shape"), H5Sclose);
  TESSERA_CHECK(H5Sget_simple_extent_npoints(space.id()) == 1, "hdf5: ", where, " must have one value");
  return read(where, attribute.id(), type.id());
}

template <class T>
T read_number(hid_t file, const std::string& path, const std::string& object, const std::string& name) {
  const ElementTypes types = types_of(element_of<T>);
  return read_attribute(file, path, object, name, [&](const std::string& where, hid_t attribute, hid_t type) {
    TESSERA_CHECK(H5Tequal(type, types.stored) > 0, "hdf5: ", where, " is not a number of type ", types.name);
    T value{};
    if (H5Aread(attribute, types.memory, &value) < 0) fail(where, "read attribute");
    return value;
  });
}

}  // namespace

void File::set_attribute(const std::string& object, const std::string& name, int64_t value) {
  const ElementTypes types = types_of(Element::i64);
  write_attribute(id_, object, name, attribute_place(path_, object, name), types.stored, types.memory,
                  &value);
}

void File::set_attribute(const std::string& object, const std::string& name, double value) {
  const ElementTypes types = types_of(Element::f64);
  write_attribute(id_, object, name, attribute_place(path_, object, name), types.stored, types.memory,
                  &value);
}

void File::set_attribute(const std::string& object, const std::string& name, const std::string& value) {
  const std::string where = attribute_place(path_, object, name);
  TESSERA_CHECK(value.size() <= 60000, "hdf5: ", where, " takes at most 60000 bytes, got ", value.size());
  const Handle type(checked(H5Tcopy(H5T_C_S1), where, "make type"), H5Tclose);
  // One byte more than the text: a type of size zero does not exist, and other readers expect the terminator.
  if (H5Tset_size(type.id(), value.size() + 1) < 0 || H5Tset_cset(type.id(), H5T_CSET_UTF8) < 0)
    fail(where, "make type");
  write_attribute(id_, object, name, where, type.id(), type.id(), value.c_str());
}

bool File::has_attribute(const std::string& object, const std::string& name) const {
  silence();
  return exists(object) && H5Aexists_by_name(id_, object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

template <>
int64_t File::attribute<int64_t>(const std::string& object, const std::string& name) const {
  return read_number<int64_t>(id_, path_, object, name);
}

template <>
double File::attribute<double>(const std::string& object, const std::string& name) const {
  return read_number<double>(id_, path_, object, name);
}

template <>
std::string File::attribute<std::string>(const std::string& object, const std::string& name) const {
  return read_attribute(id_, path_, object, name, [](const std::string& where, hid_t attribute, hid_t type) {
    TESSERA_CHECK(H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0, "hdf5: ", where,
                  " is not a string of fixed length");
    std::string value(H5Tget_size(type) + 1, '\0');
    if (H5Aread(attribute, type, value.data()) < 0) fail(where, "read attribute");
    value.resize(std::strlen(value.c_str()));
    return value;
  });
}

}  // namespace tessera::hdf5
