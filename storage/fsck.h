// Checks a store offline, repairs it, and exports what can still be read of it.
//
// A check reads every block of every table and decodes every row as the store does; it changes nothing. A repair builds the database anew
// beside the old one - chunks are not copied - and then takes its place at once: a power cut leaves one of the two. What is damaged goes to
// the folder `quarantine` inside the store, with a text that says what it was; nothing else is lost.
// Threads: one; no daemon may run.
// Needs: room for the log, for a repair or export also for all rows but the chunks.
// On failure: not_found (no store), unavailable (in use, permissions), exhausted (disk full), corrupt (nothing can be made of it).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/records.h"
#include "base/result.h"
#include "storage/options.h"
#include "storage/types.h"

namespace skerry::storage {

enum class DamageKind : uint8_t {
  manifest,     // the list of tables
  table,        // a table file: missing, cut, or with blocks whose checksum does not hold
  row,          // does not decode
  chunk_lost,   // an index row without its chunk
  index_lost,   // a chunk without its index row
  outbox_hole,  // a number that no entry has, or one that refers to what is gone
  reference,    // a row that only helps to find others, and does not fit them
  state         // what the store knows about itself does not fit its rows
};
const char* to_string(DamageKind kind);

struct FsckDamage {
  DamageKind kind = DamageKind::row;
  std::string family;
  std::string place;    // file or key, for people
  std::string series;   // affected; empty when that is not known
  TimeRange range;      // affected; everything when that is not known
  std::string reason;
};

struct FsckStream {
  std::string series;
  uint64_t records = 0, blocks = 0, chunks = 0, bytes = 0;
  int64_t first_ns = 0, last_ns = 0;
};

struct FsckReport {
  uint64_t tables = 0, table_bytes = 0;
  std::map<std::string, uint64_t> rows;  // by family, that can be read
  std::vector<FsckStream> streams;
  std::vector<FsckDamage> damage;        // the first kFsckDamageMax
  uint64_t damage_count = 0;
  std::map<DamageKind, uint64_t> damage_by_kind;
  uint64_t outbox_holes = 0;             // entries
  bool repaired = false;
  std::filesystem::path quarantine;      // of this repair; empty when nothing had to go there
  std::vector<std::string> notes;        // what cannot be known
  bool clean() const { return damage_count == 0; }
};
inline constexpr size_t kFsckDamageMax = 10'000;

using Progress = std::function<void(const std::string& stage, uint64_t done, uint64_t total)>;  // total 0: not known

struct FsckRequest {
  bool repair = false;
  std::function<Status(const std::vector<StreamInfo>&)> export_begin;  // before the first record: the streams that come, in order
  // Every record that can be read, in the order of series and time; an error ends it.
  std::function<Status(const Batch&)> export_to;
  std::string export_series;  // as Series::text(); empty: all
  Progress progress;
};

Result<FsckReport> fsck(const Options& options, const FsckRequest& request = {});

}  // namespace skerry::storage
