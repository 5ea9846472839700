#include "runtime/ops/resize_coordinates.h"

#include <algorithm>
#include <cmath>

namespace octavo::ops {
namespace {

template <class E>
struct Named {
  std::string_view name;
  E value;
};
constexpr Named<Transform> kTransforms[] = {
    {"half_pixel", Transform::kHalfPixel},
    {"half_pixel_symmetric", Transform::kHalfPixelSymmetric},
    {"pytorch_half_pixel", Transform::kPytorchHalfPixel},
    {"align_corners", Transform::kAlignCorners},
    {"asymmetric", Transform::kAsymmetric},
    {"tf_crop_and_resize", Transform::kCropAndResize},
};
constexpr Named<Mode> kModes[] = {
    {"nearest", Mode::kNearest}, {"linear", Mode::kLinear}, {"cubic", Mode::kCubic}};
constexpr Named<Rounding> kRoundings[] = {{"round_prefer_floor", Rounding::kRoundPreferFloor},
                                          {"round_prefer_ceil", Rounding::kRoundPreferCeil},
                                          {"floor", Rounding::kFloor},
                                          {"ceil", Rounding::kCeil}};

template <class E, size_t N>
Result<E> read_enum(const Node& node, const char* attribute, const Named<E> (&names)[N]) {
  const std::string_view value = node.get_string(attribute);
  for (const Named<E>& named : names) {
    if (named.name == value) return named.value;
  }
  return fail(ErrorCode::kInvalidModel, attribute, " '", value, "' does not exist");
}

float cubic_weight(float x, float a) {
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

}  // namespace

Result<ResizeOptions> read_resize_options(const Node& node) {
  ResizeOptions o{};
  OCTAVO_ASSIGN(o.transform, read_enum(node, "coordinate_transformation_mode", kTransforms));
  OCTAVO_ASSIGN(o.mode, read_enum(node, "mode", kModes));
  OCTAVO_ASSIGN(o.rounding, read_enum(node, "nearest_mode", kRoundings));
  o.antialias = node.get_int("antialias") != 0;
  o.exclude_outside = node.get_int("exclude_outside") != 0;
  o.cubic_a = node.get_float("cubic_coeff_a");
  return o;
}

float ResizeAxis::source(Transform transform, int64_t x) const {
  const float at = static_cast<float>(x);
  const float size = static_cast<float>(in), resized = scale * size;
  switch (transform) {
    case Transform::kAsymmetric: return at / scale;
    case Transform::kAlignCorners: return resized == 1 ? 0 : at * (size - 1) / (resized - 1);
    case Transform::kPytorchHalfPixel: return resized == 1 ? -0.5f : (at + 0.5f) / scale - 0.5f;
    case Transform::kHalfPixelSymmetric: {
      const float offset = size / 2 * (1 - static_cast<float>(out) / resized);
      return offset + (at + 0.5f) / scale - 0.5f;
    }
    case Transform::kCropAndResize: {
      const float part = roi_end - roi_begin;
      const float from =
          resized == 1 ? part * (size - 1) / 2 : at * part * (size - 1) / (resized - 1);
      return from + roi_begin * (size - 1);
    }
    case Transform::kHalfPixel: break;
  }
  return (at + 0.5f) / scale - 0.5f;
}

int64_t ResizeAxis::nearest(Rounding rounding, float at) const {
  float to = 0;
  switch (rounding) {
    case Rounding::kRoundPreferFloor: to = std::ceil(at - 0.5f); break;
    case Rounding::kRoundPreferCeil: to = std::floor(at + 0.5f); break;
    case Rounding::kFloor: to = std::floor(at); break;
    case Rounding::kCeil: to = std::ceil(at); break;
  }
  const auto last = static_cast<float>(in - 1);
  if (!(to > 0)) return 0;
  return to >= last ? in - 1 : static_cast<int64_t>(to);
}

ResizePass ResizeAxis::taps(const ResizeOptions& o) const {
  // Antialiasing stretches the filter over the input when shrinking.
  const float filter_scale = o.antialias ? std::min(scale, 1.0f) : 1;
  const float reach = o.mode == Mode::kLinear ? 1 : 2;
  const auto first = static_cast<int64_t>(std::floor(-reach / filter_scale)) + 1;
  ResizePass pass{.in = in, .out = out, .taps = 2 - 2 * first};
  pass.index.resize(static_cast<size_t>(pass.taps * out));
  pass.weight.resize(pass.index.size());
  for (int64_t x = 0; x < out; ++x) {
    float at = source(o.transform, x);
    const auto limit = static_cast<float>(in);
    at = at > -limit && at < 2 * limit ? at : at > 0 ? limit : -1;  // far outside: an edge
    // The ratio is in (0, 1]: an exact hit is the right one of two neighbours.
    const float left = std::ceil(at) - 1, ratio = at - left;
    float sum = 0;
    for (int64_t t = 0; t < pass.taps; ++t) {
      const int64_t position = static_cast<int64_t>(left) + first + t;
      const float distance = (static_cast<float>(first + t) - ratio) * filter_scale;
      float weight = o.mode == Mode::kLinear ? std::max(0.0f, 1 - std::abs(distance))
                                             : cubic_weight(distance, o.cubic_a);
      if (o.exclude_outside && (position < 0 || position >= in)) weight = 0;
      sum += weight;
      const auto i = static_cast<size_t>(t * out + x);
      pass.index[i] = static_cast<int32_t>(std::clamp<int64_t>(position, 0, in - 1));
      pass.weight[i] = weight;
    }
    for (int64_t t = 0; (o.antialias || o.exclude_outside) && t < pass.taps; ++t) {
      float& weight = pass.weight[static_cast<size_t>(t * out + x)];
      weight = sum == 0 ? 0 : weight / sum;
    }
  }
  return pass;
}

}  // namespace octavo::ops
