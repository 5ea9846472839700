// LSTM, GRU and RNN. Gates of all steps' inputs are one matrix product; the steps then add the
// recurrent part.
#include <algorithm>
#include <cmath>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/indexing.h"
#include "runtime/ops/matrix.h"

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

struct CellKind {
  int gates;      // blocks of hidden_size rows in W and R
  int functions;  // activations per direction
};
template <OpKind kKind>
constexpr CellKind kCell = kKind == OpKind::kLSTM  ? CellKind{4, 3}
                           : kKind == OpKind::kGRU ? CellKind{3, 2}
                                                   : CellKind{1, 1};

// ---- Activations ----

struct Activation {
  enum Kind {
    kRelu,
    kTanh,
    kSigmoid,
    kAffine,
    kLeakyRelu,
    kThresholdedRelu,
    kScaledTanh,
    kHardSigmoid,
    kElu,
    kSoftsign,
    kSoftplus,
  } kind = kTanh;
  float alpha = 0, beta = 0;
};

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

template <class T>
void activate(const Activation& f, T clip, T* x, int64_t count) {
  const T alpha = f.alpha, beta = f.beta;
  if (clip > 0) {
    for (int64_t i = 0; i < count; ++i) x[i] = std::clamp(x[i], -clip, clip);
  }
  const auto each = [&](auto fn) {
    for (int64_t i = 0; i < count; ++i) x[i] = fn(x[i]);
  };
  switch (f.kind) {
    case Activation::kRelu: each([](T v) { return v > 0 ? v : T{0}; }); break;
    case Activation::kTanh: each([](T v) { return std::tanh(v); }); break;
    case Activation::kSigmoid: each([](T v) { return 1 / (1 + std::exp(-v)); }); break;
    case Activation::kAffine: each([&](T v) { return alpha * v + beta; }); break;
    case Activation::kLeakyRelu: each([&](T v) { return v >= 0 ? v : alpha * v; }); break;
    case Activation::kThresholdedRelu: each([&](T v) { return v > alpha ? v : T{0}; }); break;
    case Activation::kScaledTanh: each([&](T v) { return alpha * std::tanh(beta * v); }); break;
    case Activation::kHardSigmoid:
      each([&](T v) { return std::clamp(alpha * v + beta, T{0}, T{1}); });
      break;
    case Activation::kElu: each([&](T v) { return v >= 0 ? v : alpha * std::expm1(v); }); break;
    case Activation::kSoftsign: each([](T v) { return v / (1 + std::abs(v)); }); break;
    case Activation::kSoftplus:
      each([](T v) { return std::max(v, T{0}) + std::log1p(std::exp(-std::abs(v))); });
      break;
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

struct Sizes {
  int64_t steps = kUnknownDim, batch = kUnknownDim, input = kUnknownDim;
  int64_t directions = 1, hidden = kUnknownDim;
  bool batch_first = false;  // attribute layout
};

Result<Sizes> read_sizes(const Node& node, const Shape& x, const Shape& r) {
  Sizes s;
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

Shape sequence_shape(const Sizes& s) {
  return s.batch_first ? Shape{s.batch, s.steps, s.directions, s.hidden}
                       : Shape{s.steps, s.directions, s.batch, s.hidden};
}
Shape state_shape(const Sizes& s) {
  return s.batch_first ? Shape{s.batch, s.directions, s.hidden}
                       : Shape{s.directions, s.batch, s.hidden};
}

Status infer_recurrent(InferContext& c) {
  OCTAVO_ASSIGN(const Sizes s, read_sizes(c.node, c.shape(0), c.shape(2)));
  c.set_output(0, c.dtype(0), sequence_shape(s));
  c.set_output(1, c.dtype(0), state_shape(s));
  c.set_output(2, c.dtype(0), state_shape(s));
  return {};
}

// ---- Steps ----

template <class T>
struct Recurrence {
  OpKind kind;
  Sizes s;
  int64_t gates;
  T clip;
  bool linear_before_reset, input_forget;
  ThreadPool* pool;
  // Of one direction:
  const Activation* functions;
  const T* recurrent;       // transposed: [hidden][gates * hidden]
  const T* recurrent_bias;  // [gates * hidden] or nullptr
  const T* peepholes;       // [3 * hidden]: input, output, forget; or nullptr

  // Advances one sequence's state by one step. `gate` holds the input's part of the gates with the
  // biases that can be added beforehand; `h` and `c` are updated.
  void step(T* gate, T* h, T* c, T* scratch) const {
    const int64_t n = s.hidden;
    const auto add_recurrent = [&](const T* state, int64_t first, int64_t count, T* to) {
      for (int64_t k = 0; k < n; ++k) {
        const T value = state[k];
        const T* row = recurrent + k * gates * n + first * n;
        for (int64_t i = 0; i < count * n; ++i) to[i] += value * row[i];
      }
    };
    if (kind == OpKind::kRNN) {
      add_recurrent(h, 0, 1, gate);
      activate(functions[0], clip, gate, n);
      std::copy_n(gate, n, h);
    } else if (kind == OpKind::kGRU) {
      T *z = gate, *r = gate + n, *candidate = gate + 2 * n;
      add_recurrent(h, 0, 2, gate);
      activate(functions[0], clip, gate, 2 * n);
      if (linear_before_reset) {
        std::fill_n(scratch, n, T{0});
        if (recurrent_bias != nullptr) std::copy_n(recurrent_bias + 2 * n, n, scratch);
        add_recurrent(h, 2, 1, scratch);
        for (int64_t i = 0; i < n; ++i) candidate[i] += r[i] * scratch[i];
      } else {
        for (int64_t i = 0; i < n; ++i) scratch[i] = r[i] * h[i];
        add_recurrent(scratch, 2, 1, candidate);
      }
      activate(functions[1], clip, candidate, n);
      for (int64_t i = 0; i < n; ++i) h[i] = (1 - z[i]) * candidate[i] + z[i] * h[i];
    } else {
      T *input = gate, *output = gate + n, *forget = gate + 2 * n, *cell = gate + 3 * n;
      add_recurrent(h, 0, 4, gate);
      const auto peep = [&](T* at, int64_t which) {
        for (int64_t i = 0; peepholes != nullptr && i < n; ++i) {
          at[i] += peepholes[which * n + i] * c[i];
        }
      };
      peep(input, 0);
      peep(forget, 2);
      activate(functions[0], clip, input, n);
      if (input_forget) {
        for (int64_t i = 0; i < n; ++i) forget[i] = 1 - input[i];
      } else {
        activate(functions[0], clip, forget, n);
      }
      activate(functions[1], clip, cell, n);
      for (int64_t i = 0; i < n; ++i) c[i] = forget[i] * c[i] + input[i] * cell[i];
      peep(output, 1);
      activate(functions[0], clip, output, n);
      std::copy_n(c, n, scratch);
      activate(functions[2], T{0}, scratch, n);
      for (int64_t i = 0; i < n; ++i) h[i] = output[i] * scratch[i];
    }
  }
};

Status check_input(const KernelContext& c, size_t i, const Shape& expected) {
  if (!c.has_input(i)) return {};
  if (c.in(i).dtype != c.in(0).dtype) return bad_dtype(c.in(i).dtype);
  if (c.in(i).shape == expected) return {};
  return fail(ErrorCode::kShapeMismatch, "input ", i, " has shape ", c.in(i).shape.to_string(),
              "; expected ", expected.to_string());
}

Result<std::vector<int64_t>> sequence_lengths(const KernelContext& c, const Sizes& s) {
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

// Everything the steps need, in float or double.
template <class T, OpKind kKind>
Status run_typed(KernelContext& c, const Sizes& s) {
  constexpr CellKind kind = kCell<kKind>;
  const int64_t n = s.hidden, width = kind.gates * n;
  OCTAVO_ASSIGN(const auto functions, read_activations(c.node, s.directions, kind.functions));
  OCTAVO_ASSIGN(const auto lengths, sequence_lengths(c, s));
  const TensorView none;
  const auto wanted = [&](size_t i, const Shape& shape) -> Result<TensorView> {
    return c.has_output(i) ? c.make_output(i, c.in(0).dtype, shape) : Result<TensorView>(none);
  };
  OCTAVO_ASSIGN(const TensorView y, wanted(0, sequence_shape(s)));
  OCTAVO_ASSIGN(const TensorView y_h, wanted(1, state_shape(s)));
  OCTAVO_ASSIGN(const TensorView y_c, wanted(2, state_shape(s)));
  if (y.present()) std::fill_n(y.as<T>(), y.elements(), T{0});

  constexpr DType kType = dtype_of<T>;
  OCTAVO_ASSIGN(Tensor w_t, Tensor::create(kType, {s.input, width}));
  OCTAVO_ASSIGN(Tensor r_t, Tensor::create(kType, {n, width}));
  OCTAVO_ASSIGN(Tensor gates, Tensor::create(kType, {s.steps * s.batch, width}));
  // One sequence's h, c and scratch each.
  OCTAVO_ASSIGN(Tensor states, Tensor::create(kType, {s.batch, 3, n}));
  OCTAVO_ASSIGN(Tensor bias, Tensor::create(kType, {width}));

  for (int64_t d = 0; d < s.directions; ++d) {
    transpose(c.in(1).as<const T>() + d * width * s.input, w_t.data<T>().data(), width, s.input);
    transpose(c.in(2).as<const T>() + d * width * n, r_t.data<T>().data(), width, n);
    T* gate = gates.data<T>().data();
    multiply(c.pool, c.in(0).as<const T>(), s.input, 1, w_t.data<T>().data(), gate,
             s.steps * s.batch, width, s.input);
    const T* given_bias = c.has_input(3) ? c.in(3).as<const T>() + d * 2 * width : nullptr;
    const bool linear = kKind == OpKind::kGRU && c.node.get_int("linear_before_reset") != 0;
    if (given_bias != nullptr) {
      // GRU with linear_before_reset adds its last recurrent bias under the reset gate.
      const int64_t beforehand = linear ? 2 * n : width;
      T* sum = bias.data<T>().data();
      for (int64_t i = 0; i < width; ++i) {
        sum[i] = given_bias[i] + (i < beforehand ? given_bias[width + i] : T{0});
      }
      for (int64_t row = 0; row < s.steps * s.batch; ++row) {
        for (int64_t i = 0; i < width; ++i) gate[row * width + i] += sum[i];
      }
    }
    Recurrence<T> recurrence{
        kKind,
        s,
        kind.gates,
        static_cast<T>(c.node.get_float("clip")),
        linear,
        kKind == OpKind::kLSTM && c.node.get_int("input_forget") != 0,
        c.pool,
        functions.data() + d * kind.functions,
        r_t.data<T>().data(),
        given_bias == nullptr ? nullptr : given_bias + width,
        kKind == OpKind::kLSTM && c.has_input(7) ? c.in(7).as<const T>() + d * 3 * n : nullptr};
    const bool backward = d == 1 || c.node.get_string("direction") == "reverse";
    parallel_for(c.pool, s.batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t at = (s.batch_first ? b * s.directions + d : d * s.batch + b) * n;
        T* h = states.data<T>().data() + b * 3 * n;
        T *cell = h + n, *scratch = cell + n;
        std::fill_n(h, 2 * n, T{0});
        if (c.has_input(5)) std::copy_n(c.in(5).as<const T>() + at, n, h);
        if (c.has_input(6)) std::copy_n(c.in(6).as<const T>() + at, n, cell);
        const int64_t length = lengths[static_cast<size_t>(b)];
        for (int64_t k = 0; k < length; ++k) {
          const int64_t t = backward ? length - 1 - k : k;
          const int64_t row = s.batch_first ? b * s.steps + t : t * s.batch + b;
          recurrence.step(gate + row * width, h, cell, scratch);
          if (!y.present()) continue;
          const int64_t to =
              s.batch_first ? row * s.directions + d : (t * s.directions + d) * s.batch + b;
          std::copy_n(h, n, y.as<T>() + to * n);
        }
        if (y_h.present()) std::copy_n(h, n, y_h.as<T>() + at);
        if (y_c.present()) std::copy_n(cell, n, y_c.as<T>() + at);
      }
    });
  }
  return {};
}

template <OpKind kKind>
Status run(KernelContext& c) {
  constexpr CellKind kind = kCell<kKind>;
  OCTAVO_ASSIGN(const Sizes s, read_sizes(c.node, c.in(0).shape, c.in(2).shape));
  const int64_t declared = c.node.get_int("hidden_size");
  if (s.hidden < 0 || (declared != 0 && declared != s.hidden) || s.hidden > (1 << 24)) {
    return fail(ErrorCode::kShapeMismatch, "recurrent weights of shape ", c.in(2).shape.to_string(),
                " for hidden_size ", declared);
  }
  const int64_t width = kind.gates * s.hidden;
  OCTAVO_TRY(check_input(c, 1, {s.directions, width, s.input}));
  OCTAVO_TRY(check_input(c, 2, {s.directions, width, s.hidden}));
  OCTAVO_TRY(check_input(c, 3, {s.directions, 2 * width}));
  OCTAVO_TRY(check_input(c, 5, state_shape(s)));
  OCTAVO_TRY(check_input(c, 6, state_shape(s)));
  OCTAVO_TRY(check_input(c, 7, {s.directions, 3 * s.hidden}));
  return visit_float(c.in(0).dtype, [&]<class T>() { return run_typed<T, kKind>(c, s); });
}

template <OpKind kKind>
constexpr OpDef row(const char* name, int8_t inputs, int8_t outputs,
                    std::span<const FieldDef> fields) {
  return {.kind = kKind,
          .name = name,
          .min_inputs = 3,
          .max_inputs = inputs,
          .min_outputs = 0,
          .max_outputs = outputs,
          .fields = fields,
          .infer = infer_recurrent,
          .reference = half_as_float<run<kKind>>};
}

constexpr OpDef kOps[] = {
    row<OpKind::kLSTM>("LSTM", 8, 3, kLSTMFields),
    row<OpKind::kGRU>("GRU", 6, 2, kGRUFields),
    row<OpKind::kRNN>("RNN", 6, 2, kRNNFields),
};

}  // namespace

std::span<const OpDef> recurrent_ops() { return kOps; }

}  // namespace octavo::ops
