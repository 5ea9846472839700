// Which operators oneDNN computes faster than the portable kernels.
//
// Convolutions and matrix products, measured layer by layer: the least time of each step of `octavo
// bench --per-op --json` on all models of the shared folder, both backends in turns, one thread,
// oneDNN 3.7, on a Xeon with AMX and on the same with ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI. A row is
// where the ratio crosses 1; the layers of all models count alike, so that no model decides by
// itself.
//  - int8 with AMX: twice as fast from a million multiply-accumulates on. Below, loading the tiles'
//    configuration (2 to 3 us) costs more than is gained. With fewer than 8 channels the rows of a
//    tile are mostly padding: first layers run 0.6 times as fast.
//  - int8 without AMX: the same speed within 5 %, and slower where the layer is small.
//  - int8 depthwise: the portable kernel is 1.4 to 2 times as fast with 32 channels or more, and
//    half as fast with 16 or fewer, which fill a quarter of its vectors.
//  - f32 on the Xeon with AMX: 1.02 to 1.3 times as fast where the layer is large enough; depthwise
//    as fast within 10 %. On an EPYC (Zen 5), whole networks take the same time within 2 %, and
//    generating code for each shape of layer makes the first run 1.4 to 2.3 times as long.
//  - f32 of 3x3 taps, where the portable kernel is Winograd's (runtime/kernels/winograd.h): 1.05 to
//    1.6 times as fast as oneDNN while its weights, 144 bytes for a filter of a channel, stay in
//    half an L2 (an EPYC with AVX-512: 590 kB; with 1.3 MB 0.75 times).
//  - bf16 with AMX: as int8 (its own layers were not measured one by one). Without, on the EPYC
//  (Zen
//    5, AVX512_BF16): the same speed within 3 %, and 1.2 to 1.7 times slower where x * sigmoid(x)
//    follows, with results that a Concat copies, and depthwise.
//  - A product with one row reads each weight once: nothing is gained by tiles. One whose left side
//    is transposed has no portable kernel.
//
// The rest, measured by tests/onednn_bench.cc on the EPYC, one thread (docs/performance.md has the
// table): rows of softmax and of layer normalization, and GELU, are computed up to twice as fast.
// Making the primitive takes 0.1 to 0.3 ms, so that only large tensors are worth it.
#include "native/onednn/ops.h"
#include "native/onednn/primitive_step.h"
#include "runtime/kernels/conv_common.h"
#include "runtime/kernels/winograd.h"

namespace octavo::onednn {
namespace {

enum class Kind : uint8_t { kInt8, kFloat, kBf16 };

struct Rule {
  Kind kind;
  bool depthwise;
  bool needs_amx;
  int64_t macs;          // at least
  int64_t min_channels;  // of the input, in a group
  int64_t max_channels;  // of the output
};

constexpr int64_t kWinogradWeightBytes = 1 << 20;
constexpr int64_t kAny = 1 << 30;
constexpr Rule kRules[] = {
    {Kind::kInt8, false, true, 1'000'000, 8, kAny},  {Kind::kInt8, true, false, 50'000, 1, 16},
    {Kind::kFloat, false, true, 1'500'000, 1, kAny}, {Kind::kFloat, true, true, 250'000, 1, kAny},
    {Kind::kBf16, false, true, 1'000'000, 8, kAny},
};

struct OtherRule {
  OpKind op;
  int64_t elements;  // of the input, at least
  int64_t row;       // its last dimension, at least
};
constexpr OtherRule kOtherRules[] = {
    {OpKind::kSoftmax, 50'000, 16},
    {OpKind::kLayerNormalization, 50'000, 16},
    {OpKind::kGelu, 100'000, 1},
};

bool has_amx() {
  const auto all = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & all) == all;
}

}  // namespace

bool pays(const PlanGraph& graph, const Node& node) {
  const TensorInfo& x = graph.info(node.input(0));
  const bool bf16 = x.dtype == DType::kBF16;
  if (bf16 && (node.kind == OpKind::kMaxPool || node.kind == OpKind::kGlobalMaxPool)) return false;
  if (x.dtype == DType::kF16 ||
      (bf16 && !(node.kind == OpKind::kConv && kernels::conv_is_bf16(graph, node)))) {
    return true;  // portable: as float32
  }
  for (const OtherRule& rule : kOtherRules) {
    if (rule.op != node.kind) continue;
    return x.shape.elements() >= rule.elements && x.shape.back() >= rule.row;
  }
  if (node.kind == OpKind::kGemm && node.get_int("transA") != 0) return true;
  const TensorInfo& w = graph.info(node.input(1));
  const Shape& y = graph.info(node.output(0)).shape;
  const Kind kind = bf16 ? Kind::kBf16 : x.dtype == DType::kF32 ? Kind::kFloat : Kind::kInt8;
  int64_t terms, in_channels, out_channels;  // of each sum
  bool depthwise = false;
  if (node.kind == OpKind::kConv) {
    in_channels = w.shape[1];
    out_channels = w.shape[0];
    depthwise = node.get_int("group") > 1 && in_channels == 1;
    terms = w.shape.elements(1, w.shape.rank());
    if (w.shape.elements() * 16 <= kWinogradWeightBytes && kernels::conv_is_winograd(graph, node)) {
      return false;
    }
  } else {
    terms = in_channels = x.shape[x.shape.rank() - 1];
    out_channels = y[y.rank() - 1];
    if (x.shape.elements() < 8 * terms) return false;
  }
  const int64_t macs = y.elements() * terms;
  return std::ranges::any_of(kRules, [&](const Rule& rule) {
    return rule.kind == kind && rule.depthwise == depthwise && macs >= rule.macs &&
           in_channels >= rule.min_channels && out_channels <= rule.max_channels &&
           (!rule.needs_amx || has_amx());
  });
}

}  // namespace octavo::onednn
