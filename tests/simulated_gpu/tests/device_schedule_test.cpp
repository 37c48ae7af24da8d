// How lanes part and meet again, and every rule about waiting: broken, and next to it a kernel that just
// keeps it.

#include <algorithm>
#include <set>

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

using Kind = Outcome::Kind;

/// %rd0 points to one word per thread of the launch.
struct Launched {
  Outcome outcome;
  std::string rules;
  std::vector<uint32_t> words;
};

Launched run(const std::string& body, uint32_t threads, bool independent = false, uint64_t seed = 1,
             uint32_t blocks = 1) {
  PtxProgram program(entry("k", 1, body));
  program.schedule.seed = seed;
  program.schedule.independent_lanes = independent;
  const uint64_t memory = program.upload(std::vector<uint32_t>(threads * blocks));
  Launched result;
  result.outcome = program.run("k", {blocks, 1, 1}, {threads, 1, 1}, 0, memory);
  result.rules = program.recorder.rules();
  result.words = program.download<uint32_t>(memory, threads * blocks);
  return result;
}

const std::string kStore = "mad.wide.u32 %rd9, %r0, 4, %rd0; st.global.u32 [%rd9], ";

TEST(Schedule, DivergentLoopsReconverge) {
  // Every thread loops as often as its number says; afterwards all lanes are together again for the ballot.
  const std::string body =
      "mov.u32 %r1, 0; mov.u32 %r2, 0; LOOP: setp.ge.u32 %p1, %r1, %r0; @%p1 bra DONE; add.u32 %r2, %r2, "
      "%r1; add.u32 %r1, %r1, 1; bra.uni LOOP;"
      "DONE: activemask.b32 %r3; setp.eq.u32 %p2, %r3, -1; selp.u32 %r4, 1000, 0, %p2; add.u32 %r2, %r2, "
      "%r4;" +
      kStore + "%r2;";
  const Launched together = run(body, 64), independent = run(body, 64, true);
  EXPECT_EQ(together.outcome.kind, Kind::finished);
  EXPECT_EQ(independent.outcome.kind, Kind::finished);
  for (uint32_t i = 0; i < 64; ++i) {
    EXPECT_EQ(together.words[i], i * (i - 1) / 2 + 1000) << "lanes together meet behind the loop";
    EXPECT_EQ(independent.words[i] % 1000, i * (i - 1) / 2 % 1000);
  }
  const bool all_met = std::ranges::all_of(independent.words, [i = 0u](uint32_t word) mutable {
    const bool met = word == i * (i - 1) / 2 + 1000;
    ++i;
    return met;
  });
  EXPECT_FALSE(all_met) << "independent lanes need not meet where nothing synchronises them";
}

TEST(Schedule, GuardsSkipLanes) {
  const Launched result =
      run("mov.u32 %r1, 5; setp.lt.u32 %p1, %r0, 3; @%p1 mov.u32 %r1, 6; @!%p1 add.u32 %r1, %r1, %r0;" +
              kStore + "%r1;",
          40);
  for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(result.words[i], i < 3 ? 6 : 5 + i);
}

TEST(Schedule, IndexedBranch) {
  const Launched result =
      run("and.b32 %r1, %r0, 3; TABLE: .branchtargets A, B, C, A; brx.idx %r1, TABLE; A: mov.u32 %r2, 10; "
          "bra END; B: mov.u32 %r2, 20; bra END; C: mov.u32 %r2, 30; END: " +
              kStore + "%r2;",
          32);
  for (uint32_t i = 0; i < 32; ++i)
    EXPECT_EQ(result.words[i], (std::vector<uint32_t>{10, 20, 30, 10}[i % 4]));
}

TEST(Schedule, SeedDecidesTheOrderAndRepeatsIt) {
  const auto order = [](uint64_t seed) {
    return run("atom.global.add.u32 %r1, [%rd0], 1; mov.u32 %r2, %ctaid.x; setp.eq.u32 %p1, %r1, 0; @%p1 "
               "st.global.u32 [%rd0+4], %r2;",
               1, false, seed, 16)
        .words[1];
  };
  std::set<uint32_t> firsts;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    EXPECT_EQ(order(seed), order(seed));
    firsts.insert(order(seed));
  }
  EXPECT_GT(firsts.size(), 1u);
}

