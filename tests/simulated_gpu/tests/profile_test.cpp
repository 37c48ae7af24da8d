// Coverage, memory transactions, bank conflicts and floating-point operations.

#include "tests/simulated_gpu/checker/profile.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "tests/simulated_gpu/checker/flops.h"
#include "tests/simulated_gpu/checker/traffic.h"
#include "tests/simulated_gpu/tests/launch_driver.h"

namespace simulated_gpu {
namespace {

using AddressOfLane = std::function<uint64_t(uint64_t lane)>;

struct Lanes {
  std::array<uint64_t, 32> addresses;
  Access access;

  Lanes(uint32_t mask, uint32_t bytes, const AddressOfLane& address)
      : access{nullptr, ptx::Space::global, AccessKind::read, 0, mask, addresses.data(), bytes} {
    for (size_t lane = 0; lane < 32; ++lane) addresses[lane] = address(lane);
  }
};

TEST(Traffic, Sectors) {
  const auto count = [](uint32_t mask, uint32_t bytes, const AddressOfLane& address) {
    return sectors(Lanes(mask, bytes, address).access);
  };
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 1024 + 4 * lane; }), 4u);
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 1028 + 4 * lane; }), 5u);
  EXPECT_EQ(count(kAllLanes, 16, [](uint64_t lane) { return 1024 + 16 * lane; }), 16u);
  EXPECT_EQ(count(kAllLanes, 2, [](uint64_t lane) { return 1024 + 2 * lane; }), 2u);
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 1024 + 256 * lane; }), 32u);
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t) { return 1024; }), 1u);
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 1024 + 4 * (31 - lane); }), 4u);
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 1024 + 128 * (lane % 2); }), 2u);
  EXPECT_EQ(count(0xff, 4, [](uint64_t lane) { return 1024 + 4 * lane; }), 1u);
}

TEST(Traffic, BankConflicts) {
  const auto count = [](uint32_t mask, uint32_t bytes, const AddressOfLane& address) {
    return bank_conflicts(Lanes(mask, bytes, address).access);
  };
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 4 * lane; }), 0u);
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t) { return 64; }), 0u);                // broadcast
  EXPECT_EQ(count(kAllLanes, 2, [](uint64_t lane) { return 2 * lane; }), 0u);     // two lanes per word
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 8 * lane; }), 1u);     // stride of two words
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 128 * lane; }), 31u);  // column of 32 words
  EXPECT_EQ(count(kAllLanes, 4, [](uint64_t lane) { return 132 * lane; }), 0u);   // padded column
  EXPECT_EQ(count(0xffff, 4, [](uint64_t lane) { return 128 * lane; }), 15u);
  EXPECT_EQ(count(kAllLanes, 8, [](uint64_t lane) { return 8 * lane; }), 0u);        // two phases
  EXPECT_EQ(count(kAllLanes, 8, [](uint64_t lane) { return 16 * lane; }), 2u);       // each twofold
  EXPECT_EQ(count(kAllLanes, 16, [](uint64_t lane) { return 16 * lane; }), 0u);      // four phases
  EXPECT_EQ(count(kAllLanes, 16, [](uint64_t lane) { return 64 * lane; }), 4u * 3);  // rows of 32 bf16
  EXPECT_EQ(count(kAllLanes, 16, [](uint64_t lane) { return 80 * lane; }), 0u);  // the same with 8 of padding
  EXPECT_EQ(count(kAllLanes, 16, [](uint64_t lane) { return 128 * (lane % 8); }),
            4u * 7);  // ldmatrix, rows of 64 bf16
}

TEST(Traffic, DistinctBytes) {
  DistinctBytes bytes;
  bytes.add(Lanes(kAllLanes, 4, [](uint64_t lane) { return 4000 + 4 * lane; }).access);
  EXPECT_EQ(bytes.count(), 128u);
  bytes.add(Lanes(kAllLanes, 4, [](uint64_t lane) { return 4064 + 4 * lane; }).access);
  EXPECT_EQ(bytes.count(), 192u);
  bytes.add(Lanes(kAllLanes, 1, [](uint64_t lane) { return 8192 * lane; }).access);
  EXPECT_EQ(bytes.count(), 224u);
  bytes.add(Lanes(kAllLanes, 4, [](uint64_t) { return 4000; }).access);
  bytes.add(Lanes(kAllLanes, 16, [](uint64_t lane) { return 4000 + 2 * lane; }).access);
  EXPECT_EQ(bytes.count(), 224u);
}

