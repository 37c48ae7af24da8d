#include "data/image.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

// libjpeg's header needs size_t and FILE before it.
#include <jerror.h>
#include <jpeglib.h>

#include "runtime/error.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

void check_pixels(int64_t width, int64_t height, const std::string& name) {
  TESSERA_CHECK(width > 0 && height > 0 && width <= Image::kMostPixels / height, "image: ", name, ": ", width,
                " x ", height, " pixels are more than ", Image::kMostPixels);
}

/// The simplified interface of libpng catches its own long jumps and frees itself.
struct PngCodec {
  png_image image{};
  PngCodec() { image.version = PNG_IMAGE_VERSION; }
  ~PngCodec() { png_image_free(&image); }
};

Image decode_png(std::span<const uint8_t> bytes, const std::string& name) {
  PngCodec png;
  const auto require = [&](int done) {
    TESSERA_CHECK(done && !PNG_IMAGE_FAILED(png.image), "image: ", name,
                  ": damaged PNG: ", png.image.message);
  };
  require(png_image_begin_read_from_memory(&png.image, bytes.data(), bytes.size()));
  check_pixels(png.image.width, png.image.height, name);
  png.image.format = PNG_FORMAT_RGBA;
  std::vector<uint8_t> rgba(PNG_IMAGE_SIZE(png.image));
  require(png_image_finish_read(&png.image, nullptr, rgba.data(), 0, nullptr));

  Image image{png.image.width, png.image.height, {}};
  image.rgb.reserve(rgba.size() / 4 * 3);
  for (size_t at = 0; at < rgba.size(); at += 4)
    for (size_t channel = 0; channel < 3; ++channel) {
      const int alpha = rgba[at + 3];
      image.rgb.push_back(
          static_cast<uint8_t>((rgba[at + channel] * alpha + 255 * (255 - alpha) + 127) / 255));
    }
  return image;
}

/// libjpeg reports through a long jump: everything between setjmp and it must be trivially destructible.
struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void jpeg_fail(j_common_ptr codec) {
  auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
  codec->err->format_message(codec, errors->message);
  std::longjmp(errors->jump, 1);
}

/// Warnings pass, except that a truncated file would otherwise be filled up with grey.
void jpeg_warn(j_common_ptr codec, int level) {
  const int code = codec->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) jpeg_fail(codec);
}

enum class JpegEnd { done, too_large, cmyk, damaged };

JpegEnd run_jpeg(jpeg_decompress_struct& codec, JpegErrors& errors, std::span<const uint8_t> bytes,
                 Image& image) {
  if (setjmp(errors.jump)) return JpegEnd::damaged;
  jpeg_create_decompress(&codec);
  jpeg_mem_src(&codec, bytes.data(), bytes.size());
  jpeg_read_header(&codec, TRUE);
  image.width = codec.image_width;
  image.height = codec.image_height;
  if (image.width > Image::kMostPixels / image.height) return JpegEnd::too_large;
  if (codec.jpeg_color_space == JCS_CMYK || codec.jpeg_color_space == JCS_YCCK) return JpegEnd::cmyk;
  codec.out_color_space = JCS_RGB;
  image.rgb.resize(static_cast<size_t>(image.width * image.height * 3));
  jpeg_start_decompress(&codec);
  while (codec.output_scanline < codec.output_height) {
    JSAMPROW row = image.rgb.data() + static_cast<size_t>(codec.output_scanline) * codec.output_width * 3;
    jpeg_read_scanlines(&codec, &row, 1);
  }
  jpeg_finish_decompress(&codec);
  return JpegEnd::done;
}

Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name) {
  Image image;
  jpeg_decompress_struct codec{};
  JpegErrors errors{};
  codec.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = jpeg_fail;
  errors.manager.emit_message = jpeg_warn;
  const JpegEnd end = run_jpeg(codec, errors, bytes, image);
  jpeg_destroy_decompress(&codec);
  if (end == JpegEnd::too_large) check_pixels(image.width, image.height, name);
  TESSERA_CHECK(end != JpegEnd::cmyk, "image: ", name, ": CMYK JPEG is not supported: convert it to RGB");
  TESSERA_CHECK(end == JpegEnd::done, "image: ", name, ": damaged JPEG: ", errors.message);
  return image;
}

/// Which source pixels make up one target pixel, with weights that sum to one.
struct Taps {
  int64_t first = 0;
  std::vector<float> weights;
};

