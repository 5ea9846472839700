#include "native/resize.h"

#include <algorithm>
#include <cmath>

namespace octavo {
namespace {

/// Bits after the point of a filter weight: 8 bits of pixel and 2 of headroom are left of it.
constexpr int kPrecisionBits = 32 - 8 - 2;

/// The weights of the input pixels behind each output pixel of one axis.
struct Filter {
  struct Span {
    int first = 0, count = 0;
    size_t weights = 0;  // index of the first weight
  };
  std::vector<Span> spans;
  std::vector<int> weights;
};

Filter triangle_filter(int in_size, int out_size) {
  Filter filter;
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = std::max(scale, 1.0);  // support in input pixels
  std::vector<double> weights;
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - stretch + 0.5));
    const int last = std::min(in_size, static_cast<int>(center + stretch + 0.5));
    weights.clear();
    double sum = 0;
    for (int x = first; x < last; ++x) {
      const double distance = std::abs((x - center + 0.5) * (1.0 / stretch));
      weights.push_back(distance < 1 ? 1 - distance : 0);
      sum += weights.back();
    }
    filter.spans.push_back({first, last - first, filter.weights.size()});
    for (const double weight : weights) {
      filter.weights.push_back(
          static_cast<int>(0.5 + weight / (sum == 0 ? 1 : sum) * (1 << kPrecisionBits)));
    }
  }
  return filter;
}

/// One output pixel: `in` is the first input pixel's channel, `step` the distance between pixels.
uint8_t apply(const Filter& filter, const Filter::Span& span, const uint8_t* in, size_t step) {
  int sum = 1 << (kPrecisionBits - 1);
  for (int i = 0; i < span.count; ++i) {
    sum +=
        in[static_cast<size_t>(i) * step] * filter.weights[span.weights + static_cast<size_t>(i)];
  }
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

size_t pixel_bytes(const Image& image) { return static_cast<size_t>(image.channels); }
size_t row_bytes(const Image& image) {
  return static_cast<size_t>(image.width) * pixel_bytes(image);
}

Image blank(int width, int height, int channels, uint8_t value) {
  const size_t size =
      static_cast<size_t>(width) * static_cast<size_t>(height) * static_cast<size_t>(channels);
  return {width, height, channels, std::vector<uint8_t>(size, value)};
}

Image resize_rows(const Image& image, int width) {
  const Filter filter = triangle_filter(image.width, width);
  Image out = blank(width, image.height, image.channels, 0);
  uint8_t* to = out.pixels.data();
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* row = image.pixels.data() + static_cast<size_t>(y) * row_bytes(image);
    for (const Filter::Span& span : filter.spans) {
      const uint8_t* from = row + static_cast<size_t>(span.first) * pixel_bytes(image);
      for (int c = 0; c < image.channels; ++c)
        *to++ = apply(filter, span, from + c, pixel_bytes(image));
    }
  }
  return out;
}

Image resize_columns(const Image& image, int height) {
  const Filter filter = triangle_filter(image.height, height);
  Image out = blank(image.width, height, image.channels, 0);
  uint8_t* to = out.pixels.data();
  for (const Filter::Span& span : filter.spans) {
    const uint8_t* from = image.pixels.data() + static_cast<size_t>(span.first) * row_bytes(image);
    for (size_t x = 0; x < row_bytes(image); ++x)
      *to++ = apply(filter, span, from + x, row_bytes(image));
  }
  return out;
}

/// Python's round(): half to even.
int half_rounded(int difference) { return static_cast<int>(std::nearbyint(difference / 2.0)); }

}  // namespace

Result<Image> resize_image(const Image& image, int width, int height) {
  if (width < 1 || height < 1 || int64_t{width} * height > kImagePixels ||
      int64_t{width} * image.height > kImagePixels) {
    return fail(ErrorCode::kLimitExceeded, "cannot resize an image of ", image.width, " x ",
                image.height, " pixels to ", width, " x ", height);
  }
  if (width == image.width && height == image.height) return image;
  if (width == image.width) return resize_columns(image, height);
  const Image rows = resize_rows(image, width);
  return height == image.height ? rows : resize_columns(rows, height);
}

Result<Image> resize_short_side(const Image& image, int size) {
  const int shorter = std::min(image.width, image.height),
            longer = std::max(image.width, image.height);
  const int64_t longer_size = int64_t{size} * longer / shorter;
  if (size < 1 || longer_size > kImagePixels) {
    return fail(ErrorCode::kLimitExceeded, "cannot resize an image of ", image.width, " x ",
                image.height, " pixels to a short side of ", size);
  }
  const int other = static_cast<int>(longer_size);
  return image.width <= image.height ? resize_image(image, size, other)
                                     : resize_image(image, other, size);
}

Image place_image(const Image& image, int left, int top, int width, int height, uint8_t pad) {
  Image out = blank(width, height, image.channels, pad);
  const int first = std::max(0, left), last = std::min(width, left + image.width);
  for (int y = std::max(0, top); y < std::min(height, top + image.height) && first < last; ++y) {
    const uint8_t* from = image.pixels.data() + static_cast<size_t>(y - top) * row_bytes(image) +
                          static_cast<size_t>(first - left) * pixel_bytes(image);
    uint8_t* to = out.pixels.data() + static_cast<size_t>(y) * row_bytes(out) +
                  static_cast<size_t>(first) * pixel_bytes(out);
    std::copy_n(from, static_cast<size_t>(last - first) * pixel_bytes(image), to);
  }
  return out;
}

Image center_crop(const Image& image, int width, int height, uint8_t pad) {
  return place_image(image, -half_rounded(image.width - width),
                     -half_rounded(image.height - height), width, height, pad);
}

Image to_grey(const Image& image) {
  if (image.channels == 1) return image;
  Image out = blank(image.width, image.height, 1, 0);
  for (size_t i = 0; i < out.pixels.size(); ++i) {
    const uint8_t* rgb = image.pixels.data() + i * 3;
    out.pixels[i] =
        static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
  }
  return out;
}

}  // namespace octavo
