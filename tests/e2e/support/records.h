// What was sent, what is held, and the difference: records as canonical texts, so that two stores are compared as sets of
// (series, time, values), each with how often it is there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/records.h"
#include "base/result.h"
#include "storage/types.h"

namespace skerry::e2e {

// InfluxDB line protocol, a line per record, timestamps in nanoseconds.
std::string to_line_protocol(const Batch& batch);
// Rows [from, to) of a batch.
Batch slice(const Batch& batch, size_t from, size_t to);

class RecordSet {
 public:
  void add(const Batch& batch);
  void add(const RecordSet& other);
  uint64_t records() const { return records_; }   // with repetitions
  uint64_t distinct() const { return counts_.size(); }
  const std::map<std::string, uint32_t>& counts() const { return counts_; }

 private:
  std::map<std::string, uint32_t> counts_;
  uint64_t records_ = 0;
};

// `held` against what was acknowledged; `unknown` was sent, but its answer never came: it may be held or not.
struct Difference {
  uint64_t missing = 0, twice = 0, foreign = 0;
  std::string example;             // the first of them
  bool none() const { return missing + twice + foreign == 0; }
  std::string text() const;
};
Difference compare(const RecordSet& acknowledged, const RecordSet& unknown, const RecordSet& held);

// Everything a stopped node or hub holds. The programs must not run: the stores are locked.
struct Held {
  RecordSet records;
  std::map<uint64_t, storage::Prediction> predictions;  // by the node's id
  std::map<uint64_t, storage::Label> labels;
  std::map<std::string, Batch> series;                  // node only: all records of a series in time order
  std::vector<std::string> deltas;                      // subjects, e.g. "pump/2"; hub only
  uint64_t repeated = 0;                                // predictions and labels that are there twice
  uint64_t duplicates_refused = 0;                      // hub only: entries recognised as already held
};
Result<Held> read_node_store(const std::filesystem::path& store, const std::string& node);
Result<Held> read_hub_store(const std::filesystem::path& store, const std::string& node);

}  // namespace skerry::e2e
