// Windows from streams into predictions in the ledger. For every series named like a serving model's stream: cut windows of
// `rows` records every `stride`, normalise, run the serving version, commit predictions and the cursor in one Effect, so a crash
// neither repeats nor skips a window. A gap starts a new window. Records older than the cursor (late ones) are stored, but not windowed.
// Threads: step() from one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/records.h"
#include "base/result.h"
#include "inference/engine.h"
#include "storage/store.h"

namespace skerry::inference {

struct Window {
  storage::TimeRange range;    // [first record, last record + 1 ns)
  std::vector<float> data;     // [channels, rows], raw units
};

// Pure: the complete windows in `records`, and the index of the first record that the next window may still need.
// Rows with an absent field break a window as a gap does. Error: invalid when a field is missing from the stream or is a string.
struct CutResult {
  std::vector<Window> windows;
  size_t consumed = 0;
};
Result<CutResult> cut_windows(const WindowSpec& spec, const Batch& records);

// One normalised input tensor [n, channels, rows] for windows of `spec`. Name "input".
Tensor make_input(const WindowSpec& spec, const std::vector<const std::vector<float>*>& windows);

// Re-reads one window from the store as raw [channels, rows]. Error: not_found when records of it are gone.
Result<std::vector<float>> read_window(const storage::Store& store, const WindowSpec& spec, const std::string& series,
                                       storage::TimeRange range);

class Pipelines {
 public:
  Pipelines(Engine& engine, storage::Store& store, const Clock& clock);
  // Works through at most a bounded number of windows. Returns zero when there is more to do, else a delay.
  Duration step();
  uint64_t windows() const { return windows_; }
  uint64_t failures() const { return failures_; }

 private:
  Result<bool> step_series(const LoadedModel& model, const storage::StreamInfo& stream);

  Engine& engine_;
  storage::Store& store_;
  const Clock& clock_;
  std::atomic<uint64_t> windows_{0}, failures_{0};
};

}  // namespace skerry::inference
