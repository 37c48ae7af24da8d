// What decoding does with caches of keys and values, in the op table: without gradients.
#include "kernels/cached_attention.h"
#include "kernels/permute.h"
#include "tests/support/op_table.h"
#include "tests/support/reference.h"

namespace tessera::op_table {
namespace {

OpCase store_rows_case(int64_t count, int64_t rows, int64_t width) {
  Ids index;
  for (int64_t i = 0; i < count; ++i)
    index.push_back(
        static_cast<int32_t>(random_permutation(1, Purpose("store"), uint64_t(rows), uint64_t(i))));
  return {size_name("store_rows", {count, rows, width}),
          {{{count, width}}, {{rows, width}}},
          [=](Vars in) {
            const Stream stream = in[0].stream();
            const Tensor target = Tensor::like(in[1].value());
            copy(in[1].value(), target);
            kernels::store_rows(in[0].value(), tensor_of(index, stream), target, stream);
            return Var(target);
          },
          [=](Truth in) { return reference::store_rows(in[0], index, in[1], width); },
          {},
          OpCase::Output::constant};
}

/// A query of each row: the sequence it belongs to and how many of its keys it sees.
struct Query {
  int32_t sequence, visible;
};

// The scores (head_dim), the sums of exponentials and of values (the visible keys each), and eight for scale, exponential,
// maximum and quotient, as in attention.
OpCase cached_attention_case(const std::vector<Query>& queries, int64_t capacity, int64_t heads,
                             int64_t head_dim) {
  Ids sequence, visible;
  int32_t sequences = 1, longest = 1;
  for (const Query& query : queries) {
    sequence.push_back(query.sequence), visible.push_back(query.visible);
    sequences = std::max(sequences, query.sequence + 1), longest = std::max(longest, query.visible);
  }
  const Shape cache{sequences * capacity, heads, head_dim};
  return {size_name("cached_attention", {std::ssize(queries), capacity, heads, head_dim}),
          {{{std::ssize(queries), heads, head_dim}}, {cache}, {cache}},
          [=](Vars in) {
            const Stream stream = in[0].stream();
            const Tensor y = Tensor::like(in[0].value());
            kernels::cached_attention({in[0].value(), in[1].value(), in[2].value(),
                                       tensor_of(sequence, stream), tensor_of(visible, stream), y},
                                      capacity, stream);
            return Var(y);
          },
          [=](Truth in) {
            return reference::cached_attention(in[0], in[1], in[2], sequence, visible, capacity, heads,
                                               head_dim);
          },
          {.terms = head_dim + 2 * longest + 8},
          OpCase::Output::constant};
}

}  // namespace

void add_cache_cases(std::vector<OpCase>& cases) {
  for (const auto& [count, rows, width] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 1, 1}, {31, 33, 7}, {1, 127, 129}, {33, 129, 31}, {5, 9, 64}, {0, 3, 8}})
    cases.push_back(store_rows_case(count, rows, width));
  cases.push_back(cached_attention_case({{0, 1}}, 1, 1, 2));
  cases.push_back(cached_attention_case({{2, 33}, {0, 1}, {1, 31}}, 33, 2, 16));
  cases.push_back(cached_attention_case({{0, 129}, {0, 64}, {1, 127}}, 131, 3, 10));
  cases.push_back(cached_attention_case({{1, 63}, {1, 64}, {0, 65}, {0, 200}}, 200, 2, 64));
  cases.push_back(cached_attention_case({{1, 33}}, 65, 1, 128));
  cases.push_back(cached_attention_case({{0, 31}}, 31, 1, 129));
  cases.push_back(cached_attention_case({{0, 7}}, 9, 2, 256));
  cases.push_back(cached_attention_case({}, 5, 3, 8));
}

}  // namespace tessera::op_table
