// SmoothQuant as a stage: the channels of an activation X that matrix products read are divided by
//
//   s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)
//
// and the products' weights multiplied by s_j, which leaves the network as it is. The division goes
// into the layer that computes X if that is possible, else into a Mul.
#include <algorithm>
#include <cmath>
#include <map>

#include "core/calibration/calibrate.h"
#include "core/config/smooth_quant_config.h"
#include "core/quantization/annotate.h"
#include "core/quantization/channel_stats.h"
#include "core/quantization/input_scale.h"
#include "core/quantization/stage.h"

namespace octavo {
namespace {

using Doubles = std::vector<double>;

constexpr double kSmallest = 1e-5, kLargest = 1e8;  // of s, as in Neural Compressor

// A layer's weights as its rounding error sees them, by input channel.
struct LayerWeights {
  Doubles largest;  // max |w|
  Doubles squares;  // sum of w^2
  double outputs = 0;
};

LayerWeights weights_of(const Graph& graph, const ScalableLayer& layer) {
  const Value& w = graph.value(graph.node(layer.node).inputs[1]);
  const auto n = static_cast<size_t>(layer.channels);
  LayerWeights sums{Doubles(n, 0), Doubles(n, 0)};
  const auto data = w.constant.data<const float>();
  const auto inner = static_cast<size_t>(w.shape.elements(layer.weight_axis + 1, w.shape.rank()));
  for (size_t i = 0; i < data.size(); ++i) {
    const size_t c = i / inner % n;
    const double x = data[i];
    sums.largest[c] = std::max(sums.largest[c], std::fabs(x));
    sums.squares[c] += x * x;
  }
  sums.outputs = static_cast<double>(data.size()) / static_cast<double>(std::max<size_t>(n, 1));
  return sums;
}

class SmoothStage final : public Stage {
 public:
  static Result<std::unique_ptr<Stage>> create(const StageInput& input,
                                               const SmoothQuantConfig& config) {
    auto stage = std::make_unique<SmoothStage>();
    stage->input_ = input;
    stage->config_ = config;
    const Graph& graph = *input.graph;
    OCTAVO_TRY(check_patterns(graph, stage->config_));
    std::vector<ChannelInput> watched;
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      const auto layer = scalable_layer(graph, static_cast<NodeId>(n));
      if (!layer || !stage->config_.allows(node.name, op_name(node.kind))) continue;
      auto& layers = stage->layers_[node.inputs[0]];
      if (!layers.empty() &&
          (layers[0].channels != layer->channels || layers[0].data_axis != layer->data_axis)) {
        continue;
      }
      layers.push_back(*layer);
      const int rank = graph.value(node.inputs[0]).shape.rank();
      watched.push_back({node.inputs[0], layer->data_axis < 0 ? rank - 1 : layer->data_axis});
    }
    stage->stats_.emplace(graph, watched);
    OCTAVO_ASSIGN(stage->session_, Session::create(input.graph, input.session_options()));
    return stage;
  }

  int passes() const override { return stats_->any() ? 1 : 0; }
  Status observe(const NamedTensors& feeds) override {
    OCTAVO_TRY(observe_sample(*session_, feeds, samples_, *stats_));
    ++samples_;
    return {};
  }
  Status end_pass() override { return {}; }

  Result<Graph> finish(QuantizeReport& report) override {
    Graph graph = *input_.graph;
    report.samples = samples_;
    GraphEditor editor(graph);
    for (const auto& [value, layers] : layers_) {
      const std::vector<float> scales = choose(graph, value, layers);
      if (scales.empty()) continue;
      OCTAVO_TRY(apply(editor, value, layers, scales));
    }
    editor.prune();
    return graph;
  }