TEST(Flops, ByOpcodeTypeAndShape) {
  const auto flops = [](ptx::Opcode opcode, ptx::Type type, ptx::Modifier modifier = ptx::Modifier::rn) {
    ptx::Instruction instruction;
    instruction.opcode = opcode;
    instruction.types[0] = type;
    instruction.modifiers.set(static_cast<size_t>(modifier));
    const Flops count = flops_of(instruction);
    return count.per_lane + 1000000 * count.per_warp;
  };
  using ptx::Opcode, ptx::Type, ptx::Modifier;
  EXPECT_EQ(flops(Opcode::add, Type::f32), 1u);
  EXPECT_EQ(flops(Opcode::fma, Type::f32), 2u);
  EXPECT_EQ(flops(Opcode::fma, Type::bf16x2), 4u);
  EXPECT_EQ(flops(Opcode::mul, Type::f16x2), 2u);
  EXPECT_EQ(flops(Opcode::ex2, Type::f32), 1u);
  EXPECT_EQ(flops(Opcode::add, Type::s32), 0u);
  EXPECT_EQ(flops(Opcode::mad, Type::u32), 0u);
  EXPECT_EQ(flops(Opcode::max, Type::f32), 0u);
  EXPECT_EQ(flops(Opcode::mma, Type::f32, Modifier::m16n8k16), 1000000u * 4096);
  EXPECT_EQ(flops(Opcode::mma, Type::f32, Modifier::m16n8k8), 1000000u * 2048);
  EXPECT_THROW(flops(Opcode::mma, Type::f32), std::runtime_error);
}

/// A kernel of six lines; the fourth is never reached.
class ProfileOfLaunches : public ::testing::Test {
 protected:
  ProfileOfLaunches() {
    auto& code = kernel.change().code;
    code[0].opcode = ptx::Opcode::ld;
    code[1].opcode = ptx::Opcode::fma;
    code[1].types[0] = ptx::Type::f32;
    code[2].opcode = ptx::Opcode::bra;
    code[4].line = code[5].line = 5;
    profile.add_module(kernel.module());
  }

  void play(uint32_t threads) {
    DrivenLaunch run(profile.watch_launch(), kernel, 1, threads, 256);
    run.observer().executes(kernel.at(0), 0, kAllLanes);
    run.global(0, AccessKind::read, 0, kAllLanes, 4,
               [](int lane) { return 4096 + 8 * static_cast<uint64_t>(lane); });
    run.observer().executes(kernel.at(1), 0, 0xff);
    run.observer().executes(kernel.at(2), 0, kAllLanes);
    run.observer().branches(kernel.at(2), kAllLanes, 0);
    run.observer().executes(kernel.at(4), 0, 0xffff);
    run.shared(4, AccessKind::write, 0, 0xffff, 4, [](int lane) { return 8 * static_cast<uint64_t>(lane); });
    run.observer().executes(kernel.at(5), 0, 1);
    run.global(5, AccessKind::write, 0, 1, 16, [](int) { return uint64_t{8192}; });
  }

  SomeKernel kernel{6};
  Profile profile;
};

