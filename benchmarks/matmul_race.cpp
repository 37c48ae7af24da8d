#include "benchmarks/matmul_race.h"

#include <cblas.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <dnnl.hpp>
#include <thread>

#include "benchmarks/machine_limits.h"
#include "benchmarks/median.h"
#include "kernels/matmul.h"
#include "runtime/cpu_engine.h"
#include "runtime/isa.h"
#include "runtime/random.h"

namespace tessera::benchmarks {
namespace {

// Threads of OpenMP and OpenBLAS spin for a while after a product; without this they would run into the next
// contestant.
constexpr std::chrono::milliseconds kSettle{5};
constexpr double kTurnSeconds = 0.01;

Tensor random_matrix(const char* name, int64_t rows, int64_t columns, DType dtype, Stream stream) {
  const Tensor tensor = Tensor::empty({rows, columns}, dtype, stream);
  visit_float(dtype, [&]<class T>() {
    uint64_t index = 0;
    for (T& value : tensor.values<T>())
      value = T(static_cast<float>(2 * random_uniform(1, Purpose(name), index++) - 1));
  });
  return tensor;
}

/// Seconds of one call, from as many as fill a turn; the first is not counted.
template <class Call>
double turn(int threads, const Call& call) {
  std::this_thread::sleep_for(kSettle);
  call();
  const int64_t begin = clock_ns(threads);
  int64_t calls = 0, ns = 0;
  while (static_cast<double>(ns = clock_ns(threads) - begin) < kTurnSeconds * 1e9) {
    call();
    ++calls;
  }
  return static_cast<double>(ns) * 1e-9 / static_cast<double>(calls);
}

/// c [m, n] = op(a) op(b), where a transposed operand lies as its transpose.
struct LibraryProduct {
  int64_t m, n, k;
  const Tensor &a, &b, &c;
  bool transposed_a, transposed_b;

  void openblas() const {
    const auto size = [](int64_t value) { return static_cast<blasint>(value); };
    cblas_sgemm(CblasRowMajor, transposed_a ? CblasTrans : CblasNoTrans,
                transposed_b ? CblasTrans : CblasNoTrans, size(m), size(n), size(k), 1.0f, a.data<float>(),
                size(transposed_a ? m : k), b.data<float>(), size(transposed_b ? k : n), 0.0f,
                c.data<float>(), size(n));
  }
};

class OneDnnProduct {
 public:
  explicit OneDnnProduct(const LibraryProduct& product)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    using Tag = dnnl::memory::format_tag;
    const auto memory = [&](const Tensor& tensor, int64_t rows, int64_t columns, bool transposed) {
      const auto type =
          tensor.dtype() == DType::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
      return dnnl::memory({{rows, columns}, type, transposed ? Tag::ba : Tag::ab}, engine_,
                          tensor.bytes_data());
    };
    a_ = memory(product.a, product.m, product.k, product.transposed_a);
    b_ = memory(product.b, product.k, product.n, product.transposed_b);
    c_ = memory(product.c, product.m, product.n, false);
    const dnnl::matmul::desc description(a_.get_desc(), b_.get_desc(), c_.get_desc());
    matmul_ = dnnl::matmul(dnnl::matmul::primitive_desc(description, engine_));
  }

  void run() {
    matmul_.execute(stream_, {{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}});
    stream_.wait();
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::memory a_, b_, c_;
  dnnl::matmul matmul_;
};

/// What one contestant works on, in the dtype in which it multiplies.
struct Operands {
  Tensor x, weight, dy, result;

  Operands(const ProductCase& product, DType dtype, Stream stream)
      : x(random_matrix("x", product.rows, product.in, dtype, stream)),
        weight(random_matrix("weight", product.out, product.in, dtype, stream)),
        dy(random_matrix("dy", product.rows, product.out, dtype, stream)) {
    switch (product.form) {
      case ProductForm::forward:
        result = Tensor::like(dy);
        break;
      case ProductForm::backward_input:
        result = Tensor::like(x);
        break;
      case ProductForm::backward_weight:
        result = Tensor::empty(weight.shape(), DType::f32, stream);
    }
  }
};

/// Libraries have products of bf16 where the processor does; elsewhere they race with f32.
DType library_dtype(DType dtype) { return detect_isa() >= Isa::avx512_bf16 ? dtype : DType::f32; }

}  // namespace

struct MatmulRace::Contestants {
  CpuEngine engine;
  Operands own, of_libraries;
  std::vector<int64_t> offsets;
  ProductForm form;
  LibraryProduct library;
  std::unique_ptr<OneDnnProduct> onednn;

  explicit Contestants(const ProductCase& product)
      : engine(product.threads),
        own(product, product.dtype, engine.stream()),
        of_libraries(library_dtype(product.dtype) == product.dtype
                         ? own
                         : Operands(product, DType::f32, engine.stream())),
        offsets{0, product.rows},
        form(product.form),
        library(library_product(product)) {
    omp_set_num_threads(product.threads);
    onednn = std::make_unique<OneDnnProduct>(library);
  }

  LibraryProduct library_product(const ProductCase& product) const {
    const int64_t rows = product.rows, in = product.in, out = product.out;
    const auto& [x, weight, dy, result] = of_libraries;
    switch (form) {
      case ProductForm::forward:
        return {rows, out, in, x, weight, result, false, true};
      case ProductForm::backward_input:
        return {rows, in, out, dy, weight, result, false, false};
      case ProductForm::backward_weight:
        break;
    }
    return {out, in, rows, dy, x, result, true, false};
  }

  void ours() {
    const auto& [x, weight, dy, result] = own;
    switch (form) {
      case ProductForm::forward:
        return kernels::matmul_forward(x, weight, result, offsets, engine.stream());
      case ProductForm::backward_input:
        return kernels::matmul_backward_input(dy, weight, result, offsets, engine.stream());
      case ProductForm::backward_weight:
        return kernels::matmul_backward_weight(dy, x, result, offsets, {}, engine.stream());
    }
  }
};

MatmulRace::MatmulRace(const ProductCase& product)
    : product_(product), contestants_(std::make_unique<Contestants>(product)) {}
MatmulRace::~MatmulRace() = default;

double MatmulRace::round() {
  Contestants& all = *contestants_;
  ours_.push_back(turn(product_.threads, [&] { all.ours(); }));
  omp_set_num_threads(product_.threads);
  onednn_.push_back(turn(product_.threads, [&] { all.onednn->run(); }));
  if (all.of_libraries.x.dtype() == DType::f32) {
    openblas_set_num_threads(product_.threads);
    openblas_.push_back(turn(product_.threads, [&] { all.library.openblas(); }));
  }
  return ours_.back();
}

double MatmulRace::rate(const std::vector<double>& seconds) const {
  return seconds.empty() ? 0 : product_.flops() * 1e-9 / median(seconds);
}
double MatmulRace::ours() const { return rate(ours_); }
double MatmulRace::onednn() const { return rate(onednn_); }
double MatmulRace::openblas() const { return rate(openblas_); }
double MatmulRace::best_library() const { return std::max(onednn(), openblas()); }
double MatmulRace::last_best_seconds() const {
  double best = std::min(ours_.back(), onednn_.back());
  if (!openblas_.empty()) best = std::min(best, openblas_.back());
  return best;
}

}  // namespace tessera::benchmarks
