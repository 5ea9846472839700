// What is done to images and arrays before a model sees them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "native/image.h"

namespace octavo {

enum class ResizeMode : uint8_t {
  kNone,
  kAuto,       // short side to 256/224 of the model's size, then its size from the middle; images
               // that already have the model's size are left alone
  kShortSide,  // to resize_height
  kExact,      // to resize_height x resize_width, whatever the proportions
  kLetterbox,  // into the model's size, proportions kept, the rest padded
};
enum class ColorOrder : uint8_t { kRgb, kBgr };
enum class ChannelLayout : uint8_t { kAuto, kNchw, kNhwc };

/// y = (x * scale - mean[c]) / std[c], channels in the order of `color`.
struct PreprocessConfig {
  ResizeMode resize = ResizeMode::kNone;
  int resize_height = 0, resize_width = 0;
  int crop_height = 0, crop_width = 0;  // from the middle; 0: none
  ColorOrder color = ColorOrder::kRgb;
  ChannelLayout layout = ChannelLayout::kAuto;  // of the model's input; auto: by its channel count
  double scale = 1;
  std::vector<float> mean = {0};  // one, or one per channel
  std::vector<float> std = {1};
  int pad = 0;              // letterbox: value of the border, 0 to 255
  bool pad_around = false;  // letterbox: image in the middle, not top left

  bool is_identity() const;
};

/// One field of the JSON form.
struct PreprocessField {
  const char* name;
  const char* help;
};
std::span<const PreprocessField> preprocess_fields();
/// "none", "unit", "torch", "tf", "caffe".
std::vector<std::string> preprocess_presets();

/// A preset's name, a JSON object ({"preset": "torch", "resize": 256, ...}), or the path of a file
/// that holds one. Errors name the field and suggest the nearest name.
Result<PreprocessConfig> parse_preprocess(const std::string& text);

/// Resizes and crops an image for a model that wants height x width (-1: any).
Result<Image> fit_image(const Image& image, const PreprocessConfig& config, int height, int width);

}  // namespace octavo
