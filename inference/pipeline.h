// Windows from streams into predictions in the ledger. For every series named like a serving model's stream: cut windows of
// `rows` every `stride` (windows.h), run the serving version (the engine makes features and normalises), commit predictions, the records
// that follow from them (streams predictions.MODEL and alarms.MODEL, an entry of the alarm class) and the cursor in one Effect, so a
// crash neither repeats nor skips a window or an alarm. A gap starts a new window, and so does what the store has rolled up before a model
// came to it: means are no samples. Records older than the cursor (late ones) are stored, but not windowed. A series that is new to a model
// starts at its oldest record.
// Threads: step() from one thread; the counters from any.
// On failure: a window that the model can't answer is counted, logged and passed over; a series without the model's fields likewise, once,
// until its fields change. A store that refuses commits (full disk) makes everything wait, at most 30 s at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/records.h"
#include "base/result.h"
#include "inference/alarms.h"
#include "inference/engine.h"
#include "inference/windows.h"
#include "storage/store.h"

namespace skerry::inference {

class Pipelines {
 public:
  Pipelines(Engine& engine, storage::Store& store, const Clock& clock);
  // Works through at most 64 windows or series, taking turns. Returns zero when there is more to do, else a delay.
  Duration step();
  uint64_t windows() const { return windows_; }
  uint64_t failures() const { return failures_; }
  uint64_t rolled_up() const { return rolled_up_; }  // stretches that were passed over because only their means were left

 private:
  struct Place {                     // where a model is in a series; the store's note is the truth
    uint32_t version = 0;            // that the rest is about: another version looks at everything anew
    uint64_t records_seen = 0;       // StreamInfo::records when there was nothing left to do
    int64_t cursor_ns = INT64_MIN;   // first record the next window may need
    bool known = false;              // cursor_ns was read from the store
    size_t fields_refused = 0;       // number of fields the series had when it was refused; 0: it was not
    AlarmStates alarms;              // read with the cursor
    bool streams_refused = false;    // the store did not take the records that follow from predictions: said once
  };
  using Key = std::pair<std::string, std::string>;  // model, series text
  struct Work {                      // what one look at a series came to
    uint32_t windows = 0;
    bool looked = false;
    bool more = false;
  };
  struct Cut {                       // what a look found
    std::vector<Window> windows;
    int64_t cursor_ns = INT64_MIN;
    bool empty = false;              // no records
    bool more = false;               // there are records behind those that were read
  };
  Result<bool> step_all(const std::vector<storage::StreamInfo>& streams);
  struct Samples {                   // what was read, without what is rolled up
    Batch records;
    bool full = false;               // there may be more behind them
    int64_t behind_ns = INT64_MIN;   // where to go on behind what is rolled up; INT64_MIN: nothing is
  };
  Result<Samples> read_samples(const WindowSpec& spec, const Series& series, int64_t from_ns, int64_t cursor_ns, size_t rows_max) const;
  void pass_over(const Series& series, int64_t behind_ns, Cut& cut);
  Result<Work> step_series(const LoadedModel& model, const storage::StreamInfo& stream, Place& place, uint32_t windows_max);
  Status know(const PackageInfo& info, const std::string& series, Place& place);
  Result<Cut> cut_by_count(const WindowSpec& spec, const Series& series, int64_t cursor_ns, size_t windows_max);
  Result<Cut> cut_by_time(const WindowSpec& spec, const Series& series, int64_t cursor_ns, size_t windows_max);
  Status commit(const PackageInfo& info, const Series& series, Place& place, storage::Effect effect);
  Status answer(const LoadedModel& model, const std::string& series, const std::vector<Window>& windows,
                std::vector<storage::Prediction>& out);
  Status answer_together(const LoadedModel& model, const std::string& series, const std::vector<const Window*>& windows,
                         std::vector<storage::Prediction>& out);

  Engine& engine_;
  storage::Store& store_;
  const Clock& clock_;
  std::map<Key, Place> places_;
  Key next_;                         // whose turn it is
  SteadyTime wait_until_{};
  Duration wait_{0};                 // zero: the store is fine
  std::atomic<uint64_t> windows_{0}, failures_{0}, rolled_up_{0};
};

}  // namespace skerry::inference
