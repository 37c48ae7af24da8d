#include "kernels/cpu/amx_matmul.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <dnnl.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "runtime/tensor.h"

namespace tessera::kernels::cpu {
namespace {

constexpr int64_t kPanelRows = 64;
constexpr int64_t kBlockColumns = 512;  // of B: 512 x 512 bf16 stay in L2 while panels of A pass
constexpr int64_t kChunk =
    128;  // of the summed dim, where A is transposed: half a chunk is lost on a short group

/// What a call into oneDNN is compiled for.
struct Layout {
  int64_t depth, columns;  ///< C[64, columns] = A[64, depth] B[depth, columns]
  int64_t a_stride, b_stride, c_stride;
  bool a_transposed, b_transposed;
  DType c_dtype;

  auto operator<=>(const Layout&) const = default;
};

/// The columns [block * kBlockColumns, ...) of a product.
Layout layout_of(const Product& product, int64_t block) {
  return {.depth = product.a.transposed ? kChunk : product.k,
          .columns = std::min(kBlockColumns, product.n - block * kBlockColumns),
          // A transposed panel is always copied, into rows of its own width.
          .a_stride = product.a.transposed ? kPanelRows : product.a.stride,
          .b_stride = product.b.stride,
          .c_stride = product.c.stride,
          .a_transposed = product.a.transposed,
          .b_transposed = product.b.transposed,
          .c_dtype = product.c.dtype};
}

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::memory::desc matrix_desc(int64_t rows, int64_t columns, DType dtype, int64_t stride, bool transposed) {
  using Desc = dnnl::memory::desc;
  const auto type = dtype == DType::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
  return transposed ? Desc({rows, columns}, type, {1, stride}) : Desc({rows, columns}, type, {stride, 1});
}

/// oneDNN's compiled code for one layout.  Executing it from several threads at once is safe, since its scratchpad comes
/// from the caller.
class Compiled {
 public:
  explicit Compiled(const Layout& layout)
      : a_(matrix_desc(kPanelRows, layout.depth, DType::bf16, layout.a_stride, layout.a_transposed)),
        b_(matrix_desc(layout.depth, layout.columns, DType::bf16, layout.b_stride, layout.b_transposed)),
        c_(matrix_desc(kPanelRows, layout.columns, layout.c_dtype, layout.c_stride, false)) {
    const dnnl::memory::desc any({layout.depth, layout.columns}, dnnl::memory::data_type::bf16,
                                 dnnl::memory::format_tag::any);
    const auto compile = [&](const dnnl::memory::desc& packed, bool adds) {
      dnnl::primitive_attr attributes;
      attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
      if (adds) {
        dnnl::post_ops sum;
        sum.append_sum();
        attributes.set_post_ops(sum);
      }
      const dnnl::matmul::desc operation(a_, packed, c_);
      const dnnl::matmul::primitive_desc description(operation, attributes, cpu_engine());
      packed_ = description.weights_desc();
      if (description.scratchpad_desc().get_size() >= scratchpad_.get_size())
        scratchpad_ = description.scratchpad_desc();
      return dnnl::matmul(description);
    };
    start_ = compile(any, false);
    if (layout.a_transposed) add_ = compile(dnnl::memory::desc(packed_), true);
    pack_ = dnnl::reorder(dnnl::reorder::primitive_desc(cpu_engine(), b_, cpu_engine(), packed_));
  }

  int64_t packed_bytes() const { return static_cast<int64_t>(packed_.get_size()); }
  int64_t scratchpad_bytes() const { return static_cast<int64_t>(scratchpad_.get_size()); }

  void pack(bf16* b, void* packed) const {
    run(pack_, {{DNNL_ARG_FROM, memory(b_, b)}, {DNNL_ARG_TO, memory(packed_, packed)}});
  }
  /// C = A B, or C += A B.
  void multiply(bf16* a, void* packed, void* c, void* scratchpad, bool adds) const {
    run(adds ? add_ : start_, {{DNNL_ARG_SRC, memory(a_, a)},
                               {DNNL_ARG_WEIGHTS, memory(packed_, packed)},
                               {DNNL_ARG_DST, memory(c_, c)},
                               {DNNL_ARG_SCRATCHPAD, memory(scratchpad_, scratchpad)}});
  }

