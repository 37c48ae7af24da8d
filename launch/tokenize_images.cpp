#include "launch/tokenize_images.h"

#include <filesystem>
#include <fstream>

#include "launch/format.h"
#include "launch/learned_tokenizer.h"
#include "launch/progress.h"
#include "runtime/json.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

/// The codes of a line.  Throws Error without file and line.
std::vector<int32_t> parse_codes(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  TESSERA_CHECK(json.is_object() && json.contains("codes") && json["codes"].is_array(),
                "must be an object with an array named codes");
  std::vector<int32_t> codes;
  for (const Json& code : json["codes"]) {
    TESSERA_CHECK(code.is_number_integer() && code >= 0 && code <= std::numeric_limits<int32_t>::max(),
                  "codes must be whole numbers that are not negative, got ", code.dump().substr(0, 40));
    codes.push_back(code.get<int32_t>());
  }
  return codes;
}

}  // namespace

void tokenize_images(const TokenizeImagesOptions& options) {
  const std::unique_ptr<ImageTokenizer> tokenizer = open_image_tokenizer(options.tokenizer);
  std::string lines;
  Progress progress("tokenize", std::ssize(options.pictures));
  for (size_t i = 0; i < options.pictures.size(); ++i) {
    const std::string& path = options.pictures[i];
    const std::vector<int32_t> codes = tokenizer->encode(centre_square(read_image(path), tokenizer->side()));
    lines +=
        Json{{"image", path}, {"codes", codes}}.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
    progress.update(static_cast<int64_t>(i) + 1, "");
  }
  replace_file(options.out, lines);
}

void decode_images(const DecodeImagesOptions& options) {
  const std::unique_ptr<ImageTokenizer> tokenizer = open_image_tokenizer(options.tokenizer);
  std::ifstream in(options.codes);
  TESSERA_CHECK(in, options.codes, ": cannot be opened");
  std::vector<Image> pictures;
  for (std::string line; std::getline(in, line);) {
    try {
      pictures.push_back(tokenizer->decode(parse_codes(line)));
    } catch (const Error& error) {
      throw Error(str(options.codes, " line ", pictures.size() + 1, ": ", error.what()));
    }
  }
  TESSERA_CHECK(!pictures.empty(), options.codes, ": holds no codes");
  std::error_code failure;
  std::filesystem::create_directories(options.out, failure);
  TESSERA_CHECK(!failure, options.out, ": cannot be made: ", failure.message());
  for (size_t i = 0; i < pictures.size(); ++i)
    write_png(options.out + "/" + zero_padded(static_cast<int64_t>(i), 5) + ".png", pictures[i]);
}

}  // namespace tessera
