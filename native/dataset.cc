#include "native/dataset.h"

#include <algorithm>
#include <filesystem>

#include "core/config/option.h"
#include "native/npy.h"
#include "native/sources.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

/// Sources by the name of the model input they feed; one without a name feeds the only input.
struct OpenedData {
  std::vector<std::pair<std::string, std::unique_ptr<SampleSource>>> sources;
  std::vector<int64_t> labels;
};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.rfind(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// The labels' file beside an array's file, or "" if there is none.
std::string sibling_labels(const std::string& path) {
  const fs::path file(path);
  const std::string name = file.filename().string();
  std::vector<std::string> candidates;
  if (name.ends_with(".npy")) candidates.push_back(concat(file.stem().string(), "_labels.npy"));
  if (name.contains("images")) {
    candidates.push_back(replaced(replaced(name, "images", "labels"), "idx3", "idx1"));
  }
  for (const std::string& candidate : candidates) {
    std::error_code error;
    const fs::path sibling = file.parent_path() / candidate;
    if (candidate != name && fs::is_regular_file(sibling, error)) return sibling.string();
  }
  return {};
}

Result<OpenedData> open_array(const std::string& path, ArrayReader reader,
                              const std::string& labels_file) {
  OpenedData data;
  OCTAVO_ASSIGN(auto source, make_array_source(std::move(reader)));
  data.sources.emplace_back("", std::move(source));
  const std::string labels = labels_file.empty() ? sibling_labels(path) : labels_file;
  if (!labels.empty()) {
    OCTAVO_ASSIGN(data.labels, read_labels(labels));
  }
  return data;
}

/// The idx file of images in a folder, or "".
std::string find_idx_images(const std::string& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.contains("images") && name.contains("idx3") && name.ends_with("ubyte"))
      return it->path().string();
  }
  return {};
}

Result<OpenedData> open_folder(const std::string& path, const std::string& labels_file) {
  OCTAVO_ASSIGN(ImageFolder folder, list_images(path, labels_file));
  if (folder.files.empty()) {
    const std::string idx = find_idx_images(path);
    if (idx.empty()) {
      return fail(ErrorCode::kInvalidData, "the folder '", path,
                  "' has no .jpg, .jpeg or .png files");
    }
    OCTAVO_ASSIGN(ArrayReader reader, open_idx(idx));
    return open_array(idx, std::move(reader), labels_file);
  }
  OpenedData data;
  data.sources.emplace_back("", make_image_source(std::move(folder.files)));
  data.labels = std::move(folder.labels);
  return data;
}

Result<OpenedData> open_archive(const std::string& path, const std::string& labels_file) {
  OpenedData data;
  OCTAVO_ASSIGN(auto arrays, open_npz(path));
  for (auto& [name, reader] : arrays) {
    if (name == "labels") {
      OCTAVO_ASSIGN(data.labels, to_labels(reader));
      continue;
    }
    OCTAVO_ASSIGN(auto source, make_array_source(std::move(reader)));
    data.sources.emplace_back(name, std::move(source));
  }
  if (!labels_file.empty()) {
    OCTAVO_ASSIGN(data.labels, read_labels(labels_file));
  }
  return data;
}

Result<OpenedData> open_data(const std::string& path, const std::string& labels_file) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    return fail(ErrorCode::kNotFound, "there is no file or folder '", path, "'");
  if (fs::is_directory(status)) return open_folder(path, labels_file);
  if (path.ends_with(".npz")) return open_archive(path, labels_file);
  if (path.ends_with(".npy")) {
    OCTAVO_ASSIGN(ArrayReader reader, open_npy(path));
    return open_array(path, std::move(reader), labels_file);
  }
  if (has_image_extension(path)) {
    OpenedData data;
    data.sources.emplace_back("", make_image_source({path}));
    if (!labels_file.empty()) {
      OCTAVO_ASSIGN(data.labels, read_labels(labels_file));
    }
    return data;
  }
  if (path.contains("idx") || path.ends_with("ubyte")) {
    OCTAVO_ASSIGN(ArrayReader reader, open_idx(path));
    return open_array(path, std::move(reader), labels_file);
  }
  return fail(
      ErrorCode::kInvalidData, "'", path,
      "' is not a kind of data that is read: a folder of JPEG or PNG files, .npy, .npz or idx");
}

}  // namespace

