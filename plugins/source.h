// Where records come from: one interface over the machine's own sensors (host), recorded data (replay) and a simulated pump (simulate).
// Threads: poll() from one thread.
// On failure: an Error from poll() is logged and counted by the node, which polls again; the source keeps its place.
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

// What is known to be true about a stretch of records: replayed recordings and simulations know, and can play the operator.
struct Truth {
  std::string series;      // Series::text()
  int64_t from_ns = 0, to_ns = 0;
  std::string label;
};

struct Poll {
  std::vector<Batch> batches;
  std::vector<Truth> truths;
  Duration next{};         // until there will be more
  bool finished = false;   // nothing will come any more
};

class Source {
 public:
  virtual ~Source() = default;
  virtual std::string name() const = 0;
  virtual Result<Poll> poll(WallTime now) = 0;
};

struct HostOptions {
  double rate_hz = 1.0;                         // 1 to 10
  std::filesystem::path root = "/";             // of proc and sys; tests point it at a folder
};

struct ReplayOptions {
  std::filesystem::path path;                   // a .csv file, or a folder with meta.json, index.csv and an .npy (MotionSense)
  double speed = 1.0;                           // times real time; 0: as fast as possible
  std::string stream;                           // series name; default: from the file's name
  std::map<std::string, std::string> tags;
  std::map<std::string, std::string> select;    // index columns that must match, e.g. subject = "4"; several as "1,2,3"
  int64_t start_ns = 0;                         // time of the first record; 0: now
  Duration batch = std::chrono::seconds(1);     // record time per batch
  bool labels = false;                          // emit truths
};

struct PumpOptions {
  std::string machine = "pump-1";               // tag; its per-machine offsets are drawn from it and the seed
  uint64_t seed = 1;
  double rate_hz = 400;                         // of the accelerometer
  double speed = 1.0;                           // times real time; 0: as fast as possible
  Duration state_length = std::chrono::seconds(20);  // how long a condition lasts before the next is drawn
  double drift_per_hour = 0.02;                 // sensor gain and offset drift, share per hour
  Duration batch = std::chrono::milliseconds(500);
  int64_t start_ns = 0;                         // 0: now
  bool labels = false;                          // emit truths
  std::vector<std::string> script;              // conditions in turn instead of drawing them
};

inline const std::vector<std::string> kPumpConditions = {"normal", "imbalance", "misalignment", "bearing", "cavitation"};

Result<std::unique_ptr<Source>> make_host_source(const HostOptions& options);
Result<std::unique_ptr<Source>> make_replay_source(const ReplayOptions& options);
Result<std::unique_ptr<Source>> make_pump_source(const PumpOptions& options);

// Recordings of a replay folder whole, without playing them: for training a base model. Times start at each recording's first record.
struct Recording {
  std::map<std::string, std::string> index;     // its row of index.csv
  std::string label;
  Batch records;
};
Result<std::vector<Recording>> read_recordings(const ReplayOptions& options);

}  // namespace skerry::plugins
