#include <algorithm>
#include <chrono>
#include <vector>

#include "native/onednn/onednn.h"
#include "native/onednn/primitive_step.h"
#include "native/onednn/thread_scope.h"

namespace octavo {

using dnnl::memory;

Result<double> measure_matmul_gops(DType dtype, int threads) {
  constexpr int64_t kSize = 1024;
  constexpr double kMostSeconds = 0.1;
  constexpr int kMostRuns = 20;
  const bool int8 = dtype == DType::kU8 || dtype == DType::kI8;
  const auto type = onednn::data_type_of(dtype);
  const onednn::ThreadScope scope(threads);
  if (type == memory::data_type::undef || dtype == DType::kI32) {
    return fail(ErrorCode::kInvalidArgument, "no matrix product of ", dtype_name(dtype));
  }
  return onednn::guarded(Node{.name = "matmul"}, [&]() -> Result<double> {
    const auto plain = memory::format_tag::ab;
    const memory::desc a({kSize, kSize}, type, plain);
    const memory::desc b({kSize, kSize}, int8 ? memory::data_type::s8 : type,
                         memory::format_tag::any);
    const memory::desc c({kSize, kSize}, type, plain);
    const onednn::Device& device = *onednn::current_device();
    const auto& engine = device.engine();
    const dnnl::matmul::primitive_desc description(engine, a, b, c);
    const dnnl::matmul matmul(description);
    const auto filled = [&](const memory::desc& desc) {
      // Small numbers in every type.
      return device.upload(desc, std::vector<uint8_t>(desc.get_size(), 1).data());
    };
    const memory from = filled(a), weights = filled(description.weights_desc()), to = filled(c);
    dnnl::stream stream(engine);
    double best = 0, total = 0;
    for (int run = 0; run < kMostRuns && total < kMostSeconds; ++run) {
      const auto start = std::chrono::steady_clock::now();
      matmul.execute(stream,
                     {{DNNL_ARG_SRC, from}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, to}});
      stream.wait();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      total += seconds.count();
      best = std::max(best, 2.0 * kSize * kSize * kSize / seconds.count() / 1e9);
    }
    return best;
  });
}

}  // namespace octavo
