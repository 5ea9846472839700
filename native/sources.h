// Where samples and labels come from; used by Dataset.
#pragma once

#include "native/dataset.h"
#include "native/npy.h"

namespace octavo {

/// Image files in order, each decoded when its turn comes.
std::unique_ptr<SampleSource> make_image_source(std::vector<std::string> files);
/// Slices of an array's first axis. An error for a scalar.
Result<std::unique_ptr<SampleSource>> make_array_source(ArrayReader reader);

struct ImageFolder {
  std::vector<std::string> files;
  std::vector<int64_t> labels;  // empty if there are none
};
/// Lists a folder's images. `labels_file`: instead of the folder's labels.csv; may be empty. No
/// files if the folder has none.
Result<ImageFolder> list_images(const std::string& folder, const std::string& labels_file);

/// Integers of a .npy or idx file, or of the last column of a .csv (a header line is skipped).
Result<std::vector<int64_t>> read_labels(const std::string& path);
Result<std::vector<int64_t>> to_labels(ArrayReader& reader);

}  // namespace octavo
