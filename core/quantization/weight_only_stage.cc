// Weight-only quantization as a stage: weights become integers in groups behind DequantizeLinear,
// activations stay float. RTN and HQQ need no data; GPTQ, AWQ and AdaRound watch the layers'
// inputs.
#include <algorithm>
#include <cmath>
#include <map>

#include "core/calibration/calibrate.h"
#include "core/config/weight_only_config.h"
#include "core/graph_edit.h"
#include "core/quantization/adaround.h"
#include "core/quantization/annotate.h"
#include "core/quantization/input_scale.h"
#include "core/quantization/stage.h"
#include "core/quantization/weight_grid.h"

namespace octavo {
namespace {

// One constant weight tensor of a node.
struct Target {
  NodeId node = -1;
  size_t slot = 1;          // the node's input
  int axis = 1;             // of the tensor: input channels
  bool transposed = false;  // columns x rows instead of rows x columns
  ValueId data = kNoValue;  // whose channels meet the columns; kNoValue: not watched
  int data_axis = -1;
  std::optional<size_t> moments = {};  // the observer's number
};

bool has_kernel_one(const Shape& weight) {
  for (int i = 2; i < weight.rank(); ++i) {
    if (weight[i] != 1) return false;
  }
  return true;
}

// The weights of a node that can be quantized; `why_not` says what is in the way.
std::vector<Target> targets_of(const Graph& graph, NodeId id, std::string& why_not) {
  const Node& node = graph.node(id);
  const auto weight = [&](size_t slot) -> const Value* {
    if (node.input(slot) == kNoValue) return nullptr;
    const Value& value = graph.value(node.inputs[slot]);
    return value.constant.present() && value.dtype == DType::kF32 ? &value : nullptr;
  };
  switch (node.kind) {
    case OpKind::kConv: {
      const Value* w = weight(1);
      if (w == nullptr || w->shape.rank() < 3) break;
      if (node.get_int("group") != 1 || !has_kernel_one(w->shape)) {
        why_not = "only 1x1 convolutions without groups are matrix products";
        return {};
      }
      return {{.node = id, .data = node.inputs[0], .data_axis = 1}};
    }
    case OpKind::kMatMul:
    case OpKind::kGemm: {
      const Value* w = weight(1);
      if (w == nullptr || w->shape.rank() != 2) break;
      const bool transposed = node.kind == OpKind::kMatMul || node.get_int("transB") == 0;
      const bool plain = node.kind == OpKind::kMatMul || node.get_int("transA") == 0;
      return {{.node = id,
               .axis = transposed ? 0 : 1,
               .transposed = transposed,
               .data = plain ? node.inputs[0] : kNoValue}};
    }
    case OpKind::kGRU:
    case OpKind::kLSTM:
    case OpKind::kRNN: {
      const Value *w = weight(1), *r = weight(2);
      if (w == nullptr || r == nullptr || w->shape.rank() != 3 || r->shape.rank() != 3) break;
      // The state that R reads is the output of the step before.
      const bool one_direction = r->shape[0] == 1;
      return {
          {.node = id, .slot = 1, .axis = 2, .data = node.inputs[0]},
          {.node = id, .slot = 2, .axis = 2, .data = one_direction ? node.output(0) : kNoValue}};
    }
    default: why_not = "weight-only quantization is for matrix products"; return {};
  }
  why_not = "its weights are not constant";
  return {};
}

template <class C>
class WeightOnlyStage final : public Stage {
 public:
  static Result<std::unique_ptr<Stage>> create(const StageInput& input, const C& config) {
    auto stage = std::make_unique<WeightOnlyStage>();
    stage->input_ = input;
    stage->config_ = config;
    OCTAVO_TRY(check_patterns(*input.graph, stage->config_));
    stage->find_targets();
    if (kNeedsData) {
      stage->observer_ = MomentsObserver(input.session_options());
      for (Target& target : stage->targets_) {
        if (target.data == kNoValue) continue;
        target.moments = stage->observer_.watch({target.data, target.data_axis});
      }
      OCTAVO_ASSIGN(stage->session_, Session::create(input.graph, input.session_options()));
    }
    return stage;
  }

  int passes() const override { return observer_.any() ? 1 : 0; }
  Status observe(const NamedTensors& feeds) override {
    OCTAVO_TRY(observe_sample(*session_, feeds, samples_, observer_));
    ++samples_;
    return {};
  }
  Status end_pass() override { return {}; }