 private:
  static dnnl::memory memory(const dnnl::memory::desc& desc, void* data) {
    return {desc, cpu_engine(), data};
  }
  static void run(const dnnl::primitive& primitive, const std::unordered_map<int, dnnl::memory>& arguments) {
    dnnl::stream stream(cpu_engine());
    primitive.execute(stream, arguments);
    stream.wait();
  }

  dnnl::memory::desc a_, b_, c_, packed_, scratchpad_;
  dnnl::reorder pack_;
  dnnl::matmul start_, add_;
};

/// Compiled code is kept for the life of the process: it is a pure function of the layout, so engines can share it, and a
/// model has a few dozen layouts, each costing milliseconds to compile.
const Compiled& compiled(const Layout& layout) {
  static std::mutex lock;
  static std::map<Layout, std::unique_ptr<Compiled>> known;
  std::lock_guard hold(lock);
  std::unique_ptr<Compiled>& entry = known[layout];
  if (!entry) entry = std::make_unique<Compiled>(layout);
  return *entry;
}

/// Keeps oneDNN, which splits work by OpenMP, on the calling thread.
class SingleThread {
 public:
  SingleThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~SingleThread() { omp_set_num_threads(before_); }
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int before_;
};

int64_t aligned(int64_t bytes) { return parts(bytes, 64) * 64; }

/// One call's division into blocks of B, packed in a first round, and panels of C, computed in a second.
class Multiplication {
 public:
  Multiplication(std::span<const Product> products, Stream stream) : products_(products), stream_(stream) {
    const Product& first = products.front();
    for (int64_t block = 0; block < parts(first.n, kBlockColumns); ++block)
      blocks_.push_back(&compiled(layout_of(first, block)));
    for (const Compiled* block : blocks_) {
      slot_bytes_ = std::max(slot_bytes_, aligned(block->packed_bytes()));
      scratchpad_bytes_ = std::max(scratchpad_bytes_, aligned(block->scratchpad_bytes()));
    }
    const Layout layout = layout_of(first, 0);
    a_bytes_ = aligned(2 * (layout.a_transposed ? layout.depth * kPanelRows : kPanelRows * layout.a_stride));
    b_bytes_ = layout.a_transposed ? aligned(2 * layout.depth * layout.b_stride) : 0;
    c_bytes_ = aligned(kPanelRows * layout.c_stride * bytes_of(layout.c_dtype));
    int64_t slots = 0;
    for (const Product& product : products) {
      first_slot_.push_back(slots);
      slots += packs(product);
    }
    packed_ = Tensor::empty({slots * slot_bytes_}, DType::u8, stream);
    worker_bytes_ = a_bytes_ + std::max(b_bytes_, c_bytes_ + scratchpad_bytes_);
    scratch_ = Tensor::empty({engine_of(stream).pool.threads() * worker_bytes_}, DType::u8, stream);
  }

  void run() const {
    for_each_part(
        products_, stream_, [this](const Product& product) { return packs(product); },
        [this](size_t index, int64_t part, int worker) { pack(index, part, worker); });
    for_each_part(
        products_, stream_, [this](const Product& product) { return panels(product) * block_count(); },
        [this](size_t index, int64_t part, int worker) { multiply(index, part, worker); });
  }

 private:
  int64_t block_count() const { return static_cast<int64_t>(blocks_.size()); }
  static int64_t panels(const Product& product) { return parts(product.m, kPanelRows); }
  static int64_t depth(const Product& product) { return product.a.transposed ? kChunk : product.k; }
  static int64_t chunks(const Product& product) {
    return product.k == 0 ? 0 : parts(product.k, depth(product));
  }
  int64_t packs(const Product& product) const { return product.m == 0 ? 0 : chunks(product) * block_count(); }
  uint8_t* slot(size_t index, int64_t part) const {
    return packed_.data<uint8_t>() + (first_slot_[index] + part) * slot_bytes_;
  }
  uint8_t* scratch(int worker) const { return scratch_.data<uint8_t>() + worker * worker_bytes_; }

