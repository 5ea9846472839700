// DFT, STFT, windows and the mel filter bank.
#include <algorithm>
#include <numbers>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/fourier.h"

namespace octavo::ops {
namespace {

/// Of one transform: its working memory is 16 bytes per point, a few times over.
constexpr int64_t kTransformLimit = int64_t{1} << 24;

Status check_length(int64_t length) {
  if (length > 0 && length <= kTransformLimit) return {};
  return fail(ErrorCode::kLimitExceeded, "a transform of length ", length, " is outside [1, ",
              kTransformLimit, "]");
}

/// The last dimension of a signal is 1 (real) or 2 (real and imaginary part).
Status check_components(const Shape& signal) {
  if (signal.rank() >= 2 && (signal.back() == 1 || signal.back() == 2)) return {};
  return fail(ErrorCode::kShapeMismatch,
              "the last dimension of a signal must be 1 (real) or 2 (complex), got shape ",
              signal.to_string());
}

int64_t bins_of(int64_t length, bool onesided) { return onesided ? length / 2 + 1 : length; }

/// The transformed axis; the innermost one holds the components.
Result<int> signal_axis(int64_t axis, int rank) {
  OCTAVO_ASSIGN(const int normal, normalize_axis(axis, rank));
  if (normal == rank - 1) {
    return fail(ErrorCode::kShapeMismatch, "the last axis holds real and imaginary parts");
  }
  return normal;
}

Status infer_dft(InferContext& context) {
  context.set_output(0, context.dtype(0));
  Shape shape = context.shape(0);
  if (!shape.has_rank() || shape.rank() < 2) return {};
  OCTAVO_ASSIGN(const auto length, constant_ints(context, 1));
  OCTAVO_ASSIGN(const auto axis_input, constant_ints(context, 2));
  if (!axis_input) {
    Shape unknown = Shape::filled(shape.rank(), kUnknownDim);
    unknown[shape.rank() - 1] = 2;
    context.output(0).shape = unknown;
    return {};
  }
  OCTAVO_ASSIGN(const int axis,
                signal_axis(axis_input->empty() ? -2 : (*axis_input)[0], shape.rank()));
  int64_t size = !length ? kUnknownDim : length->empty() ? shape[axis] : (*length)[0];
  if (context.node.get_int("onesided") != 0) size = size < 0 ? kUnknownDim : bins_of(size, true);
  shape[axis] = size;
  shape[shape.rank() - 1] = 2;
  context.output(0).shape = shape;
  return {};
}

Status dft(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_TRY(check_components(x.shape));
  const int rank = x.shape.rank();
  int64_t axis_input = -2;
  if (context.has_input(2)) {
    OCTAVO_ASSIGN(axis_input, scalar_int(context.in(2)));
  }
  OCTAVO_ASSIGN(const int axis, signal_axis(axis_input, rank));
  int64_t length = x.shape[axis];
  if (context.has_input(1)) {
    OCTAVO_ASSIGN(length, scalar_int(context.in(1)));
  }
  OCTAVO_TRY(check_length(length));
  const bool onesided = context.node.get_int("onesided") != 0;
  const bool inverse = context.node.get_int("inverse") != 0;
  if (onesided && inverse) {
    return fail(ErrorCode::kUnsupportedOp, "onesided together with inverse is not supported");
  }
  Shape shape = x.shape;
  shape[axis] = bins_of(length, onesided);
  shape[rank - 1] = 2;
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, shape));
  const int64_t outer = x.shape.elements(0, axis), dim = x.shape[axis], bins = shape[axis];
  const int64_t inner = x.shape.elements(axis + 1, rank - 1), components = x.shape.back();
  const int64_t used = std::min(dim, length);  // longer signals are cut, shorter ones padded
  const double scale = inverse ? 1 / static_cast<double>(length) : 1;
  OCTAVO_TRY(check_double(x.dtype));
  std::vector<Complex> line(static_cast<size_t>(length));
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      std::ranges::fill(line, Complex{});
      for (int64_t d = 0; d < used; ++d) {
        const double* from = x.as<const double>() + ((o * dim + d) * inner + i) * components;
        line[static_cast<size_t>(d)] = {static_cast<double>(from[0]),
                                        components == 2 ? static_cast<double>(from[1]) : 0};
      }
      fourier_transform(line, inverse);
      for (int64_t d = 0; d < bins; ++d) {
        double* to = out.as<double>() + ((o * bins + d) * inner + i) * 2;
        to[0] = static_cast<double>(line[static_cast<size_t>(d)].re * scale);
        to[1] = static_cast<double>(line[static_cast<size_t>(d)].im * scale);
      }
    }
  }
  return {};
}

