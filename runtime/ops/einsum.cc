// Einsum (any number of operands, diagonals, ellipses, implicit outputs) and Det.
#include <algorithm>
#include <cctype>

#include "runtime/ops/common.h"
#include "runtime/ops/families.h"
#include "runtime/ops/matrix.h"

namespace octavo::ops {
namespace {

// Labels are letters; the dimensions under an ellipsis are labelled '0', '1', ... aligned at their
// last dimension.
struct Equation {
  std::vector<std::string> inputs;
  std::string output;
};

std::unexpected<Error> bad_equation(std::string_view text, std::string_view why) {
  return fail(ErrorCode::kInvalidModel, "equation \"", text, "\": ", why);
}

/// Letters before and after the ellipsis, if there is one.
struct Subscripts {
  std::string before, after;
  bool ellipsis = false;
  int letters() const { return static_cast<int>(before.size() + after.size()); }
  std::string expand(int ellipsis_rank, int widest) const {
    std::string labels = before;
    if (ellipsis) {
      for (int d = widest - ellipsis_rank; d < widest; ++d) labels += static_cast<char>('0' + d);
    }
    return labels + after;
  }
};

Result<Subscripts> parse_subscripts(std::string_view equation, std::string_view text) {
  Subscripts result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (std::isalpha(static_cast<unsigned char>(text[i])) != 0) {
      (result.ellipsis ? result.after : result.before) += text[i];
    } else if (text.substr(i, 3) == "..." && !result.ellipsis) {
      result.ellipsis = true;
      i += 2;
    } else {
      return bad_equation(equation, "subscripts are letters and at most one ellipsis");
    }
  }
  return result;
}

Result<Equation> parse_equation(std::string_view text, std::span<const int> ranks) {
  std::string compact;
  for (const char c : text) {
    if (c != ' ') compact += c;
  }
  const size_t arrow = compact.find("->");
  std::vector<Subscripts> terms;
  std::string_view left = std::string_view(compact).substr(0, arrow);
  for (;;) {
    const size_t comma = left.find(',');
    OCTAVO_ASSIGN(Subscripts term, parse_subscripts(text, left.substr(0, comma)));
    terms.push_back(std::move(term));
    if (comma == left.npos) break;
    left.remove_prefix(comma + 1);
  }
  if (terms.size() != ranks.size()) {
    return bad_equation(text, "it does not have one term for each input");
  }
  int widest = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    const int rest = ranks[i] - terms[i].letters();
    if (rest < 0 || (rest > 0 && !terms[i].ellipsis)) {
      return bad_equation(text,
                          concat("term ", i + 1, " does not fit a tensor of rank ", ranks[i]));
    }
    widest = std::max(widest, rest);
  }
  Equation equation;
  std::string all;
  for (size_t i = 0; i < terms.size(); ++i) {
    equation.inputs.push_back(terms[i].expand(ranks[i] - terms[i].letters(), widest));
    all += equation.inputs.back();
  }
  if (arrow != compact.npos) {
    OCTAVO_ASSIGN(const Subscripts out,
                  parse_subscripts(text, std::string_view(compact).substr(arrow + 2)));
    equation.output = out.expand(widest, widest);
  } else {
    // The ellipsis, then every letter that occurs once, in order ('0' < 'A' < 'a').
    for (int d = 0; d < widest; ++d) equation.output += static_cast<char>('0' + d);
    for (char c = 'A'; c <= 'z'; ++c) {
      if (std::ranges::count(all, c) == 1) equation.output += c;
    }
  }
  for (const char c : equation.output) {
    if (all.find(c) == all.npos || std::ranges::count(equation.output, c) != 1) {
      return bad_equation(text, "an output subscript is repeated or not in any input");
    }
  }
  if (equation.output.size() > static_cast<size_t>(kMaxRank)) {
    return bad_equation(text, concat("the output's rank is more than ", kMaxRank));
  }
  return equation;
}

