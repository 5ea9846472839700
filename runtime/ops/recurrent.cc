#include "runtime/ops/recurrent.h"

#include <cmath>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/indexing.h"
#include "runtime/ops/math.h"

namespace octavo::ops {
namespace {

constexpr FieldDef kLSTMFields[] = {
    floats_field("activation_alpha"),
    floats_field("activation_beta"),
    strings_field("activations"),
    float_field("clip"),
    string_field("direction", "forward"),
    int_field("hidden_size"),
    int_field("input_forget"),
    int_field("layout"),
};
constexpr FieldDef kGRUFields[] = {
    floats_field("activation_alpha"),
    floats_field("activation_beta"),
    strings_field("activations"),
    float_field("clip"),
    string_field("direction", "forward"),
    int_field("hidden_size"),
    int_field("layout"),
    int_field("linear_before_reset"),
};
constexpr FieldDef kRNNFields[] = {
    floats_field("activation_alpha"),
    floats_field("activation_beta"),
    strings_field("activations"),
    float_field("clip"),
    string_field("direction", "forward"),
    int_field("hidden_size"),
    int_field("layout"),
};

using Activation = RecurrentActivation;

struct ActivationDef {
  const char* name;
  Activation::Kind kind;
  int parameters;  // 1: alpha, 2: alpha and beta
  float alpha, beta;
};
constexpr ActivationDef kActivations[] = {
    {"relu", Activation::kRelu, 0, 0, 0},
    {"tanh", Activation::kTanh, 0, 0, 0},
    {"sigmoid", Activation::kSigmoid, 0, 0, 0},
    {"affine", Activation::kAffine, 2, 1, 0},
    {"leakyrelu", Activation::kLeakyRelu, 1, 0.01f, 0},
    {"thresholdedrelu", Activation::kThresholdedRelu, 1, 1, 0},
    {"scaledtanh", Activation::kScaledTanh, 2, 1, 1},
    {"hardsigmoid", Activation::kHardSigmoid, 2, 0.2f, 0.5f},
    {"elu", Activation::kElu, 1, 1, 0},
    {"softsign", Activation::kSoftsign, 0, 0, 0},
    {"softplus", Activation::kSoftplus, 0, 0, 0},
};

void activate(const Activation& f, double clip, double* x, int64_t count) {
  const double alpha = f.alpha, beta = f.beta;
  for (int64_t i = 0; i < count; ++i) {
    const double v = clip > 0 ? std::clamp(x[i], -clip, clip) : x[i];
    switch (f.kind) {
      case Activation::kRelu: x[i] = v > 0 ? v : 0; break;
      case Activation::kTanh: x[i] = math::tanh(v); break;
      case Activation::kSigmoid: x[i] = 1 / (1 + math::exp(-v)); break;
      case Activation::kAffine: x[i] = alpha * v + beta; break;
      case Activation::kLeakyRelu: x[i] = v >= 0 ? v : alpha * v; break;
      case Activation::kThresholdedRelu: x[i] = v > alpha ? v : 0; break;
      case Activation::kScaledTanh: x[i] = alpha * math::tanh(beta * v); break;
      case Activation::kHardSigmoid: x[i] = std::clamp(alpha * v + beta, 0.0, 1.0); break;
      case Activation::kElu: x[i] = v >= 0 ? v : alpha * math::expm1(v); break;
      case Activation::kSoftsign: x[i] = v / (1 + std::abs(v)); break;
      case Activation::kSoftplus:
        x[i] = std::max(v, 0.0) + math::log1p(math::exp(-std::abs(v)));
        break;
    }
  }
}

// The activations of all directions, in order. Alphas and betas go to those that have them.
Result<std::vector<Activation>> read_activations(const Node& node, int64_t directions,
                                                 int per_direction) {
  static constexpr const char* kDefaults[] = {"sigmoid", "tanh", "tanh"};
  const auto names = node.get_strings("activations");
  const auto count = static_cast<size_t>(directions * per_direction);
  if (!names.empty() && names.size() != count) {
    return fail(ErrorCode::kInvalidModel, names.size(), " activations; expected ", count);
  }
  auto alphas = node.get_floats("activation_alpha"), betas = node.get_floats("activation_beta");
  std::vector<Activation> out;
  for (size_t i = 0; i < count; ++i) {
    std::string name =
        names.empty() ? kDefaults[per_direction == 1 ? 1 : i % static_cast<size_t>(per_direction)]
                      : names[i];
    for (char& letter : name) {
      if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    }
    const auto* def = std::ranges::find(kActivations, std::string_view(name), &ActivationDef::name);
    if (def == std::end(kActivations)) {
      return fail(ErrorCode::kInvalidModel, "activation '", name, "' does not exist");
    }
    const auto take = [](std::span<const float>& list, float otherwise) {
      if (list.empty()) return otherwise;
      const float value = list[0];
      list = list.subspan(1);
      return value;
    };
    Activation f{def->kind, def->alpha, def->beta};
    if (def->parameters >= 1) f.alpha = take(alphas, f.alpha);
    if (def->parameters >= 2) f.beta = take(betas, f.beta);
    out.push_back(f);
  }
  return out;
}

// ---- Shapes ----

Result<RecurrentSizes> read_sizes(const Node& node, const Shape& x, const Shape& r) {
  RecurrentSizes s;
  s.batch_first = node.get_int("layout") != 0;
  const std::string_view direction = node.get_string("direction");
  if (direction == "bidirectional") {
    s.directions = 2;
  } else if (direction != "forward" && direction != "reverse" && !direction.empty()) {
    return fail(ErrorCode::kInvalidModel, "direction '", direction, "' does not exist");
  }
  if (x.has_rank()) {
    if (x.rank() != 3) {
      return fail(ErrorCode::kShapeMismatch, "an input of shape ", x.to_string(),
                  "; expected rank 3");
    }
    s.steps = x[s.batch_first ? 1 : 0];
    s.batch = x[s.batch_first ? 0 : 1];
    s.input = x[2];
  }
  if (r.rank() == 3) s.hidden = r[2];
  if (s.hidden < 0 && node.get_int("hidden_size") > 0) s.hidden = node.get_int("hidden_size");
  return s;
}

Status infer_recurrent(InferContext& c) {
  OCTAVO_ASSIGN(const RecurrentSizes s, read_sizes(c.node, c.shape(0), c.shape(2)));
  c.set_output(0, c.dtype(0), s.sequence());
  c.set_output(1, c.dtype(0), s.state());
  c.set_output(2, c.dtype(0), s.state());
  return {};
}

// ---- Running ----

Result<std::vector<int64_t>> sequence_lengths(const KernelContext& c, const RecurrentSizes& s) {
  std::vector<int64_t> lengths(static_cast<size_t>(s.batch), s.steps);
  if (!c.has_input(4)) return lengths;
  OCTAVO_ASSIGN(const Tensor given, as_i64(c.in(4)));
  const auto values = given.data<int64_t>();
  if (values.size() != lengths.size()) {
    return fail(ErrorCode::kShapeMismatch, values.size(), " sequence lengths for a batch of ",
                s.batch);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] > s.steps) {
      return fail(ErrorCode::kInvalidData, "a sequence length of ", values[i], " for ", s.steps,
                  " steps");
    }
    lengths[i] = values[i];
  }
  return lengths;
}