TEST(Schedule, WarpsTakeTurns) {
  // The first warp waits for a flag that the second one sets.
  const std::string spin =
      "setp.ge.u32 %p1, %r0, 32; @%p1 bra SET; WAIT: ld.volatile.global.u32 %r1, [%rd0]; setp.eq.u32 %p2, "
      "%r1, 0; @%p2 bra WAIT; bra.uni END; SET: st.volatile.global.u32 [%rd0], 1; END: ";
  EXPECT_EQ(run(spin, 64).outcome.kind, Kind::finished);
}

TEST(Schedule, LanesOfAWarpTakeTurnsOnlyWhenIndependent) {
  const std::string spin =
      "setp.eq.u32 %p1, %r0, 31; @!%p1 bra WAIT; st.volatile.global.u32 [%rd0], 1; bra.uni END; WAIT: "
      "ld.volatile.global.u32 %r1, [%rd0]; setp.eq.u32 %p2, %r1, 0; @%p2 bra WAIT; END: ";
  EXPECT_EQ(run(spin, 32, true).outcome.kind, Kind::finished);
}

TEST(Schedule, WaitingForWhatNeverHappensEndsTheLaunch) {
  PtxProgram program(
      entry("k", 1, "WAIT: ld.volatile.global.u32 %r1, [%rd0]; setp.eq.u32 %p2, %r1, 0; @%p2 bra WAIT;"));
  program.schedule.most_instructions = 10000;
  const uint64_t flag = program.upload(std::vector<uint32_t>{0}),
                 set = program.upload(std::vector<uint32_t>{1});
  EXPECT_EQ(program.run("k", {1, 1, 1}, {32, 1, 1}, 0, set).kind, Kind::finished);
  const Outcome outcome = program.run("k", {1, 1, 1}, {32, 1, 1}, 0, flag);
  EXPECT_EQ(outcome.kind, Kind::trapped);
  EXPECT_NE(outcome.text.find("does not end"), std::string::npos);
}

TEST(Barrier, ExchangesThroughSharedMemory) {
  const std::string body =
      ".shared .b8 s[512]; mov.u32 %r1, s; mad.lo.u32 %r2, %r0, 4, %r1; st.shared.u32 [%r2], %r0; bar.sync 0;"
      "sub.u32 %r3, 127, %r0; mad.lo.u32 %r4, %r3, 4, %r1; ld.shared.u32 %r5, [%r4];" +
      kStore + "%r5;";
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const Launched result = run(body, 128, seed % 2 == 0, seed);
    EXPECT_EQ(result.outcome.kind, Kind::finished);
    EXPECT_EQ(result.rules, "");
    for (uint32_t i = 0; i < 128; ++i) EXPECT_EQ(result.words[i], 127 - i);
  }
}

TEST(Barrier, TellsTheObserverWhoMet) {
  class Meetings : public Observer {
   public:
    void barrier_passes(const ptx::Instruction&, const std::vector<uint32_t>& warps) override {
      met.push_back(warps);
    }
    std::vector<std::vector<uint32_t>> met;
  } meetings;
  PtxProgram program(
      entry("k", 0, "bar.sync 0; setp.lt.u32 %p1, %r0, 64; @%p1 bar.sync 1, 64; barrier.sync.aligned 0;"));
  program.observer = &meetings;
  EXPECT_EQ(program.run("k", {1, 1, 1}, {80, 1, 1}, 0).kind, Kind::finished);
  const std::vector<uint32_t> all{~0u, ~0u, 0xffff}, two{~0u, ~0u, 0};
  EXPECT_EQ(meetings.met, (std::vector<std::vector<uint32_t>>{all, two, all}));
}

