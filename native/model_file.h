// Models in files.
#pragma once

#include <array>
#include <string>

#include "core/octavo.h"

namespace octavo {

struct LoadedModel {
  Model model;
  int64_t file_bytes = 0;  // of the file and of the external-data files it names
};

/// Maps and loads an ONNX or .octavo file. External data are read only from regular files that,
/// with links followed, lie in the model's folder. Errors name the file.
Result<LoadedModel> load_model(const std::string& path, bool optimize = true);

/// Of the names of model files; the ending decides the format.
inline constexpr std::array kModelEndings = {".onnx", ".octavo"};
/// Writes the format of the name's ending, under a temporary name first. Returns
/// the file's size in bytes.
Result<int64_t> save_model(const Model& model, const std::string& path,
                           const OnnxOptions& options = {});

}  // namespace octavo
