// What the store keeps in memory about itself: series, outbox classes, next ids, live scores. Each has a row in the
// default family, written in the batch of the effect that changes it, so start-up reads these rows and no backlog.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/records.h"
#include "storage/internal/database.h"
#include "storage/internal/dropped.h"
#include "storage/internal/losses.h"
#include "storage/internal/producers.h"
#include "storage/types.h"

namespace skerry::storage::internal {

struct Extents {  // of the head, or of the chunks, of a series
  uint64_t rows = 0, bytes = 0, count = 0;  // count: blocks or chunks
  int64_t first_ns = INT64_MAX;             // may be older than what is left

  void add(const Extents& more) {
    rows += more.rows;
    bytes += more.bytes;
    count += more.count;
    first_ns = std::min(first_ns, more.first_ns);
  }
  void remove(const Extents& gone) {
    rows -= std::min(rows, gone.rows);
    bytes -= std::min(bytes, gone.bytes);
    count -= std::min(count, gone.count);
  }
};

struct SeriesState {
  uint32_t id = 0;
  Series series;
  std::vector<std::pair<std::string, FieldType>> fields;  // in the order in which they were first seen
  uint64_t records = 0;
  int64_t first_ns = 0, last_ns = 0;
  uint64_t span_max_ns = 0;  // longest block or chunk: how far a range read has to look back

  // Not in a row: counted from the families after a start, by and by (Survey).
  bool surveyed = false;
  Extents head, sealed;
  std::array<uint64_t, 3> rolled_bytes{};  // of sealed, by level from 1 on (internal/rolled.h)

  int field(std::string_view name) const;  // index, or -1
};

struct ClassState {
  uint64_t last_seq = 0, acked_seq = 0, trimmed_seq = 0;
  uint64_t queued_bytes = 0, acked_bytes = 0;  // of all entries ever
  int64_t oldest_ns = 0;                       // queue time of the oldest that waits; not in the row, read at start
};

struct Counters {
  uint64_t prediction = 1, label = 1, example = 1, block = 1;  // the next one
};

using ScoreKey = std::pair<std::string, uint32_t>;                   // model, version
using ExampleClass = std::tuple<std::string, ExampleRole, int32_t>;  // model, role, label

struct State {
  uint64_t epoch = 0;
  std::map<std::string, SeriesState> series;  // by Series::text()
  std::array<ClassState, 7> classes;          // by number of the class
  std::array<Dropped, 7> dropped;             // so too
  Counters counters;
  std::map<ScoreKey, LiveScore> scores;
  std::map<ExampleClass, uint64_t> examples;
  Losses losses;
  Producers producers;
  std::vector<QuotaStatus> quotas;  // not in a row: of each rule, and at last of all together; empty until everything is surveyed

  ClassState& of(OutboxClass c) { return classes[static_cast<size_t>(c)]; }
  const ClassState& of(OutboxClass c) const { return classes[static_cast<size_t>(c)]; }
  Dropped& dropped_of(OutboxClass c) { return dropped[static_cast<size_t>(c)]; }
  const Dropped& dropped_of(OutboxClass c) const { return dropped[static_cast<size_t>(c)]; }
  // The oldest entry that waits for the hub; one above the newest when none does.
  uint64_t oldest_waiting(OutboxClass c) const { return std::max(of(c).acked_seq, dropped_of(c).upto_seq) + 1; }
};

std::string encode_identity(uint64_t epoch);
std::string encode_counters(const Counters& counters);
std::string encode_class(const ClassState& state);
std::string encode_series(const SeriesState& series);
std::string encode_totals(const SeriesState& series);
std::string encode_score(const LiveScore& score);
std::string encode_count(uint64_t count);

// Takes the rows of the default family one by one, in the order of their keys.
class StateLoader {
 public:
  // Error: corrupt, naming the remedy; nothing of the row counts then.
  Status add(std::string_view key, std::string_view value);
  State finish();

 private:
  State state_;
  std::map<uint32_t, SeriesState> by_id_;
};

// Reads the rows of the default family. epoch 0: a fresh store. Error: corrupt, naming the remedy.
Result<State> load_state(const Database& db);

}  // namespace skerry::storage::internal
