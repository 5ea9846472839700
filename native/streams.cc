#include "native/streams.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "native/thread_pool.h"

namespace octavo {

Result<Streams> Streams::create(const Model& model, const SessionOptions& options, int threads,
                                PerformanceHint hint) {
  const int cores = threads > 0 ? threads : available_cores();
  const bool many = hint == PerformanceHint::kThroughput;
  Streams streams;
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
    const auto one = [&](int64_t i) -> Status {
      OCTAVO_ASSIGN(const NamedTensors feeds, feed(i));
      OCTAVO_ASSIGN(NamedTensors outputs, session.run(feeds));
      const std::lock_guard lock(mutex);
      return status ? done(i, std::move(outputs)) : Status();
    };
    for (int64_t i = next++; i < count; i = next++) {
      if (Status ran = one(i); !ran) {
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
