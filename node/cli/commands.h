// The commands of `skerry`, without their parsing (main.cpp). Each prints for people, or the API's JSON with `json`, and returns the exit
// code: 0 done, 1 refused or not reachable (the reason is on stderr, or as {"error": ...} with `json`).
// Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace skerry::cli {

struct Common {
  std::string url;
  bool json = false;
};

struct StatusOptions {
  bool watch = false;
  std::optional<Duration> run_for;
};
int status(const Common& common, const StatusOptions& options);

struct QueryOptions {
  std::string series, from, to, limit, fields, bucket, aggregate, format;  // format empty: a table
  std::map<std::string, std::string> tags;  // with any, or with `all`, series is a name
  bool all = false, last = false;
};
int query(const Common& common, const QueryOptions& options);
int streams(const Common& common);

struct SqlOptions {
  std::string statement, limit, format;  // format empty: a table
};
int sql(const Common& common, const SqlOptions& options);

struct PredictionsOptions {
  std::string id, model, series, from, to, limit;
};
int predictions(const Common& common, const PredictionsOptions& options);

struct LabelOptions {
  std::string value, model, series, from, to, source = "operator";
  std::optional<uint64_t> prediction;
  bool next = false, withdraw = false;
  uint32_t count = 10;
};
int label(const Common& common, const LabelOptions& options);

struct ModelsOptions {
  std::string action = "list";  // list, show, promote, rollback, pin, unpin, train, import
  std::string model, version, path, reason;
};
int models(const Common& common, const ModelsOptions& options);

struct SyncOptions {
  std::string action = "status";  // status, hold, resume, why, policy, try, preset, revoke, restore
  std::string argument, time;     // a class, a series, a file, a preset or a window
};
int sync(const Common& common, const SyncOptions& options);
int learning(const Common& common);

struct BundleOptions {
  std::string action, path;            // keygen, export, import, show
  std::string outbox_class, config, hub, token_file, name;
  uint64_t bytes_max = 0;              // 0: all
  bool again = false;
};
int bundle(const Common& common, const BundleOptions& options);

struct SimulateOptions {
  std::string config, scenario, trace, compare, svg;  // svg: a file, or empty
  std::optional<double> days;
  uint64_t seed = 1;
};
int simulate(const Common& common, const SimulateOptions& options);  // 0 as expected, 1 an expectation broken, 2 cannot run

struct ReplayOptions {
  std::string path, stream;
  double speed = 1.0;
  std::map<std::string, std::string> select, tags;
  bool labels = false;
  std::string start;
};
int replay(const Common& common, const ReplayOptions& options);

struct FitOptions {
  std::string model = "pump", models = "var/models", recordings, stream;  // recordings empty: simulated pumps
  std::map<std::string, std::string> select, exclude;
  uint32_t machines = 12, rows = 0, stride = 0, epochs = 0;               // 0: the default
  double sparsity = 0;                                                    // 0: the default
  uint64_t seed = 1;
};
int fit(const Common& common, const FitOptions& options);

struct FsckOptions {
  std::string folder, export_to, series;  // export_to: a file, "-" for stdout, or empty
  std::string format = "lines";            // or csv
  bool repair = false;
};
int fsck(const Common& common, const FsckOptions& options);  // 0 clean or repaired, 1 damaged, 2 cannot run

struct CheckConfigOptions {
  std::string file;
  bool reference = false;
};
int check_config(const Common& common, const CheckConfigOptions& options);

}  // namespace skerry::cli