/// Frames of an STFT.
struct Frames {
  int64_t length, step, count;
};
Result<Frames> count_frames(int64_t signal, int64_t length, int64_t step) {
  OCTAVO_TRY(check_length(length));
  if (step <= 0) return fail(ErrorCode::kInvalidData, "frame_step must be positive, not ", step);
  if (signal < length) {
    return fail(ErrorCode::kShapeMismatch, "a signal of ", signal,
                " samples is shorter than one frame of ", length);
  }
  return Frames{length, step, 1 + (signal - length) / step};
}

Status infer_stft(InferContext& context) {
  context.set_output(0, context.dtype(0));
  const Shape& signal = context.shape(0);
  if (signal.rank() != 3) return {};
  OCTAVO_ASSIGN(const auto step, constant_ints(context, 1));
  OCTAVO_ASSIGN(const auto length_input, constant_ints(context, 3));
  int64_t length = kUnknownDim;
  if (context.has_input(3)) {
    if (length_input && length_input->size() == 1) length = (*length_input)[0];
  } else if (context.has_input(2) && context.shape(2).rank() == 1) {
    length = context.shape(2)[0];
  }
  Shape shape{signal[0], kUnknownDim, kUnknownDim, 2};
  if (length > 0) shape[2] = bins_of(length, context.node.get_int("onesided") != 0);
  if (length > 0 && signal[1] >= 0 && step && step->size() == 1) {
    OCTAVO_ASSIGN(const Frames frames, count_frames(signal[1], length, (*step)[0]));
    shape[1] = frames.count;
  }
  context.output(0).shape = shape;
  return {};
}

Status stft(KernelContext& context) {
  const TensorView& x = context.in(0);
  OCTAVO_TRY(check_components(x.shape));
  if (x.shape.rank() != 3) {
    return fail(ErrorCode::kShapeMismatch, "the signal must have rank 3, got ", x.shape.rank());
  }
  OCTAVO_ASSIGN(const int64_t step, scalar_int(context.in(1)));
  const bool windowed = context.has_input(2);
  int64_t length = windowed ? context.in(2).elements() : 0;
  if (context.has_input(3)) {
    OCTAVO_ASSIGN(length, scalar_int(context.in(3)));
  }
  if (windowed && (context.in(2).elements() != length || context.in(2).dtype != x.dtype)) {
    return fail(ErrorCode::kShapeMismatch, "the window must be ", length, " elements of ",
                dtype_name(x.dtype));
  }
  OCTAVO_ASSIGN(const Frames frames, count_frames(x.shape[1], length, step));
  const int64_t bins = bins_of(length, context.node.get_int("onesided") != 0);
  OCTAVO_ASSIGN(const TensorView out,
                context.make_output(0, x.dtype, Shape{x.shape[0], frames.count, bins, 2}));
  const int64_t components = x.shape.back();
  OCTAVO_TRY(check_double(x.dtype));
  const double* window = windowed ? context.in(2).as<const double>() : nullptr;
  std::vector<Complex> line(static_cast<size_t>(length));
  double* to = out.as<double>();
  for (int64_t n = 0; n < x.shape[0]; ++n) {
    for (int64_t f = 0; f < frames.count; ++f) {
      const double* from = x.as<const double>() + (n * x.shape[1] + f * step) * components;
      for (int64_t i = 0; i < length; ++i) {
        const double w = window == nullptr ? 1 : static_cast<double>(window[i]);
        line[static_cast<size_t>(i)] = {
            static_cast<double>(from[i * components]) * w,
            components == 2 ? static_cast<double>(from[i * components + 1]) * w : 0};
      }
      fourier_transform(line, false);
      for (int64_t i = 0; i < bins; ++i) {
        *to++ = static_cast<double>(line[static_cast<size_t>(i)].re);
        *to++ = static_cast<double>(line[static_cast<size_t>(i)].im);
      }
    }
  }
  return {};
}

