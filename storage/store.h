// The node's store: one RocksDB database, one WriteBatch per effect. Whatever belongs together - samples, their outbox
// entries, predictions, a pipeline's cursor, labels, examples, a model's state and its delta - goes into one Effect and
// becomes durable together or not at all.
//
// Threads: every method may be called from any thread; commits are ordered by one mutex, concurrent syncs are shared.
// Owns: the database folder (locked against a second process).
// On failure: a refused Effect changes nothing. A full disk answers `exhausted`, and commits succeed again by themselves when
// there is space; reads go on. A damaged block is skipped and counted (damaged()), never fatal.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "storage/chunk.h"
#include "storage/options.h"
#include "storage/types.h"

namespace skerry::storage {

// Everything that becomes true together. Ids in it are ignored; the Receipt has the ones that were given.
struct Effect {
  std::vector<Batch> batches;              // refused as a whole when one is invalid, or a field changes its type
  std::vector<Prediction> predictions;     // also queued (telemetry class) when their series is synced or empty
  std::vector<Label> labels;               // queued (label class); a label with a prediction id also scores that version
  std::vector<Example> examples;           // an example of the same model, series and window replaces the earlier one
  std::vector<ModelVersion> versions;      // inserted or replaced by (model, version)
  std::vector<OutboxEntry> outbox;
  std::vector<std::pair<std::string, std::string>> notes;  // small named values: cursors, residuals; empty value deletes
  std::optional<Producer> producer;        // when its seq is not above the producer's last one, nothing of this is applied again
  std::optional<Durability> durability;    // default: the strictest rule of the batches' streams; `batch` without any batch
};

struct Receipt {
  std::vector<PredictionId> predictions;   // in the order of the Effect
  std::vector<LabelId> labels;
  std::vector<ExampleId> examples;
  uint64_t records = 0;
  uint64_t dropped = 0;                    // records that a full quota took instead
  bool duplicate = false;                  // the producer's effect of this number was there already: nothing else is filled in
};

// Takes what Store::scan meets: records in time order, each timestamp once.
class RecordVisitor {
 public:
  virtual ~RecordVisitor() = default;
  // A sealed chunk that lies wholly in the range and that nothing else overlaps. True: its header was all that is needed, its
  // records are not read.
  virtual bool chunk(const ChunkHeader&) { return false; }
  // A stretch of resolution_ns, from first_ns on, whose records were rolled up: `summary` tells of the fields that were asked for, in that
  // order. True: that was all that is needed. False: it is given as a record at first_ns, with the means and the last strings. An error
  // ends the scan and is its answer.
  virtual Result<bool> rolled(const ChunkHeader& /*summary*/, int64_t /*resolution_ns*/) { return false; }
  // Records [from, to) of `batch`, whose columns are the fields that were asked for, in that order. `batch` is only borrowed. An
  // error ends the scan and is its answer.
  virtual Status rows(const Batch& batch, size_t from, size_t to) = 0;
};

class Store {
 public:
  // Creates or opens. Error: unavailable (locked by another process, permissions), corrupt (see the message for the remedy),
  // exhausted (disk full).
  static Result<std::unique_ptr<Store>> open(const Options& options, const Clock& clock);
  virtual ~Store() = default;

  // On success the effect is as durable as its rule says. Error: invalid, not_found (a label's prediction), exhausted, unavailable.
  // An `unavailable` of a failed sync leaves the effect in doubt: it may be there, and may be repeated once trouble() is over.
  virtual Result<Receipt> commit(const Effect& effect) = 0;

  // --- records
  virtual Result<std::vector<StreamInfo>> streams() const = 0;
  // Records in time order, the last write of a timestamp wins; at most rows_max, the oldest first. All fields when `fields` is
  // empty. Error: not_found for an unknown series.
  virtual Result<Batch> read(const Series& series, TimeRange range, size_t rows_max,
                             const std::vector<std::string>& fields = {}) const = 0;

  // The same without a limit and in bounded memory, as it stood when the scan began. Error: as read(), and the visitor's own.
  virtual Status scan(const Series& series, TimeRange range, const std::vector<std::string>& fields,
                      RecordVisitor& visitor) const = 0;

  // Where the records of a series were rolled up, in the order of time. Error: not_found for an unknown series.
  virtual Result<std::vector<RolledUp>> rolled_up(const Series& series, TimeRange range) const = 0;

  // What is gone by rule, by series and time; what the rules hold now, in their order and at last all together.
  virtual std::vector<Loss> losses() const = 0;
  virtual std::vector<QuotaStatus> quotas() const = 0;

  // --- ledger, labels, examples
  virtual Result<Prediction> prediction(PredictionId id) const = 0;
  // Newest first. `model` empty: any. `overlapping` limits to windows that lie wholly in the range.
  virtual Result<std::vector<Prediction>> predictions(const std::string& model, const std::string& series,
                                                      TimeRange windows_within, size_t count_max) const = 0;
  virtual Result<std::vector<Label>> labels(const std::string& model, size_t count_max) const = 0;  // newest first
  // The newest count_max, by id.
  virtual Result<std::vector<Example>> examples(const std::string& model, size_t count_max) const = 0;
  virtual Result<ExampleCounts> example_counts(const std::string& model, ExampleId after) const = 0;  // ids above `after`
  virtual LiveScore live_score(const std::string& model, uint32_t version) const = 0;

  // --- models and notes
  virtual Result<std::vector<ModelVersion>> versions(const std::string& model) const = 0;  // all models when empty
  virtual Result<std::optional<std::string>> note(const std::string& name) const = 0;

  // --- outbox
  // Entries of a class from `from_seq` on, contiguous, whole, at least one if there is any, together about bytes_max. Everything
  // returned is durable first: what the hub has seen can't be un-happened by a power cut. What is gone by rule - a class' TTL or quota,
  // records that a stream's rule took unsent - comes as one item of kind `lost` per stretch and reason, which stands for all numbers
  // from seq to last_seq. An entry that is damaged comes as an empty block with 0 records. So the sequence stays whole. from_seq 0:
  // from the oldest that is kept. Error: not_found when from_seq was acknowledged and removed.
  virtual Result<std::vector<OutboxItem>> outbox_read(OutboxClass outbox_class, uint64_t from_seq, uint64_t bytes_max) = 0;
  // The hub holds everything up to `seq`. Monotone; a smaller seq is ignored. `note`: name and value, written with it, if anything is.
  // Error: invalid when seq was never queued.
  virtual Status outbox_acknowledge(OutboxClass outbox_class, uint64_t seq, const std::pair<std::string, std::string>& note = {}) = 0;
  virtual std::vector<OutboxStatus> outbox_status() const = 0;  // one per class, in kOutboxClasses order
  virtual Identity identity() const = 0;
  // Starts a new epoch, keeping what is not acknowledged: its sequence numbers go on unchanged.
  virtual Status begin_epoch() = 0;

  // --- upkeep: bounded work (interval sync, sealing, retention and quotas, trimming of acknowledged entries, recovery from
  // errors of the disk). Returns the delay
  // until it should be called again.
  virtual Duration step() = 0;
  // Seals everything that is in the head now into chunks, also what is so little that it would wait: before a store is copied or
  // measured. Error: exhausted, unavailable.
  virtual Status seal() = 0;
  virtual uint64_t disk_bytes() const = 0;
  virtual Wear wear() const = 0;
  virtual uint64_t damaged() const = 0;           // blocks and rows skipped because their checksum did not hold
  virtual std::optional<Error> trouble() const = 0;  // why commits are refused just now, e.g. a full disk
};

}  // namespace skerry::storage
