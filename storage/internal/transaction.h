// One effect, or several that are written together, on their way into one WriteBatch. Reads see what is staged; the store's state in
// memory is left alone until the batch is written, then apply() moves it on. Threads: one, under the store's commit mutex.
// On failure: what add() refuses leaves the transaction half staged, to be thrown away.
#pragma once

#include <rocksdb/utilities/write_batch_with_index.h>

#include <map>
#include <string>
#include <vector>

#include "storage/internal/blocks.h"
#include "storage/internal/database.h"
#include "storage/internal/outbox_row.h"
#include "storage/internal/state.h"
#include "storage/store.h"

namespace skerry::storage::internal {

struct PreparedBatch {  // made outside the commit mutex
  const Batch* batch = nullptr;
  std::string series;
  std::vector<Block> blocks;
};

class Transaction {
 public:
  Transaction(const Database& db, const State& state, const Options& options);

  void begin(int64_t now_ns);  // the next effect, which came at this time
  bool claim(const Producer& producer);  // false: its effect of this number is there already

  Status add(const PreparedBatch& batch);
  Status add(Prediction prediction);
  Status add(Label label);
  Status add(Example example);
  void add(const ModelVersion& version);
  Status add(const OutboxEntry& entry);
  void add_note(const std::string& name, const std::string& value);

  rocksdb::WriteBatch* finish();  // with the rows of all changed state; nothing may be added afterwards
  void apply(State& state);
  Receipt take_receipt() { return std::move(receipt_); }  // of the effect since begin()

 private:
  struct ExampleRow {  // what row 'm' says
    ExampleRole role = ExampleRole::train;
    int32_t label = 0;
  };

  void put(Family f, const std::string& key, std::string_view value);
  void put_unread(Family f, const std::string& key, std::string_view value);  // reads do not see it, which costs less
  void remove(Family f, const std::string& key);
  Result<std::string> get(Family f, const std::string& key);
  Status queue(OutboxClass c, OutboxRow row);
  Result<bool> may_wait(OutboxClass c, const OutboxRow& row);
  Result<bool> has_room(const PreparedBatch& batch, const SeriesState& s);
  Result<SeriesState*> series_for(const Batch& batch, const std::string& text);
  LiveScore& score_of(const std::string& model, uint32_t version);
  Result<bool> score(Label& label);
  Result<bool> replace(Example& example);
  Result<ExampleRow> class_of(const std::string& model, ExampleId id);
  Status withdraw_example(const Label& label);
  void remove_example(const std::string& model, ExampleId id, const ExampleRow& row);
  void drop_one(const ExampleClass& c, uint64_t newest);
  void make_room(const Example& newest, size_t bytes);
  uint64_t& example_count(const ExampleClass& c);

  const Database& db_;
  const State& state_;
  const Options& options_;
  int64_t now_ns_ = 0;
  rocksdb::WriteBatchWithIndex batch_;
  Receipt receipt_;
  // What becomes the store's state.
  Counters counters_;
  std::array<ClassState, 7> classes_;
  std::array<bool, 7> class_changed_{};
  std::map<std::string, SeriesState> series_;
  uint32_t new_series_ = 0;
  std::map<ScoreKey, LiveScore> scores_;
  std::map<ExampleClass, uint64_t> examples_;
  std::map<std::string, uint64_t> producers_;
  std::vector<std::string> forgotten_;  // producers
  std::map<uint32_t, Loss> dropped_;  // by series, or class of the outbox (loss_id): what came while there was no room
  Losses losses_;
};

}  // namespace skerry::storage::internal
