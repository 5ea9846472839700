// Convolution of any group, dilation, stride and padding on one to three dimensions, as a packed
// matrix product over NHWC images (runtime/kernels/gemm.h). Where the image needs padding it is
// copied once into scratch with its borders; no im2col matrix is made.

#include <cstring>
#include <utility>

#include "runtime/ceil_div.h"
#include "runtime/kernels/conv_common.h"
#include "runtime/kernels/depthwise.h"
#include "runtime/kernels/fixed_order.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/winograd.h"

namespace octavo::kernels {
namespace {

using ops::ConvShape;
using ops::Spatial;

// Whether what an output pixel reads may be copied side by side. With vectors of 16 bytes that
// takes less time than it saves in the products; with 64 bytes, three times as long.
#ifdef __EMSCRIPTEN__
constexpr bool kMayGather = true;
#else
constexpr bool kMayGather = false;
#endif

class ConvStep : public KernelStep {
 public:
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_f32(const PlanGraph& graph,
                                                                const Node& node, Layout) {
    return create_float<float>(graph, node, gemm_target());
  }
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_bf16(const PlanGraph& graph,
                                                                 const Node& node, Layout) {
    return create_float<BFloat16>(graph, node, gemm_bf16_target());
  }
  /// T: of the tensors.
  template <class T>
  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_float(const PlanGraph& graph,
                                                                  const Node& node,
                                                                  const GemmTarget& target) {
    OCTAVO_ASSIGN(const ConvShape shape, conv_shape_of(graph, node));
    OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
    std::unique_ptr<ConvStep> step(new ConvStep(graph, node, shape, target, {}));
    const auto weights = graph.info(node.input(1)).constant.data<T>();
    const TensorView bias = step->constant(2);
    for (int64_t g = 0; g < shape.groups; ++g) {
      PackedWeights& packed = step->groups_[static_cast<size_t>(g)];
      step->pack<T>(packed, g, weights.data());
      if (!bias.present()) continue;
      for_each_column(packed, [&](int64_t position, int64_t column) {
        packed.bias[static_cast<size_t>(position)] =
            static_cast<float>(bias.as<const T>()[g * shape.out_channels + column]);
      });
    }
    step->call_.lo = bounds.lo;
    step->call_.hi = bounds.hi;
    return step;
  }

  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_with_function(
      const PlanGraph& graph, const Node& node, const UnaryFunction& function, ValueId output) {
    OCTAVO_ASSIGN(std::unique_ptr<Step> made, create_bf16(graph, node, Layout::kChannelsLast));
    auto* step = static_cast<ConvStep*>(made.get());
    step->function_ = function;
    step->call_.function = &*step->function_;
    step->outputs = {output};
    return made;
  }

  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_int8(const PlanGraph& graph,
                                                                 const Node& node, Layout) {
    OCTAVO_ASSIGN(const ConvShape shape, conv_shape_of(graph, node));
    OCTAVO_ASSIGN(const ActivationBounds bounds, activation_bounds(node));
    const TensorInfo& x = graph.info(node.input(0));
    const TensorInfo& y = graph.info(node.output(0));
    const auto weights = int8_weights(graph, node.input(1), 0);
    const Int8Form form(int8_input(), x.dtype, x.quant->zero_point[0]);
    std::unique_ptr<ConvStep> step(new ConvStep(graph, node, shape, gemm_target(), form));

    OCTAVO_ASSIGN(const Requantize requantize,
                  make_requantize(*x.quant, weights->quant, y.quant.get(), y.dtype,
                                  step->constant(2), shape.groups * shape.out_channels, bounds));
    for (int64_t g = 0; g < shape.groups; ++g) {
      PackedWeights& packed = step->groups_[static_cast<size_t>(g)];
      if (form.wide) {
        step->pack<int16_t>(packed, g, weights->data.data());
      } else {
        step->pack<int8_t>(packed, g, weights->data.data());
      }
      fill_start(packed, form.zero_point);
      fill_requantize(packed, requantize, g * shape.out_channels);
    }
    GemmCall& call = step->call_;
    set_requantize(call, requantize, y.dtype,
                   step->length_ * static_cast<int64_t>(step->offsets_.size()));
    if (const ValueId residual = node.input(3); residual != kNoValue) {
      const QuantParams& quant = *graph.info(residual).quant;
      call.residual_scale = quant.scale[0] / y.quant->scale[0];
      call.residual_zero_point = quant.zero_point[0];
    }
    return step;
  }