TEST_F(ProfileOfLaunches, Sums) {
  EXPECT_TRUE(profile.kernels().empty());
  play(64);
  play(32);
  play(64);
  const std::vector<KernelProfile> kernels = profile.kernels();
  ASSERT_EQ(kernels.size(), 1u);
  const KernelProfile& sums = kernels[0];
  EXPECT_EQ(sums.kernel, "kernel(float*)");
  EXPECT_EQ(sums.launches, 3u);
  EXPECT_EQ(sums.warp_instructions, 3u * 5);
  EXPECT_EQ(sums.thread_instructions, 3u * (32 + 8 + 32 + 16 + 1));
  EXPECT_EQ(sums.flops, 3u * 16);
  EXPECT_EQ(sums.global_requested_bytes, 3u * (128 + 16));
  EXPECT_EQ(sums.global_sectors, 3u * (8 + 1));
  EXPECT_EQ(sums.shared_accesses, 3u);
  EXPECT_EQ(sums.shared_conflicts, 0u);
  EXPECT_EQ(sums.global_unique_bytes_read, 3u * 128);
  EXPECT_EQ(sums.global_unique_bytes_written, 3u * 16);
  EXPECT_EQ(sums.launch_shapes, (std::vector<LaunchShape>{{32, 256}, {64, 256}}));
  ASSERT_EQ(sums.lines.size(), 4u);
  EXPECT_EQ(sums.lines[0].file, "a.cu");
  EXPECT_EQ(sums.lines[0].line, 1);
  EXPECT_EQ(sums.lines[0].global_sectors, 24u);
  EXPECT_EQ(sums.lines[3].line, 5);
  EXPECT_EQ(sums.lines[3].shared_accesses, 3u);
}

TEST(Profile, KernelsOfOneNameInTwoFilesStayApart) {
  SomeKernel kernel{1}, other{1};
  Profile profile;
  kernel.change().name = "_ZN36_GLOBAL__N__0123abcd_4_a_cu_89abcdef1kEv";
  other.change().name = "_ZN36_GLOBAL__N__0123abcd_4_b_cu_89abcdef1kEv";
  { DrivenLaunch first(profile.watch_launch(), kernel, 1, 32); }
  { DrivenLaunch second(profile.watch_launch(), other, 1, 64); }
  const std::vector<KernelProfile> kernels = profile.kernels();
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels[0].kernel, kernels[1].kernel);
  EXPECT_EQ(kernels[0].symbol, kernel.kernel().name);
  EXPECT_EQ(kernels[0].launch_shapes, (std::vector<LaunchShape>{{32, 0}}));
  EXPECT_EQ(kernels[1].launch_shapes, (std::vector<LaunchShape>{{64, 0}}));
}

TEST_F(ProfileOfLaunches, Coverage) {
  std::vector<SourceCoverage> sources = profile.coverage();
  ASSERT_EQ(sources.size(), 1u);
  EXPECT_EQ(sources[0].missed_lines, (std::vector<int>{1, 2, 3, 4, 5}));
  play(32);
  sources = profile.coverage();
  EXPECT_EQ(sources[0].file, "a.cu");
  EXPECT_EQ(sources[0].executed_lines, (std::vector<int>{1, 2, 3, 5}));
  EXPECT_EQ(sources[0].missed_lines, std::vector<int>{4});
  EXPECT_EQ(sources[0].one_way_branch_lines, std::vector<int>{3});
  {
    DrivenLaunch run(profile.watch_launch(), kernel, 1, 32);
    run.observer().branches(kernel.at(2), 0, 1);
  }
  EXPECT_TRUE(profile.coverage()[0].one_way_branch_lines.empty());
}

TEST_F(ProfileOfLaunches, Json) {
  play(32);
  const auto json = nlohmann::json::parse(profile.to_json());
  const auto& entry = json.at("kernels").at(0);
  EXPECT_EQ(entry.at("symbol"), "_Z6kernelPf");
  EXPECT_EQ(entry.at("kernel"), "kernel(float*)");
  EXPECT_EQ(entry.at("flops"), 16);
  EXPECT_EQ(entry.at("global_sectors"), 9);
  EXPECT_EQ(entry.at("launch_shapes"), nlohmann::json::parse(R"([{"threads": 32, "shared_bytes": 256}])"));
  EXPECT_EQ(entry.at("lines").at(0).at("line"), 1);
  EXPECT_EQ(json.at("sources").at(0).at("missed_lines"), nlohmann::json::parse("[4]"));
}

}  // namespace
}  // namespace simulated_gpu