// The products, the obvious way.
struct ReferenceEngine {
  const Recurrence& r;
  const double *w, *recurrent, *bias;

  // to[row][j] += sum over k of a[row][k] * m[j][k]
  static void add_product(const double* a, int64_t rows, const double* m, int64_t columns,
                          int64_t depth, double* to, int64_t stride) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t j = 0; j < columns; ++j) {
        for (int64_t k = 0; k < depth; ++k) {
          to[row * stride + j] += a[row * depth + k] * m[j * depth + k];
        }
      }
    }
  }
  void input_gates(int64_t d, const double* x, int64_t rows, double* gates) const {
    const int64_t width = r.width(), depth = r.sizes.input;
    for (int64_t i = 0; i < rows * width; ++i) {
      gates[i] = bias == nullptr ? 0 : r.input_bias(bias + d * 2 * width, i % width);
    }
    add_product(x, rows, w + d * width * depth, width, depth, gates, width);
  }
  void add_recurrent(int64_t d, int part, const double* state, int64_t rows, double* to,
                     int64_t stride) const {
    const int64_t n = r.sizes.hidden;
    const int64_t first = part == 0 ? 0 : r.first_gates();
    const int64_t count = part == 0 ? r.first_gates() : r.gates - first;
    add_product(state, rows, recurrent + (d * r.gates + first) * n * n, count * n, n, to, stride);
  }
  static void activate(const Activation& f, double clip, double* x, int64_t count) {
    ops::activate(f, clip, x, count);
  }
};

