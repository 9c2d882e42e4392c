#include "inference/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "inference/features.h"

namespace skerry::inference {
namespace {

// The sizes that come; the first twice, for what a runtime prepares lazily.
constexpr uint32_t kWarmupBatches[] = {1, 1, 2, 8, 1};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (int64_t size : shape) out += fmt::format("{}{}", out.size() > 1 ? ", " : "", size);
  return out + "]";
}

std::string version_text(const PackageInfo& info) { return fmt::format("{}/{}", info.name, info.version); }

Status check_input(const LoadedModel& model, const std::vector<Tensor>& inputs, uint32_t batch_max) {
  const TensorSpec& spec = model.inputs.front();
  if (inputs.size() != 1 || inputs[0].name != spec.name) {
    std::string names;
    for (const Tensor& t : inputs)
      names += fmt::format("{}'{}'", names.empty() ? "" : ", ", t.name.substr(0, 64));
    return fail(Code::invalid, "{} takes one input named '{}', not {}", version_text(model.package.info),
                spec.name, inputs.empty() ? "none" : names);
  }
  const Tensor& input = inputs[0];
  if (input.type != spec.type) {
    return fail(Code::invalid, "input '{}' has datatype {}, {} is expected", spec.name, to_string(input.type),
                to_string(spec.type));
  }
  bool fits = input.shape.size() == spec.shape.size() && input.elements() >= 0;
  for (size_t i = 1; fits && i < spec.shape.size(); ++i) fits = input.shape[i] == spec.shape[i];
  if (!fits) {
    return fail(
        Code::invalid, "input '{}' has shape {}, {} is expected", spec.name,
        input.shape.size() > 8 ? fmt::format("of rank {}", input.shape.size()) : shape_text(input.shape),
        shape_text(spec.shape));
  }
  if (input.shape[0] < 1 || input.shape[0] > batch_max) {
    return fail(Code::invalid, "input '{}' has {} windows, 1 to {} are allowed in one request", spec.name,
                input.shape[0], batch_max);
  }
  size_t bytes = static_cast<size_t>(input.elements()) * bytes_per_element(input.type);
  if (input.data.size() != bytes) {
    return fail(Code::invalid, "input '{}' of shape {} has {} bytes of data, {} are expected", spec.name,
                shape_text(input.shape), input.data.size(), bytes);
  }
  return {};
}

// Index of the first value that is not finite, or -1. Exponents first, as a compiler makes vectors of that.
int64_t first_not_finite(const Tensor& tensor) {
  constexpr uint32_t kExponent = 0x7f800000;  // IEEE 754 binary32: all ones in infinities and NaN
  const size_t count = tensor.data.size() / sizeof(float);
  uint32_t found = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, tensor.data.data() + i * sizeof bits, sizeof bits);
    found |= (bits & kExponent) == kExponent;
  }
  if (found == 0) return -1;
  const auto* values = reinterpret_cast<const float*>(tensor.data.data());
  return std::find_if(values, values + count, [](float value) { return !std::isfinite(value); }) - values;
}

// In place.
Status normalise_input(const LoadedModel& model, Tensor& input) {
  const WindowSpec& window = model.package.info.window;
  auto* values = reinterpret_cast<float*>(input.data.data());
  if (window.features.empty()) {
    normalise(window, values, static_cast<size_t>(input.shape[0]));
  } else {
    const auto [channels, rows] = input_shape(window);
    input = Tensor::fp32(input.name, {input.shape[0], channels, rows}, model_input(window, values, static_cast<size_t>(input.shape[0])));
  }
  if (int64_t at = first_not_finite(input); at >= 0) {
    return fail(Code::invalid,
                "input '{}' at element {} is too large for {}: its units are not those of the model",
                input.name, at, version_text(model.package.info));
  }
  return {};
}

Status check_output(const LoadedModel& model, const std::vector<Tensor>& outputs, int64_t batch) {
  std::string name = version_text(model.package.info);
  const TensorSpec& spec = model.outputs.front();
  std::vector<int64_t> shape{batch, spec.shape[1]};
  if (outputs.size() != 1 || outputs[0].type != spec.type || outputs[0].shape != shape ||
      outputs[0].data.size() != static_cast<size_t>(batch * spec.shape[1]) * sizeof(float)) {
    return fail(Code::internal,
                "model {} answered {} tensors, the first {} {}; one FP32 {} is expected: check its labels",
                name, outputs.size(), outputs.empty() ? "none" : to_string(outputs[0].type),
                outputs.empty() ? "" : shape_text(outputs[0].shape), shape_text(shape));
  }
  if (int64_t at = first_not_finite(outputs[0]); at >= 0) {
    return fail(Code::internal, "model {} answered NaN or infinity in row {}: roll it back", name,
                at / spec.shape[1]);
  }
  return {};
}

