#include "tests/support/reference.h"

#include <algorithm>

namespace tessera::reference {
namespace {

size_t at(int64_t index) { return static_cast<size_t>(index); }

}  // namespace

Values embedding(Ids ids, const Values& table, int64_t width) { return gather(table, ids, width); }

Values matmul(const Values& x, const Values& weight, Offsets offsets, int64_t in, int64_t out) {
  Values y(at(offsets.back() * out));
  for (int64_t g = 0; g + 1 < std::ssize(offsets); ++g)
    for (int64_t r = offsets[at(g)]; r < offsets[at(g + 1)]; ++r)
      for (int64_t n = 0; n < out; ++n)
        for (int64_t k = 0; k < in; ++k)
          y[at(r * out + n)] += x[at(r * in + k)] * weight[at((g * out + n) * in + k)];
  return y;
}

Values rms_norm(const Values& x, const Values& weight, double epsilon) {
  const size_t cols = weight.size();
  Values y(x.size());
  for (size_t begin = 0; begin < x.size(); begin += cols) {
    double squares = 0;
    for (size_t c = 0; c < cols; ++c) squares += x[begin + c] * x[begin + c];
    const double rms = std::sqrt(squares / static_cast<double>(cols) + epsilon);
    for (size_t c = 0; c < cols; ++c) y[begin + c] = weight[c] * x[begin + c] / rms;
  }
  return y;
}

Values layer_norm(const Values& x, const Values& weight, const Values& bias, double epsilon) {
  const size_t cols = weight.size();
  Values y(x.size());
  for (size_t begin = 0; begin < x.size(); begin += cols) {
    double mean = 0, variance = 0;
    for (size_t c = 0; c < cols; ++c) mean += x[begin + c] / static_cast<double>(cols);
    for (size_t c = 0; c < cols; ++c)
      variance += (x[begin + c] - mean) * (x[begin + c] - mean) / static_cast<double>(cols);
    for (size_t c = 0; c < cols; ++c)
      y[begin + c] = weight[c] * (x[begin + c] - mean) / std::sqrt(variance + epsilon) + bias[c];
  }
  return y;
}

Values rope(const Values& x, Ids positions, int64_t heads, int64_t head_dim, double base) {
  Values y(x.size());
  for (int64_t r = 0; r < std::ssize(positions); ++r)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < head_dim / 2; ++i) {
        const double angle =
            positions[at(r)] * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
        const size_t first = at((r * heads + h) * head_dim + 2 * i), second = first + 1;
        y[first] = x[first] * std::cos(angle) - x[second] * std::sin(angle);
        y[second] = x[first] * std::sin(angle) + x[second] * std::cos(angle);
      }
  return y;
}

Values attention(const Values& q, const Values& k, const Values& v, Offsets segments, int64_t heads,
                 int64_t head_dim) {
  Values y(q.size());
  const auto element = [&](int64_t row, int64_t head, int64_t d) {
    return at((row * heads + head) * head_dim + d);
  };
  for (int64_t s = 0; s + 1 < std::ssize(segments); ++s)
    for (int64_t i = segments[at(s)]; i < segments[at(s + 1)]; ++i)
      for (int64_t h = 0; h < heads; ++h) {
        Values weights;
        double total = 0;
        for (int64_t j = segments[at(s)]; j <= i; ++j) {
          double score = 0;
          for (int64_t d = 0; d < head_dim; ++d) score += q[element(i, h, d)] * k[element(j, h, d)];
          weights.push_back(std::exp(score / std::sqrt(static_cast<double>(head_dim))));
          total += weights.back();
        }
        for (int64_t j = segments[at(s)]; j <= i; ++j)
          for (int64_t d = 0; d < head_dim; ++d)
            y[element(i, h, d)] += weights[at(j - segments[at(s)])] / total * v[element(j, h, d)];
      }
  return y;
}