TEST(Barrier, Reductions) {
  const std::string body =
      "and.b32 %r1, %r0, 3; setp.eq.u32 %p1, %r1, 0; bar.red.popc.u32 %r2, 0, %p1; bar.red.and.pred %p2, 0, "
      "%p1; bar.red.or.pred %p3, 0, %p1;"
      "setp.lt.u32 %p4, %r0, 999; bar.red.and.pred %p5, 0, %p4; bar.red.or.pred %p6, 0, !%p4; selp.u32 %r3, "
      "1000, 0, %p2; selp.u32 %r4, 2000, 0, %p3; selp.u32 %r5, 4000, 0, %p5; selp.u32 %r6, 8000, 0, %p6;"
      "add.u32 %r2, %r2, %r3; add.u32 %r2, %r2, %r4; add.u32 %r2, %r2, %r5; add.u32 %r2, %r2, %r6;" +
      kStore + "%r2;";
  EXPECT_EQ(run(body, 96).words, std::vector<uint32_t>(96, 24 + 2000 + 4000));
}

TEST(Barrier, ProducersArriveAndConsumersWait) {
  const std::string body =
      ".shared .u32 s; setp.lt.u32 %p1, %r0, 32; @%p1 bra CONSUME; setp.eq.u32 %p2, %r0, 32; @%p2 "
      "st.shared.u32 [s], 42; bar.arrive 1, 64; bra.uni END; CONSUME: bar.sync 1, 64; ld.shared.u32 %r1, "
      "[s];" +
      kStore + "%r1; END: ";
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Launched result = run(body, 64, false, seed);
    EXPECT_EQ(result.outcome.kind, Kind::finished);
    EXPECT_EQ(result.rules, "");
    EXPECT_EQ(result.words[31], 42u);
  }
}

TEST(Barrier, NobodyArrivesTwiceOrTooOften) {
  EXPECT_EQ(run("bar.arrive 1, 128; bar.arrive 1, 128;", 32).rules, "barrier");
  EXPECT_EQ(run("bar.arrive 1, 64; bar.arrive 2, 64;", 32).rules, "");
  // 16 threads first; then 64 make too many, 48 are just right.
  const std::string first =
      "setp.lt.u32 %p1, %r0, 16; @%p1 bar.arrive 1, 64; bar.sync 0; setp.ge.u32 %p2, %r0, ";
  EXPECT_EQ(run(first + "32; @%p2 bar.arrive 1, 64;", 96).rules, "barrier");
  EXPECT_EQ(run(first + "16; @%p2 bar.arrive 1, 64;", 64).rules, "");
}

TEST(Barrier, ThreadsThatHaveExitedAreReported) {
  const Launched early = run("setp.ge.u32 %p1, %r0, 60; @%p1 exit; bar.sync 0;" + kStore + "7;", 64);
  EXPECT_EQ(early.outcome.kind, Kind::finished) << "the hardware goes on as well";
  EXPECT_EQ(early.rules, "barrier");
  EXPECT_EQ(early.words[0], 7u);
  const Launched late = run("bar.sync 0; setp.ge.u32 %p1, %r0, 60; @%p1 exit;" + kStore + "7;", 64);
  EXPECT_EQ(late.rules, "");
}

TEST(Barrier, ThreadsAtDifferentBarriersAreReported) {
  const std::string branch = "setp.lt.u32 %p1, %r0, 32; @%p1 bra LOW; ",
                    low = " bra.uni END; LOW: ", end = " END: ";
  EXPECT_EQ(run(branch + "bar.sync 0;" + low + "bar.sync 0;" + end, 64).rules, "barrier");
  EXPECT_EQ(run(branch + "mov.u32 %r1, 1;" + low + "mov.u32 %r1, 2;" + end + "bar.sync 0;", 64).rules, "");
}

TEST(Barrier, ABranchAroundItDeadlocks) {
  const Launched broken = run("setp.lt.u32 %p1, %r0, 32; @%p1 bar.sync 1, 64; bar.sync 0;", 64);
  EXPECT_EQ(broken.outcome.kind, Kind::deadlocked);
  EXPECT_EQ(broken.rules, "deadlock deadlock");
  EXPECT_NE(broken.outcome.text.find("bar.sync 1, 64"), std::string::npos) << broken.outcome.text;
  EXPECT_EQ(run("setp.lt.u32 %p1, %r0, 32; @%p1 bar.sync 1, 32; bar.sync 0;", 64).outcome.kind,
            Kind::finished);
}

