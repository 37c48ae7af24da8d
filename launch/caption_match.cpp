#include "launch/caption_match.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "data/manifest.h"
#include "launch/format.h"
#include "launch/progress.h"
#include "runtime/json.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr int64_t kColourFields = 4, kShapeFields = 8;
constexpr uint8_t kNearlyWhite = 240;

/// A caption and what its picture looks like.
struct Captioned {
  std::string caption;
  std::vector<float> look;
};

std::set<std::string> words_of(const std::string& caption) {
  std::set<std::string> words;
  std::string word;
  for (char c : caption + " ") {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalpha(byte)) {
      word += byte < 0x80 ? static_cast<char>(std::tolower(byte)) : c;
      continue;
    }
    if (word.size() >= 3) words.insert(word);
    word.clear();
  }
  return words;
}

/// The first text and the first picture of a list of parts, or empty strings.
std::pair<std::string, std::string> text_and_picture(const Json& parts) {
  std::pair<std::string, std::string> found;
  for (const Json& part : parts) {
    if (found.first.empty() && part.contains("text") && part["text"].is_string()) found.first = part["text"];
    if (found.second.empty() && part.contains("image") && part["image"].is_string())
      found.second = part["image"];
  }
  return found;
}

std::vector<Captioned> read_replies(const std::string& path) {
  std::ifstream in(path);
  TESSERA_CHECK(in, path, ": cannot be opened");
  const std::string folder = std::filesystem::path(path).parent_path().string();
  std::vector<Captioned> replies;
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    TESSERA_CHECK(json.is_object() && json.contains("prompt") && json["prompt"].is_array() &&
                      json.contains("reply") && json["reply"].is_array(),
                  path, " line ", number, ": must be an object with the arrays prompt and reply");
    const std::string caption = text_and_picture(json["prompt"]).first,
                      picture = text_and_picture(json["reply"]).second;
    if (!caption.empty() && !picture.empty())
      replies.push_back({caption, look_of(read_image((std::filesystem::path(folder) / picture).string()))});
  }
  TESSERA_CHECK(!replies.empty(), path, ": no text prompt has a picture as answer");
  return replies;
}

std::vector<Captioned> read_references(const std::string& path) {
  ManifestReader reader(path);
  std::vector<Captioned> references;
  for (ManifestDocument document; reader.next(document);) {
    const auto text = std::ranges::find(document.parts, false, &ManifestPart::is_image),
               picture = std::ranges::find(document.parts, true, &ManifestPart::is_image);
    if (text != document.parts.end() && picture != document.parts.end())
      references.push_back({text->value, look_of(read_image(picture->value))});
  }
  TESSERA_CHECK(!references.empty(), path, ": no document has a text and a picture");
  return references;
}

double squared_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return sum;
}

const Captioned& nearest(const Captioned& to, const std::vector<Captioned>& among) {
  return *std::ranges::min_element(among, {},
                                   [&](const Captioned& one) { return squared_distance(to.look, one.look); });
}

}  // namespace

std::vector<float> look_of(const Image& image) {
  const int64_t side = std::lcm(kColourFields, kShapeFields) * 4;
  const Image square = centre_square(image, side);
  std::vector<float> look(
      static_cast<size_t>(kColourFields * kColourFields * 3 + kShapeFields * kShapeFields), 0.0f);
  const auto pixels = static_cast<float>(side * side);
  // Each of the two groups of numbers weighs as much as the other.
  const float colour_share = std::sqrt(static_cast<float>(kColourFields * kColourFields) / 3) / pixels / 255,
              shape_share = static_cast<float>(kShapeFields) / pixels;
  const size_t first_shape = static_cast<size_t>(kColourFields * kColourFields * 3);
  for (int64_t y = 0; y < side; ++y)
    for (int64_t x = 0; x < side; ++x) {
      const uint8_t* pixel = &square.rgb[static_cast<size_t>((y * side + x) * 3)];
      const int64_t field = y * kColourFields / side * kColourFields + x * kColourFields / side;
      for (int64_t channel = 0; channel < 3; ++channel)
        look[static_cast<size_t>(field * 3 + channel)] += colour_share * pixel[channel];
      if (*std::min_element(pixel, pixel + 3) < kNearlyWhite)
        look[first_shape + static_cast<size_t>(y * kShapeFields / side * kShapeFields +
                                               x * kShapeFields / side)] += shape_share;
    }
  return look;
}

double caption_similarity(const std::string& a, const std::string& b) {
  const std::set<std::string> left = words_of(a), right = words_of(b);
  const auto both =
      std::ranges::count_if(left, [&](const std::string& word) { return right.contains(word); });
  const auto either = std::ssize(left) + std::ssize(right) - both;
  return either > 0 ? static_cast<double>(both) / static_cast<double>(either) : 0;
}

void match_captions(const CaptionMatchOptions& options) {
  const std::vector<Captioned> replies = read_replies(options.replies),
                               references = read_references(options.references);
  const size_t count = replies.size();
  // similarity[prompt * count + picture]
  std::vector<double> similarity(count * count);
  Json matches = Json::array();
  Progress progress("match", static_cast<int64_t>(count));
  for (size_t picture = 0; picture < count; ++picture) {
    const std::string& found = nearest(replies[picture], references).caption;
    for (size_t prompt = 0; prompt < count; ++prompt)
      similarity[prompt * count + picture] = caption_similarity(replies[prompt].caption, found);
    matches.push_back({{"prompt", replies[picture].caption},
                       {"nearest", found},
                       {"similarity", similarity[picture * count + picture]}});
    progress.update(static_cast<int64_t>(picture) + 1, "");
  }
  progress.clear();

  const auto mean = [&](const auto& picture_of) {
    double sum = 0;
    for (size_t prompt = 0; prompt < count; ++prompt) sum += similarity[prompt * count + picture_of(prompt)];
    return sum / static_cast<double>(count);
  };
  const double observed = mean([](size_t prompt) { return prompt; });
  int64_t as_good = 0;
  double by_chance = 0;
  for (int64_t deal = 0; deal < options.deals; ++deal) {
    const Purpose purpose(str("deal ", deal));
    const double dealt =
        mean([&](size_t prompt) { return random_permutation(options.seed, purpose, count, prompt); });
    as_good += dealt >= observed;
    by_chance += dealt / static_cast<double>(options.deals);
  }
  const double p = static_cast<double>(1 + as_good) / static_cast<double>(1 + options.deals);
  write_json(options.out, {{"prompts", count},
                           {"references", references.size()},
                           {"similarity", observed},
                           {"similarity_by_chance", by_chance},
                           {"p", p},
                           {"matches", matches}});
  std::printf("%zu prompts, %zu references: similarity %s, by chance %s, p = %s\n", count, references.size(),
              format_fixed(observed, 4).c_str(), format_fixed(by_chance, 4).c_str(),
              format_general(p).c_str());
}

}  // namespace tessera
