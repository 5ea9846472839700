// Data sets: folders of images, arrays, archives of arrays. Read one sample at a time: memory does
// not depend on how many there are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/octavo.h"
#include "native/preprocess.h"
#include "native/sample.h"
#include "runtime/ceil_div.h"

namespace octavo {

struct DatasetOptions {
  PreprocessConfig preprocess = {};
  std::string labels = {};  // .npy or .csv; empty: found beside the data
  int64_t limit = 0;        // samples used; 0: all
};

/// Samples of one model input, front to back.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual int64_t size() const = 0;
  virtual SampleType type() const = 0;
  virtual Result<Sample> next() = 0;
  virtual Status rewind() = 0;
  /// "image 'cat.jpg'" or "sample 3 of 'x.npy'".
  virtual std::string describe(int64_t index) const = 0;
};

class Dataset final : public DataLoader {
 public:
  /// `path` is
  ///  - a folder of JPEG and PNG files, with labels.csv (lines `file,label`) or a folder per class
  ///    (labels by their sorted order, or their names if these are numbers), or of one idx file;
  ///  - a .npy, first axis = samples; labels in NAME_labels.npy;
  ///  - a .npz with one array per input of the model, and perhaps one called `labels`;
  ///  - an idx file; labels in the idx1 file beside it.
  static Result<std::unique_ptr<Dataset>> open(const std::string& path, const Graph& graph,
                                               const DatasetOptions& options);

  int64_t size() const { return size_; }
  bool has_labels() const { return !labels_.empty(); }
  int64_t label(int64_t i) const { return labels_[static_cast<size_t>(i)]; }
  /// Samples in one feed: the model's batch if it is fixed, else 1.
  int64_t batch() const { return batch_; }
  int64_t feeds() const { return ceil_div(size_, batch_); }

  /// The next feed. The last batch is filled up by repeating its last sample.
  Result<std::optional<NamedTensors>> next() override;
  /// How many samples of the last feed are not repeats.
  int64_t last_count() const { return last_count_; }
  Status rewind() override;

 private:
  struct Input {
    std::string name;
    std::unique_ptr<SampleSource> source;
    SampleConverter converter;
  };
  std::vector<Input> inputs_;
  std::vector<int64_t> labels_;
  int64_t size_ = 0, batch_ = 1, position_ = 0, last_count_ = 0;
};

}  // namespace octavo