TEST(Barrier, CountsMustAgreeAndBeWholeWarps) {
  EXPECT_EQ(run("bar.sync 1, 40;", 40).rules.substr(0, 7), "barrier");
  EXPECT_EQ(
      run("setp.lt.u32 %p1, %r0, 32; selp.u32 %r1, 64, 96, %p1; bar.sync 1, %r1;", 64).rules.substr(0, 7),
      "barrier");
  EXPECT_EQ(run("setp.lt.u32 %p1, %r0, 32; selp.u32 %r1, 64, 64, %p1; bar.sync 1, %r1;", 64).rules, "");
  EXPECT_EQ(run("mov.u32 %r1, 16; bar.sync %r1;", 32).outcome.kind, Kind::trapped);
  EXPECT_EQ(run("mov.u32 %r1, 15; bar.sync %r1;", 32).outcome.kind, Kind::finished);
}

TEST(Mask, LanesThatNeverComeDeadlock) {
  const std::string branch = "setp.lt.u32 %p1, %r0, 16; @%p1 bra LOW; bra.uni END; LOW: ";
  const Launched broken = run(branch + "bar.warp.sync -1; END: bar.sync 0;", 32);
  EXPECT_EQ(broken.outcome.kind, Kind::deadlocked);
  EXPECT_NE(broken.outcome.text.find("0xffffffff"), std::string::npos) << broken.outcome.text;
  const Launched legal = run(branch + "bar.warp.sync 0xffff; END: bar.sync 0;", 32);
  EXPECT_EQ(legal.outcome.kind, Kind::finished);
  EXPECT_EQ(legal.rules, "");
}

TEST(Mask, ALaneMustBeInItsOwn) {
  EXPECT_EQ(run("bar.warp.sync 0x7fffffff;", 32).rules.substr(0, 4), "mask");
  EXPECT_EQ(run("setp.lt.u32 %p1, %r0, 31; @%p1 bar.warp.sync 0x7fffffff;", 32).rules, "");
}

TEST(Mask, OfLanesThatDoNotExist) {
  EXPECT_EQ(run("vote.sync.ballot.b32 %r1, %p1, -1;", 20).rules, "mask");
  EXPECT_EQ(run("vote.sync.ballot.b32 %r1, %p1, 0xfffff;", 20).rules, "");
}

TEST(Mask, OfLanesThatHaveExited) {
  EXPECT_EQ(run("setp.eq.u32 %p1, %r0, 4; @%p1 exit; shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;", 32).rules,
            "mask shuffle");
  EXPECT_EQ(run("shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1; setp.eq.u32 %p1, %r0, 4; @%p1 exit;", 32).rules, "");
}

TEST(Mask, ShuffleFromALaneOutside) {
  const std::string low = "setp.lt.u32 %p1, %r0, 16; @%p1 shfl.sync.idx.b32 %r1, %r0, ";
  EXPECT_EQ(run(low + "20, 31, 0xffff;", 32).rules, "shuffle");
  EXPECT_EQ(run(low + "15, 31, 0xffff;", 32).rules, "");
}

TEST(Mask, DifferentMasksNeverMeet) {
  const Launched broken =
      run("setp.lt.u32 %p1, %r0, 16; selp.u32 %r1, 0xffff, -1, %p1; bar.warp.sync %r1; bar.sync 0;", 32);
  EXPECT_EQ(broken.outcome.kind, Kind::deadlocked);
  EXPECT_EQ(
      run("setp.lt.u32 %p1, %r0, 16; selp.u32 %r1, 0xffff, 0xffff0000, %p1; bar.warp.sync %r1; bar.sync 0;",
          32)
          .rules,
      "");
}

