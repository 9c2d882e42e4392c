// Recorded data as a source: a CSV file or a folder of recordings, with its own spacing in time, shifted to begin
// now (or when asked).
#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>
#include <utility>

#include "plugins/internal/csv_table.h"
#include "plugins/internal/playback.h"
#include "plugins/internal/recording_folder.h"
#include "plugins/source.h"

namespace skerry::plugins {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBatchesPerPollMax = 64;
constexpr uint64_t kRecordingRowsMax = 64 << 20;  // of all that read_recordings returns

// "data/MotionSense/" -> "motionsense", "nyc_taxi.csv" -> "nyc_taxi".
std::string default_stream(const fs::path& path) {
  fs::path last = path.has_filename() ? path : path.parent_path();
  std::string name = last.stem().string();
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name.empty() || name == "." || name == ".." ? "replay" : name;
}

// When the first record plays, in nanoseconds since 1970. As fast as possible, from now on, would lead into the
// future, which a store refuses: then the recording ends now.
Result<int64_t> begin_of(const ReplayOptions& options, WallTime now, int64_t length_ns) {
  int64_t begin = options.start_ns != 0 ? options.start_ns : now.time_since_epoch().count();
  int64_t end = 0;
  if (options.start_ns == 0 && options.speed == 0 && __builtin_sub_overflow(begin, length_ns, &begin)) begin = 0;
  if (__builtin_add_overflow(begin, length_ns, &end)) {
    return fail(Code::invalid, "{} would play beyond the year 2262: choose an earlier start",
                options.path.string());
  }
  return begin;
}

int64_t capped_sum(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

class CsvSource final : public Source {
 public:
  CsvSource(const ReplayOptions& options, CsvTable table)
      : options_(options), table_(std::move(table)), playback_(options.speed) {}

  std::string name() const override { return "replay " + options_.path.filename().string(); }

  Result<Poll> poll(WallTime now) override {
    Poll out;
    if (!begin_ns_) {
      SKERRY_ASSIGN(begin_ns_, begin_of(options_, now, table_.last_ns() - table_.first_ns()));
    }
    const int64_t due = playback_.due_ns(now);
    size_t rows = 0;
    while (rows < (playback_.unpaced() ? kRowsPerFastBatch : kRowsPerPollMax) &&
           out.batches.size() < kBatchesPerPollMax) {
      look_ahead();
      if (trouble_ && out.batches.empty()) return *std::exchange(trouble_, std::nullopt);
      if (!ahead_) {
        out.finished = ended_;
        break;
      }
      if (!playback_.unpaced() && batch_end() > due) {
        out.next = playback_.until(batch_end(), due);
        break;
      }
      out.batches.push_back(read_batch());
      rows += out.batches.back().rows();
    }
    return out;
  }

 private:
  int64_t offset() const { return ahead_->time_ns - table_.first_ns(); }
  int64_t batch_end() const { return capped_sum(offset(), options_.batch.count()); }

  void look_ahead() {
    if (ahead_ || ended_ || trouble_) return;
    CsvRow row;
    Result<bool> more = table_.next(row);
    if (!more)
      trouble_ = more.error();  // after the rows before it are handed over
    else if (*more)
      ahead_ = std::move(row);
    else
      ended_ = true;
  }

  Batch read_batch() {
    Batch batch{Series{options_.stream, options_.tags}, {}, table_.empty_columns()};
    const int64_t end = playback_.unpaced() ? INT64_MAX : batch_end();
    while (ahead_ && offset() < end && batch.rows() < kRowsPerFastBatch) {
      batch.times.push_back(*begin_ns_ + offset());
      table_.append(*ahead_, batch.columns);
      ahead_.reset();
      look_ahead();
    }
    return batch;
  }

  const ReplayOptions options_;
  CsvTable table_;
  Playback playback_;
  std::optional<int64_t> begin_ns_;
  std::optional<CsvRow> ahead_;
  std::optional<Error> trouble_;
  bool ended_ = false;
};

class FolderSource final : public Source {
 public:
  FolderSource(const ReplayOptions& options, RecordingFolder folder)
      : options_(options), folder_(std::move(folder)), playback_(options.speed) {}

  std::string name() const override { return "replay " + options_.stream; }

  Result<Poll> poll(WallTime now) override {
    Poll out;
    if (!begin_ns_) {
      SKERRY_ASSIGN(begin_ns_, begin_of(options_, now, folder_.end_ns()));
    }
    const int64_t due = playback_.due_ns(now);
    size_t rows = 0;
    while (rows < (playback_.unpaced() ? kRowsPerFastBatch : kRowsPerPollMax) &&
           out.batches.size() < kBatchesPerPollMax) {
      if (at_ == folder_.recordings().size()) {
        out.finished = true;
        break;
      }
      const uint64_t count = next_count();
      const int64_t complete_ns = recording().begin_ns + folder_.row_ns(row_ + count - 1);
      if (complete_ns > due) {
        out.next = playback_.until(complete_ns, due);
        break;
      }
      Result<Batch> batch = read_batch(count);
      if (!batch && out.batches.empty()) return batch.error();
      if (!batch) break;  // the place is kept: the next poll meets it again
      rows += batch->rows();
      out.batches.push_back(std::move(batch).value());
      if (row_ == recording().length) {
        if (options_.labels) out.truths.push_back(truth());
        ++at_;
        row_ = 0;
      }
    }
    return out;
  }

 private:
  const RecordingInfo& recording() const { return folder_.recordings()[at_]; }
  uint64_t next_count() const {
    const double rows = std::chrono::duration<double>(options_.batch).count() * folder_.rate_hz();
    uint64_t count = playback_.unpaced() ? kRowsPerFastBatch
                                         : static_cast<uint64_t>(std::clamp(rows, 1.0, double{kRowsPerFastBatch}));
    return std::min(count, recording().length - row_);
  }
  Series series() const {
    Series out{options_.stream, options_.tags};
    out.tags.insert(recording().tags.begin(), recording().tags.end());  // options win
    return out;
  }
  int64_t time_of(uint64_t row) const { return *begin_ns_ + recording().begin_ns + folder_.row_ns(row); }
  Truth truth() const {
    return {series().text(), time_of(0), time_of(recording().length - 1) + 1, recording().label};
  }
  Result<Batch> read_batch(uint64_t count) {
    Batch batch{series()};
    SKERRY_ASSIGN(batch.columns, folder_.read(recording(), row_, count));
    batch.times.reserve(count);
    for (uint64_t i = 0; i < count; ++i) batch.times.push_back(time_of(row_ + i));
    row_ += count;
    return batch;
  }

  const ReplayOptions options_;
  RecordingFolder folder_;
  Playback playback_;
  std::optional<int64_t> begin_ns_;
  size_t at_ = 0;     // recording being played
  uint64_t row_ = 0;  // next row of it
};

Status check(const ReplayOptions& options) {
  if (!(options.speed >= 0 && options.speed <= 1e6)) {
    return fail(Code::invalid,
                "replay speed {} is out of range: 1 is real time, 0 as fast as possible, at most 1000000",
                options.speed);
  }
  if (options.batch.count() < 1'000'000) return fail(Code::invalid, "a replay batch must last for at least 1ms");
  std::error_code ignored;
  if (!fs::exists(options.path, ignored)) {
    return fail(Code::not_found,
                "nothing to replay at {}: name a .csv file, or a folder with meta.json, index.csv and an .npy",
                options.path.string());
  }
  return {};
}

ReplayOptions with_stream(ReplayOptions options) {
  if (options.stream.empty()) options.stream = default_stream(options.path);
  return options;
}

Result<CsvTable> open_csv(const ReplayOptions& options) {
  if (!options.select.empty() || options.labels) {
    return fail(Code::invalid, "{} is a CSV file: select and labels need a folder with an index.csv",
                options.path.string());
  }
  return CsvTable::open(options.path);
}

Result<Recording> read_recording(const ReplayOptions& options, const RecordingFolder& folder,
                                 const RecordingInfo& info) {
  Recording out{info.index, info.label, Batch{Series{options.stream, options.tags}}};
  out.records.series.tags.insert(info.tags.begin(), info.tags.end());
  SKERRY_ASSIGN(out.records.columns, folder.read(info, 0, info.length));
  for (uint64_t i = 0; i < info.length; ++i) out.records.times.push_back(options.start_ns + folder.row_ns(i));
  return out;
}

}  // namespace

Result<std::unique_ptr<Source>> make_replay_source(const ReplayOptions& given) {
  SKERRY_TRY(check(given));
  const ReplayOptions options = with_stream(given);
  std::error_code ignored;
  if (!fs::is_directory(options.path, ignored)) {
    SKERRY_ASSIGN(CsvTable table, open_csv(options));
    return std::unique_ptr<Source>(std::make_unique<CsvSource>(options, std::move(table)));
  }
  SKERRY_ASSIGN(RecordingFolder folder, RecordingFolder::open(options.path, options.select));
  return std::unique_ptr<Source>(std::make_unique<FolderSource>(options, std::move(folder)));
}

Result<std::vector<Recording>> read_recordings(const ReplayOptions& given) {
  SKERRY_TRY(check(given));
  const ReplayOptions options = with_stream(given);
  std::error_code ignored;
  if (!fs::is_directory(options.path, ignored)) {
    return fail(Code::invalid, "{} is not a folder of recordings: meta.json, index.csv and an .npy are needed",
                options.path.string());
  }
  SKERRY_ASSIGN(RecordingFolder folder, RecordingFolder::open(options.path, options.select));
  std::vector<Recording> out;
  uint64_t rows = 0;
  for (const RecordingInfo& info : folder.recordings()) {
    rows += info.length;
    if (info.length > kBatchRowsMax || rows > kRecordingRowsMax) {
      return fail(Code::invalid,
                  "too many rows in {}: at most {} in a recording and {} together are read, select fewer",
                  options.path.string(), kBatchRowsMax, kRecordingRowsMax);
    }
    SKERRY_ASSIGN(Recording recording, read_recording(options, folder, info));
    out.push_back(std::move(recording));
  }
  return out;
}

}  // namespace skerry::plugins
