#pragma once
// Something to save: two small shard groups with their optimizer, in a folder of their own.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/checkpoint_saver.h"
#include "runtime/cpu_engine.h"
#include "runtime/random.h"

namespace tessera {

/// A fresh folder, removed at the end.
class Folder {
 public:
  Folder() : path_((std::filesystem::temp_directory_path() / "tessera_checkpoint_XXXXXX").string()) {
    if (!::mkdtemp(path_.data())) throw Error("cannot make a folder for the test");
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }

 private:
  std::string path_;
};

using Shapes = std::vector<std::pair<std::string, Shape>>;

inline const Shapes kShapes{{"a.weight", {5, 7}}, {"a.scale", {3}}, {"b.weight", {2, 4, 3}}, {"b.one", {1}}};

/// Two shard groups and their optimizer on one rank.
class Model {
 public:
  Model(Communicator& world, CpuEngine& engine, uint64_t seed, const Shapes& shapes = kShapes) {
    for (const auto& [name, shape] : shapes) {
      Parameter& parameter = *parameters_.emplace_back(std::make_unique<Parameter>(shape));
      parameter.name = name;
      groups_[name[0] == 'a' ? 0 : 1].second.push_back(&parameter);
    }
    mesh_.emplace(world);
    std::vector<Optimized> ranges;
    for (auto& [group, members] : groups_) {
      group.bind(members, *mesh_, engine.stream(), {}, seed, 1);
      for (const ShardPiece& piece : group.pieces()) {
        pieces_.push_back(piece);
        ranges.push_back({piece.value, piece.grad, true});
      }
    }
    optimizer_.emplace(ranges, AdamWConfig{});
  }

  CheckpointTensors tensors() const { return {pieces_, &*optimizer_}; }
  CheckpointTensors values_alone() const { return {pieces_, nullptr}; }

  /// Everything becomes a function of (name, element): what a run has after some steps.
  void set(uint64_t seed) {
    for (size_t i = 0; i < pieces_.size(); ++i)
      for_each_array(i, [&](const char* kind, const Tensor& tensor) {
        for (int64_t k = 0; k < tensor.count(); ++k) tensor.data<float>()[k] = expected(seed, kind, i, k);
      });
  }

  void expect(uint64_t seed) {
    for (size_t i = 0; i < pieces_.size(); ++i)
      for_each_array(i, [&](const char* kind, const Tensor& tensor) {
        for (int64_t k = 0; k < tensor.count(); ++k)
          ASSERT_EQ(tensor.data<float>()[k], expected(seed, kind, i, k))
              << kind << pieces_[i].parameter->name << " element " << k;
      });
  }

 private:
  template <class Visit>
  void for_each_array(size_t i, const Visit& visit) {
    visit("value ", pieces_[i].value);
    visit("first ", optimizer_->first(i));
    visit("second ", optimizer_->second(i));
  }
  float expected(uint64_t seed, const char* kind, size_t i, int64_t k) const {
    const Purpose purpose(kind + pieces_[i].parameter->name);
    return static_cast<float>(random_normal(seed, purpose, static_cast<uint64_t>(pieces_[i].begin + k)));
  }

  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::optional<Mesh> mesh_;
  std::array<std::pair<ShardGroup, std::vector<Parameter*>>, 2> groups_;
  std::vector<ShardPiece> pieces_;
  std::optional<AdamW> optimizer_;
};

inline void save(const std::string& directory, int64_t step, int ranks, uint64_t seed,
                 const Json& state = "state") {
  run_ranks(ranks, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1);
    model.set(seed);
    save_checkpoint(directory, step, model.tensors(), state, *checked(world));
  });
}

inline void expect_loads(const std::string& checkpoint, int ranks, uint64_t seed) {
  run_ranks(ranks, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1);
    load_checkpoint(checkpoint, model.tensors(), *checked(world));
    model.expect(seed);
  });
}

}  // namespace tessera
