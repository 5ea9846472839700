#include "native/sample.h"

#include <cmath>
#include <cstring>

#include "native/resize.h"

namespace octavo {
namespace {

/// The picture that an input of shape N,C,H,W or N,H,W,C (or without N) takes.
struct PictureShape {
  bool exists = false, channels_last = false;
  int64_t channels = -1, height = -1, width = -1;
};

bool is_channel_count(int64_t dim) { return dim == 1 || dim == 3; }

PictureShape picture_shape(const Shape& shape, ChannelLayout layout) {
  PictureShape picture;
  if (!shape.has_rank()) {
    picture.exists = true;
    picture.channels_last = layout == ChannelLayout::kNhwc;
    return picture;
  }
  if (shape.rank() != 3 && shape.rank() != 4) return picture;
  const int first = shape.rank() - 3;
  picture.exists = true;
  picture.channels_last = layout == ChannelLayout::kNhwc ||
                          (layout == ChannelLayout::kAuto && !is_channel_count(shape[first]) &&
                           is_channel_count(shape.back()));
  const int c = picture.channels_last ? first + 2 : first,
            h = picture.channels_last ? first : first + 1;
  picture.channels = shape[c];
  picture.height = shape[h];
  picture.width = shape[h + 1];
  return picture;
}

/// `shape` from axis `first` on.
Shape tail(const Shape& shape, int first) {
  return Shape(shape.dims().subspan(static_cast<size_t>(first)));
}

bool fits(const Shape& sample, const Shape& wanted) {
  if (sample.rank() != wanted.rank()) return false;
  for (int i = 0; i < sample.rank(); ++i) {
    if (wanted[i] >= 0 && wanted[i] != sample[i]) return false;
  }
  return true;
}

Shape squeezed(const Shape& shape) {
  Shape out;
  for (const int64_t dim : shape) {
    if (dim != 1) out.push_back(dim);
  }
  return out;
}

std::vector<double> widened(const Sample& sample) {
  std::vector<double> values(static_cast<size_t>(sample.shape.elements()));
  const auto widen = [&]<class T>() {
    const auto* elements = reinterpret_cast<const T*>(sample.bytes.data());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<double>(static_cast<ComputeType<T>>(elements[i]));
    }
  };
  visit_dtype(sample.dtype, widen, [] {});
  return values;
}

/// False if `x` is outside the range of an integer T. Real types take every value.
template <class T>
bool store(double x, T& element) {
  using Compute = ComputeType<T>;
  if constexpr (std::is_integral_v<Compute>) {
    constexpr auto kLow = static_cast<double>(std::numeric_limits<Compute>::lowest());
    // max + 1 is a power of two, which double holds exactly.
    constexpr double kEnd = static_cast<double>(std::numeric_limits<Compute>::max() / 2 + 1) * 2;
    if (!(x >= kLow && x < kEnd)) return false;
  }
  element = static_cast<T>(static_cast<Compute>(x));
  return true;
}

/// The first element that is NaN or infinite; -1 if all are finite.
int64_t find_not_finite(const Tensor& tensor) {
  if (!dtype_info(tensor.dtype()).is_float) return -1;
  return visit_dtype(
      tensor.dtype(),
      [&]<class T>() -> int64_t {
        const auto data = tensor.data<T>();
        for (size_t i = 0; i < data.size(); ++i) {
          if (!std::isfinite(static_cast<double>(data[i]))) return static_cast<int64_t>(i);
        }
        return -1;
      },
      [] { return int64_t{-1}; });
}

}  // namespace

std::unexpected<Error> SampleConverter::mismatch(const Shape& got, const char* hint) const {
  return fail(ErrorCode::kShapeMismatch, "the model's input '", input_name_, "' expects ",
              expected_, ", but a sample of the data has shape ", got.to_string(), hint);
}

