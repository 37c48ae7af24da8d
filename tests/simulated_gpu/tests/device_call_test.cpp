// Functions inside a module, printf and assert.

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

using Kind = Outcome::Kind;

/// twice(x) = 2x; outer(x, {y, z}) = {twice(x) + y, z}, with local memory and registers of its own.
const std::string kFunctions = R"(
.func (.param .b32 result) twice (.param .b32 x);
.func (.param .align 8 .b8 result[8]) outer (.param .b32 x, .param .align 8 .b8 pair[8]) {
  .reg .b32 %r<5>; .local .align 4 .b8 own[4]; .reg .b64 %rd<2>;
  ld.param.u32 %r1, [x]; ld.param.v2.u32 {%r2, %r3}, [pair];
  mov.u64 %rd1, own; st.local.u32 [%rd1], %r3;
  { // callseq 1, 0
  .reg .b32 temp_param_reg;
  .param .b32 param0; st.param.b32 [param0+0], %r1;
  .param .b32 retval0;
  call.uni (retval0), twice, (param0);
  ld.param.b32 %r4, [retval0+0];
  }
  add.u32 %r4, %r4, %r2; ld.local.u32 %r3, [own];
  st.param.v2.b32 [result+0], {%r4, %r3};
  ret;
}
.func (.param .b32 result) twice (.param .b32 x) {
  .reg .b32 %r<2>; .reg .pred %p<2>;
  ld.param.u32 %r1, [x]; setp.eq.u32 %p1, %r1, 5; @%p1 bra FIVE;
  add.u32 %r1, %r1, %r1; st.param.b32 [result], %r1; ret;
FIVE: st.param.b32 [result], 10;
}
)";

const std::string kCallOuter = R"(
  { .param .b32 param0; st.param.b32 [param0], %r0; .param .align 8 .b8 param1[8];
  st.param.v2.b32 [param1], {100, %r0};
  .param .align 8 .b8 retval0[8]; call.uni (retval0), outer, (param0, param1);
  ld.param.v2.b32 {%r1, %r2}, [retval0]; }
)";

TEST(Call, PassesArgumentsAndResults) {
  PtxProgram program(
      kFunctions +
      entry("k", 1, kCallOuter + "mad.wide.u32 %rd1, %r0, 8, %rd0; st.global.v2.u32 [%rd1], {%r1, %r2};"));
  for (const bool independent : {false, true}) {
    program.schedule.independent_lanes = independent;
    const uint64_t to = program.upload(std::vector<uint32_t>(128));
    const Outcome outcome = program.run("k", {1, 1, 1}, {64, 1, 1}, 0, to);
    EXPECT_EQ(outcome.kind, Kind::finished) << outcome.text;
    const auto results = program.download<uint32_t>(to, 128);
    for (uint32_t i = 0; i < 64; ++i) {
      EXPECT_EQ(results[2 * i], 2 * i + 100);
      EXPECT_EQ(results[2 * i + 1], i);
    }
  }
}

TEST(Call, ByPartOfTheWarpFromTwoPlaces) {
  const std::string call =
      "{ .param .b32 param0; st.param.b32 [param0], %r3; .param .b32 retval0; call (retval0), twice, "
      "(param0); ld.param.b32 %r4, [retval0]; }";
  PtxProgram program(kFunctions +
                     entry("k", 1,
                           "mov.u32 %r4, 1; add.u32 %r3, %r0, 1000; setp.lt.u32 %p1, %r0, 20; setp.lt.u32 "
                           "%p2, %r0, 10; @!%p1 bra END; @%p2 bra LOW;" +
                               call + "bra.uni END; LOW: add.u32 %r3, %r0, 5;" + call +
                               "END: mad.wide.u32 %rd1, %r0, 4, %rd0; st.global.u32 [%rd1], %r4;"));
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    program.schedule.seed = seed;
    program.schedule.independent_lanes = seed > 2;
    const uint64_t to = program.upload(std::vector<uint32_t>(32));
    EXPECT_EQ(program.run("k", {1, 1, 1}, {32, 1, 1}, 0, to).kind, Kind::finished);
    const auto results = program.download<uint32_t>(to, 32);
    for (uint32_t i = 0; i < 32; ++i)
      EXPECT_EQ(results[i], i < 10 ? 2 * i + 10 : i < 20 ? 2 * i + 2000 : 1) << i;
  }
}

