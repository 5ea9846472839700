#include "runtime/session.h"

#include <algorithm>
#include <map>

#include "runtime/float_arithmetic.h"
#include "runtime/unpack_weights.h"

namespace octavo {
namespace {

void collect_unsupported(const Graph& graph, std::map<std::string, int>& counts) {
  for (const Node& node : graph.nodes) {
    const OpDef* op = find_op(node.kind);
    if (op == nullptr || op->infer == nullptr) ++counts[std::string(op_name(node.kind))];
    for (const Attribute& attribute : node.attributes) {
      const auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute.value);
      if (body != nullptr && *body != nullptr) collect_unsupported(**body, counts);
    }
  }
}

std::unexpected<Error> input_error(ErrorCode code, const std::string& tensor, std::string message) {
  return std::unexpected(Error{code, std::move(message), {}, tensor});
}

Status check_input(const Graph& graph, const Value& value, const TensorView& view) {
  if (view.dtype != value.dtype) {
    return input_error(ErrorCode::kShapeMismatch, value.name,
                       concat("the input is ", dtype_name(view.dtype), "; the model wants ",
                              dtype_name(value.dtype)));
  }
  if (!value.shape.has_rank()) return {};
  bool fits = view.shape.rank() == value.shape.rank();
  for (int i = 0; fits && i < view.shape.rank(); ++i) {
    fits = value.shape[i] < 0 || value.shape[i] == view.shape[i];
  }
  if (!fits) {
    return input_error(ErrorCode::kShapeMismatch, value.name,
                       concat("the input has shape ", view.shape.to_string(), "; the model wants ",
                              graph.shape_string(value.shape)));
  }
  return {};
}

}  // namespace

Result<Session> Session::create(std::shared_ptr<const Graph> graph, SessionOptions options) {
  std::map<std::string, int> unsupported;
  collect_unsupported(*graph, unsupported);
  if (!unsupported.empty()) {
    std::string list;
    for (const auto& [name, count] : unsupported) {
      list += concat(list.empty() ? "" : ", ", name, " (", count, ")");
    }
    return fail(ErrorCode::kUnsupportedOp, "unsupported operators: ", list);
  }
  OCTAVO_TRY(validate(*graph));
  Session session;
  session.own_values_ = graph->values.size();
  OCTAVO_ASSIGN(graph, compute_in_float(std::move(graph)));
  OCTAVO_ASSIGN(session.graph_, unpack_weights(std::move(graph)));
  session.options_ = std::move(options);
  session.portable_ = session.options_.last != nullptr
                          ? session.options_.last
                          : make_portable_backend(session.options_.reference_only);
  return session;
}

Result<Plan*> Session::plan_for(std::span<const TensorView> inputs, const Observer* observer) {
  std::vector<bool> watched;
  if (observer != nullptr) {
    bool any = false;
    watched.resize(graph_->values.size());
    for (size_t i = 0; i < own_values_; ++i) {
      watched[i] = observer->wants(static_cast<ValueId>(i));
      any = any || watched[i];
    }
    if (!any) watched.clear();
  }
  const auto matches = [&](const Entry& entry) {
    return entry.watched == watched &&
           std::ranges::equal(entry.shapes, inputs, {}, {}, &TensorView::shape);
  };
  auto found = std::ranges::find_if(plans_, matches);
  if (found != plans_.end()) return found->plan.get();

  std::vector<TensorInfo> infos;
  Entry entry{.watched = watched};
  for (size_t i = 0; i < inputs.size(); ++i) {
    OCTAVO_TRY(check_input(*graph_, graph_->value(graph_->inputs[i]), inputs[i]));
    infos.push_back({inputs[i].dtype, inputs[i].shape});
    entry.shapes.push_back(inputs[i].shape);
  }
  PlanOptions plan_options{.pool = options_.pool.get(),
                           .watch = watched.empty() ? nullptr : observer,
                           .weight_cache = options_.weight_cache.get()};
  for (const auto& backend : options_.backends) plan_options.backends.push_back(backend.get());
  plan_options.backends.push_back(portable_.get());
  OCTAVO_ASSIGN(entry.plan, Plan::create(*graph_, infos, plan_options));
  if (plans_.size() >= options_.max_plans) plans_.erase(plans_.begin());
  plans_.push_back(std::move(entry));
  return plans_.back().plan.get();
}

int64_t Session::memory_bytes() const {
  return constant_bytes(*graph_) + (plans_.empty() ? 0 : plans_.back().plan->arena_bytes());
}

Result<std::vector<TensorView>> Session::order_feeds(const NamedTensors& feeds) const {
  std::vector<TensorView> views(graph_->inputs.size());
  for (const auto& [name, tensor] : feeds) {
    const auto found = std::ranges::find_if(
        graph_->inputs, [&](ValueId id) { return graph_->value(id).name == name; });
    if (found == graph_->inputs.end()) {
      std::string names;
      for (const ValueId id : graph_->inputs) {
        names += concat(names.empty() ? "'" : ", '", graph_->value(id).name, "'");
      }
      return input_error(ErrorCode::kNotFound, name,
                         concat("the model has no input '", name, "'; its inputs are ", names));
    }
    TensorView& view = views[static_cast<size_t>(found - graph_->inputs.begin())];
    if (view.present()) {
      return input_error(ErrorCode::kInvalidArgument, name, "the input is given twice");
    }
    view = tensor.view();
  }
  for (size_t i = 0; i < views.size(); ++i) {
    if (!views[i].present()) {
      return input_error(ErrorCode::kInvalidArgument, graph_->value(graph_->inputs[i]).name,
                         "the input is missing");
    }
  }
  return views;
}

Status Session::run(std::span<const TensorView> inputs, std::span<TensorView> outputs,
                    Observer* observer) {
  if (inputs.size() != graph_->inputs.size() || outputs.size() != graph_->outputs.size()) {
    return fail(ErrorCode::kInvalidArgument, "the model has ", graph_->inputs.size(),
                " inputs and ", graph_->outputs.size(), " outputs; ", inputs.size(), " and ",
                outputs.size(), " were given");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    OCTAVO_TRY(check_input(*graph_, graph_->value(graph_->inputs[i]), inputs[i]));
  }
  OCTAVO_ASSIGN(Plan * plan, plan_for(inputs, observer));
  return plan->run(inputs, outputs, observer);
}

Result<NamedTensors> Session::run(const NamedTensors& feeds, Observer* observer) {
  OCTAVO_ASSIGN(const std::vector<TensorView> inputs, order_feeds(feeds));
  std::vector<TensorView> views(graph_->outputs.size());
  OCTAVO_TRY(run(inputs, views, observer));
  NamedTensors outputs;
  for (size_t i = 0; i < views.size(); ++i) {
    OCTAVO_ASSIGN(Tensor tensor, to_tensor(views[i]));
    outputs.emplace_back(graph_->value(graph_->outputs[i]).name, std::move(tensor));
  }
  return outputs;
}

}  // namespace octavo