  [[gnu::cold]] static Result<std::unique_ptr<Step>> create_with_table(const PlanGraph& graph,
                                                                       const Node& node,
                                                                       const ByteTable& table,
                                                                       ValueId output) {
    OCTAVO_ASSIGN(std::unique_ptr<Step> made, create_int8(graph, node, Layout::kChannelsLast));
    auto* step = static_cast<ConvStep*>(made.get());
    step->table_ = table;
    step->call_.table = step->table_.data();
    step->outputs = {output};
    return made;
  }

  int64_t scratch_bytes() const override {
    // The last word may begin with the last byte.
    return front_bytes() + (copies_ ? padded_bytes_ + kWordBytes : 0);
  }

  bool set_pixel_stride(int64_t bytes) override {
    // Rows of a few bytes, one by one, take longer to look up than to copy.
    constexpr int64_t kFew = 64;
    const bool fits = call_.table == nullptr || target_.looks_up || call_.c_stride >= kFew;
    if (fits) call_.c_stride = bytes;
    return fits;
  }

  Status run(const StepContext& context) override {
    const TensorView x = input(context, 0);
    const TensorView residual = input(context, 3);
    const TensorView& y = context.outputs[0];
    const int64_t in_image = shape_.in[0] * shape_.in[1] * shape_.in[2] * in_pixel_bytes_;
    const int64_t out_slice = shape_.out[1] * shape_.out[2];
    for (int64_t n = 0; n < batches_; ++n) {
      const auto* image = x.as<const std::byte>() + n * in_image;
      const auto* end = image + in_image;
      if (copies_) {
        copy_padded(image, context.scratch + front_bytes(), context.pool);
        image = context.scratch + front_bytes();
        end = image + padded_bytes_;
      }
      for (int64_t d = 0; d < slices_; ++d) {
        if (gathers()) gather(image + d * slice_step_, context.scratch, context.pool);
        if (has_tails()) collect(image + d * slice_step_, end, context.scratch, context.pool);
        for (int64_t g = 0; g < shape_.groups; ++g) {
          GemmCall call = call_;
          call.b = &groups_[static_cast<size_t>(g)];
          call.a.offsets = offsets_.data();
          if (has_tails()) call.a.tails = context.scratch;
          call.a.base = gathers()
                            ? context.scratch
                            : image + d * slice_step_ + g * shape_.in_channels * element_bytes_;
          const int64_t pixel = (n * slices_ + d) * out_slice;
          const int64_t channel = g * shape_.out_channels * out_bytes_;
          call.c = y.as<std::byte>() + pixel * call.c_stride + channel;
          if (residual.present()) {
            call.residual = residual.as<const std::byte>() + pixel * call.residual_stride + channel;
          }
          run_gemm(target_, call, context.pool);
        }
      }
    }
    return {};
  }

