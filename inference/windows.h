// Windows cut out of records, and read again from the store: by count (so many records) or by time (so many points on a grid of the nominal
// period, interpolated between the records that surround them).
// Threads: pure functions, but for the reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/records.h"
#include "base/result.h"
#include "inference/package.h"
#include "inference/tensor.h"
#include "storage/store.h"

namespace skerry::inference {

struct Window {
  storage::TimeRange range;    // by count: [first record, last record + 1 ns); by time: [first point, last point + 1 ns)
  std::vector<float> data;     // [channels, rows], raw units
};

// Pure: the first `windows_max` complete windows in `records`, and the index of the first record that the next window may still need.
// A window breaks at a gap of more than gap_factor periods, at a time that does not ascend, and at a row whose field is absent or no
// finite float. Error: invalid when a field is missing from the stream or is a string.
struct CutResult {
  std::vector<Window> windows;
  size_t consumed = 0;
};
Result<CutResult> cut_windows(const WindowSpec& spec, const Batch& records, size_t windows_max = SIZE_MAX);

// The same by time. The grid begins at `from_ns`, or at the first record behind a break; next_ns is where the next window begins, and records
// from record_needed_ns(spec, next_ns) on are needed for it.
struct TimeCutResult {
  std::vector<Window> windows;
  int64_t next_ns = INT64_MIN;
};
Result<TimeCutResult> cut_windows_by_time(const WindowSpec& spec, const Batch& records, int64_t from_ns, size_t windows_max = SIZE_MAX);
int64_t record_needed_ns(const WindowSpec& spec, int64_t from_ns);

// One input tensor [n, channels, rows] for windows of `spec`, raw as Engine::infer() takes it. Name "input".
Tensor make_input(const WindowSpec& spec, const std::vector<const std::vector<float>*>& windows);

// Re-reads one window from the store as raw [channels, rows]. Error: not_found when records of it are gone or rolled up.
Result<std::vector<float>> read_window(const storage::Store& store, const WindowSpec& spec, const std::string& series,
                                       storage::TimeRange range);

}  // namespace skerry::inference