Result<std::vector<Tensor>> run_model(const LoadedModel& model, std::vector<Tensor> inputs, const Clock& clock, RunTimes& times) {
  const int64_t batch = inputs[0].shape[0];
  const SteadyTime begin = clock.steady();
  SKERRY_TRY(normalise_input(model, inputs[0]));
  const SteadyTime ready = clock.steady();
  Result<std::vector<Tensor>> outputs = model.session->run(inputs);
  if (!outputs.ok()) {
    return Error{outputs.error().code,
                 fmt::format("model {}: {}", version_text(model.package.info), outputs.error().message)};
  }
  const SteadyTime answered = clock.steady();
  SKERRY_TRY(check_output(model, *outputs, batch));
  (*outputs)[0].name = model.outputs.front().name;
  times = {ready - begin, answered - ready, clock.steady() - answered};
  return outputs;
}

Status warm_up(const LoadedModel& model, uint32_t batch_max, const Clock& clock, RunTimes& last) {
  const WindowSpec& window = model.package.info.window;
  for (uint32_t batch : kWarmupBatches) {
    int64_t n = std::min(batch, batch_max);
    std::vector<float> zeros(static_cast<size_t>(n) * window.fields.size() * window.rows);
    Tensor raw = Tensor::fp32("input", {n, static_cast<int64_t>(window.fields.size()), window.rows}, zeros);
    if (auto answer = run_model(model, {std::move(raw)}, clock, last); !answer.ok()) {
      return fail(Code::invalid, "refused at warm-up, the serving version stays: {}", answer.error().message);
    }
  }
  return {};
}

}  // namespace

Engine::Engine(const Options& options, std::unique_ptr<Runtime> runtime, const Clock& clock)
    : options_(options), runtime_(std::move(runtime)), clock_(clock) {}

Status Engine::load(const std::string& model, uint32_t version) {
  if (!is_model_name(model))
    return fail(Code::invalid, "'{}' is no model name: it has 1 to 64 of a-z, 0-9, '_' and '-'",
                model.substr(0, 64));
  std::lock_guard one_at_a_time(load_mutex_);
  if (find(model, version).ok()) return {};
  auto loaded = std::make_shared<LoadedModel>();
  SKERRY_ASSIGN(loaded->package,
                Package::open(options_.models / model / std::to_string(version), options_.package_bytes_max));
  const PackageInfo& info = loaded->package.info;
  if (info.name != model || info.version != version) {
    return fail(Code::invalid, "{} calls itself {}: a package lies in NAME/VERSION of its own",
                loaded->package.folder.string(), version_text(info));
  }
  SKERRY_ASSIGN(loaded->session, runtime_->load(loaded->package));
  auto channels = static_cast<int64_t>(info.window.fields.size()),
       labels = static_cast<int64_t>(info.labels.size());
  loaded->inputs = {{"input", DataType::fp32, {-1, channels, info.window.rows}}};
  loaded->outputs = {{"scores", DataType::fp32, {-1, labels}}};
  RunTimes warm;
  SKERRY_TRY(warm_up(*loaded, options_.batch_max, clock_, warm));

  std::unique_lock lock(mutex_);
  Version& entry = models_[model].versions[version];
  entry.model = std::move(loaded);
  if (!entry.counters) entry.counters = std::make_shared<Counters>();
  entry.counters->expect_row(warm.sum());
  return {};
}

Status Engine::serve(const std::string& model, uint32_t version) {
  std::unique_lock lock(mutex_);
  auto it = models_.find(model);
  auto at = it == models_.end() ? std::map<uint32_t, Version>::iterator{} : it->second.versions.find(version);
  if (it == models_.end() || at == it->second.versions.end() || !at->second.model) {
    return fail(Code::not_found, "{}/{} is not loaded: load it before it can serve", model.substr(0, 64),
                version);
  }
  it->second.serving = version;
  if (it->second.trial && it->second.trial->version == version) it->second.trial.reset();
  return {};
}

bool Trial::takes(uint64_t ticket) const {  // multiples of the golden ratio, modulo one, are spread evenly
  return static_cast<double>((ticket * 0x9e3779b97f4a7c15) >> 11) * 0x1.0p-53 < share;
}

Status Engine::set_trial(const std::string& model, std::optional<Trial> trial) {
  if (trial) {
    if (auto version = lookup(model, trial->version); !version.ok()) return version.error();
  }
  std::unique_lock lock(mutex_);
  auto it = models_.find(model);
  if (it != models_.end()) it->second.trial = trial;
  return {};
}

std::optional<Trial> Engine::trial(const std::string& model) const {
  std::shared_lock lock(mutex_);
  auto it = models_.find(model);
  return it == models_.end() ? std::nullopt : it->second.trial;
}

Result<Engine::Version> Engine::pick(const std::string& model, std::optional<uint32_t> version) const {
  if (const std::optional<Trial> on_trial = version ? std::nullopt : trial(model); on_trial && on_trial->takes(ticket_++)) {
    if (auto picked = lookup(model, on_trial->version); picked.ok()) return picked;
  }
  return lookup(model, version);
}

