#include "data/manifest.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "runtime/json.h"

namespace tessera {
namespace {

/// Reads the fields of one line; every message starts with the file and the line.
class LineParser {
 public:
  LineParser(std::string where, const std::string& folder) : where_(std::move(where)), folder_(folder) {}

  ManifestDocument parse(const std::string& text) const {
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    TESSERA_CHECK(!json.is_discarded(), where_, ": not valid JSON");
    TESSERA_CHECK(json.is_object(), where_, ": a document is a JSON object");
    ManifestDocument document;
    for (const auto& [key, value] : json.items()) {
      if (key == "id")
        document.id = string(value, key);
      else if (key == "source")
        document.source = string(value, key);
      else if (key == "group")
        document.group = string(value, key);
      else if (key == "split")
        document.split = split(value);
      else if (key == "flip")
        document.flip = boolean(value, key);
      else if (key == "parts")
        document.parts = parts(value);
      else
        refuse_key(key, {"id", "source", "group", "split", "flip", "parts"});
    }
    TESSERA_CHECK(!document.id.empty(), where_, ": id is missing or empty");
    TESSERA_CHECK(!document.source.empty(), where_, ": source is missing or empty");
    TESSERA_CHECK(!document.parts.empty(), where_, ": parts is missing or empty");
    return document;
  }

 private:
  std::string string(const Json& value, const std::string& key) const {
    TESSERA_CHECK(value.is_string(), where_, ": ", key, " must be a string, got ", value.dump());
    return value.get<std::string>();
  }

  bool boolean(const Json& value, const std::string& key) const {
    TESSERA_CHECK(value.is_boolean(), where_, ": ", key, " must be true or false, got ", value.dump());
    return value.get<bool>();
  }

  std::string split(const Json& value) const {
    const std::string name = string(value, "split");
    TESSERA_CHECK(name == "train" || name == "validation", where_,
                  ": split must be train or validation, got \"", name, "\"");
    return name;
  }

  std::vector<ManifestPart> parts(const Json& value) const {
    TESSERA_CHECK(value.is_array(), where_, ": parts must be an array, got ", value.dump());
    std::vector<ManifestPart> list;
    for (const Json& item : value) {
      TESSERA_CHECK(item.is_object() && item.size() == 1, where_, ": parts[", list.size(),
                    "] must be {\"text\": ...} or {\"image\": ...}, got ", item.dump());
      const std::string& key = item.begin().key();
      if (key != "text" && key != "image")
        refuse_key(str("parts[", list.size(), "].", key), {"text", "image"});
      const std::string content = string(*item.begin(), str("parts[", list.size(), "].", key));
      TESSERA_CHECK(key == "text" || !content.empty(), where_, ": parts[", list.size(), "].image is empty");
      list.push_back(key == "text" ? ManifestPart{false, content} : ManifestPart{true, resolve(content)});
    }
    return list;
  }

  std::string resolve(const std::string& path) const {
    return (std::filesystem::path(folder_) / path).string();
  }

  [[noreturn]] void refuse_key(const std::string& key, const std::vector<std::string>& known) const {
    throw Error(str(where_, ": unknown key \"", key, "\"; did you mean \"", nearest(key, known), "\"?"));
  }

  std::string where_;
  const std::string& folder_;
};

}  // namespace

ManifestReader::ManifestReader(const std::string& path)
    : path_(path), folder_(std::filesystem::path(path).parent_path().string()), in_(path, std::ios::binary) {
  TESSERA_CHECK(in_ && std::filesystem::is_regular_file(path), "manifest: ", path, " cannot be opened");
}

bool ManifestReader::next(ManifestDocument& document) {
  while (std::getline(in_, bytes_)) {
    ++line_;
    if (bytes_.find_first_not_of(" \t\r") == std::string::npos) continue;
    document = LineParser(str("manifest: ", path_, " line ", line_), folder_).parse(bytes_);
    return true;
  }
  TESSERA_CHECK(in_.eof(), "manifest: ", path_, " cannot be read after line ", line_);
  return false;
}

}  // namespace tessera
