// `skerry fit`: a base model from labelled recordings or simulated pumps, made by the worker and installed as NAME/1.
// Threads: the caller waits; progress is told from its thread.
// On failure: an Error naming what is missing; the models folder is as it was.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/result.h"
#include "learning/job.h"
#include "node/fit/recorded_windows.h"

namespace skerry::node {

struct FitOptions {
  std::string model = "pump";
  uint32_t version = 1;
  std::filesystem::path models = "var/models";   // where the package is installed
  std::filesystem::path job;                     // the job's folder; empty: beside the models folder, removed when it is done
  std::filesystem::path worker;                  // empty: beside this program
  plugins::ReplayOptions recordings;             // used when its path is not empty,
  PumpFleet pumps;                               // else these
  std::map<std::string, std::string> exclude;    // index column to values, e.g. subject = "4,9,11": judged on, not trained on
  uint32_t rows = 128, stride = 64;
  uint64_t seed = 1;
  uint32_t epochs = 8;
  double learning_rate = 2e-3;
  uint32_t threads = 2;
  inference::TrainingSpec training;              // how the model will be fine-tuned on a node: kept in its package
  std::function<void(const std::string& line)> progress;  // a line for people, now and then
};

struct Fitted {
  std::filesystem::path package;
  uint64_t train_windows = 0;
  learning::JobReport report;                    // gate.holdout: the excluded recordings
};

Result<Fitted> fit(const FitOptions& options);
// The same for callers that only want the package's folder.
Result<std::filesystem::path> fit_base(const FitOptions& options);

// Does a job that lies in a folder and waits for it. Error: internal with the worker's reason; as read_result.
Result<learning::JobResult> run_job_folder(const std::filesystem::path& folder, const std::filesystem::path& worker,
                                           const std::function<void(const std::string& line)>& progress = {});

}  // namespace skerry::node