TEST(Mask, LanesWaitForOneAnotherInBothModes) {
  // The lanes come one by one, each after a loop of its own length.
  const std::string body =
      "mov.u32 %r1, 0; LOOP: setp.ge.u32 %p1, %r1, %r0; @%p1 bra DONE; add.u32 %r1, %r1, 1; bra.uni LOOP; "
      "DONE: redux.sync.add.u32 %r2, %r1, -1;" +
      kStore + "%r2;";
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    for (const bool independent : {false, true}) {
      EXPECT_EQ(run(body, 32, independent, seed).words, std::vector<uint32_t>(32, 31 * 16));
    }
  }
}

TEST(Mask, MatrixInstructionsNeedTheWholeWarp) {
  const std::string multiply =
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1, %f2, %f3, %f4}, {%r1, %r1, %r1, %r1}, {%r1, "
      "%r1}, {%f1, %f2, %f3, %f4};";
  EXPECT_EQ(run("setp.lt.u32 %p1, %r0, 31; @%p1 bra WORK; bra.uni END; WORK: " + multiply +
                    " END: bar.warp.sync -1;",
                32)
                .outcome.kind,
            Kind::deadlocked);
  EXPECT_EQ(run(multiply, 16).rules, "mask");
  EXPECT_EQ(run(multiply, 64, true).rules, "");
}

TEST(Observer, HearsInstructionsBranchesFencesAndWarpSynchronisation) {
  class Log : public Observer {
   public:
    void executes(const ptx::Instruction& instruction, int, uint32_t mask) override {
      if (instruction.opcode == ptx::Opcode::add) adds.push_back(mask);
    }
    void branches(const ptx::Instruction&, uint32_t taken, uint32_t not_taken) override {
      outcomes.emplace_back(taken, not_taken);
    }
    void warp_synchronises(int, uint32_t mask) override { synchronised = mask; }
    void fences(int, uint32_t mask, bool device_scope) override { scopes.emplace_back(mask, device_scope); }
    void block_begins(const uint32_t index[3]) override { blocks.insert(index[0]); }
    std::vector<uint32_t> adds;
    std::vector<std::pair<uint32_t, uint32_t>> outcomes;
    std::vector<std::pair<uint32_t, bool>> scopes;
    std::set<uint32_t> blocks;
    uint32_t synchronised = 0;
  } log;
  PtxProgram program(entry("k", 0,
                           "setp.lt.u32 %p1, %r0, 4; @%p1 bra LOW; add.u32 %r1, %r0, 1; LOW: @%p1 add.u32 "
                           "%r1, %r0, 2; setp.gt.u32 %p2, %r0, 99; @%p2 add.u32 %r1, %r0, 3;"
                           "bar.warp.sync -1; membar.cta; membar.gl; fence.acq_rel.sys;"));
  program.observer = &log;
  program.run("k", {2, 1, 1}, {32, 1, 1}, 0);
  const uint32_t low = 0xf, high = ~low;
  EXPECT_EQ(log.adds, (std::vector<uint32_t>{high, low, high, low}));
  EXPECT_EQ(log.outcomes, (std::vector<std::pair<uint32_t, uint32_t>>(2, {low, high})));
  EXPECT_EQ(log.synchronised, ~0u);
  EXPECT_EQ(log.scopes[0], (std::pair<uint32_t, bool>{~0u, false}));
  EXPECT_EQ(log.scopes[1], (std::pair<uint32_t, bool>{~0u, true}));
  EXPECT_EQ(log.scopes[2], (std::pair<uint32_t, bool>{~0u, true}));
  EXPECT_EQ(log.blocks, (std::set<uint32_t>{0, 1}));
}

TEST(Trap, EndsTheLaunch) {
  const Launched result = run("setp.eq.u32 %p1, %r0, 3; @%p1 trap;", 32);
  EXPECT_EQ(result.outcome.kind, Kind::trapped);
  EXPECT_EQ(result.rules, "trap");
  EXPECT_EQ(run("setp.eq.u32 %p1, %r0, 77; @%p1 trap;", 32).outcome.kind, Kind::finished);
}

}  // namespace
}  // namespace simulated_gpu
