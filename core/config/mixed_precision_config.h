// Mixed precision: operators compute on bfloat16 or float16 values where their rows allow it.
#pragma once

#include "core/config/option.h"

namespace octavo {

struct MixedPrecisionConfig : Config<MixedPrecisionConfig> {
  static constexpr const char* kName = "mixed_precision";
  static std::span<const OptionDef> fields();

  std::string dtype = "bf16";
  /// Operator types that are in another list than the op table has them in.
  std::vector<std::string> allow_list, infer_list, deny_list;
};

}  // namespace octavo
