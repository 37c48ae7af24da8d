#include "runtime/json.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tessera {
namespace {

struct Inner {
  int64_t width = 64;
  float rate = 0.5f;
  std::string kind = "plain";

  auto fields() {
    return std::tuple(Field{"width", width, "columns", 1, 1024}, Field{"rate", rate, "per step", 0},
                      Field{"kind", kind, "one of plain|fancy: how it looks"});
  }
};

struct Outer {
  Inner model;
  bool fast = false;
  int small = 3;
  std::vector<Inner> stages;
  std::map<std::string, int> counts;

  auto fields() {
    return std::tuple(Field{"model", model}, Field{"fast", fast}, Field{"small", small},
                      Field{"stages", stages}, Field{"counts", counts});
  }
};

/// The message of the Error that call throws.
template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::string refusal_of(const std::string& text) {
  Outer outer;
  return refusal([&] { from_json(Json::parse(text), "run.json", outer); });
}

/// A file that goes when the test ends.
struct TemporaryFile {
  std::string path = (std::filesystem::path(testing::TempDir()) /
                      (std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) + ".json"))
                         .string();
  ~TemporaryFile() { std::filesystem::remove(path); }
};

TEST(Json, ReadsWhatIsNamedAndKeepsTheRest) {
  Outer outer;
  from_json(Json::parse(R"({"model": {"width": 256}, "fast": true, "stages": [{"rate": 2}, {}],
                            "counts": {"a": 1, "b": -2}})"),
            "run.json", outer);
  EXPECT_EQ(outer.model.width, 256);
  EXPECT_EQ(outer.model.rate, 0.5f);
  EXPECT_TRUE(outer.fast);
  EXPECT_EQ(outer.small, 3);
  ASSERT_EQ(outer.stages.size(), 2u);
  EXPECT_EQ(outer.stages[0].rate, 2.0f);
  EXPECT_EQ(outer.stages[1].width, 64);
  EXPECT_EQ(outer.counts, (std::map<std::string, int>{{"a", 1}, {"b", -2}}));
}

TEST(Json, WritesWhatItReads) {
  Outer outer, again;
  outer.model.width = 7;
  outer.model.kind = "fancy";
  outer.stages.resize(2);
  outer.stages[1].rate = 0.1f;
  outer.counts["x"] = 4;
  from_json(to_json(outer), "memory", again);
  EXPECT_EQ(to_json(outer), to_json(again));
  EXPECT_EQ(again.stages[1].rate, 0.1f);
}

TEST(Json, RefusesUnknownKeysAndNamesTheNearest) {
  EXPECT_EQ(refusal_of(R"({"model": {"widht": 1}})"),
            "run.json: unknown key \"model.widht\"; did you mean \"model.width\"?");
  EXPECT_EQ(refusal_of(R"({"fasd": true})"), "run.json: unknown key \"fasd\"; did you mean \"fast\"?");
}

TEST(Json, RefusesWrongTypes) {
  EXPECT_EQ(refusal_of(R"({"fast": 1})"), "run.json: fast must be true or false, got 1");
  EXPECT_EQ(refusal_of(R"({"model": 3})"), "run.json: model must be an object, got 3");
  EXPECT_EQ(refusal_of("[]"), "run.json: the top level must be an object, got []");
  EXPECT_EQ(refusal_of(R"({"small": 1.5})"), "run.json: small must be a whole number, got 1.5");
  EXPECT_EQ(refusal_of(R"({"model": {"rate": "2"}})"), "run.json: model.rate must be a number, got \"2\"");
  EXPECT_EQ(refusal_of(R"({"model": {"kind": 2}})"), "run.json: model.kind must be a string, got 2");
  EXPECT_EQ(refusal_of(R"({"stages": {}})"), "run.json: stages must be an array, got {}");
  EXPECT_EQ(refusal_of(R"({"stages": [{}, {"width": null}]})"),
            "run.json: stages[1].width must be a whole number, got null");
  EXPECT_EQ(refusal_of(R"({"counts": {"a": "b"}})"), "run.json: counts.a must be a whole number, got \"b\"");
}

