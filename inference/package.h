// A model package: the folder NAME/VERSION/ with model.toml, model.pt (TorchScript fp32, trainable), plan.bin (what serves; or model.int8.pt),
// reference.examples (pinned exemplars for replay; optional) and `manifest` (a line "SHA256  bytes  name" per file, by name).
// The module takes normalised windows [n, channels, rows] and answers scores [n, labels].
// On failure: open() answers not_found, corrupt (wrong digest, truncated, missing file) or invalid (model.toml: every mistake
// with its line), always naming the file. Nothing in a package is trusted before its digest holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace skerry::inference {

// What the model sees of a window instead of its fields. All features of a model are of rows, or all are numbers of the whole window.
struct FeatureSpec {
  enum class Kind : uint8_t { rows, mean, deviation, min, max, rms, band };
  Kind kind = Kind::rows;            // rows: a value per record
  std::vector<std::string> of;       // one field, or several: then the length of the vector that they are
  double from_hz = 0, to_hz = 0;     // band: the mean square of these frequencies; the rate is that of the period
  bool operator==(const FeatureSpec&) const = default;
};

// How windows are cut from streams. Data layout of a window: [channels, rows], channel i = fields[i].
struct WindowSpec {
  enum class By : uint8_t {
    count,  // `rows` records, whenever they came
    time    // `rows` points `period` apart, interpolated between the records (linear)
  };
  std::string stream;                // series name, any tags: each series has windows of its own
  std::vector<std::string> fields;
  uint32_t rows = 0;
  uint32_t stride = 0;               // in [1, rows]
  Duration period{};                 // nominal time between records; a gap over gap_factor periods starts a new window
  double gap_factor = 3.0;
  By by = By::count;
  std::vector<FeatureSpec> features;   // none: the model sees the fields
  std::vector<float> mean, deviation;  // per field, or per feature when there are any: x' = (x - mean) / deviation
};

// All are differences of accuracy on the same examples, in [0, 1], that must hold with `confidence`.
struct GateSpec {
  uint32_t examples_min = 40;          // held-out examples needed before a candidate is judged
  double confidence = 0.95;
  double gain_min = 0.0;               // the candidate must be better by more than this on the node's held-out examples
  double reference_loss_max = 0.03;    // and must lose less than this on the pinned reference examples
  double unexplained_max = 0.25;       // share of own labels that the other labels contradict: beyond it none is believed
};

// The way of a candidate from the gate to serving, and back. Zero windows, no share: that stage is passed over.
struct RolloutSpec {
  uint32_t shadow_windows = 64;        // compared with the serving version; what the ledger holds already counts
  Duration shadow_time{};              // but it waits no longer than this for windows to come
  double shadow_agreement_min = 0.5;   // share of windows that it answers as the serving version does
  double canary_share = 0.0;           // of the requests that name no version, and of windows
  uint32_t canary_labels = 30;         // of its answers, before it is decided
  Duration canary_time = std::chrono::hours(24 * 7);  // then it is decided on what is there
  uint32_t probation_labels = 1000;    // a candidate whose gain chance may have made waits for this many labels to prove it; 0: it is refused at once
  Duration probation_time = std::chrono::hours(24 * 28);  // but not longer
  double rollback_loss = 0.02;         // back, when the predecessor would have been better by more than this on the same labels
  uint32_t rollback_labels = 20;       // that are needed to say so
  double confidence = 0.95;
};

enum class TrainingMethod { sparse, all, head };  // which parameters a fine-tuning may change
const char* to_string(TrainingMethod method);

