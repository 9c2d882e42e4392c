// Opens a store on a machine that nobody comes to: one that is too damaged to be opened is repaired first (fsck.h). So a lost list of tables
// or a table that is gone costs records, and never the node.
// Threads: one, before anybody else knows the store.
// Needs: what a repair needs, room and a time that grows with the rows; `progress` tells how far it is.
// On failure: as Store::open() and fsck().
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "storage/fsck.h"
#include "storage/store.h"

namespace skerry::storage {

struct Recovery {
  int64_t at_ns = 0;
  std::string why;             // the store could not be opened
  uint64_t damaged = 0;        // things that the repair found
  std::filesystem::path kept;  // what was damaged, in the quarantine; empty when nothing had to go there
};

Result<std::unique_ptr<Store>> open_recovered(const Options& options, const Clock& clock, const Progress& progress = {});

// The last one of this store, kept in it. Nothing: it was always whole.
std::optional<Recovery> last_recovery(const Store& store);

}  // namespace skerry::storage
