#include "data/image.h"

#include <gtest/gtest.h>
#include <jpeglib.h>
#include <png.h>

#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

using Bytes = std::vector<uint8_t>;

Image gradient(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t value : {255 * x / width, 255 * y / height, (x + y) % 256})
        image.rgb.push_back(static_cast<uint8_t>(value));
  return image;
}

/// A PNG written by the low-level interface, for the formats that encode_png does not make.
Bytes make_png(int width, int height, int bits, int type, const std::vector<Bytes>& rows,
               const std::vector<png_color>& palette = {}, const Bytes& alpha = {}) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &out,
      [](png_structp writer, png_bytep data, size_t size) {
        auto* bytes = static_cast<Bytes*>(png_get_io_ptr(writer));
        bytes->insert(bytes->end(), data, data + size);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), bits, type,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!palette.empty()) png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
  if (!alpha.empty()) png_set_tRNS(png, info, alpha.data(), static_cast<int>(alpha.size()), nullptr);
  png_write_info(png, info);
  for (const Bytes& row : rows) png_write_row(png, row.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

Bytes make_jpeg(int width, int height, J_COLOR_SPACE space, int channels, uint8_t value) {
  jpeg_compress_struct codec{};
  jpeg_error_mgr errors;
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&codec, &memory, &size);
  codec.image_width = static_cast<JDIMENSION>(width);
  codec.image_height = static_cast<JDIMENSION>(height);
  codec.input_components = channels;
  codec.in_color_space = space;
  jpeg_set_defaults(&codec);
  jpeg_start_compress(&codec, TRUE);
  Bytes row(static_cast<size_t>(width * channels), value);
  JSAMPROW pointer = row.data();
  while (codec.next_scanline < codec.image_height) jpeg_write_scanlines(&codec, &pointer, 1);
  jpeg_finish_compress(&codec);
  jpeg_destroy_compress(&codec);
  const Bytes bytes(memory, memory + size);
  std::free(memory);
  return bytes;
}