/// Size of each label; dimensions of 1 broadcast, unknown ones give way to known ones.
using LabelSizes = std::array<int64_t, 128>;
Result<LabelSizes> label_sizes(const Equation& equation, std::span<const Shape> shapes) {
  LabelSizes sizes;
  sizes.fill(1);
  for (size_t i = 0; i < shapes.size(); ++i) {
    for (int d = 0; d < shapes[i].rank(); ++d) {
      const char label = equation.inputs[i][static_cast<size_t>(d)];
      int64_t& size = sizes[static_cast<size_t>(label)];
      const int64_t dim = shapes[i][d];
      if (size == 1 || (size < 0 && dim > 1)) {
        size = dim;
      } else if (dim >= 0 && dim != 1 && size >= 0 && dim != size) {
        return fail(ErrorCode::kShapeMismatch, "subscript ", label, " stands for ", size, " and ",
                    dim);
      }
    }
  }
  return sizes;
}

Shape output_shape(const Equation& equation, const LabelSizes& sizes) {
  Shape shape;
  for (const char label : equation.output) shape.push_back(sizes[static_cast<size_t>(label)]);
  return shape;
}

/// A tensor addressed by labels: element at sum of index * stride. Any rank.
template <class T>
struct Term {
  std::string labels;  // distinct
  std::vector<int64_t> dims, strides;
  const T* data = nullptr;
  Tensor holder;
};

template <class T>
Term<T> input_term(const TensorView& view, const std::string& labels, const LabelSizes& sizes) {
  Term<T> term;
  term.data = view.as<const T>();
  const auto strides = dense_strides(view.shape);
  for (size_t d = 0; d < labels.size(); ++d) {
    const int64_t dim = view.shape[static_cast<int>(d)];
    const int64_t stride = dim == 1 ? 0 : strides[d];
    if (const size_t at = term.labels.find(labels[d]); at != std::string::npos) {
      term.strides[at] += stride;  // a diagonal
    } else {
      term.labels += labels[d];
      term.dims.push_back(sizes[static_cast<size_t>(labels[d])]);
      term.strides.push_back(stride);
    }
  }
  return term;
}

/// Elements of `labels`, which must not overflow what a tensor may have.
Result<int64_t> count_elements(const std::string& labels, const LabelSizes& sizes) {
  int64_t count = 1;
  for (const char label : labels) {
    if (__builtin_mul_overflow(count, sizes[static_cast<size_t>(label)], &count)) {
      return fail(ErrorCode::kLimitExceeded, "an intermediate product is too large");
    }
  }
  return count;
}

/// The term with its dimensions in the order `labels`, summed over all others; dense.
template <class T>
Result<Term<T>> arrange(const Term<T>& in, const std::string& labels, const LabelSizes& sizes) {
  OCTAVO_ASSIGN(const int64_t count, count_elements(labels, sizes));
  OCTAVO_ASSIGN(Tensor holder, Tensor::create(dtype_of<T>, Shape{count}));
  Term<T> out{labels, {}, std::vector<int64_t>(labels.size()), nullptr, holder};
  T* to = holder.data<T>().data();
  out.data = to;
  int64_t stride = 1;
  for (size_t d = labels.size(); d-- > 0;) {
    out.strides[d] = stride;
    stride *= sizes[static_cast<size_t>(labels[d])];
  }
  // Dimensions to walk: the output's, then those to sum.
  struct Dim {
    int64_t size, from, to;
  };
  std::vector<Dim> walk;
  for (size_t d = 0; d < labels.size(); ++d) {
    out.dims.push_back(sizes[static_cast<size_t>(labels[d])]);
    const size_t at = in.labels.find(labels[d]);
    walk.push_back({out.dims[d], at == std::string::npos ? 0 : in.strides[at], out.strides[d]});
  }
  for (size_t d = 0; d < in.labels.size(); ++d) {
    if (labels.find(in.labels[d]) == std::string::npos) {
      walk.push_back({in.dims[d], in.strides[d], 0});
    }
  }
  if (walk.empty()) walk.push_back({1, 0, 0});
  for (const Dim& dim : walk) {
    if (dim.size == 0) return out;
  }
  const Dim inner = walk.back();
  std::vector<int64_t> index(walk.size());
  const T* from = in.data;
  for (;;) {
    for (int64_t i = 0; i < inner.size; ++i) to[i * inner.to] += from[i * inner.from];
    size_t d = walk.size() - 1;
    while (d-- > 0) {
      from += walk[d].from;
      to += walk[d].to;
      if (++index[d] < walk[d].size) break;
      from -= walk[d].from * walk[d].size;
      to -= walk[d].to * walk[d].size;
      index[d] = 0;
    }
    if (d == std::string::npos) return out;
  }
}