  Result<Graph> finish(QuantizeReport& report) override {
    Graph graph = *input_.graph;
    report.samples = samples_;
    report.nodes = std::move(nodes_);
    std::map<std::pair<ValueId, const void*>, ValueId> done;  // shared weights
    Work work(input_.progress, steps());
    {
      GraphEditor editor(graph);
      for (const Target& target : targets_) {
        const Node& node = graph.node(target.node);
        const C& config = config_.resolve(node.name, op_name(node.kind));
        OCTAVO_TRY(quantize(editor, target, config, work, done));
        NodeReport& entry = report.nodes[static_cast<size_t>(target.node)];
        entry.quantized = true;
        entry.weights =
            concat(config.weight_sym ? "int" : "uint", config.weight_bits,
                   config.weight_group_size > 0 ? concat(" group ", config.weight_group_size)
                                                : std::string(" per_channel"));
        entry.activations = "float";
      }
      editor.prune();
    }
    return graph;
  }

 private:
  static constexpr bool kNeedsData = std::is_same_v<C, GPTQConfig> ||
                                     std::is_same_v<C, AWQConfig> ||
                                     std::is_same_v<C, AdaroundConfig>;

  const Moments* moments_of(const Target& target, const WeightMatrix& m) const {
    const Moments* found = target.moments ? observer_.moments(*target.moments) : nullptr;
    return found != nullptr && found->columns == m.columns ? found : nullptr;
  }

  void find_targets() {
    const Graph& graph = *input_.graph;
    NodeId last = -1;
    std::vector<std::vector<Target>> found(graph.nodes.size());
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      NodeReport& entry = nodes_.emplace_back();
      entry.name = node.name;
      entry.op = std::string(op_name(node.kind));
      found[n] = targets_of(graph, static_cast<NodeId>(n), entry.reason);
      if (found[n].empty()) continue;
      last = static_cast<NodeId>(n);
      if (!config_.allows(node.name, entry.op)) {
        entry.reason = "not in white_list";
        found[n].clear();
      }
    }
    if (!config_.quant_last_matmul && last >= 0) {
      found[static_cast<size_t>(last)].clear();
      nodes_[static_cast<size_t>(last)].reason = "quant_last_matmul is false";
    }
    for (auto& list : found) targets_.insert(targets_.end(), list.begin(), list.end());
  }

  static WeightGrid grid_of(const C& config) {
    WeightGrid grid{.bits = static_cast<int>(config.weight_bits), .symmetric = config.weight_sym};
    if constexpr (requires { config.mse; }) grid.search = config.mse;
    return grid;
  }

  static WeightMatrix matrix_of(const Target& target, const Tensor& weights, const C& config) {
    WeightMatrix m;
    const Shape& shape = weights.shape();
    m.columns = static_cast<size_t>(shape[target.axis]);
    m.rows = static_cast<size_t>(weights.elements()) / std::max<size_t>(m.columns, 1);
    m.group = config.weight_group_size > 0
                  ? std::min(static_cast<size_t>(config.weight_group_size), m.columns)
                  : m.columns;
    const auto data = weights.data<const float>();
    m.real.assign(data.begin(), data.end());
    if (target.transposed) {
      for (size_t r = 0; r < m.rows; ++r) {
        for (size_t c = 0; c < m.columns; ++c) m.real[r * m.columns + c] = data[c * m.rows + r];
      }
    }
    m.integers.resize(m.real.size());
    m.params.resize(m.rows * m.groups());
    return m;
  }

  // `scales`: by which AWQ has multiplied the columns; empty: by none.
  Status round(WeightMatrix& m, const WeightGrid& grid, const Target& target, const C& config,
               [[maybe_unused]] std::span<const float> scales, [[maybe_unused]] Work& work) {
    const Moments* moments = moments_of(target, m);
    if constexpr (std::is_same_v<C, GPTQConfig>) {
      if (moments != nullptr) {
        return gptq(m, grid, *moments, {.percdamp = config.percdamp, .actorder = config.actorder},
                    input_.pool.get());
      }
    }
    if constexpr (std::is_same_v<C, AdaroundConfig>) {
      if (moments != nullptr) return learn_rounding(m, grid, *moments, config, work);
    }
    if constexpr (std::is_same_v<C, AWQConfig>) {
      if (moments != nullptr && config.enable_mse_search) {
        clip_groups(m, grid, *moments, scales);
        return {};
      }
    }
    if constexpr (std::is_same_v<C, HQQConfig>) {
      half_quadratic(m, grid,
                     {.norm = config.lp_norm,
                      .beta = config.beta,
                      .kappa = config.kappa,
                      .steps = config.iters},
                     input_.pool.get());
      return {};
    }
    round_to_nearest(m, grid, input_.pool.get());
    return {};
  }