Result<SampleConverter> SampleConverter::create(const Graph& graph, ValueId input,
                                                const SampleType& type,
                                                const PreprocessConfig& config) {
  const Value& value = graph.value(input);
  const Shape& wanted = value.shape;
  SampleConverter out;
  out.input_name_ = value.name;
  out.expected_ = graph.shape_string(wanted);
  out.config_ = config;
  out.dtype_ = value.dtype == DType::kUndefined ? DType::kF32 : value.dtype;

  const bool real_target = dtype_info(out.dtype_).is_float;
  if (out.dtype_ == DType::kString || type.dtype == DType::kString) {
    return fail(ErrorCode::kInvalidArgument, "the model's input '", value.name,
                "' takes strings, which data files do not hold");
  }
  if (!real_target && (!config.is_identity() || dtype_info(type.dtype).is_float)) {
    return fail(
        ErrorCode::kShapeMismatch, "the model's input '", value.name, "' expects ",
        dtype_name(out.dtype_), ", but the data ",
        config.is_identity() ? "are " : "after preprocessing are ",
        config.is_identity() ? dtype_name(type.dtype) : "real numbers (use --preprocess none)");
  }

  const PictureShape picture = picture_shape(wanted, config.layout);
  const auto use_picture = [&](Order source) {
    out.as_picture_ = type.dtype == DType::kU8;
    out.source_ = source;
    out.target_ = picture.channels_last ? Order::kHwc : Order::kChw;
    out.channels_ = picture.channels;
    out.height_ = picture.height < 0 ? -1 : picture.height;
    out.width_ = picture.width < 0 ? -1 : picture.width;
    out.has_batch_axis_ = wanted.rank() != 3;
  };
  const bool explicit_resize =
      config.resize != ResizeMode::kNone && config.resize != ResizeMode::kAuto;
  const Shape& sample = type.shape;
  const Shape element = wanted.rank() > 0 ? tail(wanted, 1) : wanted;
  const auto is_interleaved = [&] {
    return sample.rank() == 3 && is_channel_count(sample[2]) &&
           (picture.channels < 0 || picture.channels == sample[2]);
  };

  if (type.is_image) {
    if (!picture.exists || (picture.channels >= 0 && !is_channel_count(picture.channels))) {
      return fail(ErrorCode::kShapeMismatch, "the model's input '", value.name, "' expects ",
                  out.expected_,
                  ", which is not the shape of an image; give the data as .npy or .npz");
    }
    use_picture(Order::kHwc);
    if (out.channels_ < 0) out.channels_ = 3;
  } else if (explicit_resize && type.dtype == DType::kU8 && picture.exists && is_interleaved()) {
    use_picture(Order::kHwc);
    out.channels_ = sample[2];
  } else if (!wanted.has_rank() || fits(sample, wanted) ||
             (wanted.rank() > 0 && fits(sample, element))) {
    out.has_batch_axis_ = !wanted.has_rank() || !fits(sample, wanted);
    out.shape_ = sample;
    if (picture.exists && sample.rank() == (out.has_batch_axis_ ? 3 : wanted.rank()) &&
        sample.rank() >= 3) {
      out.source_ = out.target_ = picture.channels_last ? Order::kHwc : Order::kChw;
      out.channels_ = picture.channels_last ? sample.back() : sample[sample.rank() - 3];
    }
    if (sample.rank() == 4 && sample[0] != 1) out.source_ = out.target_ = Order::kFlat;
  } else if (picture.exists && !picture.channels_last && is_interleaved()) {
    use_picture(Order::kHwc);
    out.channels_ = sample[2];
    if (!out.as_picture_) out.shape_ = {sample[2], sample[0], sample[1]};
  } else if (picture.exists && picture.channels_last && sample.rank() == 3 &&
             is_channel_count(sample[0]) && picture.channels == sample[0] &&
             fits({sample[1], sample[2], sample[0]}, tail(wanted, wanted.rank() - 3))) {
    use_picture(Order::kChw);
    out.as_picture_ = false;
    out.channels_ = sample[0];
    out.shape_ = {sample[1], sample[2], sample[0]};
  } else if (element.is_static() && squeezed(sample) == squeezed(element)) {
    out.has_batch_axis_ = true;
    out.shape_ = element;
    if (picture.exists && wanted.rank() == 4) {
      out.source_ = out.target_ = picture.channels_last ? Order::kHwc : Order::kChw;
      out.channels_ = picture.channels;
    }
  } else if (wanted.is_static() && squeezed(sample) == squeezed(wanted)) {
    out.shape_ = wanted;
  } else if (picture.exists && picture.channels == 1 && sample.rank() == 2 &&
             type.dtype == DType::kU8) {
    use_picture(Order::kHwc);
  } else {
    return out.mismatch(sample, "");
  }
  // Pictures without a resize must fit already, and so must those that are not u8.
  if (!type.is_image && out.source_ == Order::kHwc && out.target_ == Order::kChw &&
      (config.resize == ResizeMode::kNone || !out.as_picture_)) {
    const int64_t h = sample[0], w = sample[1];
    if ((out.height_ >= 0 && out.height_ != h) || (out.width_ >= 0 && out.width_ != w)) {
      return out.mismatch(sample, out.as_picture_
                                      ? " (height x width x channels); --preprocess torch, tf, "
                                        "caffe or unit resizes it"
                                      : " (height x width x channels)");
    }
  }
  if (out.has_batch_axis_ && wanted.rank() > 0 && wanted[0] > 1) out.batch_ = wanted[0];
  if (out.has_batch_axis_ && wanted.rank() > 0 && wanted[0] == 0) return out.mismatch(sample, "");

  if (out.target_ == Order::kFlat) out.channels_ = 1;
  for (const std::vector<float>* list : {&config.mean, &config.std}) {
    if (list->size() != 1 && static_cast<int64_t>(list->size()) != out.channels_) {
      return fail(ErrorCode::kInvalidArgument, "the preprocessing has ", list->size(),
                  " means or deviations, but the samples for '", value.name, "' have ",
                  out.channels_, out.channels_ == 1 ? " channel" : " channels");
    }
  }
  return out;
}