// Sparsity and rate chosen on the simulated pump, whose model must follow a machine that it never met. A task that is nearer is learned by a fifth of
// the share: the worker takes what is enough.
struct TrainingSpec {
  uint32_t labels_min = 60;            // new training examples since the last job that make one worthwhile
  TrainingMethod method = TrainingMethod::sparse;
  double sparsity = 0.05;              // sparse: share of parameters that a fine-tuning may change; 1 = all
  uint32_t epochs = 8;
  double learning_rate = 4e-3;
  double ewc = 0.0;                    // weight of Elastic Weight Consolidation (Kirkpatrick et al. 2017); 0: none
  uint32_t patience = 0;               // epochs without a smaller loss, after which training ends early; 0: never
  Duration every{};                    // calendar: train when labels came and this time has passed, however few; 0: no calendar
  double drift_delta = 0.002;          // confidence of ADWIN that errors or inputs have changed; 0: not looked at
};

// When a prediction raises an alarm (alarms.h).
struct AlarmSpec {
  std::string label;
  double on = 0.9, off = 0.7;          // raised from `on`, ended below `off`
  uint32_t windows = 1;                // in a row
  bool softmax = true;                 // false: the model's scores as they are
  bool operator==(const AlarmSpec&) const = default;
};

struct PackageInfo {
  std::string name;
  uint32_t version = 0;
  uint32_t parent = 0;
  std::string architecture;            // e.g. "cnn1d"
  std::vector<std::string> labels;     // class names, by index
  WindowSpec window;
  GateSpec gate;
  TrainingSpec training;
  RolloutSpec rollout;
  bool predictions_stream = false;     // predictions are also written into the stream predictions.NAME
  std::vector<AlarmSpec> alarms;
  std::string engine;                  // quantization engine of model.int8.pt: "onednn" or "qnnpack"
  std::string int8_file = "model.int8.pt";  // what serves: "plan.bin", or this for LibTorch
  std::string no_plan;                 // why LibTorch serves: the operation that a plan lacks
  std::string note;                    // how it was made, for people
};

struct Package {
  PackageInfo info;
  std::filesystem::path folder;
  std::string digest;                  // SHA-256 of the manifest: names this exact package

  std::filesystem::path file(const std::string& name) const { return folder / name; }
  // Reads, bounds and verifies. bytes_max bounds the sum of all files.
  static Result<Package> open(const std::filesystem::path& folder, uint64_t bytes_max);
};

inline constexpr const char* kPlanFile = "plan.bin";
inline constexpr const char* kTorchFile = "model.int8.pt";

// Bounds of a package; parse_package_info refuses what lies beyond.
inline constexpr size_t kChannelsMax = 256;
inline constexpr uint32_t kRowsMax = 65536;
inline constexpr size_t kWindowElementsMax = 1 << 20;  // channels * rows
inline constexpr size_t kLabelsMax = 1024;
inline constexpr size_t kFeaturesMax = 1024;
inline constexpr size_t kAlarmsMax = 64;
inline constexpr uint32_t kVersionMax = 999'999'999;
inline constexpr size_t kModelTomlBytesMax = 1 << 20;
inline constexpr size_t kPackageFilesMax = 64;

// [a-z0-9_-]{1,64}: safe as a folder name, an id and a part of a URL.
bool is_model_name(const std::string& name);

// In place: `count` windows of input_shape() (features.h) to what the model was trained on.
void normalise(const WindowSpec& spec, float* windows, size_t count);

// parse_package_info(to_toml(info)) gives info again, bit for bit.
std::string to_toml(const PackageInfo& info);
// Error: invalid, one line "file:line: message" per mistake, all of them.
Result<PackageInfo> parse_package_info(const std::string& toml, const std::string& file_name);
// Writes model.toml and the manifest over the files that lie in the folder already. Error: invalid when open() would refuse it.
Status seal_package(const std::filesystem::path& folder, const PackageInfo& info);
// Copies a verified package into models/NAME/VERSION in one atomic step. Existing with the same digest: fine; a damaged one is replaced.
// Error: as open; invalid when another package of this name and version is there; exhausted (disk full).
Result<Package> install_package(const std::filesystem::path& from, const std::filesystem::path& models, uint64_t bytes_max);

}  // namespace skerry::inference