 private:
  // `form`: of int8 inputs.
  ConvStep(const PlanGraph& graph, const Node& node, const ConvShape& shape,
           const GemmTarget& target, const std::optional<Int8Form>& form)
      : KernelStep(graph, node), shape_(shape), target_(target), form_(form) {
    element_bytes_ = form ? form->element_bytes() : dtype_bytes(graph.info(node.input(0)).dtype);
    const int64_t channels = shape.groups * shape.in_channels;
    pixel_bytes_ = channels * element_bytes_;
    in_pixel_bytes_ = form ? channels : pixel_bytes_;
    out_bytes_ = dtype_bytes(graph.info(node.output(0)).dtype);
    batches_ = shape.batch;
    slices_ = shape.out[0];
    const auto& window = shape.window;
    for (size_t i = 0; i < 3; ++i) {
      const int64_t needed =
          (shape.out[i] - 1) * window.stride[i] + (window.kernel[i] - 1) * window.dilation[i] + 1;
      copies_ |= window.pad_begin[i] != 0 || needed > shape.in[i];
      padded_[i] = needed;
    }
    // A row of the kernel is one piece of memory if all its taps and channels adjoin.
    const auto& [kd, kh, kw] = window.kernel;
    merged_ = kw > 1 && window.dilation[2] == 1 && shape.groups == 1 ? kw : 1;
    length_ = merged_ * shape.in_channels;
    const int64_t step_elements = kWordBytes / element_bytes_;
    const auto words = [&](int64_t elements) {
      return (elements + step_elements - 1) / step_elements;
    };
    // Pieces that do not end with a word cost words: 3x3 of three channels 9 instead of 7.
    const int64_t pieces = kd * kh * kw / merged_, piece = length_ * element_bytes_;
    const bool gathers = kMayGather && form && kLeastPiece <= piece && piece <= 2 * kLeastPiece &&
                         pieces * words(length_) * 5 >= words(pieces * length_) * 6;
    const int64_t column_step = window.stride[2] * pixel_bytes_, rest = length_ % kWordBytes;
    // For one vector of columns, another segment takes as long as the words that it saves.
    const bool has_tails = kMayHaveTails && target.looks_up && form && !form->wide &&
                           shape.groups == 1 && shape.out_channels > target.lanes &&
                           ceil_div(pieces * rest, kWordBytes) < pieces && rest > 0 &&
                           Tails::may_read(column_step, rest);
    copies_ |=
        (form && !form->in_place()) || (!gathers && !has_tails && length_ % step_elements != 0);
    if (!copies_) padded_ = shape.in;
    padded_bytes_ = padded_[0] * padded_[1] * padded_[2] * pixel_bytes_;
    const int64_t row = padded_[2] * pixel_bytes_;
    for (int64_t z = 0; z < kd; ++z) {
      for (int64_t y = 0; y < kh; ++y) {
        for (int64_t x = 0; x < kw / merged_; ++x) {
          offsets_.push_back((z * window.dilation[0] * padded_[1] + y * window.dilation[1]) * row +
                             x * window.dilation[2] * pixel_bytes_);
        }
      }
    }
    slice_step_ = window.stride[0] * padded_[1] * row;
    if (has_tails) {
      auto rests = offsets_;
      for (int64_t& offset : rests) offset += length_ - rest;
      tails_ = Tails(std::move(rests), rest, column_step);
    }
    if (gathers) {
      pieces_ = std::exchange(offsets_, {0});
      piece_bytes_ = piece;
      merged_ *= pieces;
      length_ *= pieces;
    }
    call_.int8 = form.has_value();
    call_.rows = shape.out[1] * shape.out[2];
    call_.a.width = shape.out[2];
    call_.a.row_step = window.stride[1] * row;
    call_.a.column_step = window.stride[2] * pixel_bytes_;
    if (gathers) call_.a = {nullptr, call_.rows, 0, words(length_) * kWordBytes, nullptr};
    call_.c_stride = call_.residual_stride = shape.groups * shape.out_channels * out_bytes_;
    if (kd * kh * kw == 1 && !copies_ && padded_ == shape.out) {
      // Rows of A are the pixels of all images, in order.
      call_.rows *= batches_ * slices_;
      call_.a.width = call_.rows;
      batches_ = slices_ = 1;
    }

    groups_.resize(static_cast<size_t>(shape.groups));
    for (PackedWeights& packed : groups_) {
      packed.columns = shape.out_channels;
      packed.segments = static_cast<int64_t>(offsets_.size());
      packed.steps = has_tails ? length_ / kWordBytes : words(length_);
      packed.rest = has_tails ? rest : 0;
      packed.ends_with_half = !form && element_bytes_ == 2 && length_ % 2 != 0;
      packed.interleaved = form && out_bytes_ == 1;
      layout_panels(target_, packed, graph.packing);
    }
  }

