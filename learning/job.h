// A job is a folder: job.toml, *.examples and parent/ (a model package) are written by skerryd; progress.json and checkpoint.pt by the
// worker while it runs; result/ appears in one rename when it is done. So a job can be read, re-run by hand
// (`skerry-worker run FOLDER`), resumed after a power cut and repeated elsewhere.
// On failure: readers answer corrupt or invalid naming the file; a half-written folder has no job.toml and is not a job.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "inference/package.h"
#include "learning/gate.h"
#include "storage/types.h"

namespace skerry::learning {

enum class JobKind { fit, finetune };  // fit: a base model from nothing; finetune: from parent/

struct JobSpec {
  JobKind kind = JobKind::finetune;
  inference::PackageInfo target;   // name, version, parent, labels, window, gate and training of what is to be made
  uint64_t seed = 1;               // 63 bits are kept
  uint32_t batch_size = 64;
  // The pass over all parameters. fit: the whole training; finetune: finds the parameters that matter, which are then
  // trained from the parent again as target.training says.
  uint32_t full_epochs = 5;
  double full_learning_rate = 1e-3;
  double augment = 0.2;            // random gain and offset of each channel of a window, in its deviations, as sensors differ
  double rotate = 0.3;             // random rotation, in radians, of fields that are one vector (..x, ..y, ..z), as sensors are mounted
  double replay_weight = 1.0;      // loss on replayed reference examples
  double distill_weight = 2.0;     // Learning without Forgetting (Li & Hoiem 2016) on them
  uint32_t reference_examples = 1000;  // fit: how many exemplars to keep in the package
  uint32_t threads = 1;
};

struct LabelledWindow {            // one row of an examples file
  std::vector<float> data;         // raw [channels, rows]
  int32_t label = -1;              // -1: unlabelled (calibration)
};

struct ExampleSet {
  uint32_t channels = 0, rows = 0;
  std::vector<LabelledWindow> windows;
};

// Binary, versioned, CRC-32C; decode allocates no more than about the file's size.
std::string encode_examples(const ExampleSet& set);
Result<ExampleSet> decode_examples(std::string_view bytes);
Result<ExampleSet> read_examples(const std::filesystem::path& file);  // not_found, corrupt: naming the file

// Names within a job folder.
inline constexpr const char* kTrainFile = "train.examples";
inline constexpr const char* kHoldoutFile = "holdout.examples";
inline constexpr const char* kTrainIdsFile = "train.ids";            // the predictions that the windows are of, by window (provenance.h)
inline constexpr const char* kHoldoutIdsFile = "holdout.ids";
inline constexpr const char* kCalibrationFile = "calibration.examples";
inline constexpr const char* kResidualFile = "residual.bin";         // what rounding left over of the parent's delta; optional
inline constexpr const char* kReferenceFile = "reference.examples";  // within a package
inline constexpr uint64_t kPackageBytesMax = 512 << 20;              // of a parent in a job

// Writes everything but job.toml first, job.toml last. parent: copied into parent/ for finetune. residual: an encoded Delta, or empty.
Status write_job(const std::filesystem::path& folder, const JobSpec& spec, const ExampleSet& train, const ExampleSet& holdout,
                 const ExampleSet& calibration, const std::optional<inference::Package>& parent, const std::string& residual = {});
Result<JobSpec> read_job(const std::filesystem::path& folder);

struct JobReport {                 // result/report.json
  GateInputs gate;
  uint32_t candidate_fp32_holdout_correct = 0;
  uint64_t parameters = 0, changed_parameters = 0;
  uint64_t delta_bytes = 0;
  double seconds = 0;
  uint32_t epochs = 0;
  uint64_t peak_memory_bytes = 0;
};

struct JobResult {
  JobReport report;
  std::filesystem::path package;   // result/package, sealed
  std::string delta;               // encoded learning::Delta; empty for fit
  std::string residual;            // what its rounding left over, in the same format; empty: nothing
};

// not_found while there is no result; corrupt when it does not verify.
Result<JobResult> read_result(const std::filesystem::path& folder, uint64_t bytes_max);
std::string to_json(const JobReport& report);

}  // namespace skerry::learning
