// Where records come from: one interface over the machine's own sensors (host), recorded data (replay) and a
// simulated pump (simulate). Threads: poll() from one thread. Each poll is bounded in rows; a source that is behind
// says next = 0. On failure: an Error from poll() is logged and counted by the node, which polls again; the source
// keeps its place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/records.h"
#include "base/result.h"

namespace skerry::plugins {

// What is known to be true about a stretch of records: replayed recordings and simulations know, and can play the
// operator. It comes with the poll that completes the stretch, never before its records.
struct Truth {
  std::string series;              // Series::text()
  int64_t from_ns = 0, to_ns = 0;  // half-open
  std::string label;
};

struct Poll {
  std::vector<Batch> batches;
  std::vector<Truth> truths;
  Duration next{};        // until there will be more
  bool finished = false;  // nothing will come any more
};

class Source {
 public:
  virtual ~Source() = default;
  virtual std::string name() const = 0;
  virtual Result<Poll> poll(WallTime now) = 0;
};

// Streams cpu, memory, disk{device}, network{interface}, temperature{sensor}, each with a tag host; field names
// carry their units.
struct HostOptions {
  double rate_hz = 1.0;              // 1 to 10
  std::filesystem::path root = "/";  // of proc and sys; tests point it at a folder
};

// A folder's recordings are laid one after another with ten seconds between them, in index order; index columns
// other than activity, label, trial, offset and length become tags (subject). A CSV file keeps the spacing of its
// time column.
struct ReplayOptions {
  std::filesystem::path path;  // a .csv file, or a folder with meta.json, index.csv and an .npy (MotionSense)
  double speed = 1.0;          // times real time; 0: as fast as possible
  std::string stream;          // series name; default: from the file's name
  std::map<std::string, std::string> tags;
  std::map<std::string, std::string>
      select;            // index columns that must match, e.g. subject = "4"; several as "1,2,3"
  int64_t start_ns = 0;  // time of the first record; 0: now, or with speed 0 such that the last one is now
  Duration batch = std::chrono::seconds(1);  // record time per batch; speed 0 makes larger ones
  bool labels = false;                       // emit truths; folders only
};

// Stream pump{machine=...} with fields ax, ay, az in g. Equal machine, seed and script give equal records.
struct PumpOptions {
  std::string machine = "pump-1";  // tag; its per-machine offsets are drawn from it and the seed
  uint64_t seed = 1;
  double rate_hz = 400;                              // of the accelerometer
  double speed = 1.0;                                // times real time; 0: as fast as possible
  Duration state_length = std::chrono::seconds(20);  // how long a condition lasts before the next is drawn
  double drift_per_hour = 0.02;                      // sensor gain and offset drift, share per hour
  Duration batch = std::chrono::milliseconds(500);
  int64_t start_ns = 0;             // 0: now; with speed 0 choose a start in the past
  bool labels = false;              // emit truths
  std::vector<std::string> script;  // conditions in turn instead of drawing them
};

inline const std::vector<std::string> kPumpConditions = {"normal", "imbalance", "misalignment", "bearing",
                                                         "cavitation"};

Result<std::unique_ptr<Source>> make_host_source(const HostOptions& options);
Result<std::unique_ptr<Source>> make_replay_source(const ReplayOptions& options);
Result<std::unique_ptr<Source>> make_pump_source(const PumpOptions& options);

// Recordings of a replay folder whole, without playing them: for training a base model. Times start at each
// recording's first record.
struct Recording {
  std::map<std::string, std::string> index;  // its row of index.csv
  std::string label;
  Batch records;
};
Result<std::vector<Recording>> read_recordings(const ReplayOptions& options);

}  // namespace skerry::plugins
