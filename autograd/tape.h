#pragma once
// Reverse-mode differentiation as a linear tape.
//
// A Tape records while it is alive on its thread.  Each differentiable function appends one node; backward()
// walks the nodes once, last to first, freeing what each one saved as it goes.  No tape, no gradients,
// nothing saved. The walk is the reverse of program order, so ranks that ran the same program issue the same
// collectives in the same order.

#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "autograd/ledger.h"
#include "runtime/tensor.h"

namespace tessera {

class Tape;
struct Parameter;

/// A tensor and its place on the tape.  Tensors convert to constants.
class Var {
 public:
  Var() = default;
  Var(Tensor value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): a constant

  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }
  Stream stream() const { return value_.stream(); }
  bool tracked() const { return slot_ >= 0; }

 private:
  friend class Tape;
  friend class GradientRoom;
  Tensor value_;
  int slot_ = -1;
  const Tape* tape_ = nullptr;
  Parameter* parameter_ = nullptr;  ///< whose leaf this is
};

/// Where a rule puts the f32 gradient of one of its inputs.
struct GradientPlace {
  Tensor at;                 ///< uninitialised, or the last of
  std::vector<Tensor> sums;  ///< what the gradient is to be added to, one after the other
};

/// Where a rule writes the f32 gradient of one of its inputs, so that large gradients of parameters need no copy.
class GradientRoom {
 public:
  explicit GradientRoom(const Var& input)
      : shape_(input.shape()), stream_(input.stream()), parameter_(input.parameter_) {}

  /// Uninitialised.  The first time in a backward pass a parameter's place in its shard group, else new memory.
  Tensor take() const { return take(false).at; }
  /// The same, for a rule that can also add to what a place holds.
  GradientPlace take_or_add() const { return take(true); }

 private:
  GradientPlace take(bool can_add) const;

  Shape shape_;
  Stream stream_;
  Parameter* parameter_;
};

/// dL/d(input) as a function of dL/d(output).
using GradFn = std::function<Tensor(const Tensor& dy)>;

/// dL/d(inputs) in order, for functions whose backward is one fused kernel; an empty tensor stands for none.
using JointGradFn = std::function<std::vector<Tensor>(const Tensor& dy)>;

/// dL/d(input) as a function of dL/d(outputs), for functions with several outputs; an empty tensor stands for an output that
/// nothing used, and at least one is not empty.
using SplitGradFn = std::function<Tensor(std::vector<Tensor> dys)>;

/// One input of a recorded function and the rule for its gradient.
struct Wrt {
  Var input;
  GradFn gradient;
};

class Tape {
 public:
  Tape() : Tape(false) {}
  ~Tape() { active_ = outer_; }

  /// A tape on which a segment runs again in backward (autograd/recompute.h).
  static Tape again() { return Tape(true); }
  /// Whether what is recorded now is gone through backward at once, so that parameters which are whole may stay so.
  bool runs_again() const { return runs_again_; }

  /// While alive, nothing is recorded on this thread.
  class [[nodiscard]] Pause {
   public:
    Pause() : paused_(std::exchange(active_, nullptr)) {}
    ~Pause() { active_ = paused_; }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Tape* paused_;
  };

  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// The innermost tape that is alive on this thread, or null.
  static Tape* active() { return active_; }

  /// Appends output = name(inputs).  Untracked inputs are dropped, and with them what their rules captured.
  /// Throws Error naming the function when an input belongs to another tape.
  Var record(const char* name, Tensor output, std::vector<Wrt> inputs, const Cost& cost);
  Var record(const char* name, Tensor output, std::vector<Var> inputs, JointGradFn gradients,
             const Cost& cost);
  std::vector<Var> record(const char* name, std::vector<Tensor> outputs, const Var& input,
                          SplitGradFn gradient);

  /// A tracked value whose gradient goes to sink when backward reaches it.
  Var leaf(Tensor value, std::function<void(Tensor gradient)> sink);
  /// The parameter as a leaf, the same one on every use; its gradient goes to Parameter::add_grad.
  Var leaf(Parameter& parameter);

  /// Runs action when backward() passes this point.
  void at_backward(std::function<void()> action);

  /// Propagates d(loss)/d(loss) = 1.  Throws Error when loss has more than one element or another tape's.
  /// Consumes the tape: what was saved is freed on the way.
  void backward(const Var& loss);
  /// The same from any output, given its gradient.
  void backward(const Var& output, Tensor dy);

  Ledger& ledger() { return ledger_; }

  /// While alive, functions over groups of rows (experts) book group g under labels[g] as well.
  class [[nodiscard]] Labels {
   public:
    explicit Labels(const std::vector<std::string>& labels);
    ~Labels();
    Labels(const Labels&) = delete;
    Labels& operator=(const Labels&) = delete;

   private:
    const std::vector<std::string>* outer_ = nullptr;
  };
  const std::vector<std::string>* labels() const { return labels_; }

  /// While alive, functions book no costs.
  class [[nodiscard]] Unbooked {
   public:
    Unbooked();
    ~Unbooked();
    Unbooked(const Unbooked&) = delete;
    Unbooked& operator=(const Unbooked&) = delete;

   private:
    bool outer_ = true;
  };

 private:
  explicit Tape(bool runs_again) : outer_(std::exchange(active_, this)), runs_again_(runs_again) {}

  struct Node {
    const char* name = "";
    int output = -1;              ///< the first one
    int outputs = 1;              ///< in consecutive slots
    std::vector<int> inputs{};    ///< slots; -1 where untracked
    std::vector<GradFn> rules{};  ///< one per input, or
    JointGradFn joint{};          ///< one for all, or
    SplitGradFn split{};          ///< one for the only input and all outputs
    std::function<void(Tensor)> sink{};
    std::function<void()> action{};
  };
  Var track(Tensor value);
  void book(const char* name, Cost cost, bool tracked);
  void enter(const char* name, const Var& input) const;  ///< an input of a recorded function
  void accumulate(int slot, Tensor gradient);
  void run(Node& node);

  inline static thread_local Tape* active_ = nullptr;
  Tape* outer_;
  bool runs_again_;
  std::vector<Node> nodes_;
  std::vector<Tensor> gradients_;  ///< by slot
  std::unordered_map<Parameter*, Var> parameters_;
  Ledger ledger_;
  const std::vector<std::string>* labels_ = nullptr;
  bool books_ = true;
};

/// Records on the active tape, or returns a constant when there is none.
Var record(const char* name, Tensor output, std::vector<Wrt> inputs, const Cost& cost = {});
Var record(const char* name, Tensor output, std::vector<Var> inputs, JointGradFn gradients,
           const Cost& cost = {});
std::vector<Var> record(const char* name, std::vector<Tensor> outputs, const Var& input,
                        SplitGradFn gradient);

}  // namespace tessera
