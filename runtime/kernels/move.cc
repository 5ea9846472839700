// Data movement: Concat in any layout. Quantized inputs with parameters other than the output's go
// through a 256-entry table; what was computed in its place is not copied.
#include <cstring>

#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/kernel_step.h"

namespace octavo::kernels {
namespace {

constexpr int64_t kGrainBytes = 65536;  // that are worth another thread

// What each byte of a tensor becomes under other parameters: dequantize, then quantize.
ByteTable requantize_table(DType from_dtype, const QuantParams& from, DType to_dtype,
                           const QuantParams& to) {
  ByteTable table{};
  for (int byte = 0; byte < 256; ++byte) {
    const int32_t q = from_dtype == DType::kI8 ? static_cast<int8_t>(byte) : byte;
    const float real = dequantize(q, from.scale[0], from.zero_point[0]);
    table[static_cast<size_t>(byte)] =
        to_dtype == DType::kI8
            ? static_cast<uint8_t>(quantize<int8_t>(real, to.scale[0], to.zero_point[0]))
            : quantize<uint8_t>(real, to.scale[0], to.zero_point[0]);
  }
  return table;
}

bool supports_concat(const PlanGraph& graph, const Node& node) {
  const TensorInfo& y = graph.info(node.output(0));
  const bool quantized = int8_params(graph, node.output(0)) != nullptr;
  if (y.dtype == DType::kString || (y.quant != nullptr && !quantized)) return false;
  return std::ranges::all_of(node.inputs, [&](ValueId id) {
    if (id == kNoValue || graph.is_constant(id)) return false;
    if (quantized) return int8_params(graph, id) != nullptr;
    return graph.info(id).quant == nullptr && graph.info(id).dtype == y.dtype;
  });
}

// Copies rows of `bytes` that adjoin to rows that begin `stride` bytes apart.
template <int64_t kBytes = 0>
void copy_rows(const uint8_t* from, int64_t bytes, uint8_t* to, int64_t stride, int64_t rows) {
  if constexpr (kBytes == 0) {  // few bytes are copied without a call if their number is known
    switch (bytes) {
      case 4: return copy_rows<4>(from, bytes, to, stride, rows);
      case 16: return copy_rows<16>(from, bytes, to, stride, rows);
      case 32: return copy_rows<32>(from, bytes, to, stride, rows);
      case 64: return copy_rows<64>(from, bytes, to, stride, rows);
      default: break;
    }
  }
  const int64_t count = kBytes == 0 ? bytes : kBytes;
  for (; rows > 0; --rows, from += count, to += stride) {
    std::memcpy(to, from, static_cast<size_t>(count));
  }
}

class ConcatStep final : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create(const PlanGraph& graph,
                                                            const Node& node, Layout layout) {
    std::unique_ptr<ConcatStep> step(new ConcatStep(graph, node));
    const TensorInfo& y = graph.info(node.output(0));
    const int rank = y.shape.rank();
    OCTAVO_ASSIGN(const int logical, normalize_axis(node.get_int("axis"), rank));
    const int axis = physical_axis(logical, rank, layout);
    const auto inner_bytes = [&](const Shape& shape) {
      return physical_shape(shape, layout).elements(axis, rank) * dtype_bytes(y.dtype);
    };
    step->rows_ = physical_shape(y.shape, layout).elements(0, axis);
    step->row_bytes_ = step->stride_ = inner_bytes(y.shape);
    step->by_pixel_ = layout == Layout::kChannelsLast && rank >= 3 && logical == 1;
    int64_t offset = 0;
    for (const ValueId id : node.inputs) {
      const TensorInfo& x = graph.info(id);
      Copy piece{offset, inner_bytes(x.shape)};
      if (y.quant != nullptr && (x.dtype != y.dtype || !(*x.quant == *y.quant))) {
        piece.table =
            std::make_unique<ByteTable>(requantize_table(x.dtype, *x.quant, y.dtype, *y.quant));
      }
      offset += piece.bytes;
      step->pieces_.push_back(std::move(piece));
    }
    return step;
  }

  std::optional<Piece> piece(size_t index) const override {
    const auto& copied = pieces_[index];
    if (copied.table != nullptr || (rows_ > 1 && !by_pixel_)) return {};
    return Piece{copied.offset, rows_ > 1 ? stride_ : 0};
  }
  bool set_pixel_stride(int64_t bytes) override {
    if (by_pixel_) stride_ = bytes;
    return by_pixel_;
  }

  Status run(const StepContext& context) override {
    auto* out = static_cast<uint8_t*>(context.outputs[0].data);
    const auto is_there = [&](size_t p) {
      return input(context, p).data == out + pieces_[p].offset;
    };
    size_t first = 0;
    while (first < pieces_.size() && is_there(first)) ++first;
    if (first == pieces_.size()) return {};
    const int64_t grain = std::max<int64_t>(1, kGrainBytes / std::max<int64_t>(1, row_bytes_));
    parallel_for(context.pool, rows_, grain, [&](int64_t begin, int64_t end) {
      for (size_t p = first; p < pieces_.size(); ++p) {
        if (is_there(p)) continue;
        const Copy& piece = pieces_[p];
        const auto* from =
            static_cast<const uint8_t*>(input(context, p).data) + begin * piece.bytes;
        uint8_t* to = out + begin * stride_ + piece.offset;
        if (piece.table == nullptr) {
          copy_rows(from, piece.bytes, to, stride_, end - begin);
          continue;
        }
        for (int64_t row = begin; row < end; ++row, from += piece.bytes, to += stride_) {
          lookup_row(piece.table->data(), from, to, piece.bytes);
        }
      }
    });
    return {};
  }

 private:
  struct Copy {
    int64_t offset, bytes;  // within a row of the output
    std::unique_ptr<ByteTable> table = nullptr;
  };
  using KernelStep::KernelStep;

  int64_t rows_ = 0, row_bytes_ = 0;
  int64_t stride_ = 0;        // bytes from a row of the output to the next
  bool by_pixel_ = false;     // rows are pixels
  std::vector<Copy> pieces_;  // by input
};

constexpr KernelDef kRows[] = {
    {"concat", OpKind::kConcat, ClaimLayout::kFollow, supports_concat, ConcatStep::create, kExact},
};

}  // namespace

std::span<const KernelDef> move_kernels() { return kRows; }

}  // namespace octavo::kernels
