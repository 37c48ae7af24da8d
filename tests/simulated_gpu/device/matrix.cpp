// Matrices spread over the registers of a warp: ldmatrix, stmatrix, mma.sync.  PTX ISA 9.0, section 9.7.14.5.
//
// mma: products are exact; they are added to the accumulator in double precision in order of k and the sum is
// rounded once to f32.  The hardware's order and width of the sum are not documented, so the last bit of a
// real GPU may differ.

#include <cstring>

#include "tests/simulated_gpu/device/access.h"
#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/number.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Operand;
using ptx::Space;
using ptx::Type;

constexpr uint32_t kRowBytes = 16;   ///< of an 8x8 matrix of 16-bit elements
constexpr uint32_t kTransposed = 1;  ///< Step::option

/// Rows of matrix i come from lanes 8i to 8i + 7.  Returns the lanes that may access their row.
uint32_t check_rows(Warp& warp, const Step& step, AccessKind kind, Addresses& addresses) {
  const auto rows = static_cast<uint32_t>(8 * step.elements.size());
  const uint32_t lanes = rows == 32 ? kAllLanes : (1u << rows) - 1;
  read_addresses(warp, step, 0, lanes, addresses);
  if (step.space == Space::none) {
    for_lanes_in_turn(lanes, [&](uint32_t lane) {
      if (resolve_generic(addresses[lane]) != Space::shared)
        throw Trapped("a matrix that is not in shared memory");
    });
  }
  return check_access(warp, step, view_of(warp, Space::shared), kind, lanes, addresses, kRowBytes,
                      {kRowBytes});
}

/// Where in an 8x8 matrix the half `half` of a lane's register lies: row and column.
struct Place {
  uint32_t row, column;
};
Place fragment_place(uint32_t lane, uint32_t half, bool is_transposed) {
  const uint32_t major = lane / 4, minor = 2 * (lane % 4) + half;
  return is_transposed ? Place{minor, major} : Place{major, minor};
}

void load_matrices(Warp& warp, const Step& step, uint32_t mask) {
  Addresses addresses;
  const uint32_t allowed = check_rows(warp, step, AccessKind::read, addresses);
  const View view = view_of(warp, Space::shared);
  for (uint32_t index = 0; index < step.elements.size(); ++index) {
    uint16_t matrix[8][8];
    std::memset(matrix, kPoison, sizeof matrix);
    for (uint32_t row = 0; row < 8; ++row) {
      const uint32_t lane = 8 * index + row;
      if ((allowed >> lane & 1) != 0) std::memcpy(matrix[row], view.at(lane, addresses[lane]), kRowBytes);
    }
    uint32_t* d = warp.lanes<uint32_t>(step.elements[index].offset);
    for_lanes(mask, [&](uint32_t lane) {
      const Place low = fragment_place(lane, 0, (step.option & kTransposed) != 0);
      const Place high = fragment_place(lane, 1, (step.option & kTransposed) != 0);
      d[lane] = matrix[low.row][low.column] | static_cast<uint32_t>(matrix[high.row][high.column]) << 16;
    });
  }
}

void store_matrices(Warp& warp, const Step& step, uint32_t mask) {
  Addresses addresses;
  const uint32_t allowed = check_rows(warp, step, AccessKind::write, addresses);
  const View view = view_of(warp, Space::shared);
  for (uint32_t index = 0; index < step.elements.size(); ++index) {
    uint16_t matrix[8][8] = {};
    const uint32_t* a = warp.lanes<uint32_t>(step.elements[index]);
    for_lanes(mask, [&](uint32_t lane) {
      for (uint32_t half = 0; half < 2; ++half) {
        const Place place = fragment_place(lane, half, (step.option & kTransposed) != 0);
        matrix[place.row][place.column] = static_cast<uint16_t>(a[lane] >> (16 * half));
      }
    });
    for (uint32_t row = 0; row < 8; ++row) {
      const uint32_t lane = 8 * index + row;
      if ((allowed >> lane & 1) != 0) std::memcpy(view.at(lane, addresses[lane]), matrix[row], kRowBytes);
    }
  }
}

/// How elements lie in a register of a fragment: kPerRegister of them along k; value() reads the lowest.
struct F16Element {
  static constexpr uint32_t kPerRegister = 2;
  static double value(uint32_t bits) { return decode(bits & 0xffff, kF16); }
};
struct Bf16Element {
  static constexpr uint32_t kPerRegister = 2;
  static double value(uint32_t bits) { return bf16_value(static_cast<uint16_t>(bits)); }
};
struct Tf32Element {
  static constexpr uint32_t kPerRegister = 1;
  /// The low 13 bits do not take part.
  static double value(uint32_t bits) { return bits_as<float>(bits & ~0x1fffu); }
};

