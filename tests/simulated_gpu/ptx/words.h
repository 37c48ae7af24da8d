#pragma once
// The words of PTX that this simulator knows: opcodes, modifiers, types and special registers.
// A word that is not here is an error of the parser; a word here that an instruction does not know is one of the executor.
// Source: PTX ISA 9.0, NVIDIA.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace simulated_gpu::ptx {

// Each list is written once; enumerators and names come from it.  A trailing underscore keeps clear of C++ keywords.

#define PTX_OPCODES(X)                                                                                       \
  X(abs)                                                                                                     \
  X(activemask) X(add) X(addc) X(and_) X(atom) X(bar) X(barrier) X(bfe) X(bfi) X(bfind) X(bra) X(brev)       \
      X(brkpt) X(brx) X(call) X(clz) X(copysign) X(cos) X(cp) X(cvt) X(cvta) X(div) X(dp4a) X(ex2) X(exit)   \
          X(fence) X(fma) X(isspacep) X(ld) X(ldmatrix) X(lg2) X(lop3) X(mad) X(madc) X(match) X(max)        \
              X(membar) X(min) X(mma) X(mov) X(mul) X(nanosleep) X(neg) X(not_) X(or_) X(popc) X(prefetch)   \
                  X(prmt) X(rcp) X(red) X(redux) X(rem) X(ret) X(rsqrt) X(sad) X(selp) X(set) X(setp) X(shf) \
                      X(shfl) X(shl) X(shr) X(sin) X(sqrt) X(st) X(stmatrix) X(sub) X(subc) X(tanh) X(trap)  \
                          X(vote) X(xor_)

#define PTX_TYPES(X)                                                                                       \
  X(pred)                                                                                                  \
  X(b8) X(b16) X(b32) X(b64) X(u8) X(u16) X(u32) X(u64) X(s8) X(s16) X(s32) X(s64) X(f16) X(f16x2) X(bf16) \
      X(bf16x2) X(tf32) X(f32) X(f64)

enum class Opcode : uint8_t {
#define X(name) name,
  PTX_OPCODES(X)
#undef X
};

enum class Type : uint8_t {
  none,
#define X(name) name,
  PTX_TYPES(X)
#undef X
};

enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  smid,
  nsmid,
  lanemask_eq,
  lanemask_le,
  lanemask_lt,
  lanemask_ge,
  lanemask_gt,
  clock,
  clock64,
  globaltimer,
  dynamic_smem_size,
  total_smem_size
};

/// Words after the opcode that are not types.
enum class Modifier : uint8_t {
  // rounding and range
  rn,
  rz,
  rm,
  rp,
  rna,
  rni,
  rzi,
  rmi,
  rpi,
  ftz,
  sat,
  satfinite,
  relu,
  approx,
  full,
  nan,
  xorsign,
  // integer forms
  lo,
  hi,
  wide,
  cc,
  wrap,
  clamp,
  shiftamt,
  left,
  right,
  // comparison and selection
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  ls,
  hs,
  equ,
  neu,
  ltu,
  leu,
  gtu,
  geu,
  num,

  // boolean and reduction operators
  and_,
  or_,
  xor_,
  add,
  min,
  max,
  exch,
  cas,
  inc,
  dec,
  popc,
  // spaces
  global,
  shared,
  local,
  constant,
  param,
  shared_cta,
  param_entry,
  param_func,
  to,
  // memory: vector, volatility, order, scope and cache hints
  v2,
  v4,
  v8,
  volatile_,
  weak,
  relaxed,
  acquire,
  release,
  acq_rel,
  sc,
  cta,
  cluster,
  gpu,
  sys,
  gl,
  nc,
  ca,
  cg,
  cs,
  lu,
  cv,
  wb,
  wt,
  l1_evict_normal,
  l1_evict_unchanged,
  l1_evict_first,
  l1_evict_last,
  l1_no_allocate,
  l2_64b,
  l2_128b,
  l2_256b,
  l2_evict_last,
  l2_evict_first,
  l2_evict_normal,
  l1,
  l2,
  // warp and block
  sync,
  aligned,
  warp,
  arrive,
  red,
  all,
  any,
  uni,
  ballot,
  idx,
  up,
  down,
  bfly,
  // asynchronous copies and matrices
  async,
  commit_group,
  wait_group,
  wait_all,
  m8n8,
  x1,
  x2,
  x4,
  trans,
  m16n8k8,
  m16n8k16,
  row,
  col,
  count  ///< how many there are
};
inline constexpr size_t kModifiers = static_cast<size_t>(Modifier::count);

std::optional<Opcode> find_opcode(std::string_view word);
std::optional<Type> find_type(std::string_view word);          ///< without its dot
std::optional<Modifier> find_modifier(std::string_view word);  ///< without its dot
std::optional<Special> find_special(std::string_view word);    ///< "%tid.x"
std::string_view name(Modifier modifier);
std::string_view name(Type type);

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
