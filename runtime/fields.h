#pragma once
// The one reflection helper: a struct lists its members once, in fields(), and parameter names, checkpoints, JSON and
// the printed documentation all walk that list.

#include <limits>
#include <tuple>

namespace tessera {

/// A named member.  note, least and most describe and bound config values; layers leave them out.
template <class T>
struct Field {
  const char* name;
  T& value;
  const char* note = "";  ///< meaning and unit; for strings that are choices, "one of a|b|c: ..."
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
};
template <class T>
Field(const char*, T&) -> Field<T>;
template <class T>
Field(const char*, T&, const char*) -> Field<T>;
template <class T>
Field(const char*, T&, const char*, double) -> Field<T>;
template <class T>
Field(const char*, T&, const char*, double, double) -> Field<T>;

template <class T>
concept HasFields = requires(T& object) {
  object.fields();
};

/// Calls visit(field) for every member in order.
template <HasFields T, class Visit>
void for_each_field(T& object, Visit&& visit) {
  std::apply([&](auto... field) { (visit(field), ...); }, object.fields());
}

}  // namespace tessera
