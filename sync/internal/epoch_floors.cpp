#include "sync/internal/epoch_floors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"

namespace skerry::sync::internal {
namespace {

using nlohmann::json;
constexpr const char* kNote = "sync/epoch";

}  // namespace

EpochFloors::EpochFloors(storage::Store& store) : store_(store) {
  auto note = store.note(kNote);
  if (note.ok() && !note->has_value()) return;
  try {
    if (!note.ok()) throw std::runtime_error(note.error().message);
    for (const json& f : json::parse(**note)) floors_[static_cast<storage::OutboxClass>(f.at(0).get<int>())] = f.at(1).get<uint64_t>();
  } catch (const std::exception& e) {
    log::warn("sync", "the note of where the epoch begins is damaged, what is acknowledged does not go again: {}", e.what());
    for (const auto& s : store.outbox_status()) floors_[s.outbox_class] = s.acked_seq;
  }
}

uint64_t EpochFloors::of(storage::OutboxClass outbox_class) const {
  auto found = floors_.find(outbox_class);
  return found == floors_.end() ? 0 : found->second;
}

Status EpochFloors::raise(const std::map<storage::OutboxClass, uint64_t>& floors) {
  json note = json::array();
  for (const auto& [c, seq] : floors) note.push_back({static_cast<int>(c), seq});
  storage::Effect effect;
  effect.notes.emplace_back(kNote, note.dump());
  SKERRY_TRY(store_.commit(effect));
  floors_ = floors;
  return {};
}

}  // namespace skerry::sync::internal
