// What the story streams: labelled stretches of records of a machine or person that the base model has never seen, and the windows
// of others that the base is fitted on. From the simulated pump, or from MotionSense.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/records.h"
#include "base/result.h"
#include "inference/package.h"
#include "learning/job.h"
#include "learning/options.h"

namespace skerry::e2e {

struct Piece {            // records of one condition, in time order
  Batch records;
  std::string label;
  int64_t from_ns() const { return records.times.front(); }
  int64_t to_ns() const { return records.times.back() + 1; }
};

struct Feed {
  std::string model;      // "pump"
  std::string who;        // "pump-9, which it has never seen"
  std::string base_of;    // "5 other pumps"
  std::string key;        // names the base's training data, for the cache
  inference::WindowSpec window;          // mean and deviation over the base's windows
  std::vector<std::string> labels;
  learning::ExampleSet base_train, base_holdout;
  uint32_t base_epochs = 8;
  std::vector<Piece> first, learn, after;  // of the unseen one, in time order
  std::string series;                      // their Series::text()
};

Result<Feed> pump_feed(uint64_t seed);
Result<Feed> motionsense_feed(const std::filesystem::path& folder, int user);

// All complete windows that lie within one piece, with its label.
Result<learning::ExampleSet> windows_of(const Feed& feed, const std::vector<Piece>& pieces);

// How many of the windows of `first` and `learn` a node trains on when all are labelled: the others are held out, or lie across an edge.
Result<uint32_t> examples_to_train_on(const Feed& feed, const learning::Options& options);

// The base model as an installed package: fitted and quantized by skerry-worker, or taken from `cache`, where it is left for the next run.
Result<inference::Package> base_model(const Feed& feed, const inference::GateSpec& gate, const inference::TrainingSpec& training,
                                      const std::filesystem::path& cache);

}  // namespace skerry::e2e
