// Calibrations kept in a folder, one file each.
#pragma once

#include "core/octavo.h"

namespace octavo {

/// Makes the folder. Files of other content under the same name are ignored and replaced.
Result<std::shared_ptr<CalibrationStore>> open_calibration_folder(const std::string& path);

}  // namespace octavo