  // Weights are [out channel, in channel of the group, kernel taps].
  template <class T, class Weight>
  void pack(PackedWeights& packed, int64_t group, const Weight* weights) {
    const auto& [kd, kh, kw] = shape_.window.kernel;
    const int64_t taps = kd * kh * kw;
    const int64_t channels = shape_.in_channels;
    weights += group * shape_.out_channels * channels * taps;
    pack_columns<T>(packed, length_, [&](int64_t segment, int64_t column) {
      return WeightStrip<Weight>{weights + column * channels * taps + segment * merged_, channels,
                                 taps, 1};
    });
  }

  void copy(const std::byte* from, std::byte* to, int64_t elements) const {
    if (form_) return form_->convert(from, to, elements);
    std::memcpy(to, from, static_cast<size_t>(elements * element_bytes_));
  }
  void fill(std::byte* to, int64_t elements) const {
    if (form_) return form_->fill_zero(to, elements);
    std::memset(to, 0, static_cast<size_t>(elements * element_bytes_));
  }

  void copy_padded(const std::byte* image, std::byte* out, ThreadPool* pool) const {
    const auto& pad = shape_.window.pad_begin;
    const int64_t channels = shape_.groups * shape_.in_channels;
    const int64_t row_elements = padded_[2] * channels;
    const int64_t left = std::min(pad[2], padded_[2]) * channels;
    const int64_t inside = std::clamp<int64_t>(row_elements - left, 0, shape_.in[2] * channels);
    parallel_for(pool, padded_[0] * padded_[1], 65536 / row_elements + 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     std::byte* to = out + row * padded_[2] * pixel_bytes_;
                     const int64_t z = row / padded_[1] - pad[0], y = row % padded_[1] - pad[1];
                     if (z < 0 || z >= shape_.in[0] || y < 0 || y >= shape_.in[1]) {
                       fill(to, row_elements);
                       continue;
                     }
                     fill(to, left);
                     copy(image + (z * shape_.in[1] + y) * shape_.in[2] * in_pixel_bytes_,
                          to + left * element_bytes_, inside);
                     fill(to + (left + inside) * element_bytes_, row_elements - left - inside);
                   }
                 });
  }

  bool has_tails() const { return kMayHaveTails && !tails_.offsets.empty(); }
  void collect(const std::byte* image, const std::byte* end, std::byte* out,
               ThreadPool* pool) const {
    const int64_t width = shape_.out[2];
    parallel_for(pool, shape_.out[1], 4096 / width + 1, [&](int64_t first, int64_t last) {
      for (int64_t y = first; y < last; ++y) {
        collect_tails(tails_, image + y * call_.a.row_step, end, width,
                      out + y * width * tails_.bytes);
      }
    });
  }
  // What lies in scratch before the padded image.
  int64_t front_bytes() const {
    const int64_t bytes = (call_.rows + kGemmSlack) * tails_.bytes;
    return gathered_bytes() + round_up(bytes, 64);
  }

  bool gathers() const { return !pieces_.empty(); }
  int64_t gathered_bytes() const { return gathers() ? call_.rows * call_.a.column_step : 0; }