std::vector<Taps> triangle_taps(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), radius = std::max(scale, 1.0);
  std::vector<Taps> taps(static_cast<size_t>(to));
  for (int64_t target = 0; target < to; ++target) {
    Taps& tap = taps[static_cast<size_t>(target)];
    const double centre = (static_cast<double>(target) + 0.5) * scale - 0.5;
    tap.first = std::max<int64_t>(0, static_cast<int64_t>(std::ceil(centre - radius)));
    const int64_t last = std::min(from - 1, static_cast<int64_t>(std::floor(centre + radius)));
    double sum = 0;
    for (int64_t source = tap.first; source <= last; ++source)
      sum += std::max(0.0, 1 - std::abs(static_cast<double>(source) - centre) / radius);
    for (int64_t source = tap.first; source <= last; ++source)
      tap.weights.push_back(static_cast<float>(
          std::max(0.0, 1 - std::abs(static_cast<double>(source) - centre) / radius) / sum));
  }
  return taps;
}

}  // namespace

Image decode_image(std::span<const uint8_t> bytes, const std::string& name) {
  TESSERA_CHECK(!bytes.empty(), "image: ", name, " is empty");
  constexpr uint8_t kPng[] = {0x89, 'P', 'N', 'G'}, kJpeg[] = {0xff, 0xd8, 0xff};
  const auto starts_with = [&](std::span<const uint8_t> magic) {
    return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
  };
  if (starts_with(kPng)) return decode_png(bytes, name);
  TESSERA_CHECK(starts_with(kJpeg), "image: ", name, " is neither PNG nor JPEG");
  return decode_jpeg(bytes, name);
}

Image read_image(const std::string& path) {
  constexpr int64_t kMostBytes = int64_t{1} << 30;
  std::error_code code;
  const auto size = std::filesystem::file_size(path, code);
  TESSERA_CHECK(!code, "image: cannot read ", path, ": ", code.message());
  TESSERA_CHECK(size <= static_cast<uintmax_t>(kMostBytes), "image: ", path, " has ", size,
                " bytes, more than ", kMostBytes);
  std::vector<uint8_t> bytes(size);
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  TESSERA_CHECK(in, "image: cannot read ", path);
  return decode_image(bytes, path);
}

Image centre_square(const Image& image, int64_t side) {
  const int64_t shorter = std::min(image.width, image.height);
  TESSERA_CHECK(shorter > 0 && side > 0, "image: cannot make ", side, " x ", side, " of ", image.width, " x ",
                image.height);
  const int64_t left = (image.width - shorter) / 2, top = (image.height - shorter) / 2;
  const std::vector<Taps> taps = triangle_taps(shorter, side);
  std::vector<float> narrow(static_cast<size_t>(shorter * side * 3));  // shorter rows of side pixels
  for (int64_t y = 0; y < shorter; ++y) {
    const uint8_t* row = image.rgb.data() + ((top + y) * image.width + left) * 3;
    for (int64_t x = 0; x < side; ++x) {
      const Taps& tap = taps[static_cast<size_t>(x)];
      float* out = narrow.data() + (y * side + x) * 3;
      for (size_t t = 0; t < tap.weights.size(); ++t)
        for (int64_t channel = 0; channel < 3; ++channel)
          out[channel] +=
              tap.weights[t] * static_cast<float>(row[(tap.first + static_cast<int64_t>(t)) * 3 + channel]);
    }
  }
  Image square{side, side, std::vector<uint8_t>(static_cast<size_t>(side * side * 3))};
  std::vector<float> line(static_cast<size_t>(side * 3));
  for (int64_t y = 0; y < side; ++y) {
    std::fill(line.begin(), line.end(), 0.0f);
    const Taps& tap = taps[static_cast<size_t>(y)];
    for (size_t t = 0; t < tap.weights.size(); ++t) {
      const float* row = narrow.data() + (tap.first + static_cast<int64_t>(t)) * side * 3;
      for (size_t i = 0; i < line.size(); ++i) line[i] += tap.weights[t] * row[i];
    }
    for (size_t i = 0; i < line.size(); ++i)
      square.rgb[static_cast<size_t>(y * side * 3) + i] =
          static_cast<uint8_t>(std::clamp(line[i] + 0.5f, 0.0f, 255.0f));
  }
  return square;
}

std::vector<uint8_t> encode_png(const Image& image) {
  TESSERA_CHECK(std::ssize(image.rgb) == image.width * image.height * 3, "image: ", image.rgb.size(),
                " bytes are not ", image.width, " x ", image.height, " pixels");
  check_pixels(image.width, image.height, "png");
  PngCodec png;
  png.image.width = static_cast<png_uint_32>(image.width);
  png.image.height = static_cast<png_uint_32>(image.height);
  png.image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png.image);
  std::vector<uint8_t> bytes(size);
  TESSERA_CHECK(png_image_write_to_memory(&png.image, bytes.data(), &size, 0, image.rgb.data(), 0, nullptr),
                "image: cannot encode PNG: ", png.image.message);
  bytes.resize(size);
  return bytes;
}

void write_png(const std::string& path, const Image& image) {
  const std::vector<uint8_t> bytes = encode_png(image);
  replace_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace tessera