Result<Image> SampleConverter::fit(Sample sample) const {
  const bool has_channels = sample.shape.rank() == 3;
  Image image{static_cast<int>(sample.shape[1]), static_cast<int>(sample.shape[0]),
              has_channels ? static_cast<int>(sample.shape[2]) : 1, std::move(sample.bytes)};
  if (channels_ == 1) image = to_grey(image);
  return fit_image(image, config_, static_cast<int>(height_), static_cast<int>(width_));
}

Result<Tensor> SampleConverter::convert(Sample sample) const {
  Shape shape = shape_;
  if (as_picture_) {
    if (sample.shape[0] < 1 || sample.shape[1] < 1 || sample.shape.elements(0, 2) > kImagePixels) {
      return mismatch(sample.shape, "");
    }
    OCTAVO_ASSIGN(Image image, fit(std::move(sample)));
    sample = {DType::kU8, {image.height, image.width, image.channels}, std::move(image.pixels)};
    if (image.channels != channels_ || (height_ >= 0 && image.height != height_) ||
        (width_ >= 0 && image.width != width_)) {
      return mismatch(
          sample.shape,
          config_.resize == ResizeMode::kNone
              ? " (height x width x channels); --preprocess torch, tf, caffe or unit resizes it"
              : " (height x width x channels) after preprocessing");
    }
    shape = target_ == Order::kHwc ? sample.shape : Shape{channels_, image.height, image.width};
  }
  return write(sample, shape);
}

Result<Tensor> SampleConverter::write(const Sample& sample, const Shape& shape) const {
  OCTAVO_ASSIGN(Tensor out, Tensor::create(dtype_, shape));
  const int64_t count = out.elements();
  if (count * dtype_bytes(sample.dtype) != static_cast<int64_t>(sample.bytes.size())) {
    return mismatch(sample.shape, "");
  }
  const bool swap_channels = config_.color == ColorOrder::kBgr && channels_ == 3;
  if (sample.dtype == dtype_ && source_ == target_ && config_.is_identity() && !swap_channels) {
    if (count > 0) std::memcpy(out.raw(), sample.bytes.data(), sample.bytes.size());
  } else {
    const std::vector<double> values = widened(sample);
    const int64_t pixels = count / std::max<int64_t>(channels_, 1);
    const auto index = [&](Order order, int64_t pixel, int64_t channel) {
      return static_cast<size_t>(order == Order::kChw ? channel * pixels + pixel
                                                      : pixel * channels_ + channel);
    };
    const bool identity = config_.is_identity();
    bool in_range = true;
    const auto write_as = [&]<class T>() {
      const auto to = out.data<T>();
      for (int64_t c = 0; c < channels_; ++c) {
        const float mean = config_.mean[config_.mean.size() == 1 ? 0 : static_cast<size_t>(c)];
        const float std = config_.std[config_.std.size() == 1 ? 0 : static_cast<size_t>(c)];
        const int64_t from_c = swap_channels ? 2 - c : c;
        for (int64_t p = 0; p < pixels; ++p) {
          double x = values[index(source_, p, from_c)];
          if (!identity) x = (static_cast<float>(x * config_.scale) - mean) / std;
          in_range &= store(x, to[index(target_, p, c)]);
        }
      }
    };
    visit_dtype(dtype_, write_as, [] {});
    if (!in_range) {
      return fail(ErrorCode::kInvalidData, "a value does not fit ", dtype_name(dtype_), ", which '",
                  input_name_, "' expects");
    }
  }
  if (const int64_t bad = find_not_finite(out); bad >= 0) {
    return fail(ErrorCode::kInvalidData, "element ", bad, " is NaN or infinite");
  }
  return out;
}

Result<Tensor> SampleConverter::stack(std::span<const Tensor> samples) const {
  const Tensor& first = samples.front();
  if (!has_batch_axis_) return first;
  Shape shape{static_cast<int64_t>(samples.size())};
  for (const int64_t dim : first.shape()) shape.push_back(dim);
  if (samples.size() == 1) return first.reshaped(shape);
  OCTAVO_ASSIGN(Tensor out, Tensor::create(dtype_, shape));
  auto* to = static_cast<std::byte*>(out.raw());
  for (const Tensor& sample : samples) {
    if (sample.shape() != first.shape())
      return mismatch(sample.shape(), ", another one in the same batch");
    const auto bytes = sample.raw_bytes();
    if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  }
  return out;
}

}  // namespace octavo
