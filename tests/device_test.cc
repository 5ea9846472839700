// Backends on a device whose memory is not the host's, choice of devices, and run options.
#include "native/onednn/device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "core/octavo.h"
#include "native/onednn/onednn.h"
#include "native/run_config.h"
#include "tests/graph_builder.h"

namespace octavo {
namespace {

/// The CPU with memory that can only be reached by mapping, and seen from either side only after
/// unmapping: what is mapped is a copy.
class MappedDevice final : public onednn::Device {
 public:
  MappedDevice() : Device(dnnl::engine(dnnl::engine::kind::cpu, 0), false) {}

  dnnl::memory attachable(const dnnl::memory::desc& desc) const override {
    ADD_FAILURE() << "memory of the host's is asked for";
    return Device::attachable(desc);
  }
  void attach(const dnnl::memory&, void*) const override {
    ADD_FAILURE() << "an address of the host's is given to the device";
  }
  int mappings() const { return mappings_; }
  bool all_unmapped() const { return copies_.empty(); }

 protected:
  void* map(const dnnl::memory& memory) const override {
    ++mappings_;
    std::vector<std::byte>& copy = copies_[memory.get()];
    copy.resize(memory.get_desc().get_size());
    std::memcpy(copy.data(), memory.get_data_handle(), copy.size());
    return copy.data();
  }
  void unmap(const dnnl::memory& memory, void* mapped) const override {
    std::memcpy(memory.get_data_handle(), mapped, memory.get_desc().get_size());
    copies_.erase(memory.get());
  }

 private:
  mutable int mappings_ = 0;
  mutable std::map<dnnl_memory_t, std::vector<std::byte>> copies_;
};

// Conv -> Relu -> Conv (+ residual) -> 1x1 Conv -> depthwise Conv -> GlobalAveragePool -> Gemm. The
// last row and column are behind the first convolution's last window.
Graph network() {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 8, 10, 10});
  const std::vector<int64_t> pads = {1, 1, 1, 1};
  const ValueId conv =
      b.node(OpKind::kConv, {x, b.random("w1", {16, 8, 3, 3}, 0.2f), b.random("b1", {16})}, "conv",
             {{"strides", std::vector<int64_t>{2, 2}}});
  const ValueId relu = b.node(OpKind::kRelu, {conv}, "relu");
  const ValueId second =
      b.node(OpKind::kConv, {relu, b.random("w2", {16, 16, 3, 3}, 0.1f), b.random("b2", {16})},
             "conv2", {{"pads", pads}});
  const ValueId add = b.node(OpKind::kAdd, {second, relu}, "add");
  const ValueId wide =
      b.node(OpKind::kConv, {add, b.random("w4", {32, 16, 1, 1}, 0.2f), b.random("b4", {32})},
             "pointwise");
  const ValueId relu2 = b.node(OpKind::kRelu, {wide}, "relu2");
  const ValueId depthwise =
      b.node(OpKind::kConv, {relu2, b.random("w5", {32, 1, 3, 3}, 0.2f), b.random("b5", {32})},
             "depthwise", {{"pads", pads}, {"group", int64_t{32}}});
  const ValueId mean = b.node(OpKind::kGlobalAveragePool, {depthwise}, "mean");
  const ValueId flat = b.node(OpKind::kFlatten, {mean}, "flat");
  return b
      .output(b.node(OpKind::kGemm, {flat, b.random("w3", {10, 32}, 0.3f), b.random("b3", {10})},
                     "gemm", {{"transB", int64_t{1}}}))
      .build();
}

NamedTensors sample() {
  NamedTensors feeds;
  feeds.emplace_back("x", GraphBuilder::random_tensor("x", {1, 8, 10, 10}));
  return feeds;
}

Model quantized(const Model& model) {
  const auto made = quantize_model(model, StaticQuantConfig(), nullptr, 1,
                                   [](const auto& observe) -> Status { return observe(sample()); });
  EXPECT_TRUE(made) << made.error().to_string();
  return made->model;
}

