#include "tests/support/op_check.h"

#include <cstring>
#include <numeric>
#include <set>

#include "runtime/cpu_engine.h"
#include "tests/kernels/tensors.h"
#include "tests/support/reference.h"

namespace tessera {
namespace {

std::string family_of(const OpCase& op_case) { return op_case.name.substr(0, op_case.name.find('/')); }

Tensor uniform(const std::string& purpose, const Shape& shape, DType rounding, DType dtype, double least,
               double most, Stream stream) {
  std::vector<float> values;
  for (int64_t i = 0; i < shape.count(); ++i) {
    const auto value = static_cast<float>(
        least + (most - least) * random_uniform(1, Purpose(purpose), static_cast<uint64_t>(i)));
    values.push_back(rounding == DType::bf16 ? static_cast<float>(bf16(value)) : value);
  }
  if (dtype == DType::f32) return Tensor::from(values, shape, stream);
  std::vector<bf16> rounded;
  for (float value : values) rounded.emplace_back(value);
  return Tensor::from(rounded, shape, stream);
}

std::vector<Tensor> make_inputs(const OpCase& op_case, DType dtype, Stream stream) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < op_case.inputs.size(); ++i) {
    const Operand& operand = op_case.inputs[i];
    const DType own = operand.always_f32 ? DType::f32 : dtype;
    inputs.push_back(uniform(str(op_case.name, " input ", i), operand.shape, own, own, operand.least,
                             operand.most, stream));
  }
  return inputs;
}

/// Values of the dtype under test whatever the output's dtype, so that a product on bf16 operands rounds nothing more.
Tensor make_cotangent(const OpCase& op_case, const Var& output, DType dtype) {
  const double least = op_case.output == OpCase::Output::loss ? 1 : -1;
  return uniform(op_case.name + " cotangent", output.shape(), dtype, output.dtype(), least, 1,
                 output.stream());
}

/// Every position, or a sample: the ends, and a seeded choice between.
std::vector<size_t> positions(const std::string& purpose, int64_t count, int64_t most) {
  std::vector<size_t> chosen(static_cast<size_t>(std::min(count, most)));
  std::iota(chosen.begin(), chosen.end(), size_t{0});
  if (count <= most) return chosen;
  const auto ends = static_cast<size_t>(most / 4);
  for (size_t i = ends; i < 2 * ends; ++i) chosen[i] = static_cast<size_t>(count) - 1 - (i - ends);
  for (size_t i = 2 * ends; i < chosen.size(); ++i)
    chosen[i] = random_permutation(1, Purpose(purpose), static_cast<uint64_t>(count), i);
  return chosen;
}

/// Fills the memory that the next tensors of these sizes will get with NaNs, which show wherever they are read.
void fill_free_memory(const Outcome& like) {
  constexpr int kBlocks = 16;  // more than a function and its backward take of one size
  std::vector<Tensor> held;
  const auto fill = [&](const Tensor& tensor) {
    const int64_t bytes = Arena::rounded(tensor.bytes()) - Arena::kAlignment;
    const std::vector<uint8_t> ones(static_cast<size_t>(bytes), 0xff);
    for (int i = 0; i < kBlocks; ++i) held.push_back(Tensor::from(ones, {bytes}, tensor.stream()));
  };
  fill(like.output);
  for (const Tensor& gradient : like.gradients) fill(gradient);
}

}  // namespace

std::vector<OpCase> op_cases_of(const std::string& family) {
  std::vector<OpCase> cases = op_cases();
  std::erase_if(cases, [&](const OpCase& op_case) { return family_of(op_case) != family; });
  return cases;
}

std::vector<std::string> op_families() {
  std::set<std::string> names;
  for (const OpCase& op_case : op_cases()) names.insert(family_of(op_case));
  return {names.begin(), names.end()};
}

std::string name_of_family(const testing::TestParamInfo<std::string>& family) { return family.param; }

Outcome run_op(const OpCase& op_case, DType dtype, Stream stream) {
  const std::vector<Tensor> inputs = make_inputs(op_case, dtype, stream),
                            untouched = make_inputs(op_case, dtype, stream);
  const auto expect_untouched = [&](const char* when) {
    for (size_t i = 0; i < inputs.size(); ++i)
      EXPECT_TRUE(same_bits(inputs[i], untouched[i]))
          << op_case.name << ": " << when << " wrote to input " << i;
  };
  Outcome outcome;
  Tape tape;
  std::vector<Var> vars;
  outcome.gradients.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    vars.push_back(
        tape.leaf(inputs[i], [&outcome, i](const Tensor& gradient) { outcome.gradients[i] = gradient; }));
  const Var output = op_case.op(vars);
  outcome.output = output.value();
  expect_untouched("forward");
  EXPECT_EQ(output.tracked(), op_case.output != OpCase::Output::constant) << op_case.name;
  if (!output.tracked()) {
    outcome.gradients.clear();
    return outcome;
  }
  tape.backward(output, make_cotangent(op_case, output, dtype));
  expect_untouched("backward");
  return outcome;
}

