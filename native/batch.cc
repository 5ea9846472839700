#include "native/batch.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace octavo {
namespace {

const Tensor* find(const NamedTensors& tensors, const std::string& name) {
  const auto found = std::ranges::find(tensors, name, &NamedTensors::value_type::first);
  return found == tensors.end() ? nullptr : &found->second;
}

bool are_alike(const Tensor& a, const Tensor& b, int axis) {
  Shape shape = a.shape();
  if (axis >= 0 && shape.rank() == b.shape().rank()) shape[axis] = b.shape()[axis];
  return a.dtype() == b.dtype() && a.dtype() != DType::kString && shape == b.shape() &&
         (axis >= 0 || std::ranges::equal(a.raw_bytes(), b.raw_bytes()));
}

// Calls copy(bytes in `part`, bytes in `whole`, how many) over `part`, which is in `whole` from
// `first` on along `axis`.
template <class Fn>
void for_each_run(const Tensor& part, const Tensor& whole, int axis, int64_t first,
                  const Fn& copy) {
  const Shape& shape = part.shape();
  const int64_t inner = shape.elements(axis + 1, shape.rank()) * dtype_bytes(part.dtype());
  const int64_t run = shape[axis] * inner, stride = whole.shape()[axis] * inner;
  auto* from = static_cast<std::byte*>(part.view().data);
  auto* to = static_cast<std::byte*>(whole.view().data) + first * inner;
  for (int64_t i = 0; i < shape.elements(0, axis); ++i) {
    copy(from + i * run, to + i * stride, static_cast<size_t>(run));
  }
}

}  // namespace

Result<Batch> Batch::of(const Model& model) {
  const Graph& graph = model.graph();
  const Shape shape = graph.inputs.empty() ? Shape::unknown() : graph.value(graph.inputs[0]).shape;
  if (shape.rank() < 1 || shape[0] >= 0) {
    return fail(ErrorCode::kInvalidArgument,
                "requests cannot be joined: the model's first input has no open batch, but shape ",
                shape.to_string());
  }
  return Batch(model.shared_graph());
}

int Batch::axis_of(const Shape& declared) const {
  const auto found = std::ranges::find(declared, symbol());
  return found == declared.end() ? -1 : static_cast<int>(found - declared.begin());
}

Result<std::optional<NamedTensors>> Batch::join(std::span<const NamedTensors> requests) const {
  NamedTensors joined;
  for (const ValueId id : graph_->inputs) {
    const Value& value = graph_->value(id);
    const int axis = axis_of(value.shape);
    const Tensor* model = find(requests[0], value.name);
    if (model == nullptr) return std::nullopt;
    int64_t total = 0;
    for (const NamedTensors& request : requests) {
      const Tensor* tensor = find(request, value.name);
      if (tensor == nullptr || tensor->shape().rank() <= axis ||
          !are_alike(*model, *tensor, axis)) {
        return std::nullopt;
      }
      if (axis >= 0) total += tensor->shape()[axis];
    }
    if (axis < 0) {
      joined.emplace_back(value.name, *model);
      continue;
    }
    Shape shape = model->shape();
    shape[axis] = total;
    OCTAVO_ASSIGN(Tensor whole, Tensor::create(model->dtype(), shape));
    int64_t first = 0;
    for (const NamedTensors& request : requests) {
      const Tensor& part = *find(request, value.name);
      for_each_run(part, whole, axis, first,
                   [](const void* from, void* to, size_t bytes) { std::memcpy(to, from, bytes); });
      first += part.shape()[axis];
    }
    joined.emplace_back(value.name, std::move(whole));
  }
  return joined;
}

Result<std::vector<NamedTensors>> Batch::split(const NamedTensors& outputs,
                                               std::span<const NamedTensors> requests) const {
  std::vector<int64_t> sizes;
  for (const NamedTensors& request : requests) {
    sizes.push_back(find(request, graph_->value(graph_->inputs[0]).name)->shape()[0]);
  }
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  std::vector<NamedTensors> results(requests.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto& [name, whole] = outputs[i];
    // Where the file does not say which dimension it is, the first one of that size.
    const Shape& declared = graph_->value(graph_->outputs[i]).shape;
    int axis = axis_of(declared);
    for (int a = 0; axis < 0 && a < whole.shape().rank(); ++a) {
      const bool open = declared.rank() != whole.shape().rank() || declared[a] < 0;
      if (open && whole.shape()[a] == total) axis = a;
    }
    if (axis < 0 || whole.shape()[axis] != total || whole.dtype() == DType::kString) {
      return fail(ErrorCode::kShapeMismatch, "requests cannot be joined: output '", name,
                  "' of shape ", whole.shape().to_string(), " does not have their batch of ",
                  total);
    }
    int64_t first = 0;
    for (size_t r = 0; r < results.size(); ++r) {
      Shape shape = whole.shape();
      shape[axis] = sizes[r];
      OCTAVO_ASSIGN(Tensor part, Tensor::create(whole.dtype(), shape));
      for_each_run(part, whole, axis, first,
                   [](void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); });
      results[r].emplace_back(name, std::move(part));
      first += sizes[r];
    }
  }
  return results;
}

}  // namespace octavo
