#include "runtime/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/error.h"

namespace tessera {
namespace {

/// The kernel gives tile state to a process only on request (arch_prctl(2), ARCH_REQ_XCOMP_PERM).
bool request_amx() {
  constexpr int kRequestPermission = 0x1023;
  constexpr int kTileData = 18;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  if ((edx & kAmxBf16) == 0 || (edx & kAmxTile) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

/// Zen 4 makes twice as many multiply-adds a second from pairs of bf16 as from f32, Sapphire Rapids half as many.
bool pairs_are_fast() { return __builtin_cpu_is("amd"); }

}  // namespace

bool supports(Isa isa) {
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const bool amx = request_amx();
  switch (isa) {
    case Isa::avx2:
      return true;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
    case Isa::amx:
      return supports(Isa::avx512_bf16) && amx;
  }
  return false;
}

Isa detect_isa() {
  if (supports(Isa::amx)) return Isa::amx;
  if (supports(Isa::avx512_bf16) && pairs_are_fast()) return Isa::avx512_bf16;
  return supports(Isa::avx512) ? Isa::avx512 : Isa::avx2;
}

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::amx:
      return "amx";
  }
  throw Error("isa: unknown level");
}

Isa parse_isa(const std::string& name) {
  if (name == "auto") return detect_isa();
  for (Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx}) {
    if (name != name_of(isa)) continue;
    TESSERA_CHECK(supports(isa), "isa: this processor supports up to ", name_of(detect_isa()), ", got ",
                  name);
    return isa;
  }
  throw Error(str("isa: expected auto, avx2, avx512, avx512_bf16 or amx, got \"", name, "\""));
}

}  // namespace tessera
