#pragma once
// The words of PTX that this simulator knows: opcodes, types, special registers and modifiers, each list with
// the name that C++ gives a word and, where it differs, the word.  A word that is not here is an error of the
// parser; a word here that an instruction does not know is one of the executor. Source: PTX ISA 9.0, NVIDIA.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

// clang-format off
#define TESSERA_PTX_OPCODES(X) \
  X(abs) X(activemask) X(add) X(addc) X(and_, "and") X(atom) X(bar) X(barrier) X(bfe) X(bfi) X(bfind) X(bra) X(brev) \
  X(brkpt) X(brx) X(call) X(clz) X(copysign) X(cos) X(cp) X(cvt) X(cvta) X(div) X(dp4a) X(ex2) X(exit) X(fence) X(fma) \
  X(isspacep) X(ld) X(ldmatrix) X(lg2) X(lop3) X(mad) X(madc) X(match) X(max) X(membar) X(min) X(mma) X(mov) X(mul) \
  X(nanosleep) X(neg) X(not_, "not") X(or_, "or") X(popc) X(prefetch) X(prmt) X(rcp) X(red) X(redux) X(rem) X(ret) \
  X(rsqrt) X(sad) X(selp) X(set) X(setp) X(shf) X(shfl) X(shl) X(shr) X(sin) X(sqrt) X(st) X(stmatrix) X(sub) X(subc) \
  X(tanh) X(trap) X(vote) X(xor_, "xor")

#define TESSERA_PTX_TYPES(X) \
  X(pred) X(b8) X(b16) X(b32) X(b64) X(u8) X(u16) X(u32) X(u64) X(s8) X(s16) X(s32) X(s64) X(f16) X(f16x2) X(bf16) \
  X(bf16x2) X(tf32) X(f32) X(f64)

#define TESSERA_PTX_SPECIALS(X) \
  X(tid_x, "%tid.x") X(tid_y, "%tid.y") X(tid_z, "%tid.z") X(ntid_x, "%ntid.x") X(ntid_y, "%ntid.y") \
  X(ntid_z, "%ntid.z") X(ctaid_x, "%ctaid.x") X(ctaid_y, "%ctaid.y") X(ctaid_z, "%ctaid.z") X(nctaid_x, "%nctaid.x") \
  X(nctaid_y, "%nctaid.y") X(nctaid_z, "%nctaid.z") X(laneid, "%laneid") X(warpid, "%warpid") X(nwarpid, "%nwarpid") \
  X(smid, "%smid") X(nsmid, "%nsmid") X(lanemask_eq, "%lanemask_eq") X(lanemask_le, "%lanemask_le") \
  X(lanemask_lt, "%lanemask_lt") X(lanemask_ge, "%lanemask_ge") X(lanemask_gt, "%lanemask_gt") X(clock, "%clock") \
  X(clock64, "%clock64") X(globaltimer, "%globaltimer") X(dynamic_smem_size, "%dynamic_smem_size") \
  X(total_smem_size, "%total_smem_size")

/// In order: rounding and range; forms of integer instructions; comparisons; operators; spaces; vectors,
/// order and cache hints of memory; warp and block; asynchronous copies and matrices.
#define TESSERA_PTX_MODIFIERS(X) \
  X(rn) X(rz) X(rm) X(rp) X(rna) X(rni) X(rzi) X(rmi) X(rpi) X(ftz) X(noftz) X(sat) X(satfinite) X(relu) X(approx) X(full) \
  X(passes_nan, "NaN") \
  X(lo) X(hi) X(wide) X(cc) X(wrap) X(clamp) X(shiftamt) X(left, "l") X(right, "r") \
  X(eq) X(ne) X(lt) X(le) X(gt) X(ge) X(ls) X(hs) X(equ) X(neu) X(ltu) X(leu) X(gtu) X(geu) X(num) X(nan) \
  X(and_, "and") X(or_, "or") X(xor_, "xor") X(add) X(min) X(max) X(exch) X(cas) X(inc) X(dec) X(popc) \
  X(global) X(shared) X(shared_cta, "shared::cta") X(local) X(constant, "const") X(param) \
  X(param_entry, "param::entry") X(param_func, "param::func") X(to) \
  X(v2) X(v4) X(v8) X(volatile_, "volatile") X(weak) X(relaxed) X(acquire) X(release) X(acq_rel) X(sc) X(cta) \
  X(cluster) X(gpu) X(sys) X(gl) X(nc) X(ca) X(cg) X(cs) X(lu) X(cv) X(wb) X(wt) X(l1, "L1") X(l2, "L2") \
  X(l1_evict_normal, "L1::evict_normal") X(l1_evict_unchanged, "L1::evict_unchanged") \
  X(l1_evict_first, "L1::evict_first") X(l1_evict_last, "L1::evict_last") X(l1_no_allocate, "L1::no_allocate") \
  X(l2_64b, "L2::64B") X(l2_128b, "L2::128B") X(l2_256b, "L2::256B") X(l2_evict_last, "L2::evict_last") \
  X(l2_evict_first, "L2::evict_first") X(l2_evict_normal, "L2::evict_normal") \
  X(sync) X(aligned) X(warp) X(arrive) X(red) X(all) X(any) X(uni) X(ballot) X(idx) X(up) X(down) X(bfly) \
  X(async) X(commit_group) X(wait_group) X(wait_all) X(m8n8) X(x1) X(x2) X(x4) X(trans) X(m16n8k8) X(m16n8k16) X(row) \
  X(col)
// clang-format on

namespace simulated_gpu::ptx {

#define X(name, ...) name,
enum class Opcode : uint8_t { TESSERA_PTX_OPCODES(X) };
enum class Type : uint8_t { none, TESSERA_PTX_TYPES(X) };
enum class Special : uint8_t { TESSERA_PTX_SPECIALS(X) };
enum class Modifier : uint8_t { TESSERA_PTX_MODIFIERS(X) count };
#undef X
inline constexpr size_t kModifiers = static_cast<size_t>(Modifier::count);

/// Words without their dots; a special register with its percent sign.
std::optional<Opcode> find_opcode(std::string_view word);
std::optional<Type> find_type(std::string_view word);
std::optional<Special> find_special(std::string_view word);
std::optional<Modifier> find_modifier(std::string_view word);
std::string_view name(Type type);
std::string_view name(Modifier modifier);

/// Bytes of a value of the type; 0 for a predicate.
constexpr uint32_t bytes_of(Type type) {
  switch (type) {
    case Type::none:
    case Type::pred:
      return 0;
    case Type::b8:
    case Type::u8:
    case Type::s8:
      return 1;
    case Type::b16:
    case Type::u16:
    case Type::s16:
    case Type::f16:
    case Type::bf16:
      return 2;
    case Type::b64:
    case Type::u64:
    case Type::s64:
    case Type::f64:
      return 8;
    default:
      return 4;
  }
}

}  // namespace simulated_gpu::ptx