 private:
  std::vector<float> choose(const Graph& graph, ValueId value,
                            const std::vector<ScalableLayer>& layers) const {
    const auto ranges = stats_->ranges(value);
    const auto n = static_cast<size_t>(layers[0].channels);
    if (ranges.size() != n) return {};
    Doubles reach(n), heaviest(n, 0);
    for (size_t c = 0; c < n; ++c) {
      reach[c] = std::max(std::fabs(ranges[c].min), std::fabs(ranges[c].max));
    }
    std::vector<LayerWeights> weights;
    for (const ScalableLayer& layer : layers) {
      weights.push_back(weights_of(graph, layer));
      for (size_t c = 0; c < n; ++c) {
        heaviest[c] = std::max(heaviest[c], weights.back().largest[c]);
      }
    }
    const auto scales_for = [&](double alpha) {
      std::vector<float> scales(n, 1);
      for (size_t c = 0; c < n; ++c) {
        if (reach[c] == 0 || heaviest[c] == 0) continue;
        const double s = std::pow(reach[c], alpha) / std::pow(heaviest[c], 1 - alpha);
        scales[c] = static_cast<float>(std::clamp(s, kSmallest, kLargest));
      }
      return scales;
    };
    const Node& first = graph.node(layers[0].node);
    const SmoothQuantConfig& config = config_.resolve(first.name, op_name(first.kind));
    if (config.alpha) return scales_for(*config.alpha);
    std::vector<float> best;
    double least = INFINITY;
    const Doubles energy = stats_->energy(value);
    // Half a step more: the last alpha is meant to be tried whatever the sums' rounding is.
    for (double alpha = config.alpha_min; alpha <= config.alpha_max + config.alpha_step / 2;
         alpha += config.alpha_step) {
      const std::vector<float> scales = scales_for(std::min(alpha, config.alpha_max));
      const double loss = shared_loss(config, scales, reach, energy, weights);
      if (loss < least) {
        least = loss;
        best = scales;
      }
    }
    return best;
  }

  // Expected squared error of a layer's outputs from rounding both sides to 8 bits per tensor,
  // relative to the outputs' size.
  static double shared_loss(const SmoothQuantConfig& config, std::span<const float> s,
                            const Doubles& reach, const Doubles& energy,
                            std::span<const LayerWeights> layers) {
    Doubles losses;
    for (const LayerWeights& w : layers) {
      double top_x = 0, top_w = 0, squares = 0, energies = 0, signal = 0;
      for (size_t c = 0; c < s.size(); ++c) {
        const double factor = s[c];
        top_x = std::max(top_x, reach[c] / factor);
        top_w = std::max(top_w, w.largest[c] * factor);
        squares += w.squares[c] * factor * factor;
        energies += energy[c] / (factor * factor);
        signal += w.squares[c] * energy[c];
      }
      const double step_x = top_x / 127, step_w = top_w / 127;
      losses.push_back((step_x * step_x * squares + step_w * step_w * energies * w.outputs) /
                       std::max(signal, 1e-30));
    }
    if (config.shared_criterion == "min") return std::ranges::min(losses);
    if (config.shared_criterion == "max") return std::ranges::max(losses);
    double sum = 0;
    for (const double loss : losses) sum += loss;
    return sum / static_cast<double>(losses.size());
  }

  Status apply(GraphEditor& editor, ValueId value, const std::vector<ScalableLayer>& layers,
               std::span<const float> scales) const {
    // Other readers want the value as it was.
    const auto& readers = editor.consumers(value);
    const bool ours = !editor.is_output(value) && readers.size() == layers.size();
    bool folded = false;
    if (config_.folding && ours) {
      OCTAVO_ASSIGN(folded, divide_at_producer(editor, value, layers[0].data_axis, scales));
    }
    for (const ScalableLayer& layer : layers) {
      OCTAVO_TRY(scale_input_constant(editor, layer.node, 1, layer.weight_axis, scales));
    }
    if (folded) {
      std::string& name = editor.graph().value(value).name;
      name += "_smoothed";  // not comparable with the float model's
      return {};
    }
    // One Mul serves all readers.
    OCTAVO_TRY(divide_input(editor, layers[0].node, layers[0].data_axis, scales));
    const ValueId divided = editor.graph().node(layers[0].node).inputs[0];
    for (size_t i = 1; i < layers.size(); ++i) editor.set_input(layers[i].node, 0, divided);
    return {};
  }

  StageInput input_;
  SmoothQuantConfig config_;
  std::map<ValueId, std::vector<ScalableLayer>> layers_;  // by what they read
  std::optional<ChannelStats> stats_;
  std::optional<Session> session_;
  int64_t samples_ = 0;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageInput& input,
                                          const SmoothQuantConfig& config) {
  return SmoothStage::create(input, config);
}

}  // namespace octavo
