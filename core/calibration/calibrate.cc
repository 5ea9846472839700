#include "core/calibration/calibrate.h"

namespace octavo {
namespace {

class CollectingObserver : public Observer {
 public:
  CollectingObserver(const Graph& graph, Calibration& calibration)
      : graph_(graph), calibration_(calibration) {
    for (const ValueId id : graph.inputs) is_input_.push_back(id);
  }

  // Graph inputs are collected from the feeds.
  bool wants(ValueId value) const override {
    return collector(value) != nullptr &&
           std::find(is_input_.begin(), is_input_.end(), value) == is_input_.end();
  }

  Status on_value(ValueId value, const TensorView& tensor) override {
    auto status = collector(value)->observe(tensor);
    if (status || status.error().code != ErrorCode::kInvalidData) return status;
    return std::unexpected(Error{ErrorCode::kInvalidData,
                                 concat("the float model computes ", status.error().message,
                                        " values for calibration sample ", calibration_.samples,
                                        "; check the sample and its preprocessing"),
                                 {},
                                 graph_.value(value).name});
  }

  Status observe_feeds(const NamedTensors& feeds) {
    for (const auto& [name, tensor] : feeds) {
      const ValueId id = graph_.find_value(name);
      if (id == kNoValue || collector(id) == nullptr || wants(id)) continue;
      OCTAVO_TRY(collector(id)->observe(tensor.view()));
    }
    return {};
  }

 private:
  Collector* collector(ValueId value) const {
    const auto index = static_cast<size_t>(value);
    return index < calibration_.collectors.size() ? calibration_.collectors[index].get() : nullptr;
  }

  const Graph& graph_;
  Calibration& calibration_;
  std::vector<ValueId> is_input_;
};

}  // namespace

Status check_finite_feeds(const NamedTensors& feeds, int64_t sample) {
  for (const auto& [name, tensor] : feeds) {
    if (tensor.dtype() != DType::kF32) continue;
    if (const auto range = finite_range(tensor.data<float>()); !range) {
      return std::unexpected(
          Error{ErrorCode::kInvalidData,
                concat("sample ", sample, " of the data holds ", range.error().message, " values"),
                {},
                name});
    }
  }
  return {};
}

Result<Calibration> calibrate(std::shared_ptr<const Graph> graph,
                              const std::vector<WantedValue>& wanted, DataLoader* loader,
                              int64_t iterations, const CalibFunc& calib_func,
                              const QuantizeOptions& options) {
  if (loader == nullptr && !calib_func) {
    return fail(ErrorCode::kInvalidArgument,
                "static quantization needs calibration data: pass a data loader or a calib_func");
  }
  if (!calib_func && iterations <= 0) {
    return fail(ErrorCode::kInvalidArgument, "calib_iteration is ", iterations,
                "; it must be at least 1");
  }
  Calibration calibration;
  calibration.collectors.resize(graph->values.size());
  for (size_t i = 0; i < wanted.size() && i < calibration.collectors.size(); ++i) {
    if (wanted[i].algorithm.empty()) continue;
    OCTAVO_ASSIGN(calibration.collectors[i],
                  make_collector(wanted[i].algorithm, wanted[i].per_channel));
  }
  OCTAVO_ASSIGN(Session session, Session::create(graph, {.pool = options.pool}));
  CollectingObserver observer(*graph, calibration);
  const int64_t total = calib_func ? 0 : iterations;

  const auto observe = [&](const NamedTensors& feeds) -> Status {
    OCTAVO_TRY(check_finite_feeds(feeds, calibration.samples));
    if (auto outputs = session.run(feeds, &observer); !outputs) {
      return std::unexpected(std::move(outputs).error());
    }
    OCTAVO_TRY(observer.observe_feeds(feeds));
    ++calibration.samples;
    if (options.progress && !options.progress(calibration.samples, total)) {
      return fail(ErrorCode::kCancelled, "calibration was cancelled after ", calibration.samples,
                  " samples");
    }
    return {};
  };

  if (calib_func) {
    OCTAVO_TRY(calib_func(observe));
  } else {
    while (calibration.samples < iterations) {
      OCTAVO_ASSIGN(const std::optional<NamedTensors> feeds, loader->next());
      if (!feeds) break;
      OCTAVO_TRY(observe(*feeds));
    }
  }
  if (calibration.samples == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "the calibration data is empty; at least one sample is needed");
  }
  return calibration;
}

}  // namespace octavo