Result<DType> output_datatype(const Node& node) {
  const int64_t number = node.get_int("output_datatype");
  const DType dtype = dtype_from_onnx(number);
  if (dtype == DType::kUndefined || dtype == DType::kString) {
    return fail(ErrorCode::kUnsupportedOp, "output_datatype ", number, " is not supported");
  }
  return dtype;
}

/// Makes output 0 of the node's output_datatype from numbers computed in double precision.
Status write_numbers(KernelContext& context, const Tensor& numbers) {
  OCTAVO_ASSIGN(const DType dtype, output_datatype(context.node));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, dtype, numbers.shape()));
  return cast_elements(numbers.view(), out);
}

Status infer_window(InferContext& context) {
  OCTAVO_ASSIGN(const DType dtype, output_datatype(context.node));
  OCTAVO_ASSIGN(const auto size, constant_ints(context, 0));
  const bool known = size && size->size() == 1 && (*size)[0] >= 0;
  context.set_output(0, dtype, Shape{known ? (*size)[0] : kUnknownDim});
  return {};
}

/// A sum of cosines: a0 - a1 cos(t) + a2 cos(2t), t = 2 pi k / N.
struct Coefficients {
  double a0, a1, a2;
};
constexpr Coefficients kHann{0.5, 0.5, 0}, kHamming{25.0 / 46, 21.0 / 46, 0},
    kBlackman{0.42, 0.5, 0.08};

template <const Coefficients& kWindow>
Status window(KernelContext& context) {
  OCTAVO_ASSIGN(const int64_t size, scalar_int(context.in(0)));
  if (size < 0) return fail(ErrorCode::kInvalidData, "the window's size is ", size);
  OCTAVO_ASSIGN(Tensor numbers, Tensor::create(DType::kF64, Shape{size}));
  const int64_t period = context.node.get_int("periodic") != 0 ? size : size - 1;
  const double step = 2 * std::numbers::pi / static_cast<double>(std::max<int64_t>(period, 1));
  double* to = numbers.data<double>().data();
  for (int64_t k = 0; k < size; ++k) {
    const double t = step * static_cast<double>(k);
    to[k] = kWindow.a0 - kWindow.a1 * std::cos(t) + kWindow.a2 * std::cos(2 * t);
  }
  return write_numbers(context, numbers);
}

Status infer_mel(InferContext& context) {
  OCTAVO_ASSIGN(const DType dtype, output_datatype(context.node));
  OCTAVO_ASSIGN(const auto mel_bins, constant_ints(context, 0));
  OCTAVO_ASSIGN(const auto length, constant_ints(context, 1));
  const auto known = [](const std::optional<std::vector<int64_t>>& v) {
    return v && v->size() == 1 && (*v)[0] >= 0;
  };
  context.set_output(0, dtype,
                     Shape{known(length) ? bins_of((*length)[0], true) : kUnknownDim,
                           known(mel_bins) ? (*mel_bins)[0] : kUnknownDim});
  return {};
}

