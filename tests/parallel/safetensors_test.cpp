#include "parallel/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <sstream>

#include "runtime/json.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/command.h"
#include "tests/support/saved_model.h"

namespace tessera {
namespace {

/// A file with any header and data.
std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}

class SafetensorsTest : public testing::Test {
 protected:
  std::string refusal(const std::string& bytes) const {
    write_file(path_, bytes);
    return message_of([&] { Safetensors file(path_); });
  }
  void expect_refusal(const std::string& header, const std::string& data, const std::string& part) const {
    const std::string message = refusal(file_of(header, data));
    EXPECT_TRUE(message.starts_with(path_ + ": ")) << message;
    EXPECT_NE(message.find(part), std::string::npos) << header << "\n" << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_ / "model.safetensors";
};

std::vector<float> odd_values(int64_t count) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(std::sin(static_cast<float>(i)) * 1e-3f);
  values[0] = -0.0f;
  values[1] = std::numeric_limits<float>::denorm_min();
  return values;
}

TEST_F(SafetensorsTest, KeepsEveryBit) {
  const std::vector<float> values = odd_values(21);
  SafetensorsWriter writer(path_, {{"b", {3, 5}}, {"a", {2, 3}}, {"none", {0, 4}}}, DType::f32,
                           {{"key", "a \"word\""}});
  writer.append(std::span(values).first(10));
  writer.append(std::span(values).last(11));
  EXPECT_FALSE(std::filesystem::exists(path_));
  writer.finish();
  Safetensors file(path_);
  EXPECT_EQ(file.metadata().at("key"), "a \"word\"");
  EXPECT_EQ(file.tensors().at("b").shape, (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(file.tensors().at("none").count(), 0);
  std::vector<float> a(6), b(15), part(2);
  file.read("b", 0, b);
  file.read("a", 0, a);
  file.read("b", 4, part);
  a.insert(a.end(), b.begin(), b.end());
  EXPECT_EQ(std::memcmp(a.data(), values.data(), 21 * sizeof(float)), 0);
  EXPECT_EQ(part, std::vector<float>(b.begin() + 4, b.begin() + 6));
  EXPECT_THROW(file.read("b", 14, part), Error);
}

TEST_F(SafetensorsTest, RoundsToBf16) {
  const std::vector<float> values = odd_values(8);
  SafetensorsWriter writer(path_, {{"a", {8}}}, DType::bf16, {});
  writer.append(values);
  writer.finish();
  Safetensors file(path_);
  std::vector<float> read(8);
  file.read("a", 0, read);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(read[i], static_cast<float>(bf16(values[i])));
}

TEST_F(SafetensorsTest, GivesUpWhatIsNotFinished) {
  {
    SafetensorsWriter writer(path_, {{"a", {4}}}, DType::f32, {});
    writer.append(std::vector<float>(3));
    EXPECT_NE(message_of([&] { writer.finish(); }).find("1 elements are still to be written"),
              std::string::npos);
  }
  EXPECT_TRUE(file_tree(folder_ / "").empty());
  EXPECT_NE(message_of([&] {
              SafetensorsWriter writer(folder_ / "no/where", {}, DType::f32, {});
            }).find("No such file or directory"),
            std::string::npos);
}

TEST_F(SafetensorsTest, RefusesWhatIsMalformed) {
  const std::string four(4, 'x'), eight(8, 'x');
  const auto entry = [](const std::string& name, int64_t begin, int64_t end, const std::string& shape) {
    return str("\"", name, R"(":{"dtype":"F32","shape":)", shape, R"(,"data_offsets":[)", begin, ",", end,
               "]}");
  };
  const std::string a = entry("a", 0, 4, "[1]");
  EXPECT_EQ(refusal(file_of("{" + a + "}", four)), "");

  EXPECT_NE(refusal("1234567").find("has 7 bytes, too few"), std::string::npos);
  EXPECT_NE(refusal(file_of("{}", "").substr(0, 9)).find("cut off in its header of 2 bytes"),
            std::string::npos);
  EXPECT_NE(refusal(std::string(8, '\x7f')).find("at most 100000000 are allowed"), std::string::npos);
  expect_refusal("{\"a\":", "", "not valid JSON");
  expect_refusal("[1]", "", "must be an object");
  expect_refusal("{" + a + "," + a + "}", four, "has \"a\" twice");
  expect_refusal(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four,
                 "has \"dtype\" twice");
  expect_refusal(R"({"a":{"dtype":"F32","shape":[1]}})", four,
                 "a must have dtype, shape and data_offsets, got ");
  expect_refusal(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", eight,
                 "a: dtype must be \"F32\" or \"BF16\", got \"F64\"");
  expect_refusal(R"({"a":{"dtype":3,"shape":[1],"data_offsets":[0,8]}})", eight, "a: dtype must be");
  for (const char* shape : {"[-1]", "[1.5]", "\"x\"", "[18446744073709551615]"})
    expect_refusal("{" + entry("a", 0, 4, shape) + "}", four, "a: shape must be whole numbers");
  expect_refusal("{" + entry("a", -4, 0, "[1]") + "}", four, "a: data_offsets must be two whole numbers");
  expect_refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", four, "two whole numbers");
  expect_refusal("{" + entry("a", 0, 4, "[2]") + "}", four, "a: data_offsets [0,4] do not fit F32 [2]");
  expect_refusal("{" + entry("a", 4, 0, "[1]") + "}", four, "do not fit");
  expect_refusal("{" + entry("a", 0, 4, "[4611686018427387905,4]") + "}", four, "do not fit");
  expect_refusal("{" + entry("a", 0, 8, "[2]") + "}", four, "a ends at byte 8 of the data, the file has 4");
  expect_refusal("{" + a + "," + entry("b", 0, 4, "[1]") + "}", eight, "b begins at byte 0 of the data");
  expect_refusal("{" + a + "," + entry("b", 0, 8, "[2]") + "}", eight, "it overlaps another");
  expect_refusal("{" + entry("a", 4, 8, "[1]") + "}", eight,
                 "a begins at byte 4 of the data, expected 0: a hole");
  expect_refusal("{" + a + "}", eight, "end at byte 4 of the data, the file has 8");
  expect_refusal(R"({"__metadata__":{"a":1}})", "", "__metadata__.a must be a string, got 1");
  expect_refusal(R"({"__metadata__":"a"})", "", "__metadata__ must be an object");
  EXPECT_NE(message_of([&] { Safetensors file(folder_ / "none"); }).find("No such file"), std::string::npos);
  EXPECT_NE(message_of([&] { Safetensors file(folder_ / ""); }).find("is a folder"), std::string::npos);
}

void write_model(const std::string& path, const Shapes& shapes) {
  std::map<std::string, std::vector<int64_t>> sizes;
  int64_t count = 0;
  for (const auto& [name, shape] : shapes) {
    for (int dim = 0; dim < shape.rank(); ++dim) sizes[name].push_back(shape[dim]);
    count += shape.count();
  }
  SafetensorsWriter writer(path, sizes, DType::f32, {});
  writer.append(odd_values(count));
  writer.finish();
}

TEST_F(SafetensorsTest, AnyNumberOfRanksBeginsWithIt) {
  write_model(path_, kShapes);
  Safetensors file(path_);
  for (int ranks : {1, 2, 5})
    run_ranks(ranks, [&](Communicator& world) {
      CpuEngine engine;
      Model model(world, engine, 1);
      load_safetensors(path_, model.tensors().pieces, *checked(world));
      Safetensors mine(path_);
      for (const ShardPiece& piece : model.tensors().pieces) {
        std::vector<float> expected(static_cast<size_t>(piece.value.count()));
        mine.read(piece.parameter->name, piece.begin, expected);
        EXPECT_EQ(piece.value.to_vector<float>(), expected) << piece.parameter->name << " on " << ranks;
      }
    });
}

TEST_F(SafetensorsTest, RefusesAnotherModel) {
  const auto refused = [&](const Shapes& shapes) {
    write_model(path_, shapes);
    std::string message;
    run_ranks(2, [&](Communicator& world) {
      CpuEngine engine;
      Model model(world, engine, 1);
      const std::string mine = message_of([&] { load_safetensors(path_, model.tensors().pieces, world); });
      if (world.rank() == 1) message = mine;
    });
    return message;
  };
  Shapes other = kShapes;
  other[0].second = {7, 5};
  EXPECT_EQ(refused(other), path_ + ": a.weight is [7,5] there, [5,7] in this model");
  other = kShapes;
  other.erase(other.begin());
  EXPECT_EQ(refused(other), path_ + ": a.weight of this model is missing there");
  other = kShapes;
  other.push_back({"z", {2}});
  EXPECT_EQ(refused(other), path_ + ": z [2] is there but not in this model");
}

/// Both ways against the format's own library, where it is installed.
TEST_F(SafetensorsTest, AgreesWithTheLibraryOfTheFormat) {
  if (run_command({"python3", "-c", "import safetensors.numpy"}).code != 0)
    GTEST_SKIP() << "the Python package safetensors is not installed";
  write_model(path_, kShapes);
  const std::string back = folder_ / "back.safetensors";
  const CommandResult result =
      run_command({"python3", "-c",
                   "import sys; from safetensors.numpy import load_file, save_file\n"
                   "save_file(load_file(sys.argv[1]), sys.argv[2], {'by': 'python'})\n",
                   path_, back});
  ASSERT_EQ(result.code, 0) << result.err;
  Safetensors ours(path_), theirs(back);
  EXPECT_EQ(theirs.metadata().at("by"), "python");
  ASSERT_EQ(theirs.tensors().size(), ours.tensors().size());
  for (const auto& [name, entry] : ours.tensors()) {
    ASSERT_EQ(theirs.tensors().at(name).shape, entry.shape);
    std::vector<float> a(static_cast<size_t>(entry.count())), b(a.size());
    ours.read(name, 0, a);
    theirs.read(name, 0, b);
    EXPECT_EQ(a, b) << name;
  }
}

}  // namespace
}  // namespace tessera
