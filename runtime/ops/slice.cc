#include <algorithm>

#include "runtime/ops/families.h"
#include "runtime/ops/move.h"

namespace octavo::ops {
namespace {

struct SliceSpec {
  Shape shape;  // of the result
  std::array<int64_t, kMaxRank> start{}, step{};
};

// numpy's rules: bounds are clamped, whatever their size. Unknown dimensions survive a full slice.
// `inputs`: the operator's; axes and steps may be absent.
Result<SliceSpec> resolve_slice(const Shape& in, std::span<const TensorView> inputs) {
  const auto has = [&](size_t i) { return i < inputs.size() && inputs[i].present(); };
  OCTAVO_ASSIGN(const ShortInts starts, ShortInts::of(inputs[1]));
  OCTAVO_ASSIGN(const ShortInts ends, ShortInts::of(inputs[2]));
  ShortInts axes = ShortInts::first(starts.size()), steps = ShortInts::first(0);
  if (has(3)) {
    OCTAVO_ASSIGN(axes, ShortInts::of(inputs[3]));
  }
  if (has(4)) {
    OCTAVO_ASSIGN(steps, ShortInts::of(inputs[4]));
  }
  SliceSpec spec{in, {}, {}};
  spec.step.fill(1);
  if (starts.size() != ends.size() || axes.size() != starts.size() ||
      (!steps.empty() && steps.size() != starts.size())) {
    return fail(ErrorCode::kShapeMismatch, starts.size(), " starts, ", ends.size(), " ends, ",
                axes.size(), " axes and ", steps.size(), " steps");
  }
  OCTAVO_TRY(normalize_axes(axes, in.rank()));
  for (size_t k = 0; k < axes.size(); ++k) {
    const int axis = static_cast<int>(axes[k]);
    const int64_t dim = in[axis];
    // Past this no step reaches a second element; negating the smallest int64 would overflow.
    const int64_t step =
        steps.empty() ? 1 : std::max(steps[k], -std::numeric_limits<int64_t>::max());
    if (step == 0) return fail(ErrorCode::kShapeMismatch, "a step of 0");
    int64_t start = starts[k], end = ends[k];
    if (dim < 0) {
      const bool full = step == 1 && start == 0 && end >= std::numeric_limits<int32_t>::max();
      spec.shape[axis] = full ? dim : kUnknownDim;
      continue;
    }
    if (start < 0) start += dim;
    if (end < 0) end += dim;
    int64_t count = 0;
    if (step > 0) {
      start = std::clamp<int64_t>(start, 0, dim);
      end = std::clamp<int64_t>(end, 0, dim);
      if (end > start) count = (end - start - 1) / step + 1;
    } else {
      start = std::clamp<int64_t>(start, -1, dim - 1);
      end = std::clamp<int64_t>(end, -1, dim - 1);
      if (end < start) count = (start - end - 1) / -step + 1;
    }
    const auto at = static_cast<size_t>(axis);
    spec.shape[axis] = count;
    spec.start[at] = count == 0 ? 0 : start;
    spec.step[at] = count <= 1 ? 1 : step;
  }
  return spec;
}

Status infer_slice(InferContext& c) {
  const Shape& in = c.shape(0);
  Shape out = Shape::unknown();
  const auto known = [&](size_t i) { return !c.has_input(i) || c.constant(i) != nullptr; };
  if (in.has_rank()) {
    std::array<TensorView, 5> inputs;
    for (size_t i = 1; i < inputs.size(); ++i) {
      if (c.constant(i) != nullptr) inputs[i] = c.constant(i)->view();
    }
    if (known(1) && known(2) && known(3) && known(4)) {
      OCTAVO_ASSIGN(const SliceSpec spec, resolve_slice(in, inputs));
      out = spec.shape;
    } else {
      ShortInts axes = ShortInts::first(static_cast<size_t>(in.rank()));
      if (inputs[3].present()) {
        OCTAVO_ASSIGN(axes, ShortInts::of(inputs[3]));
      }
      OCTAVO_TRY(normalize_axes(axes, in.rank()));
      out = in;
      for (const int64_t axis : axes) out[static_cast<int>(axis)] = kUnknownDim;
    }
  }
  c.set_output(0, c.dtype(0), out);
  return {};
}

Status run_slice(KernelContext& c) {
  const TensorView& in = c.in(0);
  OCTAVO_ASSIGN(const SliceSpec spec, resolve_slice(in.shape, c.inputs));
  OCTAVO_ASSIGN(const TensorView out, c.make_output(0, in.dtype, spec.shape));
  const auto from = memory_strides(in.shape, in.layout), to = memory_strides(out.shape, out.layout);
  Block block;
  int64_t offset = 0;
  size_t longest = 0;  // axis but the one along which the result is contiguous
  for (int i = 0; i < in.shape.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    block.add(spec.shape[i], from[at] * spec.step[at], to[at]);
    offset += spec.start[at] * from[at];
    if (to[at] > 1 && spec.shape[i] > block.dims[longest]) longest = at;
  }
  if (block.rank == 0 || out.elements() == 0) {
    copy_block(block, in.dtype, in.data, offset, out.data, 0);
    return {};
  }
  const int64_t count = block.dims[longest];
  parallel_for(c.pool, count, 16384 / (out.elements() / count) + 1,
               [&](int64_t begin, int64_t end) {
                 Block part = block;
                 part.dims[longest] = end - begin;
                 copy_block(part, in.dtype, in.data, offset + begin * block.src_strides[longest],
                            out.data, begin * block.dst_strides[longest]);
               });
  return {};
}

constexpr OpDef kOps[] = {
    {.kind = OpKind::kSlice,
     .name = "Slice",
     .min_inputs = 3,
     .max_inputs = 5,
     .infer = infer_slice,
     .reference = run_slice,
     .quant = {.policy = QuantPolicy::kSameScale},
     .mixed = kInferHalf,
     .layout = LayoutRule::kAgnostic},
};

}  // namespace

std::span<const OpDef> slice_ops() { return kOps; }

}  // namespace octavo::ops
