// Every row of a store decoded as the store does, and compared with the rows that belong to it. What a repair makes of it goes to a sink:
// rows that are kept, rows that are dropped, rows that are written instead.
// Threads: one. Memory: 12 bytes for each waiting outbox entry, and what is damaged.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/records.h"
#include "storage/fsck.h"
#include "storage/internal/outbox_row.h"
#include "storage/internal/salvage.h"
#include "storage/internal/sealed_row.h"
#include "storage/internal/state.h"

namespace skerry::storage::internal {

class RowSink {
 public:
  virtual ~RowSink() = default;
  virtual Status keep(Family f, std::string_view key, std::string_view value) = 0;
  virtual Status drop(Family f, std::string_view key, std::string_view value, const std::string& why) = 0;
  virtual Status put(Family f, std::string_view key, std::string_view value) = 0;
};

// Head block numbers that the outbox waits for, and how many of their records were found.
class WaitingBlocks {
 public:
  void want(uint64_t number) { wanted_.push_back(number); }
  void ready();  // after the last want()
  void found(uint64_t number, uint32_t records);
  uint64_t records(uint64_t number) const;

 private:
  std::vector<uint64_t> wanted_;
  std::vector<uint32_t> records_;
};

// Where a block lay that the outbox waits for.
struct WaitingPlace {
  uint32_t series = 0;
  int64_t first_ns = 0, last_ns = 0;
  uint64_t number = 0;
  uint32_t records = 0;
};

struct SeriesSeen {
  uint64_t records = 0, blocks = 0, chunks = 0, bytes = 0;
  int64_t first_ns = INT64_MAX, last_ns = INT64_MIN;
  uint64_t span_max_ns = 0;
  std::vector<std::pair<std::string, FieldType>> fields;
  std::string name;  // as the outbox knows it; empty: it does not
};

struct ClassSeen {
  bool any = false;
  uint64_t first_seq = 0, last_seq = 0, bytes_before_first = 0, bytes_end = 0;
};

class RowCheck {
 public:
  RowCheck(const Salvage& store, const FsckRequest& request, FsckReport& report, RowSink& sink)
      : store_(store), request_(request), report_(report), sink_(sink) {}
  // Error: of the sink; invalid when the store is of a newer format; unavailable.
  Status run();

 private:
  struct Run {  // a key in head or index taken apart
    uint32_t series = 0;
    int64_t first_ns = 0;
    uint64_t number = 0;
  };

  Status each(Family f, Status (RowCheck::*row)(std::string_view, std::string_view));
  void found(FsckDamage damage);
  Status bad_row(Family f, std::string_view key, std::string_view value, DamageKind kind, const std::string& why,
                 FsckDamage where = {});
  void report_tables();
  std::string name_of(uint32_t series) const;
  std::string describe(Family f, std::string_view key) const;
  void affected(Family f, std::string_view key, FsckDamage& out) const;

  // Each takes one row of its family.
  Status meta_row(std::string_view key, std::string_view value);
  Status waiting_row(std::string_view key, std::string_view value);
  Status head_row(std::string_view key, std::string_view value);
  Status index_row(std::string_view key, std::string_view value);
  Status chunk_row(std::string_view key, std::string_view value);
  Status ledger_row(std::string_view key, std::string_view value);
  Status label_row(std::string_view key, std::string_view value);
  Status example_row(std::string_view key, std::string_view value);
  Status model_row(std::string_view key, std::string_view value);
  Status outbox_row(std::string_view key, std::string_view value);

  Status find_places();
  std::vector<BlockPart> parts_of(const Run& run, const std::vector<int64_t>& times);
  Status index_anew(std::string_view key, std::string_view value);
  Status prediction_row(std::string_view key, std::string_view value);
  Status example_itself(std::string_view key, std::string_view value);
  Status missing_reference(Family f, const std::string& key, std::string_view value);
  Result<std::string> why_unsent(const OutboxRow& row) const;  // empty: what it refers to is there
  Status fill_outbox(OutboxClass c, uint64_t from, uint64_t to, const OutboxRow& like, DamageKind kind, const std::string& why);
  Status end_outbox();

  // What the store knows about itself, against what was seen.
  Status check_identity();
  Status check_counters();
  Status check_series();
  Status check_totals(SeriesState& series, const SeriesSeen& seen);
  Status check_classes();
  Status check_counts();
  void wrong_state(const std::string& place, const std::string& why, const std::string& series = {});

  SeriesSeen& seen(const Run& run, const Batch& batch, size_t bytes);

  const Salvage& store_;
  const FsckRequest& request_;
  FsckReport& report_;
  RowSink& sink_;

  StateLoader loader_;
  State state_;
  std::map<uint32_t, SeriesState*> series_by_id_;
  std::set<std::string> state_rows_;  // keys of the rows that were taken
  uint64_t rows_ = 0;
  bool records_lost_ = false;
  WaitingBlocks waiting_;
  std::optional<std::vector<WaitingPlace>> places_;  // by series and time; read when the index lost something
  std::set<std::string> lost_chunks_;  // keys in chunks
  std::map<uint32_t, SeriesSeen> seen_;
  Counters newest_{0, 0, 0, 0};
  std::map<ScoreKey, LiveScore> scores_;
  std::map<ExampleClass, uint64_t> examples_;
  std::array<ClassSeen, 7> classes_;
};

}  // namespace skerry::storage::internal
