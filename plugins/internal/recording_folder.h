// A folder of recordings: meta.json {columns, scale, rate_hz, labels}, index.csv with a row per recording (offset
// and length count rows of the array; subject, activity, label, trial and more are optional) and one .npy with all
// rows. On failure: invalid or not_found, naming the file, the row and the remedy. Everything is checked before the
// first row is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/records.h"
#include "base/result.h"
#include "plugins/internal/npy.h"

namespace skerry::plugins {

struct RecordingInfo {
  std::map<std::string, std::string> index;  // its row of index.csv
  std::map<std::string, std::string> tags;   // the columns that tell streams apart: all but kRecordingColumns
  std::string label;  // the activity, else the label's name in meta.json, else the label's text
  uint64_t offset = 0, length = 0;
  int64_t begin_ns = 0;  // when laid one after another with kRecordingGap between them
};

// Not tags: windows of one person are one stream, whatever the person does.
inline const std::vector<std::string> kRecordingColumns = {"activity", "label", "trial", "offset", "length"};
inline constexpr int64_t kRecordingGapNs = 10'000'000'000;  // so that no window spans two recordings

class RecordingFolder {
 public:
  // Keeps the recordings whose index columns match `select`.
  static Result<RecordingFolder> open(const std::filesystem::path& folder,
                                      const std::map<std::string, std::string>& select);

  const std::vector<RecordingInfo>& recordings() const { return recordings_; }
  double rate_hz() const { return rate_hz_; }
  int64_t end_ns() const;              // of the last record
  int64_t row_ns(uint64_t row) const;  // time of a row within its recording
  // Rows [first, first + count) of a recording, scaled; values that are not finite are absent.
  Result<std::vector<Column>> read(const RecordingInfo& recording, uint64_t first, uint64_t count) const;

 private:
  RecordingFolder(NpyFile array) : array_(std::move(array)) {}
  Status read_meta(const std::filesystem::path& path);
  Status read_index(const std::filesystem::path& path, const std::map<std::string, std::string>& select);
  Result<RecordingInfo> make_recording(std::map<std::string, std::string> cells) const;
  Status lay_out();

  NpyFile array_;
  std::vector<std::string> columns_, labels_;
  std::vector<double> scale_;
  double rate_hz_ = 0;
  std::vector<RecordingInfo> recordings_;
};

}  // namespace skerry::plugins