Status Engine::unload(const std::string& model, uint32_t version) {
  std::shared_ptr<const LoadedModel> old;  // freed after the lock, and only if no request holds it
  std::unique_lock lock(mutex_);
  auto it = models_.find(model);
  if (it == models_.end()) return {};
  if (it->second.serving == version) {
    return fail(Code::invalid, "{}/{} is serving: let another version serve before unloading it", model,
                version);
  }
  if (it->second.trial && it->second.trial->version == version) it->second.trial.reset();
  auto at = it->second.versions.find(version);
  if (at != it->second.versions.end()) old = std::move(at->second.model);
  lock.unlock();
  return {};
}

void Engine::withdraw(const std::string& model) {
  std::vector<std::shared_ptr<const LoadedModel>> old;  // freed after the lock
  std::unique_lock lock(mutex_);
  auto it = models_.find(model);
  if (it == models_.end()) return;
  it->second.serving.reset();
  it->second.trial.reset();
  for (auto& [number, version] : it->second.versions) old.push_back(std::move(version.model));
  lock.unlock();
}

Result<Engine::Version> Engine::lookup(const std::string& model, std::optional<uint32_t> version) const {
  std::shared_lock lock(mutex_);
  auto it = models_.find(model);
  if (it == models_.end()) return fail(Code::not_found, "there is no model '{}' loaded", model.substr(0, 64));
  if (!version && !it->second.serving)
    return fail(Code::not_found, "no version of '{}' is serving yet: name a version", model);
  auto at = it->second.versions.find(version.value_or(it->second.serving.value_or(0)));
  if (at == it->second.versions.end() || !at->second.model) {
    std::string known;
    for (const auto& [number, entry] : it->second.versions) {
      if (entry.model) known += fmt::format("{}{}", known.empty() ? "" : ", ", number);
    }
    return fail(Code::not_found, "{}/{} is not loaded; loaded are: {}", model, *version,
                known.empty() ? "none" : known);
  }
  return at->second;
}

Result<std::shared_ptr<const LoadedModel>> Engine::find(const std::string& model,
                                                        std::optional<uint32_t> version) const {
  SKERRY_ASSIGN(Version picked, lookup(model, version));
  return picked.model;
}

std::vector<std::shared_ptr<const LoadedModel>> Engine::loaded() const {
  std::shared_lock lock(mutex_);
  std::vector<std::shared_ptr<const LoadedModel>> out;
  for (const auto& [name, entry] : models_) {
    for (const auto& [number, version] : entry.versions) {
      if (version.model) out.push_back(version.model);
    }
  }
  return out;
}

std::optional<uint32_t> Engine::serving(const std::string& model) const {
  std::shared_lock lock(mutex_);
  auto it = models_.find(model);
  return it == models_.end() ? std::nullopt : it->second.serving;
}

Status Engine::check(const LoadedModel& model, const std::vector<Tensor>& inputs) const {
  SKERRY_TRY(check_input(model, inputs, options_.batch_max));
  if (int64_t at = first_not_finite(inputs[0]); at >= 0) {
    return fail(Code::invalid, "input '{}' has NaN or infinity at element {}: leave such windows out", inputs[0].name, at);
  }
  return {};
}

Result<std::vector<Tensor>> Engine::run(const Version& version, std::vector<Tensor> inputs, RunTimes& times) const {
  const auto rows = static_cast<uint32_t>(inputs[0].shape[0]);
  Result<std::vector<Tensor>> outputs = run_model(*version.model, std::move(inputs), clock_, times);
  if (outputs.ok()) version.counters->count_run(rows, times, clock_.now_ns());
  return outputs;
}

Result<Answer> Engine::infer(const std::string& model, std::optional<uint32_t> version,
                             const std::vector<Tensor>& inputs) {
  SKERRY_ASSIGN(Version picked, pick(model, version));
  const SteadyTime start = clock_.steady();
  if (Status good = check(*picked.model, inputs); !good.ok()) {
    picked.counters->count_failure(Outcome::other, clock_.steady() - start);
    return good.error();
  }
  RunTimes times;
  Result<std::vector<Tensor>> outputs = run(picked, inputs, times);
  const Duration took = clock_.steady() - start;
  if (!outputs.ok()) {
    picked.counters->count_failure(outcome_of(outputs.error()), took);
    const std::optional<uint32_t> serves = version ? std::nullopt : serving(model);
    const bool was_trial = serves && *serves != picked.model->package.info.version && outputs.error().code != Code::invalid;
    if (was_trial) return infer(model, serves, inputs);
    return outputs.error();
  }
  picked.counters->count_answer(took, Duration::zero(), times);
  return Answer{model, picked.model->package.info.version, std::move(*outputs)};
}

EngineStatistics Engine::statistics(const std::string& model, uint32_t version) const {
  std::shared_lock lock(mutex_);
  auto it = models_.find(model);
  if (it == models_.end()) return {};
  auto at = it->second.versions.find(version);
  return at == it->second.versions.end() ? EngineStatistics{} : at->second.counters->get();
}

std::vector<std::pair<std::string, uint32_t>> Engine::known() const {
  std::shared_lock lock(mutex_);
  std::vector<std::pair<std::string, uint32_t>> out;
  for (const auto& [name, entry] : models_) {
    for (const auto& [number, version] : entry.versions) out.emplace_back(name, number);
  }
  return out;
}

}  // namespace skerry::inference
