// The two functions that device code calls and the driver provides: vprintf and __assertfail.

#include <cstdio>
#include <string>

#include "tests/simulated_gpu/device/access.h"
#include "tests/simulated_gpu/device/form.h"

namespace simulated_gpu {
namespace {

using ptx::Space;

/// Reads of device memory by the simulated driver: not an access of the kernel, so nobody is told.
const std::byte* byte_at(Warp& warp, uint32_t lane, uint64_t generic) {
  const Space space = resolve_generic(generic);
  const View view = view_of(warp, space);
  if (generic - view.begin >= view.bytes)
    throw Trapped("a text or an argument of printf or assert lies nowhere");
  return view.at(lane, generic);
}

std::string text_at(Warp& warp, uint32_t lane, uint64_t generic) {
  std::string text;
  for (;; ++generic) {
    const char character = static_cast<char>(*byte_at(warp, lane, generic));
    if (character == '\0') return text;
    text += character;
  }
}

template <class T>
T argument(Warp& warp, const Step& step, size_t index, uint32_t lane) {
  T value;
  std::memcpy(&value, view_of(warp, Space::frame).at(lane, step.elements[index].offset), sizeof value);
  return value;
}

/// The arguments of printf lie in a buffer, each aligned to its size.
class PrintArguments {
 public:
  PrintArguments(Warp& warp, uint32_t lane, uint64_t buffer) : warp_(warp), lane_(lane), address_(buffer) {}

  template <class T>
  T next() {
    address_ = (address_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    T value;
    std::byte* bytes = reinterpret_cast<std::byte*>(&value);
    for (size_t index = 0; index < sizeof(T); ++index)
      bytes[index] = *byte_at(warp_, lane_, address_ + index);
    address_ += sizeof(T);
    return value;
  }

 private:
  Warp& warp_;
  uint32_t lane_;
  uint64_t address_;
};

template <class T>
std::string formatted(const std::string& specification, T value) {
  char buffer[512];
  // The specification is a piece of the kernel's own format with exactly one conversion that fits T.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  const int length = std::snprintf(buffer, sizeof buffer, specification.c_str(), value);
#pragma GCC diagnostic pop
  return length < 0 ? std::string() : std::string(buffer);
}

std::string format_one(Warp& warp, uint32_t lane, const std::string& specification,
                       PrintArguments& arguments) {
  const char conversion = specification.back();
  const bool is_long =
      specification.find('l') != std::string::npos || specification.find('z') != std::string::npos;
  switch (conversion) {
    case 's':
      return formatted(specification, text_at(warp, lane, arguments.next<uint64_t>()).c_str());
    case 'p':
      return formatted(specification, reinterpret_cast<void*>(arguments.next<uint64_t>()));
    case 'f':
    case 'e':
    case 'g':
    case 'a':
    case 'F':
    case 'E':
    case 'G':
    case 'A':
      return formatted(specification, arguments.next<double>());
    default:
      return is_long ? formatted(specification, arguments.next<int64_t>())
                     : formatted(specification, arguments.next<int32_t>());
  }
}

std::string format_text(Warp& warp, uint32_t lane, const std::string& format, uint64_t buffer) {
  PrintArguments arguments(warp, lane, buffer);
  std::string result;
  for (size_t position = 0; position < format.size();) {
    if (format[position] != '%') {
      result += format[position++];
      continue;
    }
    const size_t end = format.find_first_of("diouxXcspfFeEgGaA%", position + 1);
    if (end == std::string::npos) throw Trapped("printf: a conversion of '" + format + "' does not end");
    if (format[end] == '%') {
      result += '%';
    } else {
      result += format_one(warp, lane, format.substr(position, end + 1 - position), arguments);
    }
    position = end + 1;
  }
  return result;
}

void print(Warp& warp, const Step& step, uint32_t mask) {
  for_lanes_in_turn(mask, [&](uint32_t lane) {
    const std::string format = text_at(warp, lane, argument<uint64_t>(warp, step, 0, lane));
    std::fputs(format_text(warp, lane, format, argument<uint64_t>(warp, step, 1, lane)).c_str(), stdout);
  });
}

void fail_assertion(Warp& warp, const Step& step, uint32_t mask) {
  const auto lane = static_cast<uint32_t>(__builtin_ctz(mask));
  const std::string text = text_at(warp, lane, argument<uint64_t>(warp, step, 1, lane)) + ":" +
                           std::to_string(argument<uint32_t>(warp, step, 2, lane)) + ": assertion '" +
                           text_at(warp, lane, argument<uint64_t>(warp, step, 0, lane)) + "' failed";
  warp.block->observer.violates(*step.instruction, "assert", text, warp.index, mask);
  throw Trapped(text);
}

}  // namespace

bool decode_provided_call(Form& form) {
  const std::string& callee = form.instruction().callee;
  if (callee != "vprintf" && callee != "__assertfail") return false;
  form.take(ptx::Modifier::uni);
  const auto& arguments = form.operand(1).elements;
  if (arguments.size() < (callee == "vprintf" ? 2u : 3u)) form.fail("too few arguments");
  for (const ptx::Operand& operand : arguments)
    form.step.elements.push_back({static_cast<uint32_t>(operand.value)});
  form.step.handler = callee == "vprintf" ? print : fail_assertion;
  return true;
}

}  // namespace simulated_gpu
