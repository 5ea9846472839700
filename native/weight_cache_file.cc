#include "native/weight_cache_file.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/ceil_div.h"

namespace octavo {
namespace {

// Raise the number when the kernels pack in another order.
constexpr std::array<char, 8> kMagic = {'O', 'C', 'T', 'W', 'T', 'S', '0', '1'};
constexpr size_t kAlignment = 64;  // of packings, in the file and so in memory

// The file: Header, Record[count], then the packings.
struct Header {
  std::array<char, 8> magic;
  uint64_t count;
  uint64_t hash;  // of the records
};
struct Record {
  uint64_t key, offset, bytes, hash;
};

// Eight hashes of every eighth word, so that the processor works on all at once: as fast as memory.
uint64_t hash_of(const void* data, size_t bytes) {
  constexpr size_t kLanes = 8, kWord = sizeof(uint64_t);
  const auto* from = static_cast<const std::byte*>(data);
  std::array<uint64_t, kLanes> lanes;
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = i;
  size_t at = 0;
  for (; at + kLanes * kWord <= bytes; at += kLanes * kWord) {
    for (size_t i = 0; i < kLanes; ++i) {
      uint64_t word;
      std::memcpy(&word, from + at + i * kWord, kWord);
      lanes[i] = mix(lanes[i], word);
    }
  }
  uint64_t hash = bytes;
  for (const uint64_t lane : lanes) hash = mix(hash, lane);
  for (; at < bytes; ++at) hash = mix(hash, static_cast<uint64_t>(from[at]));
  return hash;
}

template <class T>
uint64_t hash_items(const T& items) {
  return hash_of(items.data(), items.size() * sizeof(*items.data()));
}

uint64_t hash_constant(const Tensor& tensor) {
  if (!tensor.present() || tensor.dtype() == DType::kString) return 0;
  return hash_of(tensor.raw(), static_cast<size_t>(tensor.bytes()));
}

uint64_t hash_value(const PlanGraph& graph, ValueId id) {
  if (id == kNoValue) return 0;
  const TensorInfo& info = graph.info(id);
  uint64_t hash = mix(static_cast<uint64_t>(info.dtype), hash_constant(info.constant));
  for (const int64_t dim : info.shape) hash = mix(hash, static_cast<uint64_t>(dim));
  if (info.quant == nullptr) return hash;
  return mix(mix(hash, hash_items(info.quant->scale)), hash_items(info.quant->zero_point));
}

struct AttributeHash {
  uint64_t operator()(int64_t value) const { return static_cast<uint64_t>(value); }
  uint64_t operator()(float value) const { return std::bit_cast<uint32_t>(value); }
  uint64_t operator()(const Tensor& value) const { return hash_constant(value); }
  // Operators with bodies, and lists of texts, have no packed weights.
  uint64_t operator()(const std::vector<std::string>&) const { return 0; }
  uint64_t operator()(const std::shared_ptr<const Graph>&) const { return 0; }
  template <class T>
  uint64_t operator()(const T& items) const {
    return hash_items(items);
  }
};

}  // namespace

WeightCacheFile::WeightCacheFile(std::string path) : path_(std::move(path)) { read(); }

void WeightCacheFile::read() {
  const auto file = map_file(path_);
  if (!file) {
    if (file.error().code != ErrorCode::kNotFound) problem_ = file.error().message;
    return;
  }
  const auto bytes = std::as_bytes(file->bytes);
  // The magic without the number of the order; of a file that was cut off, what is left.
  const auto prefix = bytes.first(std::min(bytes.size(), sizeof kMagic - 2));
  if (!std::ranges::equal(prefix, std::as_bytes(std::span(kMagic)).first(prefix.size()))) {
    is_foreign_ = true;
    problem_ = concat("'", path_, "' is no file of packed weights; it is left as it is");
    return;
  }
  Header header;
  if (bytes.size() < sizeof header) return;
  std::memcpy(&header, bytes.data(), sizeof header);
  const size_t most = (bytes.size() - sizeof header) / sizeof(Record);
  if (header.magic != kMagic || header.count > most) return;
  std::vector<Record> records(header.count);
  const auto table = std::as_writable_bytes(std::span(records));
  std::ranges::copy(bytes.subspan(sizeof header, table.size()), table.begin());
  if (hash_items(records) != header.hash) return;
  for (const Record& record : records) {
    if (record.offset % kAlignment != 0 || record.offset > bytes.size() ||
        record.bytes > bytes.size() - record.offset) {
      continue;
    }
    packings_[record.key] = {
        {file->owner, bytes.data() + record.offset}, record.bytes, record.hash};
  }
}

uint64_t WeightCacheFile::key(const PlanGraph& graph, const Claim& claim,
                              std::string_view backend) const {
  uint64_t hash = hash_items(backend);
  for (const NodeId id : claim.nodes) {
    const Node& node = graph.graph.node(id);
    hash = mix(hash, static_cast<uint64_t>(node.kind));
    for (const Attribute& attribute : node.attributes) {
      hash = mix(hash, hash_items(attribute.name));
      hash = mix(hash, std::visit(AttributeHash(), attribute.value));
    }
    for (const auto* values : {&node.inputs, &node.outputs}) {
      hash = mix(hash, values->size());
      for (const ValueId value : *values) hash = mix(hash, hash_value(graph, value));
    }
  }
  return hash;
}

std::shared_ptr<const void> WeightCacheFile::find(uint64_t key, size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = packings_.find(key);
  if (found == packings_.end()) return nullptr;
  Packing& packing = found->second;
  if (packing.bytes != bytes ||
      (!packing.is_used && hash_of(packing.data.get(), bytes) != packing.hash)) {
    packings_.erase(found);
    return nullptr;
  }
  packing.is_used = true;
  ++found_;
  return packing.data;
}

void WeightCacheFile::add(uint64_t key, std::shared_ptr<const void> data, size_t bytes) {
  const std::lock_guard lock(mutex_);
  ++made_;
  if (!is_saved_) packings_[key] = {std::move(data), bytes, 0, true};
}

void WeightCacheFile::save() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(is_saved_, true)) return;
  std::erase_if(packings_, [](const auto& entry) { return !entry.second.is_used; });
  if (made_ == 0 || is_foreign_) return;
  std::vector<Record> records;
  size_t at = round_up(sizeof(Header) + packings_.size() * sizeof(Record), kAlignment);
  for (const auto& [key, packing] : packings_) {
    records.push_back({key, at, packing.bytes, hash_of(packing.data.get(), packing.bytes)});
    at += round_up(packing.bytes, kAlignment);
  }
  const Header header = {kMagic, records.size(), hash_items(records)};
  constexpr std::array<uint8_t, kAlignment> kZeros = {};
  std::vector<std::span<const uint8_t>> parts;
  size_t written = 0;
  const auto put = [&](const void* data, size_t bytes) {
    parts.emplace_back(static_cast<const uint8_t*>(data), bytes);
    const size_t end = round_up(written + bytes, kAlignment);
    parts.emplace_back(kZeros.data(), end - written - bytes);
    written = end;
  };
  parts.emplace_back(reinterpret_cast<const uint8_t*>(&header), written = sizeof header);
  put(records.data(), records.size() * sizeof(Record));
  for (const auto& [key, packing] : packings_) put(packing.data.get(), packing.bytes);
  if (const Status status = write_file(path_, parts); !status) problem_ = status.error().message;
}

int64_t WeightCacheFile::found() const {
  const std::lock_guard lock(mutex_);
  return found_;
}
int64_t WeightCacheFile::made() const {
  const std::lock_guard lock(mutex_);
  return made_;
}
std::string WeightCacheFile::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

}  // namespace octavo