Result<std::unique_ptr<Dataset>> Dataset::open(const std::string& path, const Graph& graph,
                                               const DatasetOptions& options) {
  OCTAVO_ASSIGN(OpenedData data, open_data(path, options.labels));
  auto dataset = std::make_unique<Dataset>();
  std::vector<std::string> names;
  for (const auto& [name, source] : data.sources) names.push_back(name);
  const bool only_one = graph.inputs.size() == 1 && data.sources.size() == 1;
  for (const ValueId id : graph.inputs) {
    const std::string& name = graph.value(id).name;
    const auto found = std::ranges::find_if(
        data.sources, [&](const auto& entry) { return only_one || entry.first == name; });
    if (found == data.sources.end()) {
      if (!path.ends_with(".npz")) {
        std::string list;
        for (const ValueId input : graph.inputs) {
          list += concat(list.empty() ? "'" : ", '", graph.value(input).name, "'");
        }
        return fail(ErrorCode::kInvalidData, "the model has ", graph.inputs.size(), " inputs (",
                    list, "); give the data as an .npz with one array for each");
      }
      const std::string nearest = nearest_name(name, names);
      return fail(ErrorCode::kNotFound, "'", path, "' has no array for the model's input '", name,
                  "'", nearest.empty() ? "" : concat("; did you mean it to be '", nearest, "'?"));
    }
    OCTAVO_ASSIGN(SampleConverter converter,
                  SampleConverter::create(graph, id, found->second->type(), options.preprocess));
    dataset->inputs_.push_back({name, std::move(found->second), std::move(converter)});
  }
  if (dataset->inputs_.empty()) {
    return fail(ErrorCode::kInvalidArgument, "the model has no inputs to feed data to");
  }
  dataset->size_ = dataset->inputs_.front().source->size();
  dataset->batch_ = dataset->inputs_.front().converter.batch();
  for (const Input& input : dataset->inputs_) {
    if (input.source->size() != dataset->size_) {
      return fail(ErrorCode::kInvalidData, "the arrays in '", path,
                  "' differ in their number of samples: ", dataset->size_, " and ",
                  input.source->size(), " ('", input.name, "')");
    }
    if (input.converter.batch() != dataset->batch_) {
      return fail(ErrorCode::kShapeMismatch,
                  "the model's inputs have different fixed batches: ", dataset->batch_, " and ",
                  input.converter.batch(), " ('", input.name, "')");
    }
  }
  if (dataset->size_ == 0) return fail(ErrorCode::kInvalidData, "'", path, "' has no samples");
  dataset->labels_ = std::move(data.labels);
  if (dataset->has_labels() && static_cast<int64_t>(dataset->labels_.size()) != dataset->size_) {
    return fail(ErrorCode::kInvalidData, "'", path, "' has ", dataset->size_,
                " samples, but there are ", dataset->labels_.size(), " labels");
  }
  if (options.limit > 0) dataset->size_ = std::min(dataset->size_, options.limit);
  return dataset;
}

Result<std::optional<NamedTensors>> Dataset::next() {
  last_count_ = std::min(batch_, size_ - position_);
  if (last_count_ == 0) return std::nullopt;
  NamedTensors feeds;
  for (Input& input : inputs_) {
    std::vector<Tensor> samples;
    for (int64_t i = 0; i < last_count_; ++i) {
      OCTAVO_ASSIGN(Sample sample, input.source->next());
      auto converted = input.converter.convert(std::move(sample));
      if (!converted) {
        Error error = std::move(converted).error();
        error.message = concat(input.source->describe(position_ + i), ": ", error.message);
        error.tensor = input.name;
        return std::unexpected(std::move(error));
      }
      samples.push_back(*std::move(converted));
    }
    samples.resize(static_cast<size_t>(batch_), samples.back());
    OCTAVO_ASSIGN(Tensor feed, input.converter.stack(samples));
    feeds.emplace_back(input.name, std::move(feed));
  }
  position_ += last_count_;
  return feeds;
}

Status Dataset::rewind() {
  position_ = 0;
  for (Input& input : inputs_) OCTAVO_TRY(input.source->rewind());
  return {};
}

}  // namespace octavo