  /// Packs one chunk of one block of columns; a short chunk is filled up with zeros.
  void pack(size_t index, int64_t part, int worker) const {
    const SingleThread single;
    const Product& product = products_[index];
    const int64_t block = part % block_count(), from = part / block_count() * depth(product);
    const int64_t rows = std::min(depth(product), product.k - from), column = block * kBlockColumns;
    const Matrix& b = product.b;
    bf16* source =
        static_cast<bf16*>(b.data) + (b.transposed ? column * b.stride + from : from * b.stride + column);
    if (rows < depth(product)) {
      bf16* const copy = reinterpret_cast<bf16*>(scratch(worker));
      const int64_t columns = std::min(kBlockColumns, product.n - column);
      std::fill_n(copy, depth(product) * b.stride, bf16());
      for (int64_t p = 0; p < rows; ++p) std::copy_n(source + p * b.stride, columns, copy + p * b.stride);
      source = copy;
    }
    blocks_[static_cast<size_t>(block)]->pack(source, slot(index, part));
  }

  /// A[row : row + rows, from : from + depth] in bf16 and in the layout of the compiled code, in copy unless it lies so.
  static bf16* panel_of(const Product& product, int64_t row, int64_t rows, int64_t from, bf16* copy) {
    const Matrix& a = product.a;
    if (!a.transposed && a.dtype == DType::bf16 && rows == kPanelRows)
      return static_cast<bf16*>(a.data) + row * a.stride;
    visit_float(a.dtype, [&]<class T>() {
      const T* const source =
          static_cast<const T*>(a.data) + (a.transposed ? from * a.stride + row : row * a.stride);
      const int64_t lines = a.transposed ? std::min(kChunk, product.k - from) : rows;
      const int64_t length = a.transposed ? rows : product.k, stride = a.transposed ? kPanelRows : a.stride;
      std::fill_n(copy, (a.transposed ? kChunk : kPanelRows) * stride, bf16());
      for (int64_t i = 0; i < lines; ++i)
        for (int64_t j = 0; j < length; ++j)
          copy[i * stride + j] = bf16(static_cast<float>(source[i * a.stride + j]));
    });
    return copy;
  }

  void multiply(size_t index, int64_t part, int worker) const {
    const SingleThread single;
    const Product& product = products_[index];
    const int64_t block = part / panels(product), row = part % panels(product) * kPanelRows;
    const int64_t rows = std::min(kPanelRows, product.m - row), column = block * kBlockColumns;
    const int64_t element = bytes_of(product.c.dtype), c_line = product.c.stride * element;
    const auto line_bytes = static_cast<size_t>(std::min(kBlockColumns, product.n - column) * element);
    uint8_t* const c = static_cast<uint8_t*>(product.c.data) + row * c_line + column * element;
    uint8_t* const c_copy = scratch(worker) + a_bytes_;
    uint8_t* const into = rows == kPanelRows && product.sums.empty() ? c : c_copy;
    if (product.k == 0)
      for (int64_t i = 0; i < rows; ++i) std::memset(into + i * c_line, 0, line_bytes);
    for (int64_t chunk = 0; chunk < chunks(product); ++chunk) {
      bf16* const a = panel_of(product, row, rows, chunk * kChunk, reinterpret_cast<bf16*>(scratch(worker)));
      blocks_[static_cast<size_t>(block)]->multiply(a, slot(index, chunk * block_count() + block), into,
                                                    c_copy + c_bytes_, chunk > 0);
    }
    if (into == c) return;
    for (const float* sum : product.sums)
      for (int64_t i = 0; i < rows; ++i)
        add_line(sum + (row + i) * product.c.stride + column, line_bytes / sizeof(float), into + i * c_line);
    for (int64_t i = 0; i < rows; ++i) std::memcpy(c + i * c_line, into + i * c_line, line_bytes);
  }

  static void add_line(const float* from, size_t count, uint8_t* to) {
    float* const values = reinterpret_cast<float*>(to);
    for (size_t j = 0; j < count; ++j) values[j] += from[j];
  }

  std::span<const Product> products_;
  Stream stream_;
  std::vector<const Compiled*> blocks_;
  std::vector<int64_t> first_slot_;  ///< of every product
  int64_t slot_bytes_ = 0, a_bytes_ = 0, b_bytes_ = 0, c_bytes_ = 0, scratchpad_bytes_ = 0, worker_bytes_ = 0;
  Tensor packed_, scratch_;
};

}  // namespace

void multiply_amx(std::span<const Product> products, Stream stream) {
  try {
    const SingleThread single;  // compiled code differs by the number of threads as well
    Multiplication(products, stream).run();
  } catch (const dnnl::error& error) {
    throw Error(str("matmul: oneDNN: ", error.what()));
  }
}

}  // namespace tessera::kernels::cpu
