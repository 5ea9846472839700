#include <algorithm>

#include "runtime/infer.h"
#include "runtime/ops/families.h"
#include "runtime/ops/move.h"
#include "runtime/quantize_view.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kPadFields[] = {string_field("mode", "constant")};
constexpr FieldDef kCenterCropPadFields[] = {ints_field("axes")};

// Amounts added (or, negative, cut off) before and after each dimension.
struct Pads {
  std::array<int64_t, kMaxRank> begin{}, end{};
};

Result<Pads> read_pads(std::span<const int64_t> pads, ShortInts axes, int rank) {
  if (pads.size() != 2 * axes.size()) {
    return fail(ErrorCode::kShapeMismatch, pads.size(), " pads for ", axes.size(), " axes");
  }
  OCTAVO_TRY(normalize_axes(axes, rank));
  Pads out;
  for (size_t i = 0; i < axes.size(); ++i) {
    // Far beyond any size a tensor can have, and safe to add up.
    constexpr int64_t kLimit = int64_t{1} << 48;
    const int64_t begin = pads[i], end = pads[i + axes.size()];
    if (std::max(begin, end) > kLimit || std::min(begin, end) < -kLimit) {
      return fail(ErrorCode::kLimitExceeded, "pads of ", begin, " and ", end, " are too large");
    }
    out.begin[static_cast<size_t>(axes[i])] = begin;
    out.end[static_cast<size_t>(axes[i])] = end;
  }
  return out;
}

ShortInts all_axes(int rank) { return ShortInts::first(static_cast<size_t>(rank)); }

Result<Shape> padded(const Shape& in, const Pads& pads) {
  Shape out = in;
  for (int i = 0; i < in.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    const int64_t change = pads.begin[at] + pads.end[at];
    if (in[i] < 0) {
      if (change != 0) out[i] = kUnknownDim;
      continue;
    }
    if (__builtin_add_overflow(in[i], change, &out[i]) || out[i] < 0) {
      return fail(ErrorCode::kShapeMismatch, "pads of ", pads.begin[at], " and ", pads.end[at],
                  " do not fit a dimension of ", in[i]);
    }
  }
  return out;
}

Status infer_pad(InferContext& c) {
  const Shape& in = c.shape(0);
  Shape out = in;
  const bool axes_known = !c.has_input(3) || c.constant(3) != nullptr;
  if (in.has_rank() && c.constant(1) != nullptr && axes_known) {
    OCTAVO_ASSIGN(const auto amounts, ShortInts::of(c.constant(1)->view()));
    ShortInts axes = all_axes(in.rank());
    if (c.has_input(3)) {
      OCTAVO_ASSIGN(axes, ShortInts::of(c.constant(3)->view()));
    }
    OCTAVO_ASSIGN(const Pads pads, read_pads(amounts, axes, in.rank()));
    OCTAVO_ASSIGN(out, padded(in, pads));
  } else if (in.has_rank()) {
    out = Shape::filled(in.rank(), kUnknownDim);
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

// Copies what the two tensors share if in's position p is out's position p + offset[axis].
void copy_overlap(const TensorView& in, const TensorView& out,
                  const std::array<int64_t, kMaxRank>& offset) {
  const auto from = memory_strides(in.shape, in.layout), to = memory_strides(out.shape, out.layout);
  Block block;
  int64_t from_at = 0, to_at = 0;
  for (int i = 0; i < in.shape.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    const int64_t begin = std::max<int64_t>(0, -offset[at]);
    const int64_t end = std::min(in.shape[i], out.shape[i] - offset[at]);
    if (end <= begin) return;
    block.add(end - begin, from[at], to[at]);
    from_at += begin * from[at];
    to_at += (begin + offset[at]) * to[at];
  }
  copy_block(block, in.dtype, in.data, from_at, out.data, to_at);
}

enum class PadMode { kReflect, kEdge, kWrap };

// Where position p, counted from the first of `size` kept elements, is read.
int64_t source_of(PadMode mode, int64_t p, int64_t size) {
  const auto modulo = [](int64_t a, int64_t b) { return (a % b + b) % b; };
  if (p >= 0 && p < size) return p;
  switch (mode) {
    case PadMode::kEdge: return std::clamp<int64_t>(p, 0, size - 1);
    case PadMode::kWrap: return modulo(p, size);
    case PadMode::kReflect: break;
  }
  if (size == 1) return 0;
  const int64_t period = 2 * (size - 1), q = modulo(p, period);
  return q < size ? q : period - q;
}

Status pad_from_input(const TensorView& in, const TensorView& out, const Pads& pads, PadMode mode) {
  const int rank = in.shape.rank();
  const auto from = memory_strides(in.shape, in.layout);
  // Source offsets along each axis, the axes in the order in which `out` lies in memory.
  std::vector<std::vector<int64_t>> offsets(static_cast<size_t>(std::max(rank, 1)));
  offsets[0] = {0};
  for (int i = 0; i < rank; ++i) {
    const auto at = static_cast<size_t>(i);
    const int64_t cut = std::max<int64_t>(0, -pads.begin[at]);
    const int64_t size = in.shape[i] - cut - std::max<int64_t>(0, -pads.end[at]);
    if (size <= 0) {
      return fail(ErrorCode::kShapeMismatch, "pads of ", pads.begin[at], " and ", pads.end[at],
                  " leave nothing of a dimension of ", in.shape[i]);
    }
    auto& list = offsets[static_cast<size_t>(physical_axis(i, rank, out.layout))];
    list.assign(static_cast<size_t>(out.shape[i]), 0);
    for (int64_t o = 0; o < out.shape[i]; ++o) {
      const int64_t p = o - std::max<int64_t>(0, pads.begin[at]);
      list[static_cast<size_t>(o)] = (cut + source_of(mode, p, size)) * from[at];
    }
  }
  copy_mapped(in.dtype, in.data, out.data, offsets);
  return {};
}

Status run_pad(KernelContext& c) {
  const TensorView& in = c.in(0);
  const QuantParams* quant = in.quant;
  if (quant != nullptr || c.out(0).quant != nullptr) {
    const bool keeps = quant != nullptr && quant->per_tensor() && dtype_bytes(in.dtype) == 1 &&
                       c.out(0).quant != nullptr && *c.out(0).quant == *quant &&
                       c.out(0).dtype == in.dtype &&
                       !(c.has_input(2) && c.in(2).dtype != DType::kF32);
    if (!keeps) return run_dequantized(*find_op(c.node.kind), c);
  }
  OCTAVO_ASSIGN(const auto amounts, ShortInts::of(c.in(1)));
  ShortInts axes = all_axes(in.shape.rank());
  if (c.has_input(3)) {
    OCTAVO_ASSIGN(axes, ShortInts::of(c.in(3)));
  }
  OCTAVO_ASSIGN(const Pads pads, read_pads(amounts, axes, in.shape.rank()));
  OCTAVO_ASSIGN(const Shape shape, padded(in.shape, pads));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, shape));
  if (out.elements() == 0) return {};
  const std::string_view mode = c.node.get_string("mode");
  if (mode == "reflect") return pad_from_input(in, out, pads, PadMode::kReflect);
  if (mode == "edge") return pad_from_input(in, out, pads, PadMode::kEdge);
  if (mode == "wrap") return pad_from_input(in, out, pads, PadMode::kWrap);
  if (mode != "constant") return fail(ErrorCode::kInvalidModel, "mode '", mode, "' does not exist");
  const DType value_dtype = quant != nullptr ? DType::kF32 : in.dtype;
  if (c.has_input(2) && (c.in(2).dtype != value_dtype || c.in(2).elements() != 1)) {
    return fail(ErrorCode::kShapeMismatch, "the pad value must be one ", dtype_name(value_dtype));
  }
  if (quant != nullptr) {
    const float value = c.has_input(2) ? *c.in(2).as<const float>() : 0;
    uint8_t q = 0;
    OCTAVO_TRY(quantize_view(&value, {&q, in.dtype, Layout::kPlain, Shape{}, quant}));
    std::fill_n(out.as<uint8_t>(), out.elements(), q);
    copy_overlap(in, out, pads.begin);
    return {};
  }
  visit_dtype_size(in.dtype, [&]<class T>() {
    std::fill_n(out.as<T>(), out.elements(), c.has_input(2) ? *c.in(2).as<const T>() : T{});
  });
  copy_overlap(in, out, pads.begin);
  return {};
}

