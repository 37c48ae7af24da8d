#pragma once
// Walking layers.  A layer is a plain struct with operator() and fields(); there is no base class and no
// registration.

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "parallel/sharded.h"

namespace tessera {

/// Calls visit(path, parameter) for every parameter reachable through fields(), in order.
template <class T, class Visit>
void for_each_parameter(T& object, const std::string& path, const Visit& visit) {
  auto below = [&](const std::string& name) { return path.empty() ? name : path + "." + name; };
  if constexpr (std::is_same_v<T, Parameter>) {
    visit(path, object);
  } else if constexpr (HasFields<T>) {
    for_each_field(object, [&](auto field) { for_each_parameter(field.value, below(field.name), visit); });
  } else if constexpr (requires { std::variant_size<T>::value; }) {
    std::visit([&](auto& member) { for_each_parameter(member, path, visit); }, object);
  } else if constexpr (requires { object.has_value(); }) {
    if (object) for_each_parameter(*object, path, visit);
  } else {
    for (size_t i = 0; i < object.size(); ++i) for_each_parameter(object[i], below(std::to_string(i)), visit);
  }
}

/// Calls visit(group, parameters of the group) for every Sharded<> layer, in order.
template <class T, class Visit>
void for_each_group(T& object, const Visit& visit) {
  if constexpr (requires {
                  object.group;
                  object.layer;
                }) {
    std::vector<Parameter*> parameters;
    for_each_parameter(object, "",
                       [&](const std::string&, Parameter& parameter) { parameters.push_back(&parameter); });
    visit(object.group, std::move(parameters));
  } else if constexpr (HasFields<T>) {
    for_each_field(object, [&](auto field) { for_each_group(field.value, visit); });
  } else if constexpr (requires { std::variant_size<T>::value; }) {
    std::visit([&](auto& member) { for_each_group(member, visit); }, object);
  } else if constexpr (requires { object.has_value(); }) {
    if (object) for_each_group(*object, visit);
  } else {
    for (auto& element : object) for_each_group(element, visit);
  }
}

/// Gives every parameter its dotted path as name.
template <class T>
void name_parameters(T& model) {
  for_each_parameter(model, "", [](const std::string& path, Parameter& parameter) { parameter.name = path; });
}

/// Names all parameters, gives each shard group its communicator and initial values, and returns the groups
/// in order. deviation: of the normal initial values.
template <class T>
Shards shard(T& model, Communicator& communicator, Stream stream, ShardOptions options, uint64_t seed,
             float deviation) {
  name_parameters(model);
  std::vector<ShardGroup*> groups;
  for_each_group(model, [&](ShardGroup& group, std::vector<Parameter*> parameters) {
    group.bind(std::move(parameters), communicator, stream, options, seed, deviation);
    groups.push_back(&group);
  });
  return Shards(std::move(groups), communicator);
}

}  // namespace tessera
