#include "runtime/mapped_file.h"

#include <gtest/gtest.h>

#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, HoldsWhatTheFileHeld) {
  const TemporaryFolder folder;
  const std::string path = folder / "file", text(10000, 'x');
  write_file(path, text);
  const MappedFile file(path);
  EXPECT_EQ(text_of(file), text);
  write_file(folder / "new", "other");
  std::filesystem::rename(folder / "new", path);
  EXPECT_EQ(text_of(file), text) << "another file under its name";
  write_file(folder / "empty", "");
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
}

TEST(MappedFile, NamesWhatItCannotOpen) {
  const TemporaryFolder folder;
  EXPECT_EQ(message_of([&] { MappedFile(folder / "none"); }),
            "mapped file: cannot open " + folder / "none" + ": No such file or directory");
  EXPECT_EQ(message_of([&] { MappedFile(folder / ""); }),
            "mapped file: cannot map " + folder / "" + ": No such device");
}

}  // namespace
}  // namespace tessera
