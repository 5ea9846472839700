// Every operator on random inputs and attributes: whatever they are, the result is a tensor or an
// error. (The asan preset makes this test sharp.)
#include <algorithm>
#include <random>

#include "tests/op_runner.h"

namespace octavo {
namespace {

class OpFuzzer {
 public:
  explicit OpFuzzer(uint32_t seed) : random_(seed) {}

  testing::OpRun node(const OpDef& op) {
    testing::OpRun run{op.kind};
    for (const FieldDef& field : op.fields) {
      if (!field.required && chance(2)) continue;
      if (auto value = attribute(field)) run.attributes.push_back({field.name, *std::move(value)});
    }
    const int most = op.max_outputs < 0 ? op.min_outputs + 2 : op.max_outputs;
    run.outputs = static_cast<size_t>(pick(std::max<int64_t>(op.min_outputs, 1), most));
    run.constants_known = chance(2);
    return run;
  }

  std::vector<Tensor> inputs(const OpDef& op) {
    const int count = static_cast<int>(pick(op.min_inputs, op.max_inputs < 0 ? 3 : op.max_inputs));
    std::vector<Tensor> tensors;
    shape_ = random_shape();
    dtype_ = chance(2) ? DType::kF32 : random_dtype();
    for (int i = 0; i < count; ++i) {
      tensors.push_back(i >= op.min_inputs && chance(4) ? Tensor() : tensor());
    }
    return tensors;
  }

  /// Makes some of the integer inputs, and perhaps the output, stand for real numbers.
  void quantize(testing::OpRun& node, const std::vector<Tensor>& tensors) {
    for (const Tensor& input : tensors) {
      const DTypeInfo& info = dtype_info(input.dtype());
      const bool can = input.present() && info.is_int && info.bytes <= 4 && !chance(4);
      node.quants.push_back(can ? params(input.shape()) : nullptr);
    }
    if (chance(3)) return;
    node.declared = {chance(2) ? DType::kU8 : DType::kI8, Shape::unknown(), {}, params({})};
  }

 private:
  std::shared_ptr<const QuantParams> params(const Shape& shape) {
    QuantParams quant;
    size_t scales = 1;
    if (shape.rank() > 0 && chance(2)) {
      quant.axis = static_cast<int>(pick(0, shape.rank() - 1));
      scales = static_cast<size_t>(shape[quant.axis]);
    }
    quant.scale.assign(scales, 0.25f);
    quant.zero_point.assign(scales, static_cast<int32_t>(pick(-2, 2)));
    return std::make_shared<QuantParams>(std::move(quant));
  }

  int64_t pick(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(random_);
  }
  bool chance(int64_t one_in) { return pick(1, one_in) == 1; }

  int64_t integer() {
    static constexpr int64_t kExtremes[] = {std::numeric_limits<int64_t>::min(),
                                            std::numeric_limits<int64_t>::max(), 1 << 30,
                                            -(1 << 30), int64_t{1} << 40};
    return chance(24) ? kExtremes[pick(0, 4)] : pick(-3, 6);
  }

  Shape random_shape() {
    Shape shape;
    for (int64_t d = pick(0, 5); d > 0; --d) shape.push_back(chance(12) ? 0 : pick(1, 4));
    return shape;
  }
  DType random_dtype() { return static_cast<DType>(pick(1, kDTypeCount - 1)); }

  Tensor tensor() {
    if (chance(4)) {  // axes, shapes, indices
      std::vector<int64_t> values(static_cast<size_t>(pick(0, 4)));
      std::ranges::generate(values, [&] { return integer(); });
      return values.size() == 1 && chance(2) ? Tensor::scalar(values[0])
                                             : Tensor::vector_i64(values);
    }
    Shape shape = chance(2) ? shape_ : random_shape();
    if (chance(4)) shape = Shape{};
    Tensor tensor = *Tensor::create(chance(8) ? random_dtype() : dtype_, shape);
    visit_dtype(
        tensor.dtype(),
        [&]<class T>() {
          for (T& value : tensor.data<T>()) {
            value =
                T(static_cast<ComputeType<T>>(std::is_same_v<T, bool> ? pick(0, 1) : pick(-4, 4)));
          }
        },
        [] {});
    return tensor;
  }

  std::optional<AttributeValue> attribute(const FieldDef& field) {
    switch (field.type) {
      case FieldType::kInt: return chance(2) ? pick(0, 2) : integer();
      case FieldType::kFloat: return static_cast<float>(pick(-2, 3));
      case FieldType::kString: {
        static const char* const kTexts[] = {"",      "none",      "tanh",           "SAME_UPPER",
                                             "VALID", "ij,jk->ik", "...i,...i->...", "linear",
                                             "Relu",  "Clip"};
        return std::string(kTexts[pick(0, 9)]);
      }
      case FieldType::kInts: {
        std::vector<int64_t> values(static_cast<size_t>(pick(0, 6)));
        std::ranges::generate(values, [&] { return integer(); });
        return values;
      }
      case FieldType::kFloats: return std::vector<float>{0, 6};
      case FieldType::kTensor: return tensor();
      default: return std::nullopt;
    }
  }

  std::mt19937 random_;
  Shape shape_;
  DType dtype_ = DType::kF32;
};

TEST(OpFuzz, NoInputCrashes) {
  const char* rounds_text = std::getenv("OCTAVO_FUZZ_ROUNDS");
  const int rounds = rounds_text == nullptr ? 100 : std::atoi(rounds_text);
  int succeeded = 0;
  for (const OpDef* op : all_ops()) {
    if ((op->flags & kHasBody) != 0) continue;
    OpFuzzer fuzzer(static_cast<uint32_t>(op->kind) + 1);
    for (int round = 0; round < rounds; ++round) {
      testing::OpRun node = fuzzer.node(*op);
      const std::vector<Tensor> inputs = fuzzer.inputs(*op);
      if (round % 3 == 0) fuzzer.quantize(node, inputs);
      if (node.run(inputs)) ++succeeded;
    }
  }
  // Random nodes that are all rejected would test nothing.
  EXPECT_GT(succeeded, rounds * 15);
}

}  // namespace
}  // namespace octavo
