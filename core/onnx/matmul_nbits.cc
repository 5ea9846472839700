#include "core/onnx/matmul_nbits.h"

#include <algorithm>
#include <bit>

#include "core/graph_edit.h"
#include "runtime/op.h"

namespace octavo::onnx_io {
namespace {

constexpr int64_t kSmallestBlock = 16;
constexpr int64_t kLargestBlock = int64_t{1} << 30;
constexpr uint64_t kLargestWritten = 256;  // what ONNX Runtime takes

size_t at(int64_t i) { return static_cast<size_t>(i); }

/// Elements of `bits` (a divisor of 8) in bytes, in rows that begin at a byte each.
struct Packed {
  int64_t row_elements, bits;

  int64_t row_bytes() const { return (row_elements * bits + 7) / 8; }
  int get(std::span<const uint8_t> bytes, int64_t row, int64_t i) const {
    const uint8_t byte = bytes[at(row * row_bytes() + i * bits / 8)];
    return (byte >> (i * bits % 8)) & ((1 << bits) - 1);
  }
  void set(std::span<uint8_t> bytes, int64_t row, int64_t i, int value) const {
    uint8_t& byte = bytes[at(row * row_bytes() + i * bits / 8)];
    byte = static_cast<uint8_t>(byte | (value << (i * bits % 8)));
  }
};

/// A matrix [rows, columns] with its axes exchanged.
Result<Tensor> exchanged(const Tensor& matrix, int64_t rows, int64_t columns) {
  OCTAVO_ASSIGN(Tensor out, Tensor::create(matrix.dtype(), Shape{columns, rows}));
  const auto copy = [&]<class T>() {
    const auto from = matrix.data<const T>();
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c)
        out.data<T>()[at(c * rows + r)] = from[at(r * columns + c)];
    }
  };
  visit_dtype(matrix.dtype(), copy, [] {});
  return out;
}

// --- Export --------------------------------------------------------------------------------------

class Former {
 public:
  explicit Former(Graph& graph) : editor_(graph), graph_(graph) {}

  Status run() {
    const auto count = static_cast<NodeId>(graph_.nodes.size());
    for (NodeId id = 0; id < count; ++id) {
      if (node(id).kind != OpKind::kDequantizeLinear || !node(id).has("form")) continue;
      const bool wanted = node(id).get_string("form") == kMatMulNBits;
      node(id).unset("form");
      if (wanted) OCTAVO_TRY(form(id));
    }
    return {};
  }

 private:
  Node& node(NodeId id) { return graph_.nodes[at(id)]; }
  const Tensor& constant(ValueId id) const { return graph_.value(id).constant; }

  /// The product whose second operand alone is the node's output.
  NodeId product_of(NodeId id) {
    const ValueId weight = node(id).outputs[0];
    if (!editor_.has_one_use(weight)) return -1;
    const NodeId reader = editor_.consumers(weight)[0];
    const Node& product = node(reader);
    const bool is_product = product.kind == OpKind::kMatMul ||
                            (product.kind == OpKind::kGemm && product.get_int("transA") == 0 &&
                             product.get_float("alpha") == 1 && product.get_float("beta") == 1);
    return is_product && product.inputs[1] == weight && product.inputs[0] != weight ? reader : -1;
  }

  Status form(NodeId id) {
    const NodeId product = product_of(id);
    const ValueId integers = node(id).inputs[0], scale = node(id).input(1);
    if (product < 0 || !editor_.is_constant(integers) || !editor_.is_constant(scale) ||
        constant(integers).shape().rank() != 2 || constant(scale).dtype() != DType::kF32) {
      return {};
    }
    const bool by_rows =
        node(product).kind == OpKind::kGemm && node(product).get_int("transB") != 0;
    const Tensor& weights = constant(integers);
    const int axis = by_rows ? 1 : 0;  // of K
    const int64_t k = weights.shape()[axis], n = weights.shape()[1 - axis];
    const int64_t group = node(id).get_int("block_size");
    if (group == 0 || node(id).get_int("axis") != axis) return {};
    const auto size = static_cast<uint64_t>(group >= k ? std::bit_ceil(static_cast<uint64_t>(k))
                                                       : group & -group);  // what divides the group
    const auto block = static_cast<int64_t>(std::min(size, kLargestWritten));
    if (group < k && block < kSmallestBlock) return {};
    const ValueId bias = node(product).input(2);
    if (bias != kNoValue && (!editor_.is_constant(bias) || !(constant(bias).shape() == Shape{n}))) {
      return {};
    }
    return write(id, product, {k, n, group, std::max(block, kSmallestBlock), by_rows});
  }

