// toml++ 3.3 does not stand hostile input as it is: it asserts where there is only a mistake. So its assertions stay on here and throw, its name
// is changed so that the linker can't mix this copy with one that was compiled otherwise, and it is given ASCII only.
#include <stdexcept>
#ifdef NDEBUG
#undef NDEBUG
#endif
#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ASSERT(condition) ((condition) ? void() : throw std::runtime_error("a malformed value"))
#define toml skerry_job_toml
#pragma GCC diagnostic push
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wterminate"  // in accessors that the parser does not use
#endif
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include "learning/job.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "learning/delta.h"

namespace skerry::learning {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "SKEX";
constexpr uint32_t kFormat = 1;
constexpr size_t kHeaderBytes = 4 + 4 + 4 + 4 + 8;  // magic, format, channels, rows, count
constexpr uint64_t kElementsMax = 1 << 24;          // of one window
constexpr uint64_t kExamplesBytesMax = 2ULL << 30;
constexpr uint64_t kTextBytesMax = 1 << 20;
constexpr uint64_t kSeedMask = INT64_MAX;           // TOML has no unsigned numbers
constexpr const char* kJobFile = "job.toml";
constexpr const char* kTargetFile = "target.toml";

template <typename T>
void put(std::string& out, T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

template <typename T>
T get(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

Error damaged(const char* what) { return fail(Code::corrupt, "examples: {}", what); }

Error named(const Error& error, const fs::path& file) { return fail(error.code, "{}: {}", file.string(), error.message); }

Status copy_package(const inference::Package& package, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return fail(Code::unavailable, "cannot make {}: {}", to.string(), error.message());
  for (const fs::directory_entry& entry : fs::directory_iterator(package.folder, error)) {
    if (!entry.is_regular_file()) continue;
    SKERRY_ASSIGN(std::string content, read_file(entry.path(), kPackageBytesMax));
    SKERRY_TRY(write_file_atomic(to / entry.path().filename(), content));
  }
  if (error) return fail(Code::unavailable, "cannot read {}: {}", package.folder.string(), error.message());
  return {};
}

std::string job_toml(const JobSpec& spec) {
  // The target lies in its own file, in the words of a package's model.toml.
  return fmt::format(
      "# A job for skerry-worker. Run it by hand: skerry-worker run FOLDER\n"
      "format = 1\n"
      "kind = \"{}\"\n"
      "target = \"{}\"\n"
      "seed = {}\n"
      "batch_size = {}\n"
      "full_epochs = {}\n"
      "full_learning_rate = {}\n"
      "augment = {}\n"
      "rotate = {}\n"
      "replay_weight = {}\n"
      "distill_weight = {}\n"
      "reference_examples = {}\n"
      "threads = {}\n",
      spec.kind == JobKind::fit ? "fit" : "finetune", kTargetFile, spec.seed & kSeedMask, spec.batch_size,
      spec.full_epochs, spec.full_learning_rate, spec.augment, spec.rotate, spec.replay_weight, spec.distill_weight, spec.reference_examples,
      spec.threads);
}

// One key of job.toml with its bounds; the first mistake is kept, with its line.
struct Keys {
  const toml::table& table;
  std::string file;
  std::optional<Error> mistake;

  void wrong(std::string_view key, const std::string& what) {
    if (mistake) return;
    const toml::node* node = table.get(key);
    mistake = fail(Code::invalid, "{}:{}: {} {}", file, node ? node->source().begin.line : 1, key, what);
  }
  double number(std::string_view key, double low, double high, double fallback) {
    const toml::node* node = table.get(key);
    if (!node) return fallback;
    std::optional<double> value = node->value<double>();
    if (value && *value >= low && *value <= high) return *value;
    wrong(key, fmt::format("must be a number from {} to {}", low, high));
    return fallback;
  }
  uint32_t whole(std::string_view key, uint32_t low, uint32_t high, uint32_t fallback) {
    const toml::node* node = table.get(key);
    if (!node) return fallback;
    std::optional<int64_t> value = node->is_integer() ? node->value<int64_t>() : std::nullopt;
    if (value && *value >= low && *value <= high) return static_cast<uint32_t>(*value);
    wrong(key, fmt::format("must be a whole number from {} to {}", low, high));
    return fallback;
  }
};

Result<toml::table> parse_table(const std::string& text, const std::string& file) {
  for (char c : text) {
    if (static_cast<unsigned char>(c) > 126) return fail(Code::invalid, "{}: characters outside ASCII have no place in it", file);
  }
  try {
    return toml::table(toml::parse(text, file));
  } catch (const toml::parse_error& error) {
    return fail(Code::invalid, "{}:{}: {}", file, error.source().begin.line, error.description());
  } catch (const std::exception& error) {
    return fail(Code::invalid, "{}: {}", file, error.what());
  }
}

Result<JobSpec> parse_job(const std::string& text, const std::string& file) {
  SKERRY_ASSIGN(const toml::table table, parse_table(text, file));
  Keys keys{table, file, std::nullopt};
  JobSpec spec;
  std::string kind = table["kind"].value_or(std::string());
  if (kind == "fit") {
    spec.kind = JobKind::fit;
  } else if (kind == "finetune") {
    spec.kind = JobKind::finetune;
  } else {
    keys.wrong("kind", "must be \"fit\" or \"finetune\"");
  }
  if (table["format"].value_or<int64_t>(0) != 1) keys.wrong("format", "must be 1: update this program");
  int64_t seed = table["seed"].value_or<int64_t>(-1);
  if (seed < 0) keys.wrong("seed", "must be a whole number, 0 or more");
  spec.seed = static_cast<uint64_t>(seed);
  spec.batch_size = keys.whole("batch_size", 1, 65536, spec.batch_size);
  spec.full_epochs = keys.whole("full_epochs", 1, 10'000, spec.full_epochs);
  spec.full_learning_rate = keys.number("full_learning_rate", 0, 10, spec.full_learning_rate);
  spec.augment = keys.number("augment", 0, 10, spec.augment);
  spec.rotate = keys.number("rotate", 0, 10, spec.rotate);
  spec.replay_weight = keys.number("replay_weight", 0, 1000, spec.replay_weight);
  spec.distill_weight = keys.number("distill_weight", 0, 1000, spec.distill_weight);
  spec.reference_examples = keys.whole("reference_examples", 0, 100'000, spec.reference_examples);
  spec.threads = keys.whole("threads", 1, 256, spec.threads);
  if (keys.mistake) return *keys.mistake;
  return spec;
}

Paired parse_paired(const nlohmann::json& json) {
  Paired out;
  out.examples = json.at("examples");
  out.parent_correct = json.at("parent_correct");
  out.candidate_correct = json.at("candidate_correct");
  out.gained = json.at("gained");
  out.lost = json.at("lost");
  out.gained_apart = json.at("gained_apart");
  out.lost_apart = json.at("lost_apart");
  return out;
}

nlohmann::ordered_json paired_json(const Paired& p) {
  return {{"examples", p.examples}, {"parent_correct", p.parent_correct}, {"candidate_correct", p.candidate_correct}, {"gained", p.gained},
          {"lost", p.lost}, {"gained_apart", p.gained_apart}, {"lost_apart", p.lost_apart}};
}

Result<JobReport> parse_report(const std::string& text, const std::string& file) {
  try {
    nlohmann::json json = nlohmann::json::parse(text);
    JobReport report;
    const nlohmann::json& gate = json.at("gate");
    report.gate.holdout = parse_paired(gate.at("holdout"));
    report.gate.reference = parse_paired(gate.at("reference"));
    report.gate.finite = gate.at("finite");
    if (gate.contains("labels")) {  // fine-tunings only
      const nlohmann::json& labels = gate.at("labels");
      report.gate.labels = {labels.at("labels"), labels.at("contradicted"), labels.at("doubted")};
    }
    report.candidate_fp32_holdout_correct = json.at("candidate_fp32_holdout_correct");
    report.parameters = json.at("parameters");
    report.changed_parameters = json.at("changed_parameters");
    report.delta_bytes = json.at("delta_bytes");
    report.seconds = json.at("seconds");
    report.epochs = json.at("epochs");
    report.peak_memory_bytes = json.at("peak_memory_bytes");
    return report;
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, "{}: {}", file, error.what());
  }
}

Result<std::string> read_residual(const fs::path& file, uint64_t bytes_max) {
  Result<std::string> bytes = read_file(file, bytes_max);
  if (!bytes.ok()) return bytes.error().code == Code::not_found ? Result<std::string>(std::string()) : Result<std::string>(bytes.error());
  if (Result<Delta> residual = decode_delta(*bytes); !residual.ok()) return named(residual.error(), file);
  return bytes;
}

}  // namespace

std::string encode_examples(const ExampleSet& set) {
  size_t elements = static_cast<size_t>(set.channels) * set.rows;
  std::string out;
  out.reserve(kHeaderBytes + set.windows.size() * (4 + 4 * elements) + 4);
  out += kMagic;
  put(out, kFormat);
  put(out, set.channels);
  put(out, set.rows);
  put(out, static_cast<uint64_t>(set.windows.size()));
  for (const LabelledWindow& window : set.windows) {
    SKERRY_CHECK(window.data.size() == elements, "a window of {} values in a set of {} x {}", window.data.size(),
                 set.channels, set.rows);
    put(out, window.label);
    out.append(reinterpret_cast<const char*>(window.data.data()), 4 * elements);
  }
  put(out, crc32c(out));
  return out;
}

Result<ExampleSet> decode_examples(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes + 4) return damaged("shorter than its header");
  if (!bytes.starts_with(kMagic)) return damaged("does not begin as an examples file");
  if (get<uint32_t>(bytes, 4) != kFormat) return damaged("of an unknown format; update this program");
  ExampleSet set;
  set.channels = get<uint32_t>(bytes, 8);
  set.rows = get<uint32_t>(bytes, 12);
  uint64_t count = get<uint64_t>(bytes, 16);
  uint64_t elements = static_cast<uint64_t>(set.channels) * set.rows;
  size_t body = bytes.size() - kHeaderBytes - 4;
  if (elements > kElementsMax || (elements == 0 && count > 0)) return damaged("impossible window shape");
  if (count > body / (4 + 4 * elements) || count * (4 + 4 * elements) != body) return damaged("wrong length");
  if (crc32c(bytes.substr(0, bytes.size() - 4)) != get<uint32_t>(bytes, bytes.size() - 4)) return damaged("wrong checksum");
  set.windows.resize(count);
  size_t at = kHeaderBytes;
  for (LabelledWindow& window : set.windows) {
    window.label = get<int32_t>(bytes, at);
    window.data.resize(elements);
    std::memcpy(window.data.data(), bytes.data() + at + 4, 4 * elements);
    for (float value : window.data) {
      if (!std::isfinite(value)) return damaged("a value that is not finite");
    }
    at += 4 + 4 * elements;
  }
  return set;
}

Result<ExampleSet> read_examples(const fs::path& file) {
  SKERRY_ASSIGN(std::string bytes, read_file(file, kExamplesBytesMax));
  Result<ExampleSet> set = decode_examples(bytes);
  if (!set.ok()) return named(set.error(), file);
  return set;
}

Status write_job(const fs::path& folder, const JobSpec& spec, const ExampleSet& train, const ExampleSet& holdout,
                 const ExampleSet& calibration, const std::optional<inference::Package>& parent, const std::string& residual) {
  std::error_code error;
  if (fs::exists(folder / kJobFile, error)) return fail(Code::invalid, "{} holds a job already", folder.string());
  if ((spec.kind == JobKind::finetune) != parent.has_value()) {
    return fail(Code::invalid, "a finetune job needs a parent package, a fit job none");
  }
  fs::create_directories(folder, error);
  if (error) return fail(Code::unavailable, "cannot make {}: {}", folder.string(), error.message());
  SKERRY_TRY(write_file_atomic(folder / kTrainFile, encode_examples(train)));
  SKERRY_TRY(write_file_atomic(folder / kHoldoutFile, encode_examples(holdout)));
  SKERRY_TRY(write_file_atomic(folder / kCalibrationFile, encode_examples(calibration)));
  if (parent) SKERRY_TRY(copy_package(*parent, folder / "parent"));
  if (!residual.empty()) SKERRY_TRY(write_file_atomic(folder / kResidualFile, residual));
  SKERRY_TRY(write_file_atomic(folder / kTargetFile, inference::to_toml(spec.target)));
  return write_file_atomic(folder / kJobFile, job_toml(spec));
}

Result<JobSpec> read_job(const fs::path& folder) {
  Result<std::string> text = read_file(folder / kJobFile, kTextBytesMax);
  if (!text.ok()) {
    if (text.error().code != Code::not_found) return text.error();
    return fail(Code::not_found, "{} is not a job folder: it has no {}", folder.string(), kJobFile);
  }
  SKERRY_ASSIGN(JobSpec spec, parse_job(*text, (folder / kJobFile).string()));
  SKERRY_ASSIGN(std::string target, read_file(folder / kTargetFile, kTextBytesMax));
  SKERRY_ASSIGN(spec.target, inference::parse_package_info(target, (folder / kTargetFile).string()));
  return spec;
}

Result<JobResult> read_result(const fs::path& folder, uint64_t bytes_max) {
  fs::path result_folder = folder / "result";
  std::error_code error;
  if (!fs::exists(result_folder, error)) return fail(Code::not_found, "{} has no result yet", folder.string());
  JobResult result;
  Result<std::string> report = read_file(result_folder / "report.json", kTextBytesMax);
  if (!report.ok()) return fail(Code::corrupt, "{}", report.error().message);
  SKERRY_ASSIGN(result.report, parse_report(*report, (result_folder / "report.json").string()));
  result.package = result_folder / "package";
  Result<inference::Package> package = inference::Package::open(result.package, bytes_max);
  if (!package.ok()) return fail(Code::corrupt, "{}", package.error().message);
  fs::path delta_file = result_folder / "delta.bin";
  if (fs::exists(delta_file, error)) {
    Result<std::string> bytes = read_file(delta_file, bytes_max);
    if (!bytes.ok()) return fail(Code::corrupt, "{}", bytes.error().message);
    Result<Delta> delta = decode_delta(*bytes);
    if (!delta.ok()) return named(delta.error(), delta_file);
    if (delta->model != package->info.name || delta->version != package->info.version) {
      return fail(Code::corrupt, "{} is of {}/{}, the package beside it {}/{}", delta_file.string(), delta->model,
                  delta->version, package->info.name, package->info.version);
    }
    result.delta = std::move(*bytes);
    SKERRY_ASSIGN(result.residual, read_residual(result_folder / kResidualFile, bytes_max));
  } else if (package->info.parent != 0) {
    return fail(Code::corrupt, "{} is missing", delta_file.string());
  }
  return result;
}

std::string to_json(const JobReport& report) {
  nlohmann::ordered_json json;
  const LabelCounts& labels = report.gate.labels;
  json["gate"] = {{"holdout", paired_json(report.gate.holdout)}, {"reference", paired_json(report.gate.reference)}, {"finite", report.gate.finite},
                  {"labels", {{"labels", labels.labels}, {"contradicted", labels.contradicted}, {"doubted", labels.doubted}}}};
  json["candidate_fp32_holdout_correct"] = report.candidate_fp32_holdout_correct;
  json["parameters"] = report.parameters;
  json["changed_parameters"] = report.changed_parameters;
  json["delta_bytes"] = report.delta_bytes;
  json["seconds"] = report.seconds;
  json["epochs"] = report.epochs;
  json["peak_memory_bytes"] = report.peak_memory_bytes;
  return json.dump(2) + "\n";
}

}  // namespace skerry::learning
