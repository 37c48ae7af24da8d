#include "autograd/tape.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "autograd/parameter.h"
#include "kernels/pointwise.h"

namespace tessera {

GradientPlace GradientRoom::take(bool can_add) const {
  const Tensor room = parameter_ ? parameter_->take_room(can_add) : Tensor();
  if (room) return {room, parameter_->sums};
  return {Tensor::empty(shape_, DType::f32, stream_), {}};
}

Tape::Labels::Labels(const std::vector<std::string>& labels) {
  if (Tape* tape = Tape::active()) outer_ = std::exchange(tape->labels_, &labels);
}

Tape::Labels::~Labels() {
  if (Tape* tape = Tape::active()) tape->labels_ = outer_;
}

Tape::Unbooked::Unbooked() {
  if (Tape* tape = Tape::active()) outer_ = std::exchange(tape->books_, false);
}

Tape::Unbooked::~Unbooked() {
  if (Tape* tape = Tape::active()) tape->books_ = outer_;
}

Var Tape::track(Tensor value) {
  Var var(std::move(value));
  var.slot_ = static_cast<int>(gradients_.size());
  var.tape_ = this;
  gradients_.emplace_back();
  return var;
}

void Tape::enter(const char* name, const Var& input) const {
  TESSERA_CHECK(!input.tracked() || input.tape_ == this, name, ": an input was recorded on another tape");
  if (input.parameter_) ++input.parameter_->uses;
}

void Tape::book(const char* name, Cost cost, bool tracked) {
  if (!books_) return;
  if (!tracked) cost.backward_flops = 0;
  ledger_.add(name, cost);
}

Var Tape::record(const char* name, Tensor output, std::vector<Wrt> inputs, const Cost& cost) {
  Node node{.name = name};
  for (Wrt& wrt : inputs) {
    enter(name, wrt.input);
    if (!wrt.input.tracked()) continue;
    node.inputs.push_back(wrt.input.slot_);
    node.rules.push_back(std::move(wrt.gradient));
  }
  book(name, cost, !node.inputs.empty());
  if (node.inputs.empty()) return output;
  Var result = track(std::move(output));
  node.output = result.slot_;
  nodes_.push_back(std::move(node));
  return result;
}

Var Tape::record(const char* name, Tensor output, std::vector<Var> inputs, JointGradFn gradients,
                 const Cost& cost) {
  Node node{.name = name, .joint = std::move(gradients)};
  bool tracked = false;
  for (const Var& input : inputs) {
    enter(name, input);
    node.inputs.push_back(input.slot_);
    tracked |= input.tracked();
  }
  book(name, cost, tracked);
  if (!tracked) return output;
  Var result = track(std::move(output));
  node.output = result.slot_;
  nodes_.push_back(std::move(node));
  return result;
}

std::vector<Var> Tape::record(const char* name, std::vector<Tensor> outputs, const Var& input,
                              SplitGradFn gradient) {
  enter(name, input);
  if (!input.tracked()) return {outputs.begin(), outputs.end()};
  std::vector<Var> results;
  for (Tensor& output : outputs) results.push_back(track(std::move(output)));
  nodes_.push_back({.name = name,
                    .output = results.front().slot_,
                    .outputs = static_cast<int>(results.size()),
                    .inputs = {input.slot_},
                    .split = std::move(gradient)});
  return results;
}

Var Tape::leaf(Tensor value, std::function<void(Tensor)> sink) {
  Var var = track(std::move(value));
  nodes_.push_back({.name = "leaf", .output = var.slot_, .sink = std::move(sink)});
  return var;
}

Var Tape::leaf(Parameter& parameter) {
  auto [entry, fresh] = parameters_.try_emplace(&parameter);
  if (fresh) {
    entry->second =
        leaf(parameter.value, [&parameter](const Tensor& gradient) { parameter.add_grad(gradient); });
    entry->second.value_ = Tensor();  // the shard group alone decides how long the value lives
    entry->second.parameter_ = &parameter;
  }
  Var var = entry->second;
  var.value_ = parameter.value;
  return var;
}

void Tape::at_backward(std::function<void()> action) {
  nodes_.push_back({.name = "action", .action = std::move(action)});
}

void Tape::accumulate(int slot, Tensor gradient) {
  Tensor& sum = gradients_[static_cast<size_t>(slot)];
  if (!sum) {
    sum = std::move(gradient);
    return;
  }
  // A rule may return dy itself, so a gradient is added to in place only when nobody else holds it.
  const Tensor target = gradient.sole_owner() ? gradient : sum.sole_owner() ? sum : Tensor::like(sum);
  kernels::add(sum, gradient, target, target.stream());
  sum = target;
}

void Tape::backward(const Var& loss) {
  TESSERA_CHECK(loss.value().count() == 1, "backward: loss must be one element, got ", loss.shape());
  backward(loss, Tensor::from(std::vector<float>{1.0f}, loss.shape(), loss.stream()));
}

void Tape::backward(const Var& output, Tensor dy) {
  TESSERA_CHECK(output.tracked() && output.tape_ == this,
                "backward: the output was not recorded on this tape");
  gradients_[static_cast<size_t>(output.slot_)] = std::move(dy);
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    if (node.action)
      node.action();
    else
      run(node);
  }
}

void Tape::run(Node& node) {
  if (node.split) {
    const auto first = gradients_.begin() + node.output;
    std::vector<Tensor> dys(std::make_move_iterator(first), std::make_move_iterator(first + node.outputs));
    if (std::ranges::any_of(dys, [](const Tensor& dy) { return bool(dy); }))
      accumulate(node.inputs[0], node.split(std::move(dys)));
    return;
  }
  const Tensor dy = std::move(gradients_[static_cast<size_t>(node.output)]);
  if (!dy) return;  // nothing downstream used this output
  if (node.sink) node.sink(dy);
  for (size_t i = 0; i < node.rules.size(); ++i) accumulate(node.inputs[i], node.rules[i](dy));
  if (!node.joint) return;
  std::vector<Tensor> gradients = node.joint(dy);
  TESSERA_CHECK(gradients.size() == node.inputs.size(), node.name, ": the rule gave ", gradients.size(),
                " gradients for ", node.inputs.size(), " inputs");
  for (size_t i = 0; i < gradients.size(); ++i)
    if (node.inputs[i] >= 0 && gradients[i]) accumulate(node.inputs[i], std::move(gradients[i]));
}

Var record(const char* name, Tensor output, std::vector<Wrt> inputs, const Cost& cost) {
  Tape* tape = Tape::active();
  return tape ? tape->record(name, std::move(output), std::move(inputs), cost) : Var(std::move(output));
}

Var record(const char* name, Tensor output, std::vector<Var> inputs, JointGradFn gradients,
           const Cost& cost) {
  Tape* tape = Tape::active();
  return tape ? tape->record(name, std::move(output), std::move(inputs), std::move(gradients), cost)
              : Var(std::move(output));
}

std::vector<Var> record(const char* name, std::vector<Tensor> outputs, const Var& input,
                        SplitGradFn gradient) {
  if (Tape* tape = Tape::active()) return tape->record(name, std::move(outputs), input, std::move(gradient));
  return {outputs.begin(), outputs.end()};
}

}  // namespace tessera