Result<Shape> cropped(const Node& node, const Shape& in, std::span<const int64_t> sizes) {
  const auto given = node.get_ints("axes");
  ShortInts axes = all_axes(in.rank());
  if (!given.empty()) {
    OCTAVO_ASSIGN(axes, ShortInts::of(given));
  }
  OCTAVO_TRY(normalize_axes(axes, in.rank()));
  if (sizes.size() != axes.size()) {
    return fail(ErrorCode::kShapeMismatch, sizes.size(), " sizes for ", axes.size(), " axes");
  }
  Shape out = in;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (sizes[i] < 0) return fail(ErrorCode::kShapeMismatch, "the new shape holds ", sizes[i]);
    out[static_cast<int>(axes[i])] = sizes[i];
  }
  return out;
}

Status infer_center_crop_pad(InferContext& c) {
  const Shape& in = c.shape(0);
  Shape out = in;
  if (in.has_rank()) {
    if (const Tensor* sizes = c.constant(1)) {
      OCTAVO_ASSIGN(const auto list, ShortInts::of(sizes->view()));
      OCTAVO_ASSIGN(out, cropped(c.node, in, list));
    } else {
      out = Shape::filled(in.rank(), kUnknownDim);
    }
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

Status run_center_crop_pad(KernelContext& c) {
  const TensorView& in = c.in(0);
  OCTAVO_ASSIGN(const auto sizes, ShortInts::of(c.in(1)));
  OCTAVO_ASSIGN(const Shape shape, cropped(c.node, in.shape, sizes));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, shape));
  std::array<int64_t, kMaxRank> offset{};
  for (int i = 0; i < shape.rank(); ++i) {
    // The odd element is cut or added at the end.
    const int64_t a = in.shape[i], b = shape[i];
    offset[static_cast<size_t>(i)] = a > b ? -((a - b) / 2) : (b - a) / 2;
  }
  visit_dtype_size(in.dtype, [&]<class T>() { std::fill_n(out.as<T>(), out.elements(), T{}); });
  copy_overlap(in, out, offset);
  return {};
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kPad,
     .name = "Pad",
     .min_inputs = 2,
     .max_inputs = 4,
     .fields = kPadFields,
     .infer = infer_pad,
     .reference = run_pad,
     .quant = {.policy = QuantPolicy::kRequantize, .data_inputs = 1},
     .mixed = kInferHalf,
     .layout = LayoutRule::kAgnostic,
     .flags = kIntegerReference},
    {.kind = OpKind::kCenterCropPad,
     .name = "CenterCropPad",
     .min_inputs = 2,
     .max_inputs = 2,
     .fields = kCenterCropPadFields,
     .infer = infer_center_crop_pad,
     .reference = run_center_crop_pad},
};

}  // namespace

std::span<const OpDef> pad_ops() { return kOps; }

}  // namespace octavo::ops