/// The product of two terms, summed over the labels that are not in `keep`: a batch of matrix
/// products.
template <class T>
Result<Term<T>> contract(KernelContext& context, const Term<T>& a, const Term<T>& b,
                         const std::string& keep, const LabelSizes& sizes) {
  const auto in = [](const std::string& labels, char c) { return labels.find(c) != labels.npos; };
  std::string batch, rows, columns, summed;
  for (const char c : a.labels) {
    if (in(b.labels, c)) {
      (in(keep, c) ? batch : summed) += c;
    } else if (in(keep, c)) {
      rows += c;
    }
  }
  for (const char c : b.labels) {
    if (!in(a.labels, c) && in(keep, c)) columns += c;
  }
  OCTAVO_ASSIGN(const Term<T> left, arrange(a, batch + rows + summed, sizes));
  OCTAVO_ASSIGN(const Term<T> right, arrange(b, batch + summed + columns, sizes));
  OCTAVO_ASSIGN(const int64_t batches, count_elements(batch, sizes));
  OCTAVO_ASSIGN(const int64_t m, count_elements(rows, sizes));
  OCTAVO_ASSIGN(const int64_t n, count_elements(columns, sizes));
  OCTAVO_ASSIGN(const int64_t k, count_elements(summed, sizes));
  const std::string labels = batch + rows + columns;
  OCTAVO_ASSIGN(const int64_t count, count_elements(labels, sizes));
  OCTAVO_ASSIGN(Tensor holder, Tensor::create(dtype_of<T>, Shape{count}));
  T* to = holder.data<T>().data();
  for (int64_t i = 0; i < batches; ++i) {
    multiply(context.pool, left.data + i * m * k, k, 1, right.data + i * k * n, to + i * m * n, m,
             n, k);
  }
  Term<T> out{labels, {}, std::vector<int64_t>(labels.size()), to, holder};
  int64_t stride = 1;
  for (const char c : labels) out.dims.push_back(sizes[static_cast<size_t>(c)]);
  for (size_t d = labels.size(); d-- > 0;) {
    out.strides[d] = stride;
    stride *= out.dims[d];
  }
  return out;
}

template <class T>
Status einsum_of(KernelContext& context, const Equation& equation, const LabelSizes& sizes,
                 const TensorView& out) {
  Term<T> product = input_term<T>(context.in(0), equation.inputs[0], sizes);
  for (size_t i = 1; i < context.inputs.size(); ++i) {
    std::string keep = equation.output;
    for (size_t later = i + 1; later < context.inputs.size(); ++later) {
      keep += equation.inputs[later];
    }
    const Term<T> next = input_term<T>(context.in(i), equation.inputs[i], sizes);
    OCTAVO_ASSIGN(product, contract(context, product, next, keep, sizes));
  }
  OCTAVO_ASSIGN(const Term<T> result, arrange(product, equation.output, sizes));
  std::copy_n(result.data, out.elements(), out.as<T>());
  return {};
}

Status infer_einsum(InferContext& context) {
  context.set_output(0, context.dtype(0));
  if (!context.ranks_known()) return {};
  std::vector<Shape> shapes;
  std::vector<int> ranks;
  for (size_t i = 0; i < context.input_count(); ++i) {
    if (!context.has_input(i)) return fail(ErrorCode::kInvalidModel, "input ", i, " is missing");
    shapes.push_back(context.shape(i));
    ranks.push_back(shapes.back().rank());
  }
  OCTAVO_ASSIGN(const Equation equation,
                parse_equation(context.node.get_string("equation"), ranks));
  OCTAVO_ASSIGN(const LabelSizes sizes, label_sizes(equation, shapes));
  context.output(0).shape = output_shape(equation, sizes);
  return {};
}

