#include "launch/config.h"

namespace tessera {

Config config_from(const Json& json, const std::string& where) {
  Config config;
  from_json(json, where, config);
  check(config.model);
  return config;
}

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  Json json = read_json(path);
  for (const std::string& text : overrides) {
    const size_t equals = text.find('=');
    TESSERA_CHECK(equals != std::string::npos && equals > 0, "override: expected key=value, got \"", text, "\"");
    set_path(json, text.substr(0, equals), text.substr(equals + 1));
  }
  return config_from(json, path);
}

}  // namespace tessera
