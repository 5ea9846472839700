#include "runtime/body_runner.h"

#include <algorithm>

namespace octavo {
namespace {
constexpr size_t kMaxPlansPerBody = 8;
}

std::vector<TensorInfo> infos_of(std::span<const TensorView> views) {
  std::vector<TensorInfo> infos;
  infos.reserve(views.size());
  for (const TensorView& view : views) infos.push_back({view.dtype, view.shape});
  return infos;
}

Result<std::vector<Tensor>> BodyRunner::run(const Graph& body, std::span<const TensorView> inputs) {
  if (inputs.size() != body.inputs.size()) {
    return fail(ErrorCode::kInvalidModel, "a body of ", body.inputs.size(), " inputs was given ",
                inputs.size());
  }
  std::vector<Entry>& entries = plans_[&body];
  const auto matches = [&](const Entry& entry) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!(entry.shapes[i] == inputs[i].shape)) return false;
    }
    return true;
  };
  auto found = std::ranges::find_if(entries, matches);
  if (found == entries.end()) {
    Entry entry;
    for (const TensorView& view : inputs) entry.shapes.push_back(view.shape);
    OCTAVO_ASSIGN(entry.plan, Plan::create(body, infos_of(inputs), options_));
    if (entries.size() >= kMaxPlansPerBody) entries.erase(entries.begin());
    entries.push_back(std::move(entry));
    found = entries.end() - 1;
  }
  std::vector<TensorView> views(body.outputs.size());
  OCTAVO_TRY(found->plan->run(inputs, views));
  std::vector<Tensor> outputs;
  for (const TensorView& view : views) {
    OCTAVO_ASSIGN(Tensor output, to_tensor(view));
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace octavo
