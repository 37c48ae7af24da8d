#include "launch/config.h"

namespace tessera {

Config config_from(const Json& json, const std::string& where) {
  Config config;
  from_json(json, where, config);
  check(config.model);
  return config;
}

Json read_settings(const std::string& path, const std::vector<std::string>& overrides) {
  Json json = path.empty() ? Json::object() : read_json(path);
  for (const std::string& text : overrides) {
    const size_t equals = text.find('=');
    TESSERA_CHECK(equals != std::string::npos && equals > 0, "override: expected key=value, got \"", text,
                  "\"");
    set_path(json, text.substr(0, equals), text.substr(equals + 1));
  }
  return json;
}

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  return config_from(read_settings(path, overrides), path.empty() ? "command line" : path);
}

}  // namespace tessera
