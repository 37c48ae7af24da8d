// Functions that the hardware approximates: ex2, lg2, sin, cos, tanh, rsqrt, and the approximate forms of
// rcp, sqrt and div. Here they are computed in double precision and rounded once, so that they are at least
// as near as the hardware's; what a GPU gives may differ in the last bits.  PTX ISA 9.0, section 9.7.3.

#include <cmath>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/number.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Type;

float rounded(double value) { return canonical(static_cast<float>(value)); }

float ex2(float a) { return rounded(std::exp2(double{a})); }
float lg2(float a) { return rounded(std::log2(double{a})); }
float sin(float a) { return rounded(std::sin(double{a})); }
float cos(float a) { return rounded(std::cos(double{a})); }
float tanh(float a) { return rounded(std::tanh(double{a})); }
float rcp(float a) { return rounded(1.0 / double{a}); }
float rsqrt(float a) { return rounded(1.0 / std::sqrt(double{a})); }
float sqrt(float a) { return rounded(std::sqrt(double{a})); }
float div_full(float a, float b) { return rounded(double{a} / double{b}); }
/// Divisors beyond 2^126 have a reciprocal that is flushed to zero.
float div_approx(float a, float b) {
  if (std::fabs(b) > 0x1p126f && std::isfinite(b))
    return std::isinf(a) ? canonical(NAN) : std::copysign(0.0f, a * b);
  return div_full(a, b);
}

template <float (*F)(float)>
void flushed_unary(Warp& warp, const Step& step, uint32_t mask) {
  unary<[](float a) { return flush(F(flush(a))); }, float, float>(warp, step, mask);
}

template <float (*F)(float, float)>
void flushed_binary(Warp& warp, const Step& step, uint32_t mask) {
  binary<[](float a, float b) { return flush(F(flush(a), flush(b))); }, float, float>(warp, step, mask);
}

/// The upper half of a double, as rcp.approx.ftz.f64 and rsqrt.approx.ftz.f64 read and write; subnormals are
/// zero.
double upper_half(double value) {
  if (std::fabs(value) < std::numeric_limits<double>::min()) return std::copysign(0.0, value);
  return bits_as<double>(bits_as<uint64_t>(value) & ~uint64_t{0xffffffff});
}
double rcp_upper(double a) { return upper_half(1 / upper_half(a)); }
double rsqrt_upper(double a) { return upper_half(1 / std::sqrt(upper_half(a))); }
double rsqrt_double(double a) { return 1 / std::sqrt(a); }

template <float (*F)(float)>
void set_unary(Form& form) {
  form.place(4, {4});
  form.take(Modifier::approx);
  form.step.handler = form.take(Modifier::ftz) ? flushed_unary<F> : unary<F, float, float>;
}

template <float (*F)(float, float)>
void set_binary(Form& form) {
  form.place(4, {4, 4});
  form.step.handler = form.take(Modifier::ftz) ? flushed_binary<F> : binary<F, float, float>;
}

bool decode_double(Form& form) {
  if (!form.take(Modifier::approx)) return false;
  const bool flushes = form.take(Modifier::ftz);
  form.place(8, {8});
  if (form.opcode() == Opcode::rcp && flushes) {
    form.step.handler = unary<rcp_upper, double, double>;
  } else if (form.opcode() == Opcode::rsqrt) {
    form.step.handler = flushes ? unary<rsqrt_upper, double, double> : unary<rsqrt_double, double, double>;
  }
  return form.step.handler != nullptr;
}

}  // namespace

bool decode_approximation(Form& form) {
  const bool is_approximate =
      form.instruction().has(Modifier::approx) || form.instruction().has(Modifier::full);
  if (!is_approximate) return false;
  if (form.type() == Type::f64) return decode_double(form);
  if (form.type() != Type::f32) return false;
  switch (form.opcode()) {
    case Opcode::ex2:
      set_unary<ex2>(form);
      return true;
    case Opcode::lg2:
      set_unary<lg2>(form);
      return true;
    case Opcode::sin:
      set_unary<sin>(form);
      return true;
    case Opcode::cos:
      set_unary<cos>(form);
      return true;
    case Opcode::tanh:
      set_unary<tanh>(form);
      return true;
    case Opcode::rcp:
      set_unary<rcp>(form);
      return true;
    case Opcode::rsqrt:
      set_unary<rsqrt>(form);
      return true;
    case Opcode::sqrt:
      set_unary<sqrt>(form);
      return true;
    case Opcode::div:
      form.take(Modifier::approx) ? set_binary<div_approx>(form) : set_binary<div_full>(form);
      form.take(Modifier::full);
      return true;
    default:
      return false;
  }
}

}  // namespace simulated_gpu
