#include "launch/config.h"

#include <algorithm>

namespace tessera {

void override_settings(const std::vector<std::string>& pairs, Json& json) {
  for (const std::string& text : pairs) {
    const size_t equals = text.find('=');
    TESSERA_CHECK(equals != std::string::npos && equals > 0, "command line: expected key=value, got \"", text,
                  "\"");
    set_path(json, text.substr(0, equals), text.substr(equals + 1));
  }
}

void check(const Config& config) {
  check(config.model);
  TESSERA_CHECK(config.trained == "model" || config.model.auxiliary_routers,
                "trained: auxiliary_routers needs model.auxiliary_routers = true");
  for (const std::string& part : config.recompute)
    TESSERA_CHECK(part == "attention" || part == "experts" || part == "blocks",
                  "recompute: must list attention, experts or blocks, got \"", part, "\"");
  TESSERA_CHECK(!config.recomputed().blocks || config.recompute.size() == 1,
                "recompute: blocks includes attention and experts, so it stands alone");
}

Recompute Config::recomputed() const {
  const auto has = [&](const char* part) { return std::ranges::count(recompute, part) > 0; };
  return {.blocks = has("blocks"), .attention = has("attention"), .experts = has("experts")};
}

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  Config config;
  read_settings(path, overrides, config);
  check(config);
  return config;
}

Json flat_settings(const Json& settings) {
  const Json by_pointer = settings.flatten();
  Json flat = Json::object();
  for (const auto& [pointer, value] : by_pointer.items()) {
    std::string key = pointer.substr(1);
    std::replace(key.begin(), key.end(), '/', '.');
    flat[key] = value;
  }
  return flat;
}

Json flat_settings(Config config) { return flat_settings(to_json(config)); }

}  // namespace tessera
