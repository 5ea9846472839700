#include "native/streams.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "native/thread_pool.h"

namespace octavo {

Result<Streams> Streams::create(const Model& model, const SessionOptions& options, int threads,
                                PerformanceHint hint, int batch) {
  const int cores = threads > 0 ? threads : available_cores();
  const bool many = hint == PerformanceHint::kThroughput;
  Streams streams;
  if (batch > 1) {
    OCTAVO_ASSIGN(streams.joint_, Batch::of(model));
    streams.batch_ = batch;
  }
  for (int i = 0; i < (many ? cores : 1); ++i) {
    SessionOptions own = options;
    own.pool = make_thread_pool(many ? 1 : cores);
    OCTAVO_ASSIGN(Session session, model.create_session(std::move(own)));
    streams.sessions_.push_back(std::move(session));
  }
  return streams;
}

Status Streams::run(int64_t count, const std::function<Result<NamedTensors>(int64_t)>& feed,
                    const std::function<Status(int64_t, NamedTensors)>& done) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;  // of `done` and `status`
  Status status;
  const auto serve = [&](Session& session) {
    const auto some = [&](int64_t first, int64_t last) -> Status {
      std::vector<NamedTensors> feeds, results;
      for (int64_t i = first; i < last; ++i) {
        OCTAVO_ASSIGN(feeds.emplace_back(), feed(i));
      }
      std::optional<NamedTensors> joined;
      if (feeds.size() > 1) {
        OCTAVO_ASSIGN(joined, joint_->join(feeds));
      }
      if (joined) {
        OCTAVO_ASSIGN(const NamedTensors outputs, session.run(*joined));
        OCTAVO_ASSIGN(results, joint_->split(outputs, feeds));
      } else {
        for (const NamedTensors& request : feeds) {
          OCTAVO_ASSIGN(results.emplace_back(), session.run(request));
        }
      }
      const std::lock_guard lock(mutex);
      for (int64_t i = first; status && i < last; ++i) {
        OCTAVO_TRY(done(i, std::move(results[static_cast<size_t>(i - first)])));
      }
      return {};
    };
    for (int64_t i = next.fetch_add(batch_); i < count; i = next.fetch_add(batch_)) {
      if (Status ran = some(i, std::min(i + batch_, count)); !ran) {
        const std::lock_guard lock(mutex);
        if (status) status = std::move(ran);
        next = count;
      }
    }
  };
  std::vector<std::jthread> threads;
  for (size_t s = 1; s < sessions_.size(); ++s) {
    threads.emplace_back([&, s] { serve(sessions_[s]); });
  }
  serve(sessions_.front());
  threads.clear();
  return status;
}

}  // namespace octavo