Status einsum(KernelContext& context) {
  std::vector<Shape> shapes;
  std::vector<int> ranks;
  for (const TensorView& input : context.inputs) {
    if (input.dtype != context.in(0).dtype) {
      return fail(ErrorCode::kShapeMismatch,
                  "inputs of different types: ", dtype_name(context.in(0).dtype), " and ",
                  dtype_name(input.dtype));
    }
    shapes.push_back(input.shape);
    ranks.push_back(input.shape.rank());
  }
  OCTAVO_ASSIGN(const Equation equation,
                parse_equation(context.node.get_string("equation"), ranks));
  OCTAVO_ASSIGN(const LabelSizes sizes, label_sizes(equation, shapes));
  const DType dtype = context.in(0).dtype;
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, dtype, output_shape(equation, sizes)));
  switch (dtype) {
    case DType::kF64: return einsum_of<double>(context, equation, sizes, out);
    case DType::kI64:
    case DType::kU64: return einsum_of<uint64_t>(context, equation, sizes, out);
    default: return bad_dtype(dtype);
  }
}

Status einsum_widened(KernelContext& context) { return run_widened(context, einsum, widen_number); }

Status infer_det(InferContext& context) {
  Shape shape = context.shape(0);
  if (shape.has_rank()) {
    if (shape.rank() < 2) return fail(ErrorCode::kShapeMismatch, "expected square matrices");
    shape = Shape(shape.dims().first(static_cast<size_t>(shape.rank() - 2)));
  }
  context.set_output(0, context.dtype(0), shape);
  return {};
}

/// By Gaussian elimination with partial pivoting; destroys `a`, an n x n matrix.
double determinant(double* a, int64_t n) {
  double det = 1;
  for (int64_t c = 0; c < n; ++c) {
    int64_t pivot = c;
    for (int64_t r = c + 1; r < n; ++r) {
      if (std::abs(a[r * n + c]) > std::abs(a[pivot * n + c])) pivot = r;
    }
    if (a[pivot * n + c] == 0) return 0;
    if (pivot != c) {
      std::swap_ranges(a + c * n, a + (c + 1) * n, a + pivot * n);
      det = -det;
    }
    det *= a[c * n + c];
    for (int64_t r = c + 1; r < n; ++r) {
      const double factor = a[r * n + c] / a[c * n + c];
      for (int64_t j = c; j < n; ++j) a[r * n + j] -= factor * a[c * n + j];
    }
  }
  return det;
}

Status det(KernelContext& context) {
  const TensorView& x = context.in(0);
  const int rank = x.shape.rank();
  if (rank < 2 || x.shape[rank - 1] != x.shape[rank - 2]) {
    return fail(ErrorCode::kShapeMismatch, "expected square matrices, got ", x.shape.to_string());
  }
  const int64_t n = x.shape.back();
  const Shape shape(x.shape.dims().first(static_cast<size_t>(rank - 2)));
  OCTAVO_ASSIGN(const TensorView out, context.make_output(0, x.dtype, shape));
  OCTAVO_TRY(check_double(x.dtype));
  std::vector<double> matrix(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < out.elements(); ++i) {
    std::copy_n(x.as<const double>() + i * n * n, n * n, matrix.begin());
    out.as<double>()[i] = static_cast<double>(determinant(matrix.data(), n));
  }
  return {};
}

constexpr FieldDef kEinsumFields[] = {required(string_field("equation"))};

constexpr OpDef kRows[] = {
    {.kind = OpKind::kEinsum,
     .name = "Einsum",
     .max_inputs = -1,
     .fields = kEinsumFields,
     .infer = infer_einsum,
     .reference = einsum_widened,
     .mixed = kInferHalf},
    {.kind = OpKind::kDet, .name = "Det", .infer = infer_det, .reference = in_double<det>},
};

}  // namespace

std::span<const OpDef> einsum_ops() { return kRows; }

}  // namespace octavo::ops
