#pragma once
// The catalogue of differentiable functions.  Formulas, dtypes and errors are in the kernel header of the
// same name.

#include <span>

#include "autograd/tape.h"
#include "runtime/random.h"

namespace tessera {

/// Row offsets of groups; empty stands for one group of all rows.
using RowOffsets = std::span<const int64_t>;

Var embedding(const Tensor& ids, const Var& table);  ///< [rows] i32, [vocab, width] -> [rows, width]
Var matmul(const Var& x, const Var& weight,
           RowOffsets offsets = {});  ///< [rows, in] x [(groups,) out, in] -> [rows, out], of x's dtype
Var matmul_f32(const Var& x, const Var& weight);  ///< the same with an f32 result: logits and router scores
Var rms_norm(const Var& x, const Var& weight, float epsilon);  ///< [rows, cols], [cols]
Var add_rms_norm(const Var& residual, const Var& x, const Var& weight,
                 float epsilon);  ///< residual + rms_norm(x)
/// Cosines and sines of positions, i32 [rows] -> f32 [rows, head_dim]; not differentiable.
Tensor rope_table(const Tensor& positions, int64_t head_dim, double base);
Var rope(const Var& x, const Tensor& table);  ///< [rows, heads, head_dim] and a rope_table
/// rope of the layer normalisation of every head; weight and bias [head_dim].
Var qk_norm(const Var& x, const Var& weight, const Var& bias, const Tensor& table, float epsilon);
Var attention(const Var& q, const Var& k, const Var& v,
              std::span<const int64_t> segments);  ///< causal, scaled by head_dim^-1/2
/// Keys and values [sequences capacity, heads, head_dim] of rows that sequences have seen: row s capacity + j is number j of
/// sequence s.
struct SeenRows {
  Tensor keys, values;
  int64_t capacity = 0;
};
/// Stores k and v of new rows at places, i32 [rows]; not differentiable.
void remember(const SeenRows& seen, const Tensor& k, const Tensor& v, const Tensor& places);
/// Attention of rows to the first visible ones of their sequence, i32 [rows] each; not differentiable.
Tensor attend_to_seen(const Tensor& q, const SeenRows& seen, const Tensor& sequence, const Tensor& visible);
Var swiglu(const Var& gate, const Var& up);  ///< silu(gate) up
Var add(const Var& a, const Var& b);
Var subtract(const Var& a, const Var& b);  ///< a - b
Var cast(const Var& x, DType dtype);
Var sigmoid(const Var& x);
Var silu(const Var& x);  ///< x sigmoid(x)
Var reshape(const Var& x, Shape shape);
Var concat(std::span<const Var> parts);  ///< elements end to end: [sum of counts]
/// Rows [offsets[i], offsets[i + 1]) of x [rows, width], which offsets cut into parts; views of x.
std::vector<Var> split(const Var& x, RowOffsets offsets);

/// Which rows go to which experts, as slots in expert order: slot s holds row index[s]; slots of expert e are
/// [offsets[e], offsets[e + 1]).
struct Routing {
  Tensor index;                   ///< [slots] i32
  std::vector<int64_t> offsets;   ///< experts + 1
  Tensor row_offsets, row_slots;  ///< the inverse, by row: see kernels/permute.h
};
/// Completes index and offsets by the inverse over rows.
Routing make_routing(Tensor index, std::vector<int64_t> offsets, int64_t rows);

Var gather(const Var& x, const Routing& routing);  ///< [rows, width] -> [slots, width]
Var pick(const Var& x, const Tensor& index,
         std::span<const int64_t> columns);  ///< [rows, cols] f32 -> [slots]
/// Sum over the slots of each row of gate times slot; gates [slots] f32, or an empty Var for 1.
Var combine(const Var& slots, const Var& gates, const Routing& routing);

/// Rows chosen per expert of one group by expert choice; not differentiable.  See kernels/expert_choice.h.
struct ExpertChoice {
  int64_t experts = 1;
  int64_t column = 0;
  std::span<const int64_t> pools, counts;
};
Tensor choose_experts(const Var& scores, const Tensor& candidates,
                      const ExpertChoice& choice);  ///< [experts, slots] i32

/// Logistic noise (kernels/random_fill.h): sigmoid(x + noise) is the Gumbel-sigmoid of x.
Tensor logistic_noise(Shape shape, uint64_t seed, Purpose purpose, Stream stream);
/// Euclidean norm of all elements, on the host (kernels/exact_norm.h); waits for the stream.
double norm_of(const Tensor& x);

struct Loss {
  Var total;            ///< [1] f32: scale times the sum over scored rows of nll + z_loss log_sum^2
  Tensor nll, log_sum;  ///< [rows] f32
};
/// Next-token loss of the logits x weight^T: x [rows, width], weight [vocab, width], targets [rows] i32.  Of the logits, f32,
/// only those of chunk_rows rows exist at a time.  Where x or weight is tracked, their gradients are formed here, chunk by
/// chunk; backward, which must start here, hands them on.  Gradients of weight are added chunk by chunk.
Loss linear_cross_entropy(const Var& x, const Var& weight, const Tensor& targets, float scale, float z_loss,
                          int64_t chunk_rows = 512);
/// Loss of yes-or-no predictions: [1] f32, scale times the sum over all elements.
Var binary_cross_entropy(const Var& logits, const Tensor& targets,
                         float scale);  ///< [rows, cols] f32, [rows, cols] u8 in {0, 1}

Tensor nearest_code(const Tensor& x,
                    const Tensor& codes);  ///< [rows, width], [codes, width] f32 -> [rows] i32
/// value, whose gradient goes to x as if it were x (van den Oord et al., arXiv 1711.00937, 3.2).
Var straight_through(const Var& x, const Tensor& value);

struct SquaredError {
  Var total;      ///< [1] f32: scale times the sum of by_row
  Tensor by_row;  ///< [rows] f32: squared distance of x to target
};
SquaredError squared_error(const Var& x, const Tensor& target, float scale);  ///< [rows, cols] f32 twice

}  // namespace tessera