  struct Layout {
    int64_t k, n, group, block;  // a group's scale is repeated for each of its blocks
    bool by_rows;
    int64_t blocks() const { return (k + block - 1) / block; }
    /// Where the parameters of an output's block are.
    size_t parameter(int64_t output, int64_t b) const {
      const int64_t g = b * block / group, groups = (k + group - 1) / group;
      return at(by_rows ? output * groups + g : g * n + output);
    }
  };

  Status write(NodeId id, NodeId product, const Layout& l) {
    const Value& integers = graph_.value(node(id).inputs[0]);
    const std::string name = integers.name;
    const DType dtype = integers.dtype;
    const bool is_signed = dtype_info(dtype).is_signed;
    const int64_t bits = dtype == DType::kI4 || dtype == DType::kU4 ? 4 : 8;
    const int middle = 1 << (bits - 1);
    const Tensor& stored = integers.constant;
    const auto* bytes = static_cast<const uint8_t*>(stored.raw());
    // In memory every integer has a byte; signed ones are moved up by the middle.
    const auto value = [&](const uint8_t* from, size_t i) {
      return is_signed ? static_cast<int8_t>(from[i]) + middle : int{from[i]};
    };
    const int64_t blocks = l.blocks();
    const Packed packed{l.block, bits}, zeros{blocks, bits};
    OCTAVO_ASSIGN(Tensor weights,
                  Tensor::create(DType::kU8, Shape{l.n, blocks, packed.row_bytes()}));
    const Tensor& scale = constant(node(id).inputs[1]);
    OCTAVO_ASSIGN(Tensor scales, Tensor::create(DType::kF32, Shape{l.n * blocks}));
    OCTAVO_ASSIGN(Tensor zero_points, Tensor::create(DType::kU8, Shape{l.n, zeros.row_bytes()}));
    std::ranges::fill(weights.data<uint8_t>(), uint8_t{0});
    std::ranges::fill(zero_points.data<uint8_t>(), uint8_t{0});
    const ValueId zero_id = node(id).input(2);
    const auto* zero_bytes =
        zero_id == kNoValue ? nullptr : static_cast<const uint8_t*>(constant(zero_id).raw());
    bool all_middle = true;
    for (int64_t output = 0; output < l.n; ++output) {
      for (int64_t b = 0; b < blocks; ++b) {
        const int zero = zero_bytes == nullptr ? (is_signed ? middle : 0)
                                               : value(zero_bytes, l.parameter(output, b));
        all_middle &= zero == middle;
        zeros.set(zero_points.data<uint8_t>(), output, b, zero);
        scales.data<float>()[at(output * blocks + b)] =
            scale.data<const float>()[l.parameter(output, b)];
        for (int64_t i = 0; i < l.block; ++i) {
          const int64_t input = b * l.block + i;
          const int64_t from = l.by_rows ? output * l.k + input : input * l.n + output;
          packed.set(weights.data<uint8_t>(), output * blocks + b, i,
                     input < l.k ? value(bytes, at(from)) : zero);
        }
      }
    }
    const ValueId bias = node(product).input(2);
    std::vector<ValueId> inputs = {
        node(product).inputs[0],
        editor_.add_constant(concat(name, "_packed"), std::move(weights)),
        editor_.add_constant(concat(name, "_scales"), std::move(scales)),
        kNoValue,
        kNoValue,
        bias};
    if (!all_middle) {
      inputs[3] = editor_.add_constant(concat(name, "_zero_points"),
                                       zero_points.reshaped(Shape{zero_points.elements()}));
    }
    while (inputs.back() == kNoValue) inputs.pop_back();
    editor_.erase(id);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (i < node(product).inputs.size()) {
        editor_.set_input(product, i, inputs[i]);
      } else {
        editor_.add_input(product, inputs[i]);
      }
    }
    Node& made = node(product);
    for (const char* field : {"alpha", "beta", "transA", "transB"}) made.unset(field);
    made.set(kMicrosoftOp, std::string(kMatMulNBits));
    made.set("K", l.k);
    made.set("N", l.n);
    made.set("bits", bits);
    made.set("block_size", l.block);
    return {};
  }

  GraphEditor editor_;
  Graph& graph_;
};

}  // namespace

Status form_matmul_nbits(Graph& graph) { return Former(graph).run(); }

// --- Import --------------------------------------------------------------------------------------