// The last row of attention among the visible keys, whose other queries do not matter.
Values cached_attention(const Values& q, const Values& keys, const Values& values, Ids sequence, Ids visible,
                        int64_t capacity, int64_t heads, int64_t head_dim) {
  const int64_t stride = heads * head_dim;
  Values y;
  for (int64_t r = 0; r < std::ssize(visible); ++r) {
    const int64_t length = visible[at(r)], begin = sequence[at(r)] * capacity;
    const auto seen = [&](const Values& cache) {
      return Values(cache.begin() + begin * stride, cache.begin() + (begin + length) * stride);
    };
    Values queries(at(length * stride));
    std::copy_n(q.begin() + r * stride, stride, queries.end() - stride);
    const Values all =
        attention(queries, seen(keys), seen(values), std::vector<int64_t>{0, length}, heads, head_dim);
    y.insert(y.end(), all.end() - stride, all.end());
  }
  return y;
}

Values swiglu(const Values& gate, const Values& up) {
  Values y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  return y;
}

Values add(const Values& a, const Values& b) {
  Values y(a.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = a[i] + b[i];
  return y;
}

Values subtract(const Values& a, const Values& b) {
  Values y(a.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = a[i] - b[i];
  return y;
}

Values sigmoid(const Values& x) {
  Values y(x.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = 1 / (1 + std::exp(-x[i]));
  return y;
}

Values silu(const Values& x) {
  Values y(x.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = x[i] / (1 + std::exp(-x[i]));
  return y;
}

Values gather(const Values& x, Ids index, int64_t width) {
  Values y;
  for (int32_t row : index)
    for (int64_t c = 0; c < width; ++c) y.push_back(x[at(row * width + c)]);
  return y;
}

Values store_rows(const Values& rows, Ids index, Values target, int64_t width) {
  for (int64_t s = 0; s < std::ssize(index); ++s)
    std::copy_n(rows.begin() + s * width, width, target.begin() + index[at(s)] * width);
  return target;
}

Values pick(const Values& x, Ids index, Offsets columns) {
  const int64_t cols = std::ssize(columns) - 1;
  Values y;
  for (int64_t c = 0; c < cols; ++c)
    for (int64_t s = columns[at(c)]; s < columns[at(c + 1)]; ++s) y.push_back(x[at(index[at(s)] * cols + c)]);
  return y;
}

Values combine(const Values& slots, const Values& gates, Ids index, int64_t rows, int64_t width) {
  Values y(at(rows * width));
  for (int64_t s = 0; s < std::ssize(index); ++s)
    for (int64_t c = 0; c < width; ++c)
      y[at(index[at(s)] * width + c)] += (gates.empty() ? 1 : gates[at(s)]) * slots[at(s * width + c)];
  return y;
}

CrossEntropy cross_entropy(const Values& logits, Ids targets, int64_t vocab, double scale, double z_loss) {
  CrossEntropy loss{Values(targets.size()), Values(targets.size())};
  for (int64_t r = 0; r < std::ssize(targets); ++r) {
    if (targets[at(r)] < 0) continue;
    double sum = 0;
    for (int64_t i = 0; i < vocab; ++i) sum += std::exp(logits[at(r * vocab + i)]);
    loss.log_sum[at(r)] = std::log(sum);
    loss.nll[at(r)] = loss.log_sum[at(r)] - logits[at(r * vocab + targets[at(r)])];
    loss.total += scale * (loss.nll[at(r)] + z_loss * loss.log_sum[at(r)] * loss.log_sum[at(r)]);
  }
  return loss;
}

double binary_cross_entropy(const Values& logits, Ids targets, double scale) {
  double total = 0;
  for (size_t i = 0; i < logits.size(); ++i)
    total += scale * (std::log(1 + std::exp(logits[i])) - targets[i] * logits[i]);
  return total;
}

double derivative(double& x, const std::function<double()>& value) {
  return derivatives(x, [&] { return Values{value()}; })[0];
}

Values derivatives(double& x, const std::function<Values()>& values) {
  constexpr double kStep = 0x1p-11;
  const double before = x;
  const auto moved = [&](double steps) {
    x = before + steps * kStep;
    return values();
  };
  const Values near_up = moved(1), near_down = moved(-1), far_up = moved(2), far_down = moved(-2);
  x = before;
  Values slopes(near_up.size());
  for (size_t i = 0; i < slopes.size(); ++i)
    slopes[i] = (8 * (near_up[i] - near_down[i]) - (far_up[i] - far_down[i])) / (12 * kStep);
  return slopes;
}

}  // namespace tessera::reference