  // Puts what each output pixel reads side by side, each piece in two halves that may overlap. What
  // follows the last piece, up to a word, meets zeros.
  void gather(const std::byte* image, std::byte* out, ThreadPool* pool) const {
    const int64_t row_step = shape_.window.stride[1] * padded_[2] * pixel_bytes_;
    const int64_t column_step = shape_.window.stride[2] * pixel_bytes_;
    const int64_t second = piece_bytes_ - kLeastPiece;
    const int64_t width = shape_.out[2], bytes = call_.a.column_step;
    parallel_for(pool, shape_.out[1], 4096 / width + 1, [&](int64_t begin, int64_t end) {
      std::byte* to = out + begin * width * bytes;
      for (int64_t y = begin; y < end; ++y) {
        const std::byte* pixel = image + y * row_step;
        for (int64_t x = 0; x < width; ++x, pixel += column_step, to += bytes) {
          std::byte* piece = to;
          for (const int64_t offset : pieces_) {
            std::memcpy(piece, pixel + offset, kLeastPiece);
            std::memcpy(piece + second, pixel + offset + second, kLeastPiece);
            piece += piece_bytes_;
          }
        }
      }
    });
  }

  static constexpr int64_t kLeastPiece = 8;
  ConvShape shape_;
  GemmTarget target_;
  GemmCall call_;  // what is the same for all images, slices and groups
  ByteTable table_{};
  std::optional<UnaryFunction> function_;
  std::vector<PackedWeights> groups_;
  std::vector<int64_t> offsets_;
  std::vector<int64_t> pieces_;  // their offsets from a pixel, where they are gathered; else none
  int64_t piece_bytes_ = 0;
  Tails tails_;
  Spatial padded_{};  // of the image that is read
  int64_t padded_bytes_ = 0;
  int64_t element_bytes_ = 0, pixel_bytes_ = 0;  // of the image that is read
  int64_t in_pixel_bytes_ = 0, out_bytes_ = 0;
  int64_t batches_ = 1, slices_ = 1, slice_step_ = 0;
  int64_t merged_ = 1, length_ = 0;  // taps and elements of a segment
  std::optional<Int8Form> form_;
  bool copies_ = false;
};

bool depthwise_f32(const PlanGraph& graph, const Node& node) {
  return conv_is_depthwise(graph, node) && conv_is_f32(graph, node);
}
bool depthwise_bf16(const PlanGraph& graph, const Node& node) {
  return conv_is_depthwise(graph, node) && conv_is_bf16(graph, node);
}
bool depthwise_int8(const PlanGraph& graph, const Node& node) {
  return conv_is_depthwise(graph, node) && int8_params(graph, node.output(0)) != nullptr &&
         conv_is_int8(graph, node);
}

// conv_is_bf16() is never true where code is small.
template <class Create>
constexpr Create* unless_small(Create* create) {
  return kSmallCode ? nullptr : create;
}

constexpr ClaimLayout kNhwc = ClaimLayout::kChannelsLast;
constexpr KernelDef kKernels[] = {
    {"depthwise_int8", OpKind::kConv, kNhwc, depthwise_int8, make_depthwise_int8, kExact,
     make_depthwise_int8_with_table},
    {"depthwise_f32", OpKind::kConv, kNhwc, depthwise_f32, make_depthwise_f32},
    {"depthwise_bf16", OpKind::kConv, kNhwc, depthwise_bf16, unless_small(make_depthwise_bf16),
     false, nullptr, unless_small(make_depthwise_bf16_with_function)},
    {"conv_int8", OpKind::kConv, kNhwc, conv_is_int8, ConvStep::create_int8, kExact,
     ConvStep::create_with_table},
    {"conv_winograd", OpKind::kConv, kNhwc, conv_is_winograd, make_conv_winograd},
    {"conv_f32", OpKind::kConv, kNhwc, conv_is_f32, ConvStep::create_f32},
    {"conv_bf16", OpKind::kConv, kNhwc, conv_is_bf16, unless_small(ConvStep::create_bf16), false,
     nullptr, unless_small(ConvStep::create_with_function)},
};

}  // namespace

std::span<const KernelDef> conv_kernels() { return kKernels; }

[[gnu::cold]] Result<std::unique_ptr<Step>> make_conv_fixed_order(const PlanGraph& graph,
                                                                  const Node& node, Layout) {
  return ConvStep::create_float<float>(graph, node, fixed_order_target());
}

}  // namespace octavo::kernels