/// elements: 4 of d, the fragments of a, those of b, 4 of c.  Group g = lane / 4 and thread t = lane % 4 hold
///   a: rows g and g + 8, k from t * kPerRegister, then the same half a k further on;
///   b: column g, k likewise;  c, d: rows g and g + 8, columns 2t and 2t + 1.
template <class Element, uint32_t depth>
void multiply(Warp& warp, const Step& step, uint32_t) {
  constexpr uint32_t kPer = Element::kPerRegister, kStride = 4 * kPer, kHalves = depth / kStride;
  double a[16][depth], b[depth][8], c[16][8];
  const Source* a_fragments = step.elements.data() + 4;
  const Source* b_fragments = a_fragments + 2 * kHalves;
  const Source* c_fragments = b_fragments + kHalves;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t g = lane / 4, t = lane % 4;
    for (uint32_t half = 0; half < kHalves; ++half) {
      for (uint32_t part = 0; part < kPer; ++part) {
        const uint32_t k = kStride * half + t * kPer + part, shift = 16 * part;
        a[g][k] = Element::value(warp.lanes<uint32_t>(a_fragments[2 * half])[lane] >> shift);
        a[g + 8][k] = Element::value(warp.lanes<uint32_t>(a_fragments[2 * half + 1])[lane] >> shift);
        b[k][g] = Element::value(warp.lanes<uint32_t>(b_fragments[half])[lane] >> shift);
      }
    }
    for (uint32_t i = 0; i < 4; ++i)
      c[g + 8 * (i / 2)][2 * t + i % 2] = warp.lanes<float>(c_fragments[i])[lane];
  }
  for (uint32_t row = 0; row < 16; ++row) {
    for (uint32_t k = 0; k < depth; ++k) {
      for (uint32_t column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
    }
  }
  for (uint32_t i = 0; i < 4; ++i) {
    float* d = warp.lanes<float>(step.elements[i].offset);
    for (uint32_t lane = 0; lane < 32; ++lane) {
      d[lane] = canonical(static_cast<float>(c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2]));
    }
  }
}

void place_fragments(Form& form, size_t operand, size_t count, bool is_result) {
  const Operand& vector = form.operand(operand);
  if (vector.kind != Operand::Kind::vector || vector.elements.size() != count) {
    form.fail("a fragment needs " + std::to_string(count) + " registers");
  }
  for (const Operand& element : vector.elements) {
    uint32_t bytes = 4;
    Source place;
    if (is_result) {
      place.offset = form.wide_destination(element, Type::b32, bytes);
    } else {
      place = form.source(element, 4);
    }
    if (bytes != 4) form.fail("fragments are registers of 4 bytes");
    form.step.elements.push_back(place);
  }
}

bool decode_matrix_access(Form& form) {
  const bool is_load = form.opcode() == Opcode::ldmatrix;
  form.expect_operands(2);
  if (form.type() != Type::b16 || !form.take(Modifier::m8n8)) return false;
  size_t count = 0;
  switch (form.take_one_of({Modifier::x1, Modifier::x2, Modifier::x4}, Modifier::count)) {
    case Modifier::x1:
      count = 1;
      break;
    case Modifier::x2:
      count = 2;
      break;
    case Modifier::x4:
      count = 4;
      break;
    default:
      return false;
  }
  if (form.address(is_load ? 1 : 0, 0, take_space(form)) == 4) form.step.option |= kNarrowAddress;
  place_fragments(form, is_load ? 0 : 1, count, is_load);
  if (form.take(Modifier::trans)) form.step.option |= kTransposed;
  form.step.handler = is_load ? load_matrices : store_matrices;
  return true;
}

Handler find_multiply(Type type, bool is_deep) {
  if (type == Type::f16) return is_deep ? multiply<F16Element, 16> : multiply<F16Element, 8>;
  if (type == Type::bf16) return is_deep ? multiply<Bf16Element, 16> : multiply<Bf16Element, 8>;
  if (type == Type::tf32 && !is_deep) return multiply<Tf32Element, 8>;
  return nullptr;
}

bool decode_multiply(Form& form) {
  form.expect_operands(4);
  const bool is_deep = form.take(Modifier::m16n8k16);
  if (!is_deep && !form.take(Modifier::m16n8k8)) return false;
  if (!form.take(Modifier::row) || !form.take(Modifier::col)) return false;
  if (form.type(0) != Type::f32 || form.type(3) != Type::f32 || form.type(1) != form.type(2)) return false;
  const size_t halves = is_deep || form.type(1) == Type::tf32 ? 2 : 1;
  place_fragments(form, 0, 4, true);
  place_fragments(form, 1, 2 * halves, false);
  place_fragments(form, 2, halves, false);
  place_fragments(form, 3, 4, false);
  form.step.handler = find_multiply(form.type(1), is_deep);
  return form.step.handler != nullptr;
}

}  // namespace

bool decode_matrix(Form& form) {
  const Opcode opcode = form.opcode();
  if (opcode != Opcode::ldmatrix && opcode != Opcode::stmatrix && opcode != Opcode::mma) return false;
  if (!form.take(Modifier::sync) || !form.take(Modifier::aligned)) return false;
  form.step.flow = Flow::collective;
  return opcode == Opcode::mma ? decode_multiply(form) : decode_matrix_access(form);
}

}  // namespace simulated_gpu
