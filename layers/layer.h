#pragma once
// Walking layers.  A layer is a plain struct with operator() and fields(); there is no base class and no
// registration.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "parallel/shards.h"

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
    for (size_t i = 0; i < object.size(); ++i) {
      if constexpr (requires { object[i].path(); })
        for_each_parameter(object[i], below(object[i].path()), visit);
      else
        for_each_parameter(object[i], below(std::to_string(i)), visit);
    }
  }
}

/// Calls visit(group, parameters of the group) for every Sharded<> layer, in order.  The parameters of a Sharded<> layer inside
/// another one belong to the inner one, which comes right after the outer one.
template <class T, class Visit>
void for_each_group(T& object, const Visit& visit) {
  if constexpr (requires {
                  object.group;
                  object.layer;
                }) {
    std::vector<Parameter*> parameters;
    for_each_parameter(object.layer, "",
                       [&](const std::string&, Parameter& parameter) { parameters.push_back(&parameter); });
    for_each_group(object.layer, [&](ShardGroup&, const std::vector<Parameter*>& inner) {
      std::erase_if(parameters, [&](Parameter* parameter) { return std::ranges::count(inner, parameter); });
    });
    visit(object.group, std::move(parameters));
    for_each_group(object.layer, visit);
  } else if constexpr (std::is_same_v<T, Parameter>) {
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

/// Names all parameters, gives each shard group its ranks and initial values, and returns the groups in order.
/// deviation: of the normal initial values.
template <class T>
Shards shard(T& model, Mesh ranks, Stream stream, ShardOptions options, uint64_t seed, float deviation) {
  name_parameters(model);
  auto mesh = std::make_unique<const Mesh>(std::move(ranks));
  std::vector<ShardGroup*> groups;
  for_each_group(model, [&](ShardGroup& group, std::vector<Parameter*> parameters) {
    group.bind(std::move(parameters), *mesh, stream, options, seed, deviation);
    groups.push_back(&group);
  });
  return Shards(std::move(groups), std::move(mesh));
}

}  // namespace tessera
