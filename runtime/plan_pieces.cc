// Concatenations without copies: an input is computed where the step would have copied it.
#include <algorithm>

#include "runtime/plan_impl.h"

namespace octavo {

void PlanImpl::place_pieces() {
  std::vector<int> reads(slots_.size(), 0), writer(slots_.size(), -1);
  for (size_t e = 0; e < entries_.size(); ++e) {
    for (const int slot : entries_[e].inputs) {
      if (slot >= 0) ++reads[static_cast<size_t>(slot)];
    }
    for (const int slot : entries_[e].outputs) {
      if (slot >= 0) writer[static_cast<size_t>(slot)] = static_cast<int>(e);
    }
  }
  for (const int slot : output_slots_) ++reads[static_cast<size_t>(slot)];
  std::vector<bool> holds_pieces(buffers_.size(), false);
  // Whether the writer of the slot, which alone has its buffer and one reader, can leave gaps.
  const auto set_stride = [&](size_t slot, int64_t bytes) {
    const int buffer = slots_[slot].buffer;
    const auto shares = std::ranges::count(slots_, buffer, &Slot::buffer);
    if (reads[slot] != 1 || shares != 1 || writer[slot] < 0) return false;
    const Entry& from = entries_[static_cast<size_t>(writer[slot])];
    return from.step != nullptr && from.outputs.size() == 1 && from.observed.empty() &&
           from.step->set_pixel_stride(bytes);
  };
  // From the last to the first: a piece may consist of pieces.
  for (size_t e = entries_.size(); e-- > 0;) {
    const Entry& entry = entries_[e];
    for (size_t i = 0; entry.step != nullptr && i < entry.inputs.size(); ++i) {
      const auto piece = entry.step->piece(i);
      if (!piece || entry.inputs[i] < 0) continue;
      const auto slot = static_cast<size_t>(entry.inputs[i]);
      const Slot& whole = slots_[static_cast<size_t>(entry.outputs[0])];
      const int from = slots_[slot].buffer, to = whole.buffer;
      if (slots_[slot].kind != Slot::Kind::kArena || from < 0 || to < 0 || from == to ||
          holds_pieces[static_cast<size_t>(from)] || slots_[slot].offset != 0) {
        continue;
      }
      if (piece->pixel_stride != 0 && !set_stride(slot, piece->pixel_stride)) continue;
      holds_pieces[static_cast<size_t>(to)] = true;
      const int64_t offset = whole.offset + piece->offset;
      for (Slot& moved : slots_) {
        if (moved.buffer != from) continue;
        moved.buffer = to;
        moved.offset = offset;
      }
    }
  }
}

}  // namespace octavo