std::vector<float> run(const Model& model, std::shared_ptr<Backend> backend,
                       std::vector<std::string>* backends = nullptr) {
  SessionOptions options;
  if (backend != nullptr) options.backends.push_back(std::move(backend));
  auto session = model.create_session(options);
  EXPECT_TRUE(session) << session.error().to_string();
  std::vector<float> values;
  for (int again = 0; again < 2; ++again) {  // memory objects are used again
    const auto outputs = session->run(sample());
    EXPECT_TRUE(outputs) << outputs.error().to_string();
    if (!outputs) return values;
    const auto data = (*outputs)[0].second.data<const float>();
    values.assign(data.begin(), data.end());
  }
  if (backends != nullptr) {
    const NamedTensors feeds = sample();
    const TensorView view = feeds[0].second.view();
    for (const StepInfo& step : (*session->plan_for({&view, 1}))->steps()) {
      backends->push_back(step.backend);
    }
  }
  return values;
}

TEST(Device, MemoryNeedNotBeTheHosts) {
  const Model real(std::make_shared<const Graph>(network()));
  const Model models[] = {real, quantized(real)};
  for (const Model& model : models) {
    const auto device = std::make_shared<MappedDevice>();
    std::vector<std::string> backends;
    EXPECT_EQ(run(model, make_onednn_backend(true, device), &backends),
              run(model, make_onednn_backend(true)));
    EXPECT_TRUE(std::ranges::contains(backends, "onednn"));
    EXPECT_GT(device->mappings(), 4);
    EXPECT_TRUE(device->all_unmapped());

    const auto graph_device = std::make_shared<MappedDevice>();
    backends.clear();
    EXPECT_EQ(run(model, make_onednn_graph_backend(graph_device), &backends),
              run(model, make_onednn_graph_backend()));
    EXPECT_TRUE(std::ranges::contains(backends, "itex"));
    EXPECT_GT(graph_device->mappings(), 4);
    EXPECT_TRUE(graph_device->all_unmapped());
  }
}

TEST(GraphBackend, ComputesWhatThePortableOneDoes) {
  const Model real(std::make_shared<const Graph>(network()));
  const Model models[] = {real, quantized(real)};
  for (const Model& model : models) {
    const std::vector<float> expected = run(model, nullptr);
    std::vector<std::string> backends;
    const auto actual = run(model, make_onednn_graph_backend(), &backends);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-4);
    const auto computes = [](const Node& node) {
      return node.kind == OpKind::kConv || node.kind == OpKind::kGemm;
    };
    EXPECT_EQ(std::ranges::count(backends, "itex"),
              std::ranges::count_if(model.graph().nodes, computes));
  }
}

TEST(Device, AutoIsTheCpuWhereThereIsNoGpu) {
  const auto gpu = open_device("gpu");
  const auto chosen = open_device("auto");
  ASSERT_TRUE(chosen);
  EXPECT_EQ((*chosen)->is_cpu(), !gpu.has_value());
  if (!gpu) {
    EXPECT_EQ(gpu.error().code, ErrorCode::kUnavailable);
    EXPECT_NE(gpu.error().message.find("GPU"), std::string::npos);
  }
  EXPECT_FALSE(open_device("tpu"));
}

TEST(RunConfig, JsonNamesItsMistakes) {
  const auto config = RunConfig::from_json(R"({"backend": "itex", "threads": 3})");
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ(config->backend, "itex");
  EXPECT_EQ(config->device, "auto");
  EXPECT_EQ(config->threads, 3);
  EXPECT_EQ(RunConfig::from_json(config->to_json())->to_json(), config->to_json());
  const auto message = [](const char* json) { return RunConfig::from_json(json).error().message; };
  EXPECT_NE(message(R"({"devise": "cpu"})").find("did you mean 'device'?"), std::string::npos);
  EXPECT_NE(message(R"({"device": "tpu"})").find("auto, cpu, gpu"), std::string::npos);
  EXPECT_NE(message(R"({"threads": -1})").find("0 to 1024"), std::string::npos);
  EXPECT_NE(message(R"({"device": "gpu", "backend": "portable"})").find("portable backend"),
            std::string::npos);
  EXPECT_FALSE(RunConfig::from_json("[]"));
}