Truth::Truth(const OpCase& op_case, DType dtype, int64_t gradient_sample) : op_case_(op_case), dtype_(dtype) {
  CpuEngine engine;
  std::vector<Values> inputs;
  std::vector<Var> vars;
  for (const Tensor& input : make_inputs(op_case, dtype, engine.stream())) {
    inputs.push_back(values_of(input));
    vars.emplace_back(input);
  }
  output_ = op_case.reference(inputs);
  if (op_case.output == OpCase::Output::constant) return;
  const Values cotangent = values_of(make_cotangent(op_case, op_case.op(vars), dtype));
  for (size_t i = 0; i < inputs.size(); ++i) {
    positions_.push_back(positions(op_case.name, std::ssize(inputs[i]), gradient_sample));
    gradients_.emplace_back();
    for (size_t p : positions_[i]) {
      const Values slopes = reference::derivatives(inputs[i][p], [&] { return op_case.reference(inputs); });
      gradients_[i].push_back(std::inner_product(slopes.begin(), slopes.end(), cotangent.begin(), 0.0));
    }
  }
}

std::vector<Comparison> Truth::compare(const Outcome& outcome) const {
  std::vector<Comparison> all{
      {op_case_.name, values_of(outcome.output), output_, outcome.output.dtype(), op_case_.forward}};
  for (size_t i = 0; i < gradients_.size(); ++i) {
    const Tensor& gradient = outcome.gradients[i];
    const Values values = gradient ? values_of(gradient) : Values();
    Values chosen;
    for (size_t p : positions_[i]) chosen.push_back(values.at(p));
    const Operand& input = op_case_.inputs[i];
    const DType stored = gradient ? gradient.dtype() : DType::f32;
    all.push_back({str(op_case_.name, ": gradient of input ", i), chosen, gradients_[i],
                   input.rounds_inside ? dtype_ : stored, input.gradient});
  }
  return all;
}

void expect_same_again(const OpCase& op_case, DType dtype, Stream stream, const Outcome& first) {
  fill_free_memory(first);
  const Outcome second = run_op(op_case, dtype, stream);
  EXPECT_TRUE(same_bits(first.output, second.output)) << op_case.name << ": a repeat gave other bits";
  for (size_t i = 0; i < first.gradients.size(); ++i)
    EXPECT_TRUE(same_bits(first.gradients[i], second.gradients[i])) << op_case.name << ": gradient " << i;
}

void expect_errors_noticed(const Comparison& right) {
  const double unit = right.dtype == DType::bf16 ? 0x1p-7 : 0x1p-23;
  const double error = right.roundings.terms == 0 ? unit : 10 * relative_tolerance(right);
  const double scale = largest_magnitude(right.expected);
  Comparison wrong = right;
  for (double& value : wrong.actual) value *= 1 + error;
  if (scale > 0) {
    EXPECT_FALSE(close(wrong)) << right.what << ": all values were off by " << error;
  }
  wrong.actual = right.actual;
  for (size_t i : positions(right.what, std::ssize(right.actual), 64)) {
    const double value = right.actual[i];
    wrong.actual[i] += scale > 0 ? error * scale : std::numeric_limits<float>::min();
    EXPECT_FALSE(close(wrong)) << right.what << ": value " << i << " was off by " << error << " of " << scale;
    wrong.actual[i] = std::numeric_limits<double>::quiet_NaN();
    EXPECT_FALSE(close(wrong)) << right.what << ": value " << i << " was NaN";
    wrong.actual[i] = value;
  }
}

void check_op(const OpCase& op_case, DType dtype, Stream stream, int64_t gradient_sample) {
  SCOPED_TRACE(str(op_case.name, " ", dtype, " on ", stream.device));
  const Outcome outcome = run_op(op_case, dtype, stream);
  for (const Comparison& comparison : Truth(op_case, dtype, gradient_sample).compare(outcome))
    EXPECT_TRUE(close(comparison));
  expect_same_again(op_case, dtype, stream, outcome);
}

}  // namespace tessera
