#pragma once
// What a step costs, counted from shapes as functions are recorded, so that it can be had without running
// anything.
//
// Convention: floating-point operations of matrix products (2 m n k) and of attention (causal, counted half:
// 2 length^2 width per document forward); backward is twice forward, and none
// where nothing is differentiated.  Pointwise work, norms and routing sorts
// are counted in bytes alone.  Recomputation is not counted.  Bytes are one read of the inputs and one write
// of the outputs.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tessera {

struct Cost {
  int64_t forward_flops = 0;
  int64_t backward_flops = 0;
  int64_t bytes = 0;  ///< forward

  Cost& operator+=(const Cost& other) {
    forward_flops += other.forward_flops;
    backward_flops += other.backward_flops;
    bytes += other.bytes;
    return *this;
  }
  int64_t flops() const { return forward_flops + backward_flops; }
};

class Ledger {
 public:
  void add(const std::string& name, const Cost& cost) {
    total_ += cost;
    by_op_[name] += cost;
  }
  /// A part of a cost already added, under a label such as "text/3" (modality and expert).
  void add_part(const std::string& label, const Cost& cost) { by_label_[label] += cost; }

  /// Adds all of another.
  void add(const Ledger& other) {
    total_ += other.total_;
    for (const auto& [name, cost] : other.by_op_) by_op_[name] += cost;
    for (const auto& [label, cost] : other.by_label_) by_label_[label] += cost;
  }

  const Cost& total() const { return total_; }
  const std::map<std::string, Cost>& by_op() const { return by_op_; }
  const std::map<std::string, Cost>& by_label() const { return by_label_; }

 private:
  Cost total_;
  std::map<std::string, Cost> by_op_, by_label_;
};

}  // namespace tessera
