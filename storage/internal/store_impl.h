// The Store itself. store.cpp: opening, committing, upkeep; store_reads.cpp: what is read back; store_outbox.cpp: the
// outbox; store_upkeep.cpp: sealing, trimming, repair; store_space.cpp:
// retention and quotas; store_roll_up.cpp: room by less resolution; store_outbox_rules.cpp: what the classes of the outbox drop.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "storage/internal/commit_queue.h"
#include "storage/internal/damage.h"
#include "storage/internal/database.h"
#include "storage/internal/eviction.h"
#include "storage/internal/outbox_row.h"
#include "storage/internal/sealed_blocks.h"
#include "storage/internal/sealer.h"
#include "storage/internal/state.h"
#include "storage/internal/transaction.h"
#include "storage/internal/wal_sync.h"
#include "storage/store.h"

namespace skerry::storage::internal {

class StoreImpl final : public Store {
 public:
  StoreImpl(const Options& options, const Clock& clock, std::unique_ptr<Database> db);
  ~StoreImpl() override;
  Status start();

  Result<Receipt> commit(const Effect& effect) override;

  Result<std::vector<StreamInfo>> streams() const override;
  Result<Batch> read(const Series& series, TimeRange range, size_t rows_max,
                     const std::vector<std::string>& fields) const override;
  Status scan(const Series& series, TimeRange range, const std::vector<std::string>& fields,
              RecordVisitor& visitor) const override;
  Result<std::vector<storage::RolledUp>> rolled_up(const Series& series, TimeRange range) const override;
  std::vector<Loss> losses() const override;
  std::vector<QuotaStatus> quotas() const override;
  Result<Prediction> prediction(PredictionId id) const override;
  Result<std::vector<Prediction>> predictions(const std::string& model, const std::string& series,
                                              TimeRange windows_within, size_t count_max) const override;
  Result<std::vector<Label>> labels(const std::string& model, size_t count_max) const override;
  Result<std::vector<Example>> examples(const std::string& model, size_t count_max) const override;
  Result<ExampleCounts> example_counts(const std::string& model, ExampleId after) const override;
  LiveScore live_score(const std::string& model, uint32_t version) const override;
  Result<std::vector<ModelVersion>> versions(const std::string& model) const override;
  Result<std::optional<std::string>> note(const std::string& name) const override;

  Result<std::vector<OutboxItem>> outbox_read(OutboxClass outbox_class, uint64_t from_seq, uint64_t bytes_max) override;
  Status outbox_acknowledge(OutboxClass outbox_class, uint64_t seq, const std::pair<std::string, std::string>& note) override;
  std::vector<OutboxStatus> outbox_status() const override;
  Identity identity() const override;
  Status begin_epoch() override;

  Duration step() override;
  Status seal() override;
  uint64_t disk_bytes() const override;
  Wear wear() const override { return {taken_bytes_, db_->written_bytes()}; }
  uint64_t damaged() const override;
  std::optional<Error> trouble() const override;

 private:
  struct Acked {  // may be trimmed once its grace is over
    OutboxClass outbox_class;
    uint64_t seq;
    SteadyTime at;
  };

  Result<SeriesState> series_state(const Series& series) const;
  Result<Receipt> stage(const PendingCommit& pending, Transaction& transaction) const;
  Durability durability_of(const Effect& effect) const;
  void commit_round(const CommitQueue::Round& round);  // synced
  // Under commit_mutex_:
  Status commit_together(std::span<PendingCommit* const> effects, uint64_t& ticket);
  Result<uint64_t> write(rocksdb::WriteBatch* batch);  // its sync ticket
  Status healthy();                                    // refuses while there is trouble
  void trim();

  // Under upkeep_mutex_:
  void tend_records();  // surveys, keeps to the quotas, seals when that is due
  Status survey();      // a piece of it
  bool seal_due();
  Result<uint64_t> seal_heads(SealWhat what);  // bytes of the head that were freed
  void tend_space();    // retention and quotas
  std::vector<QuotaStatus> measure() const;
  // Makes room by less resolution, in the series of rule number `rule` or in all whose rule says so. False: nothing can be rolled up.
  Result<bool> shrink(size_t rule, uint64_t bytes);
  std::vector<SeriesState> rolled_series(size_t rule) const;
  Result<uint64_t> roll_up(const std::vector<SeriesState>& series, size_t level, uint64_t bytes);  // bytes that were freed
  Status make_room(Eviction& eviction, size_t rule, uint64_t bytes, OnFull how);
  Status evict(Eviction& eviction, size_t rule, uint64_t bytes, int64_t before_ns, LossReason reason);
  void tend_outbox();   // TTL and quota of the classes
  Status drop_waiting(const OutboxRule& rule);
  uint64_t unsent_from();  // number of the oldest block that the hub does not have
  void reclaim();          // gives the room of evicted chunks back to the file system
  void reclaim_heads();    // and that of sealed blocks
  Status write_sealed(rocksdb::WriteBatch& batch, const std::vector<std::pair<std::string, Sealed>>& done);

  // Without any lock:
  enum class Mend : uint8_t { when_due, at_once };
  Status mend(Mend when = Mend::when_due);  // clears trouble, else says what it is
  Status seal_all();
  Status reopen();
  Status load();    // what is kept in memory, from the database

  Status sync(uint64_t ticket);
  Error note_trouble(Error error);
  Result<OutboxRow> outbox_row(OutboxClass outbox_class, uint64_t seq) const;
  LossReason why_lost(const OutboxRow& row) const;
  std::optional<OutboxItem> dropped_item(OutboxClass outbox_class, uint64_t seq) const;
  OutboxItem resolve(OutboxClass outbox_class, uint64_t seq);
  Result<std::string> payload_of(OutboxRow& row);
  Result<std::string> block_of(const OutboxRow& row);

  const Options options_;
  const Clock& clock_;
  const std::unique_ptr<Database> db_;
  WalSync sync_;
  CommitQueue durable_commits_;
  mutable Damage damage_;
  std::atomic<uint64_t> taken_bytes_ = 0;
  SealedBlocks sealed_blocks_;

  mutable std::shared_timed_mutex open_mutex_;  // shared: the database is used; alone: it is opened anew. Taken first
  bool merging_off_ = false;                    // guarded by open_mutex_: a table is damaged

  std::mutex commit_mutex_;  // orders writes: sequence order is log order, so any surviving prefix has no holes
  std::deque<Acked> acked_;  // guarded by commit_mutex_, as are the next two
  SteadyTime trim_due_{};
  std::optional<SteadyTime> interval_due_;

  std::mutex upkeep_mutex_;         // taken before commit_mutex_
  uint64_t generation_ = 0;         // guarded by upkeep_mutex_, as is the next: the newest
  uint64_t seal_tried_bytes_ = 0;   // in memory when there was not enough to seal
  std::vector<std::pair<std::string, uint32_t>> unsurveyed_;  // series and their ids
  uint64_t unsent_seq_ = 0, unsent_block_ = 0;                            // where unsent_from() found it
  uint64_t evicted_bytes_ = 0, evicted_min_ = UINT64_MAX, evicted_max_ = 0;  // chunks since reclaim(), and their generations
  uint64_t evicted_ticket_ = 0;     // of the last write that took chunks away
  uint64_t first_new_block_ = 0;    // blocks from here on were counted as they were written

  mutable std::shared_mutex state_mutex_;  // held for moments only; writers also hold commit_mutex_
  State state_;

  mutable std::mutex trouble_mutex_;
  std::optional<Error> trouble_;
  SteadyTime repair_due_{};
};

}  // namespace skerry::storage::internal
