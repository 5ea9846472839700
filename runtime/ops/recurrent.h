// LSTM, GRU and RNN: what the reference functions and the kernel share.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "runtime/op.h"

namespace octavo::ops {

struct RecurrentActivation {
  enum Kind : uint8_t {
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

struct RecurrentSizes {
  int64_t steps = kUnknownDim, batch = kUnknownDim, input = kUnknownDim;
  int64_t directions = 1, hidden = kUnknownDim;
  bool batch_first = false;  // attribute layout

  Shape sequence() const {
    return batch_first ? Shape{batch, steps, directions, hidden}
                       : Shape{steps, directions, batch, hidden};
  }
  Shape state() const {
    return batch_first ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
  }
};

/// A node whose shapes are known.
struct Recurrence {
  OpKind kind;
  RecurrentSizes sizes;
  int64_t gates;                               // blocks of `hidden` rows in W and R
  std::vector<RecurrentActivation> functions;  // of all directions, in order
  float clip;
  bool linear_before_reset, input_forget, reverse;

  int64_t width() const { return gates * sizes.hidden; }
  /// Gates that are computed from the state first: all but a GRU's candidate.
  int64_t first_gates() const { return kind == OpKind::kGRU ? 2 : gates; }
  /// Functions of direction d.
  const RecurrentActivation* functions_of(int64_t d) const {
    return functions.data() +
           static_cast<size_t>(d) * functions.size() / static_cast<size_t>(sizes.directions);
  }
  /// The sum of both biases [2 * width] of gate row i, as far as it can be added beforehand: a GRU
  /// with linear_before_reset adds its candidate's recurrent bias under the reset gate.
  template <class T>
  T input_bias(const T* bias, int64_t i) const {
    const bool both = !linear_before_reset || i < first_gates() * sizes.hidden;
    return both ? bias[i] + bias[width() + i] : bias[i];
  }
};

/// `shapes` of the node's inputs (of unknown rank: absent). Errors: kShapeMismatch, kInvalidModel.
Result<Recurrence> make_recurrence(const Node& node, std::span<const Shape> shapes);

/// The operands of a run; nullptr where one is absent.
template <class T>
struct RecurrentOperands {
  const T *x = nullptr, *bias = nullptr, *initial_h = nullptr, *initial_c = nullptr;
  const T* peepholes = nullptr;           // by direction: [3 * hidden], input, output, forget
  std::span<const int64_t> lengths = {};  // of each sequence; empty: all steps
  T *y = nullptr, *y_h = nullptr, *y_c = nullptr;
  T* gates = nullptr;   // working memory: [steps * batch][width]
  T* states = nullptr;  // working memory: [3][batch][hidden], h, c and scratch
};

/// Advances `rows` sequences by one step. `gate` (rows `stride` apart) holds the input's part of
/// the gates with input_bias(); h and c are updated. `d`: the direction.
template <class T, class Engine>
void advance(const Recurrence& r, const Engine& engine, const RecurrentOperands<T>& operands,
             int64_t d, T* gate, int64_t stride, T* h, T* c, T* scratch, int64_t rows) {
  const int64_t n = r.sizes.hidden;
  const RecurrentActivation* functions = r.functions_of(d);
  const auto activate = [&](size_t function, T* x, int64_t count, bool clips = true) {
    engine.activate(functions[function], clips ? r.clip : 0, x, count);
  };
  engine.add_recurrent(d, 0, h, rows, gate, stride);
  const bool linear = r.kind == OpKind::kGRU && r.linear_before_reset;
  if (linear) {
    const T* bias =
        operands.bias == nullptr ? nullptr : operands.bias + (2 * d + 1) * r.width() + 2 * n;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < n; ++i) scratch[row * n + i] = bias == nullptr ? T{0} : bias[i];
    }
    engine.add_recurrent(d, 1, h, rows, scratch, n);
  } else if (r.kind == OpKind::kGRU) {
    for (int64_t row = 0; row < rows; ++row) {
      T* reset = gate + row * stride + n;
      activate(0, reset, n);
      for (int64_t i = 0; i < n; ++i) scratch[row * n + i] = reset[i] * h[row * n + i];
    }
    engine.add_recurrent(d, 1, scratch, rows, gate + 2 * n, stride);
  }
  const T* peepholes = operands.peepholes == nullptr ? nullptr : operands.peepholes + d * 3 * n;
  for (int64_t row = 0; row < rows; ++row, gate += stride, h += n, c += n, scratch += n) {
    if (r.kind == OpKind::kRNN) {
      activate(0, gate, n);
      std::copy_n(gate, n, h);
    } else if (r.kind == OpKind::kGRU) {
      T *z = gate, *candidate = gate + 2 * n;
      activate(0, z, linear ? 2 * n : n);
      for (int64_t i = 0; linear && i < n; ++i) candidate[i] += gate[n + i] * scratch[i];
      activate(1, candidate, n);
      for (int64_t i = 0; i < n; ++i) h[i] = (1 - z[i]) * candidate[i] + z[i] * h[i];
    } else {
      T *input = gate, *output = gate + n, *forget = gate + 2 * n, *cell = gate + 3 * n;
      const auto peep = [&](T* at, int64_t which) {
        for (int64_t i = 0; peepholes != nullptr && i < n; ++i) {
          at[i] += peepholes[which * n + i] * c[i];
        }
      };
      peep(input, 0);
      peep(forget, 2);
      activate(0, input, n);
      if (r.input_forget) {
        for (int64_t i = 0; i < n; ++i) forget[i] = 1 - input[i];
      } else {
        activate(0, forget, n);
      }
      activate(1, cell, n);
      for (int64_t i = 0; i < n; ++i) c[i] = forget[i] * c[i] + input[i] * cell[i];
      peep(output, 1);
      activate(0, output, n);
      std::copy_n(c, n, scratch);
      activate(2, scratch, n, /*clips=*/false);
      for (int64_t i = 0; i < n; ++i) h[i] = output[i] * scratch[i];
    }
  }
}

/// The whole node. Engine provides the products and the functions:
///   input_gates(d, x, rows, gates): gates = x * W + input_bias()
///   add_recurrent(d, part, state, rows, to, stride): to += state * R, of the first gates (part 0)
///     or of a GRU's candidate (part 1)
///   activate(function, clip, x, count): x = function(clamp(x, -clip, clip)); clip 0: no clamping
template <class T, class Engine>
void run_recurrence(const Recurrence& r, const Engine& engine,
                    const RecurrentOperands<T>& operands) {
  const RecurrentSizes& s = r.sizes;
  const int64_t n = s.hidden, width = r.width();
  if (operands.y != nullptr) std::fill_n(operands.y, s.sequence().elements(), T{0});
  // Sequences of different lengths are run one by one.
  const int64_t rows = operands.lengths.empty() ? s.batch : 1;
  for (int64_t d = 0; d < s.directions; ++d) {
    engine.input_gates(d, operands.x, s.steps * s.batch, operands.gates);
    for (int64_t first = 0; first < s.batch; first += rows) {
      T* h = operands.states + first * n;
      T *c = h + s.batch * n, *scratch = c + s.batch * n;
      // Calls fn(sequence, its state's place in tensors of shape state()).
      const auto for_each = [&](const auto& fn) {
        for (int64_t b = 0; b < rows; ++b) {
          const int64_t at = first + b;
          fn(b, (s.batch_first ? at * s.directions + d : d * s.batch + at) * n);
        }
      };
      for_each([&](int64_t b, int64_t at) {
        const auto start = [&](const T* given, T* to) {
          for (int64_t i = 0; i < n; ++i) to[b * n + i] = given == nullptr ? T{0} : given[at + i];
        };
        start(operands.initial_h, h);
        start(operands.initial_c, c);
      });
      const int64_t length =
          operands.lengths.empty() ? s.steps : operands.lengths[static_cast<size_t>(first)];
      for (int64_t k = 0; k < length; ++k) {
        const int64_t t = d == 1 || r.reverse ? length - 1 - k : k;
        const int64_t row = s.batch_first ? first * s.steps + t : t * s.batch + first;
        advance(r, engine, operands, d, operands.gates + row * width,
                s.batch_first ? s.steps * width : width, h, c, scratch, rows);
        if (operands.y == nullptr) continue;
        for (int64_t b = 0; b < rows; ++b) {
          const int64_t at = first + b;
          const int64_t to = s.batch_first ? (at * s.steps + t) * s.directions + d
                                           : (t * s.directions + d) * s.batch + at;
          std::copy_n(h + b * n, n, operands.y + to * n);
        }
      }
      for_each([&](int64_t b, int64_t at) {
        if (operands.y_h != nullptr) std::copy_n(h + b * n, n, operands.y_h + at);
        if (operands.y_c != nullptr) std::copy_n(c + b * n, n, operands.y_c + at);
      });
    }
  }
}

}  // namespace octavo::ops