/// The checksum of PNG chunks.
uint32_t crc32(const Bytes& bytes) {
  uint32_t crc = ~0u;
  for (uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

std::string refusal(const Bytes& bytes) {
  return message_of([&] { decode_image(bytes, "x"); });
}

TEST(Image, PngRoundTrip) {
  const Image image = gradient(37, 21);
  EXPECT_EQ(decode_image(encode_png(image), "x"), image);
}

TEST(Image, PaletteWithTransparencyIsCompositedOnWhite) {
  const Bytes png = make_png(4, 1, 8, PNG_COLOR_TYPE_PALETTE, {{0, 1, 2, 0}},
                             {{10, 20, 30}, {0, 0, 0}, {200, 100, 0}}, {255, 0, 51});
  // 51 / 255 is a fifth: 200 / 5 + 255 * 4 / 5 = 244, and so on.
  EXPECT_EQ(decode_image(png, "x").rgb, (Bytes{10, 20, 30, 255, 255, 255, 244, 224, 204, 10, 20, 30}));
}

TEST(Image, FourBitPaletteGreyAndSixteenBits) {
  const Bytes palette =
      make_png(3, 1, 4, PNG_COLOR_TYPE_PALETTE, {{0x01, 0x20}}, {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}});
  EXPECT_EQ(decode_image(palette, "x").rgb, (Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  const Bytes grey = make_png(2, 1, 8, PNG_COLOR_TYPE_GRAY, {{7, 200}});
  EXPECT_EQ(decode_image(grey, "x").rgb, (Bytes{7, 7, 7, 200, 200, 200}));
  const Bytes wide = make_png(1, 1, 16, PNG_COLOR_TYPE_RGB, {{0xff, 0xff, 0, 0, 0xff, 0xff}});
  EXPECT_EQ(decode_image(wide, "x").rgb, (Bytes{255, 0, 255}));
}

TEST(Image, JpegColourAndGrey) {
  const Image grey = decode_image(make_jpeg(9, 5, JCS_GRAYSCALE, 1, 77), "x");
  EXPECT_EQ(grey, (Image{9, 5, Bytes(135, 77)}));
  const Image colour = decode_image(make_jpeg(16, 8, JCS_RGB, 3, 128), "x");
  EXPECT_EQ(colour, (Image{16, 8, Bytes(384, 128)}));
}

TEST(Image, RefusesWhatItCannotRead) {
  EXPECT_EQ(refusal({}), "image: x is empty");
  EXPECT_EQ(refusal({'G', 'I', 'F', '8'}), "image: x is neither PNG nor JPEG");
  EXPECT_EQ(refusal(make_jpeg(8, 8, JCS_CMYK, 4, 10)),
            "image: x: CMYK JPEG is not supported: convert it to RGB");
}

TEST(Image, RefusesTruncatedFiles) {
  const Bytes png = encode_png(gradient(64, 64)), jpeg = make_jpeg(64, 64, JCS_RGB, 3, 9);
  for (const Bytes& whole : {png, jpeg})
    for (size_t size : {size_t{4}, whole.size() / 4, whole.size() / 2, whole.size() - 20}) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<int64_t>(size));
      EXPECT_EQ(refusal(part).rfind("image: x: damaged ", 0), 0u) << size << ": " << refusal(part);
    }
}

TEST(Image, RefusesEnormousHeadersBeforeTakingMemory) {
  Bytes png = encode_png(gradient(2, 2));
  for (size_t at : {16, 20})
    std::copy_n(Bytes{0, 0, 0xea, 0x60}.begin(), 4, png.begin() + static_cast<int64_t>(at));
  const uint32_t check = crc32({png.begin() + 12, png.begin() + 29});
  for (size_t i = 0; i < 4; ++i) png[29 + i] = static_cast<uint8_t>(check >> (24 - 8 * i));
  EXPECT_EQ(refusal(png), "image: x: 60000 x 60000 pixels are more than 67108864");
  Bytes jpeg = make_jpeg(8, 8, JCS_GRAYSCALE, 1, 0);
  for (size_t i = 0; i + 8 < jpeg.size(); ++i)
    if (jpeg[i] == 0xff && jpeg[i + 1] == 0xc0)
      std::fill_n(jpeg.begin() + static_cast<int64_t>(i) + 5, 4, uint8_t{0xea});
  EXPECT_EQ(refusal(jpeg), "image: x: 60138 x 60138 pixels are more than 67108864");
}

TEST(Image, ReadsFilesAndNamesThem) {
  const TemporaryFolder folder;
  const Bytes png = encode_png(gradient(3, 3));
  write_file(folder / "a.png", {png.begin(), png.end()});
  EXPECT_EQ(read_image(folder / "a.png"), gradient(3, 3));
  write_file(folder / "zero.png", "");
  EXPECT_EQ(message_of([&] { read_image(folder / "zero.png"); }),
            "image: " + folder / "zero.png" + " is empty");
  EXPECT_EQ(message_of([&] { read_image(folder / "none.png"); }),
            "image: cannot read " + folder / "none.png" + ": No such file or directory");
}

TEST(Image, SquareOfAPlainImageIsPlain) {
  for (int64_t side : {1, 7, 64, 200}) {
    const Image square = centre_square({31, 50, Bytes(31 * 50 * 3, 201)}, side);
    EXPECT_EQ(square, (Image{side, side, Bytes(static_cast<size_t>(side * side * 3), 201)}));
  }
}

TEST(Image, SquareOfTheRightSizeIsACrop) {
  const Image image = gradient(10, 4), square = centre_square(image, 4);
  for (int64_t y = 0; y < 4; ++y)
    for (int64_t i = 0; i < 12; ++i)
      EXPECT_EQ(square.rgb[static_cast<size_t>(y * 12 + i)],
                image.rgb[static_cast<size_t>((y * 10 + 3) * 3 + i)]);
}

TEST(Image, ShrinkingAverages) {
  Image stripes{64, 64, {}};  // columns black, white, black, ...: half as large it is grey but for the edges
  for (int64_t i = 0; i < 64 * 64; ++i) stripes.rgb.insert(stripes.rgb.end(), 3, i % 2 ? 255 : 0);
  const Image small = centre_square(stripes, 32);
  for (int64_t x = 1; x < 31; ++x) EXPECT_NEAR(small.rgb[static_cast<size_t>((5 * 32 + x) * 3)], 127, 1);
}

}  // namespace
}  // namespace tessera
