// A receipt told that the hub has another history than this disk: the Syncer, whose the epochs are, begins a new one before it speaks to the hub
// again. A note of the store, so that it survives a crash; of the epoch that it ends, so that it ends no later one.
#pragma once

#include <string>

#include "storage/store.h"

namespace skerry::sync::internal {

inline constexpr const char* kFenceNote = "sync/fence";

inline Status ask_for_epoch(storage::Store& store) {
  storage::Effect effect;
  effect.notes.emplace_back(kFenceNote, std::to_string(store.identity().epoch));
  auto written = store.commit(effect);
  return written.ok() ? Status() : Status(written.error());
}

inline bool epoch_is_asked_for(const storage::Store& store) {
  auto note = store.note(kFenceNote);
  return note.ok() && *note == std::to_string(store.identity().epoch);
}

}  // namespace skerry::sync::internal
