#include "core/quantization/stage_cache.h"

#include "core/byte_io.h"
#include "core/provenance.h"
#include "core/text.h"

namespace octavo {
namespace {

constexpr uint64_t kFormat = 1;

uint64_t hash_of(std::span<const uint8_t> bytes) {
  ContentHash hash;
  hash.add(std::as_bytes(bytes));
  return hash.value();
}

Result<std::string> key_of(const Graph& graph, bool deterministic) {
  OCTAVO_ASSIGN(const std::string hash, model_hash(graph));
  return deterministic ? concat(hash, "_deterministic") : hash;
}

}  // namespace

bool Collected::serves(const std::vector<WantedValue>& wanted, const ChannelStats& watched) const {
  for (size_t v = 0; v < wanted.size(); ++v) {
    if (!wanted[v].wanted) continue;
    const Collector* collector = calibration->collectors[v].get();
    if (collector == nullptr || !collector->options().serve(wanted[v].options)) return false;
  }
  return stats.serves(watched);
}

Bytes Collected::to_bytes() const {
  ByteWriter out;
  out.add(kFormat);
  out.add_signed(calibration->samples);
  out.add(uint64_t{calibration->collectors.size()});
  for (const auto& collector : calibration->collectors) {
    out.add(static_cast<uint64_t>(collector != nullptr));
    if (collector != nullptr) collector->write(out);
  }
  stats.write(out);
  out.add(uint64_t{warnings.size()});
  for (const std::string& warning : warnings) out.add(warning);
  out.add_fixed(hash_of(out.bytes()));
  return std::move(out.bytes());
}

std::optional<Collected> Collected::from_bytes(const Graph& graph, std::span<const uint8_t> bytes) {
  if (bytes.size() < sizeof(uint64_t)) return std::nullopt;
  const auto body = bytes.first(bytes.size() - sizeof(uint64_t));
  ByteReader end(bytes.last(sizeof(uint64_t)));
  if (end.fixed<uint64_t>() != hash_of(body)) return std::nullopt;
  ByteReader in(body);
  if (in.number() != kFormat) return std::nullopt;
  auto calibration = std::make_shared<Calibration>();
  calibration->samples = in.signed_number();
  if (in.count() != graph.values.size()) return std::nullopt;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    auto& collector = calibration->collectors.emplace_back();
    if (in.number() != 0) collector = std::make_unique<Collector>(Collector::read(in));
  }
  Collected made{std::move(calibration), ChannelStats::read(graph, in)};
  for (size_t n = in.count(); n > 0 && in.ok(); --n) made.warnings.push_back(in.text());
  if (!in.ok() || in.left() != 0) return std::nullopt;
  return made;
}

Result<const Collected*> StageCache::find_collected(const Graph& graph, bool deterministic) {
  OCTAVO_ASSIGN(const std::string key, key_of(graph, deterministic));
  if (const auto found = collected_.find(key); found != collected_.end()) return &found->second;
  if (store_ == nullptr || !data) return nullptr;
  const std::optional<Bytes> bytes = store_->load(concat(key, "_", data->hash));
  if (!bytes) return nullptr;
  std::optional<Collected> read = Collected::from_bytes(graph, *bytes);
  if (!read || read->calibration->samples != data->samples) return nullptr;
  return &collected_.insert_or_assign(key, *std::move(read)).first->second;
}

Status StageCache::store_collected(const Graph& graph, bool deterministic, Collected collected) {
  OCTAVO_ASSIGN(const std::string key, key_of(graph, deterministic));
  if (store_ != nullptr && data) {
    OCTAVO_TRY(store_->save(concat(key, "_", data->hash), collected.to_bytes()));
  }
  collected_.insert_or_assign(key, std::move(collected));
  return {};
}

}  // namespace octavo