TEST(Json, RefusesValuesOutOfRange) {
  EXPECT_EQ(refusal_of(R"({"model": {"width": 0}})"), "run.json: model.width must be in [1, 1024], got 0");
  EXPECT_EQ(refusal_of(R"({"model": {"rate": -1}})"), "run.json: model.rate must be in [0, inf], got -1");
  EXPECT_EQ(refusal_of(R"({"model": {"kind": "odd"}})"),
            "run.json: model.kind must be one of plain|fancy, got \"odd\"");
  EXPECT_EQ(refusal_of(R"({"model": {"width": 1048577}})"),
            "run.json: model.width must be in [1, 1024], got 1048577");
  EXPECT_NE(refusal_of(R"({"small": 3000000000})"), "nothing was thrown");
  EXPECT_NE(refusal_of(R"({"small": -3000000000})"), "nothing was thrown");
  EXPECT_NE(refusal_of(R"({"model": {"width": 18446744073709551615}})"), "nothing was thrown");
}

TEST(Json, FilesSurviveTheRoundTrip) {
  const TemporaryFile file;
  const Json json = Json::parse(R"({"b": [1, 2.5], "a": {"text": "\u00e4"}})");
  write_json(file.path, json);
  EXPECT_EQ(read_json(file.path).dump(), json.dump());
  EXPECT_FALSE(std::filesystem::exists(file.path + ".tmp"));
}

TEST(Json, FilesThatAreNotJsonAreLocated) {
  const TemporaryFile file;
  const auto message = [&](const std::string& text) {
    std::ofstream(file.path) << text;
    return refusal([&] { read_json(file.path); });
  };
  EXPECT_EQ(message("{\n  \"a\": 1,\n  \"b\" 2\n}\n"), file.path + ": not valid JSON at line 3, column 7");
  EXPECT_EQ(message("{\"a\": x}"), file.path + ": not valid JSON at line 1, column 7");
  EXPECT_NE(message("").find("not valid JSON"), std::string::npos);
  EXPECT_EQ(refusal([&] { read_json(file.path + ".none"); }), file.path + ".none: cannot be opened");
  EXPECT_EQ(refusal([&] { write_json("/nowhere/at/all.json", Json()); }),
            "/nowhere/at/all.json: cannot be written: No such file or directory");
  const std::string folder = std::filesystem::temp_directory_path();
  EXPECT_EQ(refusal([&] { read_json(folder); }), folder + ": cannot be opened");
}

TEST(Json, PathsSetValuesOfTheRightType) {
  Json json = Json::parse(R"({"model": {"width": 64}})");
  set_path(json, "model.width", "256");
  set_path(json, "model.kind", "fancy");
  set_path(json, "stages", "[1, 2]");
  set_path(json, "new.inside", "true");
  EXPECT_EQ(json.dump(), R"({"model":{"width":256,"kind":"fancy"},"stages":[1,2],"new":{"inside":true}})");
  EXPECT_EQ(refusal([&] { set_path(json, "model.width.deeper", "1"); }),
            "override model.width.deeper: model.width is not an object");
}

TEST(Json, NearestIsByEditDistance) {
  EXPECT_EQ(nearest("modl", {"data", "model", "mode_long"}), "model");
  EXPECT_EQ(nearest("", {"long", "s"}), "s");
  EXPECT_EQ(nearest("kitten", {"sitting", "mitten"}), "mitten");
}

TEST(Json, DescribesEveryLeaf) {
  Outer outer;
  const std::string text = describe(outer);
  EXPECT_NE(text.find("  model.width = 64 [1, 1024]\n      columns\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  model.rate = 0.5 [0, ...)\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  fast = false\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace tessera