TEST(Call, WhatIsNotSupportedIsAnError) {
  const std::string self = ".func f () { call.uni f; ret; }";
  EXPECT_EQ(error_of(self + entry("k", 0, "call.uni f;")),
            "test:2: recursion is not supported in 'call.uni f'");
  EXPECT_EQ(error_of(".func f ();" + entry("k", 0, "call.uni f;")),
            "test:5: function 'f' has no body in 'call.uni f'");
  EXPECT_EQ(error_of(entry("k", 0, "call.uni %rd1;")), "test:5: a call through a register is not supported");
  EXPECT_EQ(error_of(kFunctions + entry("k", 0, "call.uni twice;")),
            "test:28: arguments or results differ in number from the function's in 'call.uni twice'");
}

const std::string kTexts = R"(
.extern .func (.param .b32 result) vprintf (.param .b64 a, .param .b64 b);
.extern .func __assertfail (.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);
.global .align 1 .b8 format[40] = {108, 97, 110, 101, 32, 37, 100, 58, 32, 37, 53, 46, 50, 102, 32, 37, 108,
108, 117, 32, 37, 115, 32, 37, 99, 37, 37, 10, 0};
.global .align 1 .b8 word[4] = {121, 101, 115, 0};
.global .align 1 .b8 condition[6] = {120, 32, 62, 32, 49, 0};
)";

TEST(Call, Printf) {
  PtxProgram program(kTexts + entry("k", 0, R"(
    .local .align 8 .b8 buffer[40]; mov.u64 %rd1, buffer; cvta.local.u64 %rd2, %rd1; mov.u64 %rd3, format;
    cvta.global.u64 %rd4, %rd3;
    mov.u64 %rd5, word; cvta.global.u64 %rd6, %rd5;
    st.local.u32 [%rd1], %r0; mov.f64 %d1, 0d400921FB54442D18; st.local.f64 [%rd1+8], %d1;
    mov.u64 %rd7, 12345678901; st.local.u64 [%rd1+16], %rd7;
    st.local.u64 [%rd1+24], %rd6; st.local.u32 [%rd1+32], 33;
    { .param .b64 param0; st.param.b64 [param0], %rd4; .param .b64 param1; st.param.b64 [param1], %rd2;
    .param .b32 retval0;
    call.uni (retval0), vprintf, (param0, param1); ld.param.b32 %r1, [retval0]; })"));
  testing::internal::CaptureStdout();
  EXPECT_EQ(program.run("k", {1, 1, 1}, {2, 1, 1}, 0).kind, Kind::finished);
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "lane 0:  3.14 12345678901 yes !%\nlane 1:  3.14 12345678901 yes !%\n");
}

TEST(Call, AssertEndsTheLaunch) {
  const std::string body = R"(
    setp.ne.u32 %p1, %r0, 5; @%p1 bra END; mov.u64 %rd1, condition; cvta.global.u64 %rd1, %rd1;
    mov.u64 %rd2, word; cvta.global.u64 %rd2, %rd2;
    { .param .b64 param0; st.param.b64 [param0], %rd1; .param .b64 param1; st.param.b64 [param1], %rd2;
    .param .b32 param2; st.param.b32 [param2], 12;
    .param .b64 param3; st.param.b64 [param3], %rd2; .param .b64 param4; st.param.b64 [param4], 1;
    call.uni __assertfail, (param0, param1, param2, param3, param4); }
    END:)";
  PtxProgram program(kTexts + entry("k", 0, body));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {5, 1, 1}, 0).kind, Kind::finished);
  const Outcome outcome = program.run("k", {1, 1, 1}, {6, 1, 1}, 0);
  EXPECT_EQ(outcome.kind, Kind::trapped);
  EXPECT_EQ(outcome.text, "yes:12: assertion 'x > 1' failed");
  EXPECT_EQ(program.recorder.rules(), "assert");
}

}  // namespace
}  // namespace simulated_gpu
