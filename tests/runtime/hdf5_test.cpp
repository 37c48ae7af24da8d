#include "runtime/hdf5.h"

#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace tessera::hdf5 {
namespace {

class Hdf5 : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / str("tessera_hdf5_", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// The message of the Error that body throws; empty when it throws none.
  template <class Body>
  static std::string message_of(const Body& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }

 private:
  std::filesystem::path folder_;
};

std::string bytes_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_F(Hdf5, WhatIsWrittenIsRead) {
  File out = File::create(path("a.h5"));
  const std::vector<float> floats{1.5f, -2, 0};
  const std::vector<bf16> halves{bf16(1.0f), bf16(-3.0f)};
  const std::vector<int64_t> wide{int64_t{1} << 40, -7};
  out.write("/model/w", floats);
  out.write("/model/deep/er/half", halves);
  out.write("/wide", {2, 1}, std::span<const int64_t>(wide));
  out.write("/empty", std::vector<uint8_t>{});
  out.set_attribute("/", "version", int64_t{3});
  out.set_attribute("/model/w", "rate", 0.25);
  out.set_attribute("/model", "name", std::string("first \"one\", naïve"));
  out.set_attribute("/model", "name", std::string("second, naïve"));
  out.set_attribute("/model", "nothing", std::string());
  out.close();

  const File in = File::open(path("a.h5"));
  EXPECT_EQ(in.read<float>("/model/w"), floats);
  EXPECT_EQ(in.read<bf16>("/model/deep/er/half"), halves);
  EXPECT_EQ(in.read<int64_t>("/wide"), wide);
  EXPECT_TRUE(in.read<uint8_t>("/empty").empty());
  EXPECT_EQ(in.dataset("/wide").shape(), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(in.attribute<int64_t>("/", "version"), 3);
  EXPECT_EQ(in.attribute<double>("/model/w", "rate"), 0.25);
  EXPECT_EQ(in.attribute<std::string>("/model", "name"), "second, naïve");
  EXPECT_EQ(in.attribute<std::string>("/model", "nothing"), "");
  EXPECT_EQ(in.children("/model"), (std::vector<std::string>{"deep", "w"}));
  EXPECT_TRUE(in.exists("/model/deep/er"));
  EXPECT_FALSE(in.exists("/model/shallow/er"));
  EXPECT_TRUE(in.has_attribute("/model", "name"));
  EXPECT_FALSE(in.has_attribute("/wide", "name"));
}

/// Writes an array of u16 in chunks, with a checksum per chunk if so asked.
void write_chunked(const std::string& path, std::vector<hsize_t> shape, std::vector<hsize_t> chunk,
                   bool filtered, const std::vector<uint16_t>& values) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(creation, static_cast<int>(chunk.size()), chunk.data());
  if (filtered) H5Pset_fletcher32(creation);
  const hid_t array = H5Dcreate2(file, "/x", H5T_STD_U16LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  if (!values.empty()) H5Dwrite(array, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  H5Dclose(array);
  H5Pclose(creation);
  H5Sclose(space);
  H5Fclose(file);
}

TEST_F(Hdf5, RowsAreWhereTheyAreSaidToBe) {
  std::vector<uint16_t> values(70);
  std::iota(values.begin(), values.end(), uint16_t{1000});
  const auto places = [&](const std::string& name) {
    return File::open(path(name)).dataset("/x").row_places();
  };
  const auto expect_rows = [&](const std::string& name, int64_t rows_per_chunk) {
    const auto rows = places(name);
    ASSERT_TRUE(rows);
    EXPECT_EQ(rows->rows_per_chunk, rows_per_chunk);
    EXPECT_EQ(rows->row_bytes, 20);
    const std::string bytes = bytes_of_file(path(name));
    for (size_t row = 0; row < 7; ++row)
      EXPECT_EQ(bytes.substr(static_cast<size_t>(rows->of(static_cast<int64_t>(row))), 20),
                std::string(reinterpret_cast<const char*>(&values[10 * row]), 20));
  };
  File whole = File::create(path("whole"));
  whole.write("/x", {7, 5, 2}, std::span<const uint16_t>(values));
  whole.write("/none", {0, 5}, std::span<const uint16_t>());
  whole.close();
  expect_rows("whole", 7);
  EXPECT_FALSE(File::open(path("whole")).dataset("/none").row_places());
  write_chunked(path("chunked"), {7, 5, 2}, {3, 5, 2}, false, values);
  expect_rows("chunked", 3);
  write_chunked(path("cut"), {7, 5, 2}, {7, 2, 2}, false, values);
  EXPECT_FALSE(places("cut"));
  write_chunked(path("filtered"), {7, 5, 2}, {3, 5, 2}, true, values);
  EXPECT_FALSE(places("filtered"));
  write_chunked(path("unwritten"), {7, 5, 2}, {3, 5, 2}, false, {});
  EXPECT_FALSE(places("unwritten"));
}

TEST_F(Hdf5, EveryFlatRangeOfAnArrayOfThreeDims) {
  const std::vector<int64_t> shape{3, 4, 5};
  std::vector<int32_t> values(60);
  std::iota(values.begin(), values.end(), 100);
  File out = File::create(path("range.h5"));
  out.write("/x", shape, std::span<const int32_t>(values));
  Dataset pieces = out.make_dataset("/y", shape, Element::i32);
  for (int64_t begin = 0; begin < 60; begin += 7)
    pieces.write(begin, std::span<const int32_t>(values).subspan(size_t(begin),
                                                                 size_t(std::min<int64_t>(7, 60 - begin))));
  out.close();
  const File in = File::open(path("range.h5"));
  EXPECT_EQ(in.read<int32_t>("/y"), values);
  const Dataset x = in.dataset("/x");
  for (int64_t begin = 0; begin <= 60; ++begin)
    for (int64_t end = begin; end <= 60; ++end) {
      std::vector<int32_t> part(static_cast<size_t>(end - begin), -1);
      x.read(begin, std::span<int32_t>(part));
      ASSERT_EQ(part, std::vector<int32_t>(values.begin() + begin, values.begin() + end))
          << begin << ' ' << end;
    }
}

TEST_F(Hdf5, TheSameWritesGiveTheSameBytes) {
  const auto make = [&](const std::string& name) {
    File out = File::create(path(name));
    out.write("/group/values", std::vector<float>(1000, 2.5f));
    out.set_attribute("/group", "text", std::string("same"));
    out.close();
    return bytes_of_file(path(name));
  };
  EXPECT_EQ(make("first.h5"), make("second.h5"));
  const hid_t file = H5Fopen(path("first.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  for (const char* object : {"/", "/group", "/group/values"}) {
    H5O_info_t info;
    ASSERT_GE(H5Oget_info_by_name(file, object, &info, H5P_DEFAULT), 0);
    EXPECT_EQ(std::max({info.atime, info.mtime, info.ctime, info.btime}), 0) << object << " carries a time";
  }
  H5Fclose(file);
}

TEST_F(Hdf5, RefusesWhatIsNotThere) {
  EXPECT_EQ(message_of([&] { File::open(path("none.h5")); }),
            "hdf5: cannot open " + path("none.h5") + ": No such file or directory");
  std::ofstream(path("text.h5")) << "not an array";
  EXPECT_EQ(message_of([&] { File::open(path("text.h5")); }),
            "hdf5: " + path("text.h5") + " is not an HDF5 file");
  std::ofstream(path("zero.h5"));
  EXPECT_EQ(message_of([&] { File::open(path("zero.h5")); }),
            "hdf5: " + path("zero.h5") + " is not an HDF5 file");
  EXPECT_EQ(message_of([&] { File::create(path("no/folder.h5")); }),
            "hdf5: " + path("no/folder.h5") + ": cannot create: No such file or directory");
}

TEST_F(Hdf5, RefusesTruncatedFiles) {
  File out = File::create(path("whole.h5"));
  out.write("/x", std::vector<float>(100000, 1.0f));
  out.close();
  std::filesystem::resize_file(path("whole.h5"), 5000);
  EXPECT_EQ(message_of([&] { File::open(path("whole.h5")); }),
            "hdf5: " + path("whole.h5") + ": cannot open: the file is truncated");
}

TEST_F(Hdf5, RefusesOtherNamesTypesAndRanges) {
  File out = File::create(path("a.h5"));
  out.write("/x", std::vector<float>{1, 2, 3});
  out.set_attribute("/x", "text", std::string("t"));
  EXPECT_NE(message_of([&] { out.write("/x", std::vector<float>{1}); }).find("/x: cannot make dataset"),
            std::string::npos);
  out.close();
  const File in = File::open(path("a.h5"));
  EXPECT_EQ(message_of([&] { in.read<float>("/y"); }), "hdf5: " + in.path() + " has no dataset /y");
  EXPECT_EQ(message_of([&] { in.read<int32_t>("/x"); }),
            "hdf5: " + in.path() + ": /x holds f32, expected i32");
  std::vector<float> two(2);
  EXPECT_EQ(message_of([&] { in.dataset("/x").read(2, std::span<float>(two)); }),
            "hdf5: " + in.path() + ": /x has 3 elements, asked for [2, 4)");
  EXPECT_EQ(message_of([&] { in.attribute<int64_t>("/x", "none"); }),
            "hdf5: " + in.path() + ": /x has no attribute none");
  EXPECT_EQ(message_of([&] { in.attribute<int64_t>("/x", "text"); }),
            "hdf5: " + in.path() + ": /x attribute text is not a number of type i64");
}

/// Writes beyond a size fail from now on, in this process, as they do on a full disk.
void limit_file_size(rlim_t bytes) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, bytes};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

/// Exits with 0 when body throws an Error with these words; the exit itself is part of the test, since HDF5
/// has its own ideas of what to do then with a file that could not be written.
template <class Body>
[[noreturn]] void exit_by(const Body& body, const std::string& words) {
  try {
    body();
  } catch (const Error& error) {
    std::exit(std::string(error.what()).find(words) != std::string::npos ? 0 : 1);
  }
  std::exit(2);
}

TEST_F(Hdf5, AWriteThatDoesNotFitIsAnError) {
  const auto body = [&] {
    limit_file_size(100000);
    File out = File::create(path("big.h5"));
    out.write("/x", std::vector<float>(1000000, 1.0f));
    out.close();
  };
  EXPECT_EXIT(exit_by(body, path("big.h5") + ": /x: cannot write: File too large"),
              ::testing::ExitedWithCode(0), "");
}

TEST_F(Hdf5, AFileThatDoesNotFitIsAnErrorInClose) {
  const auto body = [&] {
    limit_file_size(1000);
    File out = File::create(path("small.h5"));
    for (int i = 0; i < 20; ++i) out.make_group(str("/group", i));
    out.close();
  };
  EXPECT_EXIT(exit_by(body, path("small.h5") + ": cannot write: File too large"),
              ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tessera::hdf5
