#include "core/calibration/calibrate.h"

#include <algorithm>

namespace octavo {
namespace {

class CollectingObserver : public Observer {
 public:
  CollectingObserver(const Graph& graph, Calibration& calibration)
      : graph_(graph), calibration_(calibration) {}

  bool wants(ValueId value) const override { return collector(value) != nullptr; }

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

  // The sample that was seen counts as the next one.
  Status commit() {
    for (const auto& collector : calibration_.collectors) {
      if (collector != nullptr) OCTAVO_TRY(collector->commit(calibration_.samples));
    }
    ++calibration_.samples;
    return {};
  }
  void discard() {
    for (const auto& collector : calibration_.collectors) {
      if (collector != nullptr) collector->discard();
    }
  }

 private:
  Collector* collector(ValueId value) const {
    const auto index = static_cast<size_t>(value);
    return index < calibration_.collectors.size() ? calibration_.collectors[index].get() : nullptr;
  }

  const Graph& graph_;
  Calibration& calibration_;
};

class Observers final : public Observer {
 public:
  Observers(Observer& first, std::span<Observer* const> others) : all_{&first} {
    all_.insert(all_.end(), others.begin(), others.end());
  }
  bool wants(ValueId value) const override {
    return std::ranges::any_of(all_, [&](const Observer* one) { return one->wants(value); });
  }
  Status on_value(ValueId value, const TensorView& tensor) override {
    for (Observer* one : all_) {
      if (one->wants(value)) OCTAVO_TRY(one->on_value(value, tensor));
    }
    return {};
  }

 private:
  std::vector<Observer*> all_;
};

class SessionCalibrator final : public Calibrator {
 public:
  SessionCalibrator(Session session, Calibration calibration)
      : session_(std::move(session)),
        calibration_(std::move(calibration)),
        observer_(session_.graph(), calibration_) {}

  Status observe(const NamedTensors& feeds, std::span<Observer* const> also) override {
    Observers all(observer_, also);
    auto status = observe_sample(session_, feeds, calibration_.samples, all);
    if (!status) {
      observer_.discard();
      return status;
    }
    return observer_.commit();
  }
  const Calibration& calibration() const override { return calibration_; }
  std::shared_ptr<const Calibration> take() override {
    return std::make_shared<const Calibration>(std::move(calibration_));
  }

 private:
  Session session_;
  Calibration calibration_;
  CollectingObserver observer_;
};

}  // namespace

Status observe_sample(Session& session, const NamedTensors& feeds, int64_t sample,
                      Observer& observer) {
  OCTAVO_TRY(check_finite_feeds(feeds, sample));
  if (auto outputs = session.run(feeds, &observer); !outputs) {
    return std::unexpected(std::move(outputs).error());
  }
  return {};
}

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

Result<std::unique_ptr<Calibrator>> Calibrator::create(std::shared_ptr<const Graph> graph,
                                                       const std::vector<WantedValue>& wanted,
                                                       SessionOptions options) {
  Calibration calibration;
  calibration.collectors.resize(graph->values.size());
  for (size_t i = 0; i < wanted.size() && i < calibration.collectors.size(); ++i) {
    if (wanted[i].wanted) {
      calibration.collectors[i] = std::make_unique<Collector>(wanted[i].options);
    }
  }
  OCTAVO_ASSIGN(Session session, Session::create(graph, std::move(options)));
  return std::make_unique<SessionCalibrator>(std::move(session), std::move(calibration));
}

}  // namespace octavo
