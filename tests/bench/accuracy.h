// How good the models are on people they have never seen: real jobs through the worker on MotionSense. Recordings are never split at
// random: 18 people for the base; of each of the six others the long trials (1-9) are learned from, the short ones (11-16) judged.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/package.h"

namespace skerry::bench {

struct AccuracyOptions {
  std::filesystem::path data;      // the motionsense folder
  std::filesystem::path scratch;   // job folders; an empty one
  std::filesystem::path worker;    // empty: beside this program
  std::vector<std::string> unseen = {"4", "9", "11", "20", "21", "24"};
  size_t personalised_max = 6;     // how many of them are fine-tuned for (a smoke run takes one)
  uint32_t epochs = 8;             // of the base
  uint64_t seed = 1;
  inference::TrainingSpec training;    // of the fine-tunings
  std::function<void(const std::string& line)> progress;
};

struct Accuracy {                  // in percent of windows
  double base_int8 = 0;            // all windows of the unseen
  double base_fp32 = 0;
  double own_before = 0, own_after = 0;        // mean over the unseen: own short trials, base and fine-tuned (int8)
  double others_before = 0, others_after = 0;  // mean: short trials of the other unseen
  double base_seconds = 0, finetune_seconds = 0, delta_bytes = 0;  // the latter two: means
  uint64_t parameters = 0, peak_memory_bytes = 0;  // of the worker, at most
};

struct BaseAccuracy {  // in percent of the windows of the unseen
  double int8 = 0, fp32 = 0;
};
// The base alone.
Result<BaseAccuracy> measure_base_accuracy(const AccuracyOptions& options);

Result<Accuracy> measure_accuracy(const AccuracyOptions& options);

}  // namespace skerry::bench
