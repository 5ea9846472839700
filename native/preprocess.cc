#include "native/preprocess.h"

#include <algorithm>
#include <cmath>

#include "core/config/option.h"
#include "native/files.h"
#include "native/resize.h"
#include <nlohmann/json.hpp>

namespace octavo {
namespace {

using Json = nlohmann::json;

constexpr int kMaxSide = 65535;

struct Preset {
  const char* name;
  PreprocessConfig config;
};
const std::vector<Preset>& presets() {
  static const std::vector<Preset> kPresets = {
      {"none", {}},
      {"unit", {.resize = ResizeMode::kAuto, .scale = 1.0 / 255}},
      {"torch",
       {.resize = ResizeMode::kAuto,
        .scale = 1.0 / 255,
        .mean = {0.485F, 0.456F, 0.406F},
        .std = {0.229F, 0.224F, 0.225F}}},
      {"tf", {.resize = ResizeMode::kAuto, .scale = 1 / 127.5, .mean = {1}}},
      {"caffe",
       {.resize = ResizeMode::kAuto,
        .color = ColorOrder::kBgr,
        .mean = {103.939F, 116.779F, 123.68F}}},
  };
  return kPresets;
}

const Preset* find_preset(std::string_view name) {
  for (const Preset& preset : presets()) {
    if (name == preset.name) return &preset;
  }
  return nullptr;
}

bool read_side(const Json& json, int& side) {
  if (!json.is_number_integer() || json < 1 || json > kMaxSide) return false;
  side = json.get<int>();
  return true;
}

/// A number or [height, width].
bool read_size(const Json& json, int& height, int& width) {
  if (json.is_array()) {
    return json.size() == 2 && read_side(json[0], height) && read_side(json[1], width);
  }
  return read_side(json, height) && read_side(json, width);
}

bool read_floats(const Json& json, std::vector<float>& values) {
  const Json list = json.is_array() ? json : Json::array({json});
  if (list.empty() || list.size() > 4096) return false;
  values.clear();
  for (const Json& item : list) {
    if (!item.is_number() || !std::isfinite(item.get<float>())) return false;
    values.push_back(item.get<float>());
  }
  return true;
}

bool is_text(const Json& json, std::string_view text) {
  return json.is_string() && json.get_ref<const std::string&>() == text;
}

bool read_resize(const Json& json, PreprocessConfig& config) {
  if (is_text(json, "none")) return config.resize = ResizeMode::kNone, true;
  if (is_text(json, "auto")) return config.resize = ResizeMode::kAuto, true;
  if (is_text(json, "letterbox")) return config.resize = ResizeMode::kLetterbox, true;
  config.resize = json.is_array() ? ResizeMode::kExact : ResizeMode::kShortSide;
  return read_size(json, config.resize_height, config.resize_width);
}

struct Field : PreprocessField {
  bool (*read)(const Json&, PreprocessConfig&);
};
constexpr Field kFields[] = {
    {{"preset", "start from none, unit (x/255), torch, tf or caffe; other fields override it"},
     [](const Json& json, PreprocessConfig&) {
       return json.is_string() && find_preset(json.get_ref<const std::string&>()) != nullptr;
     }},
    {{"resize",
      "short side in pixels, [height, width], \"letterbox\", \"auto\" (by the model's size) or "
      "\"none\""},
     read_resize},
    {{"crop", "pixels, or [height, width], taken from the middle"},
     [](const Json& json, PreprocessConfig& config) {
       return read_size(json, config.crop_height, config.crop_width);
     }},
    {{"layout", "of the model's input: \"nchw\", \"nhwc\" or \"auto\""},
     [](const Json& json, PreprocessConfig& config) {
       config.layout = is_text(json, "nchw")   ? ChannelLayout::kNchw
                       : is_text(json, "nhwc") ? ChannelLayout::kNhwc
                                               : ChannelLayout::kAuto;
       return config.layout != ChannelLayout::kAuto || is_text(json, "auto");
     }},
    {{"color", "\"rgb\" or \"bgr\""},
     [](const Json& json, PreprocessConfig& config) {
       config.color = is_text(json, "bgr") ? ColorOrder::kBgr : ColorOrder::kRgb;
       return is_text(json, "rgb") || is_text(json, "bgr");
     }},
    {{"scale", "values are multiplied by it first"},
     [](const Json& json, PreprocessConfig& config) {
       if (!json.is_number() || !std::isfinite(json.get<double>())) return false;
       config.scale = json.get<double>();
       return true;
     }},
    {{"mean", "then subtracted: a number, or one per channel"},
     [](const Json& json, PreprocessConfig& config) { return read_floats(json, config.mean); }},
    {{"std", "then divided by: a number, or one per channel, not 0"},
     [](const Json& json, PreprocessConfig& config) {
       return read_floats(json, config.std) && !std::ranges::contains(config.std, 0.0F);
     }},
    {{"pad", "letterbox: value of the border, 0 to 255"},
     [](const Json& json, PreprocessConfig& config) {
       if (!json.is_number_integer() || json < 0 || json > 255) return false;
       config.pad = json.get<int>();
       return true;
     }},
    {{"align", "letterbox: where the image lies, \"top_left\" or \"center\""},
     [](const Json& json, PreprocessConfig& config) {
       config.pad_around = is_text(json, "center");
       return config.pad_around || is_text(json, "top_left");
     }},
};

Result<PreprocessConfig> from_json(std::string_view text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, where, " is not a JSON object");
  }
  PreprocessConfig config;
  if (const auto preset = json.find("preset"); preset != json.end() && preset->is_string()) {
    if (const Preset* found = find_preset(preset->get_ref<const std::string&>()))
      config = found->config;
  }
  for (const auto& [key, value] : json.items()) {
    const auto* field =
        std::ranges::find_if(kFields, [&](const Field& f) { return key == f.name; });
    if (field == std::end(kFields)) {
      std::vector<std::string> names;
      for (const Field& known : kFields) names.emplace_back(known.name);
      return fail(ErrorCode::kInvalidArgument, where, ": unknown preprocessing field '", key, "'",
                  did_you_mean(key, names));
    }
    if (!field->read(value, config)) {
      return fail(ErrorCode::kInvalidArgument, where, ": bad value for '", key, "': ", field->help);
    }
  }
  return config;
}

}  // namespace