  Status learn_rounding(WeightMatrix& m, const WeightGrid& grid, const Moments& moments,
                        const AdaroundConfig& config, Work& work) const {
    round_to_nearest(m, grid, input_.pool.get());  // chooses the groups' scales
    RoundingProblem problem{
        .rows = m.rows, .columns = m.columns, .low = grid.low(), .high = grid.high()};
    problem.position.reserve(m.real.size());
    problem.step.reserve(m.real.size());
    for (size_t r = 0; r < m.rows; ++r) {
      for (size_t c = 0; c < m.columns; ++c) {
        const ScaleZero& params = m.group_params(r, c);
        problem.position.push_back(m.row(r)[c] / params.scale +
                                   static_cast<float>(params.zero_point));
        problem.step.push_back(params.scale);
      }
    }
    OCTAVO_ASSIGN(const std::vector<int> made,
                  adaround(problem, moments, /*centred=*/false, adaround_options(config),
                           input_.session_options(), &work));
    std::ranges::transform(made, m.integers.begin(), [](int q) { return static_cast<int8_t>(q); });
    return {};
  }

  // Ranges narrowed for the least error in the output, input channels weighed by their energy.
  void clip_groups(WeightMatrix& m, WeightGrid grid, const Moments& moments,
                   std::span<const float> scales) const {
    grid.search = true;
    std::vector<float> energy(m.columns);
    for (size_t c = 0; c < m.columns; ++c) {
      energy[c] = static_cast<float>(moments.diagonal(c) / static_cast<double>(moments.rows));
      if (!scales.empty()) energy[c] /= scales[c] * scales[c];
    }
    for (size_t r = 0; r < m.rows; ++r) {
      for (size_t c = 0; c < m.columns; ++c) {
        if (c % m.group == 0) {
          const size_t count = std::min(m.group, m.columns - c);
          m.group_params(r, c) =
              grid.choose(m.row(r).subspan(c, count), std::span(energy).subspan(c, count));
        }
        m.set(grid, r, c, m.row(r)[c]);
      }
    }
  }

  // AWQ: s = mean square ^ (ratio / 2), of 20 ratios the one with the least error. Empty: no
  // scales.
  std::vector<float> awq_scales(const WeightMatrix& m, const WeightGrid& grid,
                                const Target& target) const {
    const Moments* moments = moments_of(target, m);
    if (moments == nullptr) return {};
    std::vector<float> energy(m.columns), best, scales(m.columns), importance(m.columns);
    for (size_t c = 0; c < m.columns; ++c) {
      energy[c] = static_cast<float>(moments->diagonal(c) / static_cast<double>(moments->rows));
    }
    const float floor = std::max(std::ranges::max(energy) * 1e-6f, 1e-20f);
    double least = INFINITY;
    constexpr int kSteps = 20;
    for (int step = 0; step < kSteps; ++step) {
      WeightMatrix scaled = m;
      double logs = 0;
      for (size_t c = 0; c < m.columns; ++c) {
        scales[c] = std::pow(std::max(energy[c], floor), 0.5f * static_cast<float>(step) / kSteps);
        logs += std::log(scales[c]);
      }
      const auto mean = static_cast<float>(std::exp(logs / static_cast<double>(m.columns)));
      for (size_t c = 0; c < m.columns; ++c) {
        scales[c] /= mean;
        importance[c] = energy[c] / (scales[c] * scales[c]);
        for (size_t r = 0; r < m.rows; ++r) scaled.row(r)[c] *= scales[c];
      }
      round_to_nearest(scaled, grid, input_.pool.get());
      if (const double error = output_error(scaled, grid, importance); error < least) {
        least = error;
        best = step == 0 ? std::vector<float>() : scales;
      }
    }
    return best;
  }

  // Of learned rounding each iteration, else each layer.
  int64_t steps() const {
    int64_t total = 0;
    for (const Target& target : targets_) {
      if constexpr (std::is_same_v<C, AdaroundConfig>) {
        const Node& node = input_.graph->node(target.node);
        total += config_.resolve(node.name, op_name(node.kind)).rounding_iters;
      } else {
        ++total;
      }
    }
    return total;
  }

