#include <algorithm>

#include "core/calibration/data_lint.h"
#include "core/provenance.h"
#include "core/quantization/stage.h"
#include "core/quantization/stage_cache.h"
#include "core/quantization/subgraphs.h"
#include "core/text.h"

namespace octavo {
namespace {

// What a later stage leaves alone stays as an earlier one reported it.
void merge_nodes(std::vector<NodeReport>& all, std::vector<NodeReport> of_stage) {
  for (NodeReport& node : of_stage) {
    const auto earlier = std::ranges::find(all, node.name, &NodeReport::name);
    if (earlier != all.end() && earlier->quantized && !node.quantized) node = *earlier;
  }
  for (NodeReport& node : all) {
    if (!std::ranges::contains(of_stage, node.name, &NodeReport::name)) {
      of_stage.push_back(std::move(node));
    }
  }
  all = std::move(of_stage);
}

// A loader may fill the same tensors again and again.
Status keep(const NamedTensors& feeds, std::vector<NamedTensors>& kept) {
  NamedTensors& copy = kept.emplace_back();
  for (const auto& [name, tensor] : feeds) {
    OCTAVO_ASSIGN(Tensor own, tensor.clone());
    copy.emplace_back(name, std::move(own));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Stage>> make_stage(const StageInput& input, const QuantConfig& config) {
  return std::visit(
      [&](const auto& c) -> Result<std::unique_ptr<Stage>> {
        OCTAVO_ASSIGN(const auto spelled, with_subgraphs(*input.graph, c));
        return make_stage(input, spelled);
      },
      config);
}

struct Quantizer::State {
  Recipe recipe;
  StageInput input;
  Provenance provenance;
  int64_t float_bytes = 0;
  size_t next = 0;               // stage to be made after `stage`
  std::unique_ptr<Stage> stage;  // the one that wants data; nullptr when all are done
  int pass = 0;                  // of `stage`
  bool knows_data = false;       // the data have been read through
  bool only_hashes = false;      // this pass is for nothing else than knowing them
  ContentHash hash;              // of this pass's samples
  int64_t samples = 0;           // in this pass
  QuantizeReport report;

  bool wants_data() const { return only_hashes || (stage != nullptr && pass < stage->passes()); }

  // Finishes stages up to the next that wants to see the data.
  Status advance() {
    while (!wants_data()) {
      if (stage != nullptr) OCTAVO_TRY(finish_stage());
      skip_cached_stages();
      if (next == recipe.stages.size()) return {};
      OCTAVO_ASSIGN(stage, make_stage(input, recipe.stages[next]));
      if (wants_data() && input.cache != nullptr && input.cache->wants_data_first()) {
        stage.reset();
        only_hashes = true;
        return {};
      }
      ++next;
      pass = 0;
    }
    return {};
  }

  void end_first_pass() {
    knows_data = true;
    provenance.data = hash_text(hash);
    provenance.samples = samples;
    if (input.cache != nullptr) input.cache->data = {provenance.data, provenance.samples};
  }

  std::string first_stages(size_t count) const {
    return Recipe(std::vector<QuantConfig>(recipe.stages.begin(),
                                           recipe.stages.begin() + static_cast<ptrdiff_t>(count)))
        .to_json();
  }
  // The last stage is never in the cache: recipes differ there.
  void skip_cached_stages() {
    if (input.cache == nullptr) return;
    for (size_t count = recipe.stages.size(); --count > next;) {
      const StageCache::Prefix* found = input.cache->find(first_stages(count));
      if (found == nullptr) continue;
      input.graph = found->graph;
      report = found->report;
      next = count;
      return;
    }
  }

  Status finish_stage() {
    QuantizeReport of_stage;
    OCTAVO_ASSIGN(Graph made, stage->finish(of_stage));
    OCTAVO_TRY(validate(made));
    stage.reset();
    input.graph = std::make_shared<const Graph>(std::move(made));
    merge_nodes(report.nodes, std::move(of_stage.nodes));
    std::ranges::move(of_stage.warnings, std::back_inserter(report.warnings));
    report.samples = std::max(report.samples, of_stage.samples);
    if (input.cache != nullptr && next < recipe.stages.size()) {
      input.cache->store(first_stages(next), {input.graph, report});
    }
    return {};
  }
};

Quantizer::Quantizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Quantizer::Quantizer(Quantizer&&) noexcept = default;
Quantizer& Quantizer::operator=(Quantizer&&) noexcept = default;
Quantizer::~Quantizer() = default;

Result<Quantizer> Quantizer::create(const Model& model, const Recipe& recipe,
                                    const QuantizeOptions& options,
                                    std::shared_ptr<StageCache> cache) {
  OCTAVO_TRY(recipe.validate());
  if (model.shared_graph() == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "there is no model to quantize; load one first");
  }
  auto state = std::make_unique<State>();
  state->recipe = recipe;
  if (cache == nullptr && options.calib_store != nullptr) {
    cache = std::make_shared<StageCache>(options.calib_store);
  }
  state->input = {model.shared_graph(), options.pool, std::move(cache), options.deterministic,
                  options.progress};
  state->provenance = {
      .version = OCTAVO_VERSION, .recipe = recipe, .deterministic = options.deterministic};
  OCTAVO_ASSIGN(state->provenance.model, model_hash(model.graph()));
  state->float_bytes = constant_bytes(model.graph());
  OCTAVO_TRY(state->advance());
  return Quantizer(std::move(state));
}

bool Quantizer::wants_data() const { return state_->wants_data(); }

bool Quantizer::may_want_again() const {
  const State& s = *state_;
  return s.only_hashes || s.next < s.recipe.stages.size() ||
         (wants_data() && s.pass + 1 < s.stage->passes());
}

Status Quantizer::observe(const NamedTensors& feeds) {
  if (!wants_data()) {
    return fail(ErrorCode::kInvalidArgument,
                "no stage of the recipe wants more calibration data; call finish()");
  }
  State& s = *state_;
  if (s.only_hashes) {
    OCTAVO_TRY(check_finite_feeds(feeds, s.samples));
  } else {
    OCTAVO_TRY(s.stage->observe(feeds));
  }
  if (!s.knows_data) s.hash.add(hash_feeds(feeds));
  ++s.samples;
  return {};
}

Result<bool> Quantizer::end_pass() {
  State& s = *state_;
  if (!wants_data()) return false;
  if (s.samples == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "the calibration data is empty; at least one sample is needed");
  }
  if (!s.knows_data) s.end_first_pass();
  s.samples = 0;
  if (s.only_hashes) {
    s.only_hashes = false;
  } else {
    OCTAVO_TRY(s.stage->end_pass());
    ++s.pass;
  }
  OCTAVO_TRY(s.advance());
  return wants_data();
}

Result<QuantizedModel> Quantizer::finish() {
  State& s = *state_;
  if (wants_data() && (s.samples > 0 || s.pass == 0)) OCTAVO_TRY(end_pass());
  if (wants_data()) {
    return fail(ErrorCode::kInvalidArgument, "the recipe's stage '",
                stage_name(s.recipe.stages[s.next == 0 ? 0 : s.next - 1]),
                "' wants to see the calibration data again");
  }
  QuantizedModel result;
  result.report = s.report;
  QuantizeReport& report = result.report;
  report.float_bytes = s.float_bytes;
  report.quantized_bytes = constant_bytes(*s.input.graph);
  if (std::ranges::none_of(report.nodes, &NodeReport::quantized)) {
    report.warnings.push_back("no operator was quantized or converted; the model is still float");
  }
  Provenance provenance = s.provenance;
  if (report.samples > 0 && !s.knows_data && s.input.cache != nullptr && s.input.cache->data) {
    provenance.data = s.input.cache->data->hash;
    provenance.samples = s.input.cache->data->samples;
  }
  Graph graph = *s.input.graph;
  write_provenance(provenance, graph);
  result.model = Model(std::make_shared<const Graph>(std::move(graph)));
  return result;
}

std::unexpected<Error> no_calibration_data() {
  return fail(ErrorCode::kInvalidArgument, "this recipe calibrates: pass calibration data");
}

Result<QuantizedModel> quantize_model(const Model& model, const Recipe& recipe,
                                      DataLoader* calib_dataloader, int64_t calib_iteration,
                                      const CalibFunc& calib_func, const QuantizeOptions& options) {
  OCTAVO_ASSIGN(Quantizer quantizer, Quantizer::create(model, recipe, options));
  if (!quantizer.wants_data()) return quantizer.finish();
  if (calib_dataloader == nullptr && !calib_func) return no_calibration_data();
  if (!calib_func && calib_iteration <= 0) {
    return fail(ErrorCode::kInvalidArgument, "calib_iteration is ", calib_iteration,
                "; it must be at least 1");
  }
  bool rewinds = true;
  if (!calib_func) {
    const Status rewound = calib_dataloader->rewind();
    rewinds = rewound.has_value();
    if (!rewinds && rewound.error().code != ErrorCode::kUnavailable) {
      return std::unexpected(rewound.error());
    }
  }
  std::vector<NamedTensors> kept;
  for (bool again = true, first = true; again; first = false) {
    int64_t samples = 0;
    const auto observe = [&](const NamedTensors& feeds) -> Status {
      OCTAVO_TRY(quantizer.observe(feeds));
      ++samples;
      if (options.progress && !options.progress(samples, calib_func ? 0 : calib_iteration)) {
        return fail(ErrorCode::kCancelled, "calibration was cancelled after ", samples, " samples");
      }
      return {};
    };
    if (calib_func) {
      OCTAVO_TRY(calib_func(observe));
    } else if (!first && !rewinds) {
      for (const NamedTensors& feeds : kept) OCTAVO_TRY(observe(feeds));
    } else {
      if (!first) OCTAVO_TRY(calib_dataloader->rewind());
      while (samples < calib_iteration) {
        OCTAVO_ASSIGN(const std::optional<NamedTensors> feeds, calib_dataloader->next());
        if (!feeds) break;
        OCTAVO_TRY(observe(*feeds));
        if (!rewinds && quantizer.may_want_again()) OCTAVO_TRY(keep(*feeds, kept));
      }
    }
    OCTAVO_ASSIGN(again, quantizer.end_pass());
  }
  return quantizer.finish();
}

}  // namespace octavo