bool PreprocessConfig::is_identity() const {
  return scale == 1 && std::ranges::all_of(mean, [](float m) { return m == 0; }) &&
         std::ranges::all_of(std, [](float s) { return s == 1; });
}

std::span<const PreprocessField> preprocess_fields() {
  static const std::vector<PreprocessField> fields(std::begin(kFields), std::end(kFields));
  return fields;
}

std::vector<std::string> preprocess_presets() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

Result<PreprocessConfig> parse_preprocess(const std::string& text) {
  if (const Preset* preset = find_preset(text)) return preset->config;
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string::npos && text[start] == '{') return from_json(text, "--preprocess");
  if (auto file = map_file(text)) {
    if (file->bytes.size() > (size_t{1} << 20)) {
      return fail(ErrorCode::kLimitExceeded, "'", text, "' is too long for a preprocessing file");
    }
    return from_json({reinterpret_cast<const char*>(file->bytes.data()), file->bytes.size()}, text);
  }
  return fail(ErrorCode::kInvalidArgument,
              "--preprocess takes none, unit, torch, tf, caffe, a JSON object "
              "or a file that holds one; '",
              text, "' is none of them", did_you_mean(text, preprocess_presets()));
}

Result<Image> fit_image(const Image& image, const PreprocessConfig& config, int height, int width) {
  const auto pad = static_cast<uint8_t>(config.pad);
  const auto crop = [&](const Image& resized) {
    return config.crop_height > 0 ? center_crop(resized, config.crop_width, config.crop_height, pad)
                                  : resized;
  };
  switch (config.resize) {
    case ResizeMode::kNone: return crop(image);
    case ResizeMode::kAuto: {
      // A side that the model leaves open is taken from the other one, or the usual 224.
      const int wanted_height = config.crop_height > 0 ? config.crop_height
                                : height > 0           ? height
                                                       : width;
      const int wanted_width = config.crop_width > 0 ? config.crop_width
                               : width > 0           ? width
                                                     : height;
      const int out_height = wanted_height > 0 ? wanted_height : 224;
      const int out_width = wanted_width > 0 ? wanted_width : 224;
      if (image.height == out_height && image.width == out_width) return image;
      const double ratio = 256.0 / 224.0;
      if (out_height == out_width) {
        OCTAVO_ASSIGN(const Image resized,
                      resize_short_side(image, static_cast<int>(std::lround(out_height * ratio))));
        return center_crop(resized, out_width, out_height, pad);
      }
      // Cover the model's rectangle with the same margin.
      const double factor = ratio * std::max(static_cast<double>(out_height) / image.height,
                                             static_cast<double>(out_width) / image.width);
      OCTAVO_ASSIGN(const Image resized,
                    resize_image(image, static_cast<int>(std::lround(image.width * factor)),
                                 static_cast<int>(std::lround(image.height * factor))));
      return center_crop(resized, out_width, out_height, pad);
    }
    case ResizeMode::kShortSide: {
      OCTAVO_ASSIGN(const Image resized, resize_short_side(image, config.resize_height));
      return crop(resized);
    }
    case ResizeMode::kExact: {
      OCTAVO_ASSIGN(const Image resized,
                    resize_image(image, config.resize_width, config.resize_height));
      return crop(resized);
    }
    case ResizeMode::kLetterbox: {
      const int out_height = config.crop_height > 0 ? config.crop_height : height;
      const int out_width = config.crop_width > 0 ? config.crop_width : width;
      if (out_height < 1 || out_width < 1) {
        return fail(ErrorCode::kInvalidArgument,
                    "letterbox needs a size, which this model's input leaves open: set \"crop\"");
      }
      const double factor = std::min(static_cast<double>(out_height) / image.height,
                                     static_cast<double>(out_width) / image.width);
      const int inner_width = std::max(1, static_cast<int>(image.width * factor));
      const int inner_height = std::max(1, static_cast<int>(image.height * factor));
      OCTAVO_ASSIGN(const Image resized, resize_image(image, inner_width, inner_height));
      return place_image(resized, config.pad_around ? (out_width - inner_width) / 2 : 0,
                         config.pad_around ? (out_height - inner_height) / 2 : 0, out_width,
                         out_height, pad);
    }
  }
  return fail(ErrorCode::kInternal, "unknown resize mode");
}

}  // namespace octavo