Status read_matmul_nbits(Rewrite& r) {
  const int64_t k = r.int_or("K", 0), n = r.int_or("N", 0), bits = r.int_or("bits", 4);
  const int64_t block = r.int_or("block_size", 0);
  if (k < 1 || n < 1 || block < kSmallestBlock || block > kLargestBlock ||
      !std::has_single_bit(static_cast<uint64_t>(block))) {
    return fail(ErrorCode::kInvalidModel, "MatMulNBits with K ", k, ", N ", n, " and block_size ",
                block);
  }
  if (bits != 2 && bits != 4 && bits != 8) {
    return fail(ErrorCode::kUnsupportedOp, "MatMulNBits with ", bits,
                " bits is not supported; 2, 4 and 8 are");
  }
  if (r.input(4) != kNoValue) {
    return fail(ErrorCode::kUnsupportedOp, "MatMulNBits with g_idx is not supported");
  }
  const Tensor* packed = r.builder.constant(r.input(1));
  const Tensor* scales = r.builder.constant(r.input(2));
  const Tensor* zero_points = r.builder.constant(r.input(3));
  if (packed == nullptr || scales == nullptr ||
      (r.input(3) != kNoValue && zero_points == nullptr)) {
    return fail(ErrorCode::kUnsupportedOp, "MatMulNBits whose weights are not constant");
  }
  const Packed row{block, bits};
  const int64_t blocks = (k - 1) / block + 1;
  const Packed zeros{blocks, bits};
  // N and the number of blocks are bounded by what is there before they are multiplied.
  const bool fits =
      scales->elements() / n == blocks && scales->elements() % n == 0 &&
      packed->dtype() == DType::kU8 && packed->elements() / row.row_bytes() == scales->elements() &&
      packed->elements() % row.row_bytes() == 0 && dtype_info(scales->dtype()).is_float;
  if (!fits) {
    return fail(ErrorCode::kInvalidModel, "MatMulNBits: ", packed->elements(), " bytes and ",
                scales->elements(), " scales for ", n, " x ", blocks, " blocks of ", block);
  }
  if (zero_points != nullptr &&
      (zero_points->dtype() != DType::kU8 || zero_points->elements() != n * zeros.row_bytes())) {
    return fail(ErrorCode::kUnsupportedOp,
                "MatMulNBits whose zero points are not packed integers is not supported");
  }
  const bool is_signed = zero_points == nullptr;
  const int middle = 1 << (bits - 1);
  const DType dtype =
      bits == 8 ? (is_signed ? DType::kI8 : DType::kU8) : (is_signed ? DType::kI4 : DType::kU4);
  OCTAVO_ASSIGN(Tensor integers, Tensor::create(dtype, Shape{k, n}));
  OCTAVO_ASSIGN(Tensor zero, Tensor::create(dtype, Shape{blocks, n}));
  auto* to = static_cast<uint8_t*>(integers.raw());
  auto* zero_to = static_cast<uint8_t*>(zero.raw());
  for (int64_t output = 0; output < n; ++output) {
    for (int64_t b = 0; b < blocks; ++b) {
      zero_to[b * n + output] = static_cast<uint8_t>(
          is_signed ? 0 : zeros.get(zero_points->data<const uint8_t>(), output, b));
      for (int64_t i = 0; i < block && b * block + i < k; ++i) {
        const int q = row.get(packed->data<const uint8_t>(), output * blocks + b, i);
        to[(b * block + i) * n + output] = static_cast<uint8_t>(is_signed ? q - middle : q);
      }
    }
  }
  OCTAVO_ASSIGN(Tensor by_block, exchanged(*scales, n, blocks));
  OCTAVO_ASSIGN(
      const ValueId weights,
      r.add(OpKind::kDequantizeLinear,
            {r.constant("integers", std::move(integers)), r.constant("scales", std::move(by_block)),
             r.constant("zero", std::move(zero))},
            {{"axis", int64_t{0}}, {"block_size", block}, {"form", std::string(kMatMulNBits)}}));
  r.done = true;
  const ValueId bias = r.input(5);
  if (bias == kNoValue) {
    return r.add_to(r.node.output(0), OpKind::kMatMul, {r.input(0), weights});
  }
  OCTAVO_ASSIGN(const ValueId product, r.add(OpKind::kMatMul, {r.input(0), weights}));
  return r.add_to(r.node.output(0), OpKind::kAdd, {product, bias});
}

}  // namespace octavo::onnx_io
