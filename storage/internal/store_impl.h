// The Store itself. store.cpp: opening, committing, upkeep; store_reads.cpp: what is read back; store_outbox.cpp: the
// outbox.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "storage/internal/damage.h"
#include "storage/internal/database.h"
#include "storage/internal/outbox_row.h"
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
  Status outbox_acknowledge(OutboxClass outbox_class, uint64_t seq) override;
  std::vector<OutboxStatus> outbox_status() const override;
  Identity identity() const override;
  Status begin_epoch() override;

  Duration step() override;
  uint64_t disk_bytes() const override;
  uint64_t damaged() const override;
  std::optional<Error> trouble() const override;

 private:
  struct Acked {  // may be trimmed once its grace is over
    OutboxClass outbox_class;
    uint64_t seq;
    SteadyTime at;
  };

  Result<SeriesState> series_state(const Series& series) const;
  Status stage(const Effect& effect, const std::vector<PreparedBatch>& batches, Transaction& transaction) const;
  Durability durability_of(const Effect& effect) const;
  // Under commit_mutex_:
  Result<uint64_t> write(rocksdb::WriteBatch* batch);  // its sync ticket
  Status ready();  // refuses while there is trouble, after trying to clear it when that is due
  Status repair();
  void trim();

  Status sync(uint64_t ticket);
  Error note_trouble(Error error);
  Result<OutboxRow> outbox_row(OutboxClass outbox_class, uint64_t seq) const;
  OutboxItem resolve(OutboxClass outbox_class, uint64_t seq);
  Result<std::string> payload_of(OutboxRow& row) const;

  const Options options_;
  const Clock& clock_;
  const std::unique_ptr<Database> db_;
  WalSync sync_;
  mutable Damage damage_;

  std::mutex commit_mutex_;  // orders writes: sequence order is log order, so any surviving prefix has no holes
  std::deque<Acked> acked_;  // guarded by commit_mutex_, as are the next two
  SteadyTime trim_due_{};
  std::optional<SteadyTime> interval_due_;

  mutable std::shared_mutex state_mutex_;  // held for moments only; writers also hold commit_mutex_
  State state_;

  mutable std::mutex trouble_mutex_;
  std::optional<Error> trouble_;
  SteadyTime repair_due_{};
};

}  // namespace skerry::storage::internal