  Status quantize(GraphEditor& editor, const Target& target, const C& config, Work& work,
                  std::map<std::pair<ValueId, const void*>, ValueId>& done) {
    Graph& graph = editor.graph();
    const ValueId weight = graph.node(target.node).inputs[target.slot];
    const std::pair<ValueId, const void*> key{weight, static_cast<const void*>(&config)};
    if (const auto found = done.find(key); found != done.end() && !kNeedsData) {
      editor.set_input(target.node, target.slot, found->second);
      return {};
    }
    const Value source = graph.value(weight);
    const WeightGrid grid = grid_of(config);
    WeightMatrix m = matrix_of(target, source.constant, config);
    if (m.real.empty()) return {};
    if (!finite_range(m.real)) {
      return std::unexpected(Error{ErrorCode::kInvalidModel, "the weights hold NaN or infinity",
                                   graph.node(target.node).name, source.name});
    }
    std::vector<float> scales;
    if constexpr (std::is_same_v<C, AWQConfig>) {
      if (config.enable_auto_scale) {
        scales = awq_scales(m, grid, target);
        if (!scales.empty()) {
          for (size_t r = 0; r < m.rows; ++r) {
            for (size_t c = 0; c < m.columns; ++c) m.row(r)[c] *= scales[c];
          }
          OCTAVO_TRY(divide_input(editor, target.node, target.data_axis, scales));
        }
      }
    }
    OCTAVO_TRY(round(m, grid, target, config, scales, work));
    if constexpr (!std::is_same_v<C, AdaroundConfig>) OCTAVO_TRY(work.step());
    OCTAVO_ASSIGN(const ValueId real, add_weights(editor, target, source, m, grid, config));
    editor.set_input(target.node, target.slot, real);
    done[key] = real;
    return {};
  }

  static Result<ValueId> add_weights(GraphEditor& editor, const Target& target, const Value& source,
                                     const WeightMatrix& m, const WeightGrid& grid,
                                     const C& config) {
    OCTAVO_ASSIGN(Tensor integers, Tensor::create(grid.dtype(), source.shape));
    auto* bytes = static_cast<int8_t*>(integers.raw());  // 4-bit ones have a byte each, too
    auto quant = std::make_shared<QuantParams>();
    quant->axis = target.axis;
    quant->block_size = static_cast<int64_t>(m.group);
    quant->scale.resize(m.params.size());
    quant->zero_point.resize(m.params.size());
    for (size_t r = 0; r < m.rows; ++r) {
      for (size_t c = 0; c < m.columns; ++c) {
        bytes[target.transposed ? c * m.rows + r : r * m.columns + c] =
            m.integers[r * m.columns + c];
      }
      for (size_t g = 0; g < m.groups(); ++g) {
        const size_t at = target.transposed ? g * m.rows + r : r * m.groups() + g;
        quant->scale[at] = m.params[r * m.groups() + g].scale;
        quant->zero_point[at] = m.params[r * m.groups() + g].zero_point;
      }
    }
    Graph& graph = editor.graph();
    const ValueId made =
        editor.add_value(concat(source.name, "_quantized"), grid.dtype(), source.shape);
    graph.value(made).constant = std::move(integers);
    graph.value(made).quant = std::move(quant);
    const ValueId real =
        editor.add_value(concat(source.name, "_dequantized"), DType::kF32, source.shape);
    Node node{.kind = OpKind::kDequantizeLinear,
              .inputs = {made},
              .outputs = {real},
              .name = concat(source.name, "_dequantized")};
    if (config.quant_format == "matmulnbits") node.set("form", std::string("MatMulNBits"));
    editor.insert_before(target.node, std::move(node));
    return real;
  }

  StageInput input_;
  C config_;
  std::vector<Target> targets_;
  std::vector<NodeReport> nodes_;  // by NodeId
  MomentsObserver observer_;
  std::optional<Session> session_;
  int64_t samples_ = 0;
};

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const RTNConfig& config) {
  return WeightOnlyStage<RTNConfig>::create(input, config);
}
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const GPTQConfig& config) {
  return WeightOnlyStage<GPTQConfig>::create(input, config);
}
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const AWQConfig& config) {
  return WeightOnlyStage<AWQConfig>::create(input, config);
}
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const HQQConfig& config) {
  return WeightOnlyStage<HQQConfig>::create(input, config);
}
Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const AdaroundConfig& config) {
  return WeightOnlyStage<AdaroundConfig>::create(input, config);
}

}  // namespace octavo