Status run_double(KernelContext& c) {
  std::vector<Shape> shapes;
  for (const TensorView& view : c.inputs) {
    shapes.push_back(view.present() ? view.shape : Shape::unknown());
    if (view.present() && shapes.size() != 5 && view.dtype != DType::kF64) {
      return bad_dtype(view.dtype);
    }
  }
  OCTAVO_ASSIGN(const Recurrence r, make_recurrence(c.node, shapes));
  const RecurrentSizes& s = r.sizes;
  std::vector<int64_t> lengths;
  if (c.has_input(4)) {
    OCTAVO_ASSIGN(lengths, sequence_lengths(c, s));
  }
  const auto in = [&](size_t i) { return c.has_input(i) ? c.in(i).as<const double>() : nullptr; };
  RecurrentOperands<double> operands{in(0), in(3), in(5), in(6), in(7), lengths};
  double** outputs[] = {&operands.y, &operands.y_h, &operands.y_c};
  for (size_t i = 0; i < 3; ++i) {
    if (!c.has_output(i)) continue;
    OCTAVO_ASSIGN(const TensorView view,
                  c.make_output(i, DType::kF64, i == 0 ? s.sequence() : s.state()));
    *outputs[i] = view.as<double>();
  }
  OCTAVO_ASSIGN(Tensor gates, Tensor::create(DType::kF64, {s.steps * s.batch, r.width()}));
  OCTAVO_ASSIGN(Tensor states, Tensor::create(DType::kF64, {3, s.batch, s.hidden}));
  operands.gates = gates.data<double>().data();
  operands.states = states.data<double>().data();
  run_recurrence(r, ReferenceEngine{r, in(1), in(2), in(3)}, operands);
  return {};
}

constexpr OpDef row(OpKind kind, const char* name, int8_t inputs, int8_t outputs,
                    std::span<const FieldDef> fields) {
  return {.kind = kind,
          .name = name,
          .min_inputs = 3,
          .max_inputs = inputs,
          .min_outputs = 0,
          .max_outputs = outputs,
          .fields = fields,
          .infer = infer_recurrent,
          .reference = in_double<run_double>};
}

constexpr OpDef kOps[] = {
    row(OpKind::kLSTM, "LSTM", 8, 3, kLSTMFields),
    row(OpKind::kGRU, "GRU", 6, 2, kGRUFields),
    row(OpKind::kRNN, "RNN", 6, 2, kRNNFields),
};

}  // namespace

Result<Recurrence> make_recurrence(const Node& node, std::span<const Shape> shapes) {
  const auto shape = [&](size_t i) { return i < shapes.size() ? shapes[i] : Shape::unknown(); };
  Recurrence r{.kind = node.kind,
               .gates = node.kind == OpKind::kLSTM  ? 4
                        : node.kind == OpKind::kGRU ? 3
                                                    : 1};
  OCTAVO_ASSIGN(r.sizes, read_sizes(node, shape(0), shape(2)));
  const RecurrentSizes& s = r.sizes;
  const int64_t declared = node.get_int("hidden_size");
  if (s.hidden < 0 || (declared != 0 && declared != s.hidden) || s.hidden > (1 << 24)) {
    return fail(ErrorCode::kShapeMismatch, "recurrent weights of shape ", shape(2).to_string(),
                " for hidden_size ", declared);
  }
  const int64_t width = r.width();
  const std::pair<size_t, Shape> expected[] = {{1, {s.directions, width, s.input}},
                                               {2, {s.directions, width, s.hidden}},
                                               {3, {s.directions, 2 * width}},
                                               {5, s.state()},
                                               {6, s.state()},
                                               {7, {s.directions, 3 * s.hidden}}};
  for (const auto& [i, want] : expected) {
    if (!shape(i).has_rank() || shape(i) == want) continue;
    return fail(ErrorCode::kShapeMismatch, "input ", i, " has shape ", shape(i).to_string(),
                "; expected ", want.to_string());
  }
  const int functions = node.kind == OpKind::kLSTM ? 3 : node.kind == OpKind::kGRU ? 2 : 1;
  OCTAVO_ASSIGN(r.functions, read_activations(node, s.directions, functions));
  r.clip = node.get_float("clip");
  r.linear_before_reset = node.kind == OpKind::kGRU && node.get_int("linear_before_reset") != 0;
  r.input_forget = node.kind == OpKind::kLSTM && node.get_int("input_forget") != 0;
  r.reverse = node.get_string("direction") == "reverse";
  return r;
}

std::span<const OpDef> recurrent_ops() { return kOps; }

}  // namespace octavo::ops