Status mel_weight_matrix(KernelContext& context) {
  OCTAVO_ASSIGN(const int64_t mel_bins, scalar_int(context.in(0)));
  OCTAVO_ASSIGN(const int64_t length, scalar_int(context.in(1)));
  OCTAVO_ASSIGN(const int64_t rate, scalar_int(context.in(2)));
  OCTAVO_ASSIGN(const double lowest, scalar_number(context.in(3)));
  OCTAVO_ASSIGN(const double highest, scalar_number(context.in(4)));
  OCTAVO_TRY(check_length(length));
  if (mel_bins <= 0 || mel_bins > kTransformLimit || rate <= 0 || !(lowest >= 0) ||
      !(highest >= lowest) || !std::isfinite(highest)) {
    return fail(ErrorCode::kInvalidData, "num_mel_bins, sample_rate or edges are out of range");
  }
  const int64_t bins = bins_of(length, true);
  OCTAVO_ASSIGN(Tensor numbers, Tensor::create(DType::kF64, Shape{bins, mel_bins}));
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double low = mel(lowest);
  const double step = (mel(highest) - low) / static_cast<double>(mel_bins + 2);
  // The spectrogram bin of the i-th edge.
  const auto edge = [&](int64_t i) {
    const double hertz = 700 * (std::pow(10.0, (low + step * static_cast<double>(i)) / 2595) - 1);
    const double bin =
        std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate));
    return static_cast<int64_t>(std::clamp(bin, 0.0, static_cast<double>(kTransformLimit)));
  };
  double* matrix = numbers.data<double>().data();
  const auto set = [&](int64_t bin, int64_t i, int64_t numerator, int64_t denominator) {
    if (bin < bins) {
      matrix[bin * mel_bins + i] =
          static_cast<double>(numerator) / static_cast<double>(denominator);
    }
  };
  for (int64_t i = 0; i < mel_bins; ++i) {
    const int64_t left = edge(i), center = edge(i + 1), right = edge(i + 2);
    if (center == left) set(center, i, 1, 1);
    for (int64_t j = left; center > left && j <= std::min(center, bins); ++j) {
      set(j, i, j - left, center - left);
    }
    for (int64_t j = center; j < std::min(right, bins); ++j) set(j, i, right - j, right - center);
  }
  return write_numbers(context, numbers);
}

constexpr FieldDef kDftFields[] = {int_field("onesided", 0), int_field("inverse", 0)};
constexpr FieldDef kStftFields[] = {int_field("onesided", 1)};
constexpr FieldDef kWindowFields[] = {int_field("output_datatype", 1), int_field("periodic", 1)};
constexpr FieldDef kMelFields[] = {int_field("output_datatype", 1)};

constexpr OpDef window_row(OpKind kind, const char* name, ReferenceFn reference) {
  return {.kind = kind,
          .name = name,
          .fields = kWindowFields,
          .infer = infer_window,
          .reference = reference};
}

constexpr OpDef kRows[] = {
    {.kind = OpKind::kDFT,
     .name = "DFT",
     .max_inputs = 3,
     .fields = kDftFields,
     .infer = infer_dft,
     .reference = in_double<dft>},
    {.kind = OpKind::kSTFT,
     .name = "STFT",
     .min_inputs = 2,
     .max_inputs = 4,
     .fields = kStftFields,
     .infer = infer_stft,
     .reference = in_double<stft>},
    window_row(OpKind::kHannWindow, "HannWindow", window<kHann>),
    window_row(OpKind::kHammingWindow, "HammingWindow", window<kHamming>),
    window_row(OpKind::kBlackmanWindow, "BlackmanWindow", window<kBlackman>),
    {.kind = OpKind::kMelWeightMatrix,
     .name = "MelWeightMatrix",
     .min_inputs = 5,
     .max_inputs = 5,
     .fields = kMelFields,
     .infer = infer_mel,
     .reference = mel_weight_matrix},
};

}  // namespace

std::span<const OpDef> signal_ops() { return kRows; }

}  // namespace octavo::ops