TEST(Streams, GiveEveryRequestItsResult) {
  const Model model(std::make_shared<const Graph>(network()));
  auto streams = Streams::create(model, {}, 3, PerformanceHint::kThroughput);
  ASSERT_TRUE(streams) << streams.error().to_string();
  EXPECT_EQ(streams->size(), 3u);
  auto session = model.create_session();
  ASSERT_TRUE(session);
  const auto feed = [](int64_t i) -> Result<NamedTensors> {
    NamedTensors feeds;
    feeds.emplace_back("x", GraphBuilder::random_tensor(std::to_string(i), {1, 8, 10, 10}));
    return feeds;
  };
  std::vector<std::vector<float>> results(20);
  const Status ran = streams->run(20, feed, [&](int64_t i, const NamedTensors& outputs) -> Status {
    const auto data = outputs[0].second.data<const float>();
    results[static_cast<size_t>(i)].assign(data.begin(), data.end());
    return {};
  });
  ASSERT_TRUE(ran) << ran.error().to_string();
  for (int64_t i = 0; i < 20; ++i) {
    const auto expected = session->run(*feed(i));
    EXPECT_TRUE(std::ranges::equal(results[static_cast<size_t>(i)],
                                   (*expected)[0].second.data<const float>()));
  }
  const Status failed = streams->run(20, feed, [](int64_t i, const NamedTensors&) -> Status {
    return i == 7 ? fail(ErrorCode::kCancelled, "enough") : Status();
  });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kCancelled);
}

// Inputs and outputs have the batch at different places, or not at all.
TEST(Streams, JoinRequests) {
  GraphBuilder b;
  const ValueId x = b.input("x", {kUnknownDim, 4}), factor = b.input("factor", {1});
  const ValueId state = b.input("state", {2, kUnknownDim, 3});
  const ValueId product = b.node(OpKind::kMatMul, {x, b.random("w", {4, 5})}, "product");
  const ValueId y = b.node(OpKind::kMul, {product, factor}, "y");
  const ValueId next = b.node(OpKind::kTanh, {state}, "next");
  const Model model(std::make_shared<const Graph>(b.output(y).output(next).build()));
  constexpr int64_t kRequests = 23;
  const auto feed = [](int64_t i) -> Result<NamedTensors> {
    const std::string seed = std::to_string(i);
    const int64_t batch = i % 3 + 1;
    NamedTensors feeds;
    feeds.emplace_back("x", GraphBuilder::random_tensor("x" + seed, {batch, 4}));
    // Requests that differ in what they share are run one by one.
    feeds.emplace_back("factor", Tensor::of<float>({1}, {i < 12 ? 2.0f : static_cast<float>(i)}));
    feeds.emplace_back("state", GraphBuilder::random_tensor("state" + seed, {2, batch, 3}));
    return feeds;
  };
  auto session = model.create_session();
  ASSERT_TRUE(session) << session.error().to_string();
  auto streams = Streams::create(model, {}, 2, PerformanceHint::kThroughput, 4);
  ASSERT_TRUE(streams) << streams.error().to_string();
  int64_t done = 0;
  const Status ran = streams->run(kRequests, feed, [&](int64_t i, const NamedTensors& outputs) {
    const auto expected = session->run(*feed(i));
    EXPECT_TRUE(expected) << expected.error().to_string();
    for (size_t k = 0; k < 2; ++k) {
      const Tensor &actual = outputs[k].second, &wanted = (*expected)[k].second;
      EXPECT_EQ(outputs[k].first, (*expected)[k].first);
      EXPECT_EQ(actual.shape(), wanted.shape());
      for (size_t e = 0; e < actual.data<const float>().size(); ++e) {
        EXPECT_NEAR(actual.data<const float>()[e], wanted.data<const float>()[e], 1e-5);
      }
    }
    ++done;
    return Status();
  });
  ASSERT_TRUE(ran) << ran.error().to_string();
  EXPECT_EQ(done, kRequests);

  // All of them in one run.
  const auto batch = Batch::of(model);
  ASSERT_TRUE(batch) << batch.error().to_string();
  const std::vector<NamedTensors> requests = {*feed(0), *feed(1), *feed(2)};
  const auto joined = batch->join(requests);
  ASSERT_TRUE(joined && joined->has_value());
  EXPECT_EQ((**joined)[0].second.shape(), Shape({6, 4}));
  EXPECT_EQ((**joined)[1].second.shape(), Shape({1}));
  EXPECT_EQ((**joined)[2].second.shape(), Shape({2, 6, 3}));
  const std::vector<NamedTensors> others = {*feed(0), *feed(20)};
  EXPECT_FALSE(batch->join(others)->has_value());

  const Model fixed(std::make_shared<const Graph>(network()));
  const auto refused = Streams::create(fixed, {}, 2, PerformanceHint::kThroughput, 4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(RunConfig::from_json(R"({"batch": 4})"));
  EXPECT_TRUE(RunConfig::from_json(R"({"batch": 4, "hint": "throughput"})"));
}

}  // namespace
}  // namespace octavo
