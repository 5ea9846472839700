#include "native/image.h"

#include <gtest/gtest.h>

#include "native/preprocess.h"
#include "native/resize.h"
#include "tests/image_files.h"

namespace octavo {
namespace {

Result<Image> decode(const std::string& file) {
  return decode_image({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "x.img");
}

std::vector<uint8_t> repeated(std::vector<uint8_t> pixel, size_t count) {
  std::vector<uint8_t> out;
  for (size_t i = 0; i < count; ++i) out.insert(out.end(), pixel.begin(), pixel.end());
  return out;
}

TEST(Image, DecodesEveryPngColourTypeToRgb) {
  const std::vector<uint8_t> expected = {10, 20, 30};
  const struct {
    const char* name;
    std::string file;
    std::vector<uint8_t> pixel;
  } kCases[] = {
      {"rgb", png_file(1, 1, PNG_COLOR_TYPE_RGB, 8, {10, 20, 30}), {10, 20, 30}},
      {"rgba", png_file(1, 1, PNG_COLOR_TYPE_RGBA, 8, {10, 20, 30, 5}), {10, 20, 30}},
      {"rgb16", png_file(1, 1, PNG_COLOR_TYPE_RGB, 16, {10, 200, 20, 1, 30, 0}), {10, 20, 30}},
      {"grey", png_file(1, 1, PNG_COLOR_TYPE_GRAY, 8, {77}), {77, 77, 77}},
      {"grey alpha", png_file(1, 1, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {77, 0}), {77, 77, 77}},
      {"one bit", png_file(1, 1, PNG_COLOR_TYPE_GRAY, 1, {0x80}), {255, 255, 255}},
      {"palette",
       png_file(1, 1, PNG_COLOR_TYPE_PALETTE, 8, {1}, {{1, 2, 3}, {10, 20, 30}}),
       {10, 20, 30}},
  };
  for (const auto& [name, file, pixel] : kCases) {
    const auto image = decode(file);
    ASSERT_TRUE(image) << name << ": " << image.error().message;
    EXPECT_EQ(image->channels, 3) << name;
    EXPECT_EQ(image->pixels, pixel) << name;
  }
}

TEST(Image, DecodesColourGreyAndCmykJpeg) {
  const struct {
    int format;
    std::vector<uint8_t> pixel, expected;
  } kCases[] = {
      {TJPF_RGB, {200, 100, 50}, {200, 100, 50}},
      {TJPF_GRAY, {90}, {90, 90, 90}},
      {TJPF_CMYK, {255, 128, 0, 255}, {255, 128, 0}},  // inverted, as Adobe stores it
  };
  for (const auto& [format, pixel, expected] : kCases) {
    const auto image = decode(jpeg_file(16, 8, format, repeated(pixel, 128)));
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->width, 16);
    EXPECT_EQ(image->height, 8);
    for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(image->pixels[c], expected[c], 2) << format;
  }
}

TEST(Image, UnreadableFilesAreErrorsThatNameThem) {
  std::vector<uint8_t> noise(64 * 64 * 3);
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<uint8_t>(i * 2654435761U >> 13);
  const std::string jpeg = jpeg_file(64, 64, TJPF_RGB, noise);
  const std::string png = png_file(64, 64, PNG_COLOR_TYPE_RGB, 8, noise);
  std::string huge = png;  // 2^31 - 1 pixels wide, with a wrong checksum or not
  huge.replace(16, 8, std::string("\x7F\xFF\xFF\xFF\x7F\xFF\xFF\xFF", 8));
  for (const std::string& file :
       {jpeg.substr(0, jpeg.size() / 2), jpeg.substr(0, 20), png.substr(0, png.size() / 2),
        png.substr(0, 12), huge, std::string("GIF89a"), std::string()}) {
    const auto image = decode(file);
    ASSERT_FALSE(image);
    EXPECT_NE(image.error().message.find("x.img"), std::string::npos) << image.error().message;
  }
}

TEST(Image, SizeIsCheckedBeforeAllocation) {
  // A JPEG header that claims 65500 x 65500 pixels.
  std::string jpeg = jpeg_file(8, 8, TJPF_RGB, repeated({1, 2, 3}, 64));
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xFF\xDC\xFF\xDC");
  const auto image = decode(jpeg);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::kLimitExceeded);
}

TEST(Resize, IsPilsBilinearFilter) {
  // Halving 0 0 255 255: weights 3/7, 3/7, 1/7 on each side.
  const Image image{4, 1, 1, {0, 0, 255, 255}};
  EXPECT_EQ(resize_image(image, 2, 1)->pixels, (std::vector<uint8_t>{36, 219}));
  // Doubling 0 200: quarter steps, clamped at the border.
  const Image small{1, 2, 1, {0, 200}};
  EXPECT_EQ(resize_image(small, 1, 4)->pixels, (std::vector<uint8_t>{0, 50, 150, 200}));
  const Image flat{7, 5, 3, std::vector<uint8_t>(105, 93)};
  const auto other = resize_image(flat, 3, 11);
  EXPECT_EQ(other->pixels, std::vector<uint8_t>(99, 93));
}

TEST(Resize, ShortSideKeepsProportionsRoundingDown) {
  const Image image{500, 375, 1, std::vector<uint8_t>(500 * 375)};
  const auto resized = resize_short_side(image, 256);
  EXPECT_EQ(resized->height, 256);
  EXPECT_EQ(resized->width, 341);  // 341.33
}

TEST(Preprocess, PresetsFitImagesToTheModel) {
  const Image image{500, 375, 3, std::vector<uint8_t>(500 * 375 * 3, 9)};
  for (const char* preset : {"torch", "tf", "caffe", "unit"}) {
    const auto config = parse_preprocess(preset);
    ASSERT_TRUE(config);
    const auto fitted = fit_image(image, *config, 96, 128);
    ASSERT_TRUE(fitted);
    EXPECT_EQ(fitted->height, 96);
    EXPECT_EQ(fitted->width, 128);
  }
  const auto none = fit_image(image, *parse_preprocess("none"), 96, 128);
  EXPECT_EQ(none->width, 500);
}

TEST(Preprocess, AutoLeavesImagesOfTheModelsSizeAlone) {
  const Image image{2, 2, 1, {1, 200, 3, 90}};
  EXPECT_EQ(fit_image(image, *parse_preprocess("torch"), 2, 2)->pixels, image.pixels);
}

TEST(Preprocess, LetterboxKeepsProportionsAndPads) {
  const Image image{4, 2, 1, std::vector<uint8_t>(8, 50)};
  const auto top =
      fit_image(image, *parse_preprocess(R"({"resize": "letterbox", "pad": 114})"), 4, 4);
  ASSERT_TRUE(top);
  EXPECT_EQ(top->pixels, (std::vector<uint8_t>{50, 50, 50, 50, 50, 50, 50, 50, 114, 114, 114, 114,
                                               114, 114, 114, 114}));
  const auto middle = fit_image(
      image, *parse_preprocess(R"({"resize": "letterbox", "pad": 114, "align": "center"})"), 4, 4);
  EXPECT_EQ(middle->pixels, (std::vector<uint8_t>{114, 114, 114, 114, 50, 50, 50, 50, 50, 50, 50,
                                                  50, 114, 114, 114, 114}));
}

TEST(Preprocess, JsonOverridesAPreset) {
  const auto config = parse_preprocess(R"({"preset": "torch", "resize": [48, 192], "mean": 0.5})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->resize, ResizeMode::kExact);
  EXPECT_EQ(config->resize_width, 192);
  EXPECT_EQ(config->mean, std::vector<float>{0.5F});
  EXPECT_EQ(config->std.size(), 3U);
}

TEST(Preprocess, ErrorsNameTheFieldAndTheNearest) {
  const struct {
    const char *text, *message;
  } kCases[] = {
      {"torhc", "did you mean 'torch'"},
      {R"({"sclae": 2})", "did you mean 'scale'"},
      {R"({"std": 0})", "'std'"},
      {R"({"std": []})", "'std'"},
      {R"({"crop": 0})", "'crop'"},
      {R"({"crop": 1e9})", "'crop'"},
      {R"({"resize": [1, 2, 3]})", "'resize'"},
      {R"({"color": "hsv"})", "'color'"},
      {R"({"scale": )", "not a JSON object"},
  };
  for (const auto& [text, message] : kCases) {
    const auto config = parse_preprocess(text);
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().message.find(message), std::string::npos) << config.error().message;
  }
}

}  // namespace
}  // namespace octavo
