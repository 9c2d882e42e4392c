#include "learning/watch.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "inference/features.h"
#include "inference/pipeline.h"

namespace skerry::learning {
namespace {

constexpr size_t kLabelsPerStep = 1000;   // newer ones first, when more came at once
constexpr size_t kWindowsPerStep = 32;    // of which the inputs are looked at

std::string note_name(const std::string& model) { return "watch/" + model; }

// How far a window lies from what the model was trained on: mean square of the normalised values, on a scale that outliers don't rule.
double distance(const inference::WindowSpec& spec, const std::vector<float>& window) {
  const std::vector<float> seen = inference::model_input(spec, window.data(), 1);
  double squares = 0;
  for (float value : seen) squares += static_cast<double>(value) * value;
  return std::log1p(squares / static_cast<double>(std::max<size_t>(seen.size(), 1)));
}

Result<int32_t> answer(inference::Engine& engine, const inference::PackageInfo& info, uint32_t version, const std::vector<float>& window) {
  SKERRY_ASSIGN(inference::Answer answer, engine.infer(info.name, version, {inference::make_input(info.window, {&window})}));
  const std::vector<float> scores = answer.outputs.front().floats();
  return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

}  // namespace

Result<Watch::Memory*> Watch::remember(const inference::LoadedModel& serving) {
  const inference::PackageInfo& info = serving.package.info;
  std::lock_guard lock(mutex_);
  auto [at, fresh] = memories_.try_emplace(info.name);
  Memory& memory = at->second;
  if (fresh) {
    memory.errors = memory.inputs = Adwin(info.training.drift_delta);
    SKERRY_ASSIGN(const std::optional<std::string> note, store_.note(note_name(info.name)));
    try {
      if (note) {
        const nlohmann::json json = nlohmann::json::parse(*note);
        Paired& c = memory.watched.counts;
        memory.watched.version = json.at("version");
        memory.last_example = json.at("last_example");
        memory.last_prediction = json.at("last_prediction");
        memory.watched.drift = json.at("drift");
        std::tie(c.examples, c.parent_correct, c.candidate_correct, c.gained, c.lost, c.gained_apart, c.lost_apart) =
            json.at("counts").get<std::tuple<uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>>();
        memory.count = PairedCount(c);
        memory.errors = Adwin::from_state(info.training.drift_delta, json.at("errors").get<std::vector<double>>());
        memory.inputs = Adwin::from_state(info.training.drift_delta, json.at("inputs").get<std::vector<double>>());
      }
    } catch (const nlohmann::json::exception& error) {
      log::warn("learning", "what was watched of {} can't be read, it begins anew: {}", info.name, error.what());
      memory = Memory();
    }
  }
  if (memory.watched.version != info.version) {
    memory.watched.version = info.version;
    memory.watched.counts = {};
    memory.count = {};
  }
  SKERRY_ASSIGN(const std::vector<storage::ModelVersion> versions, store_.versions(info.name));
  memory.watched.predecessor = 0;
  for (const storage::ModelVersion& v : versions) {
    if (v.pinned && v.version != info.version) memory.watched.predecessor = v.version;
  }
  return &memory;
}

void Watch::compare(Memory& memory, const inference::LoadedModel& serving, const storage::Example& example, bool right) {
  const inference::PackageInfo& info = serving.package.info;
  if (!engine_.load(info.name, memory.watched.predecessor).ok()) return;  // warm already, but after a restart
  Result<int32_t> before = answer(engine_, info, memory.watched.predecessor, example.data);
  if (!before.ok()) return;
  std::lock_guard lock(mutex_);
  memory.count.add(example.series, example.window, *before == example.label, right);
  memory.watched.counts = memory.count.counts();
}

Status Watch::take_labels(const inference::LoadedModel& serving, Memory& memory, bool& changed) {
  const inference::PackageInfo& info = serving.package.info;
  SKERRY_ASSIGN(const storage::ExampleCounts fresh, store_.example_counts(info.name, storage::ExampleId{memory.last_example}));
  if (fresh.all() == 0) return {};
  SKERRY_ASSIGN(const std::vector<storage::Example> examples, store_.examples(info.name, std::min<size_t>(fresh.all(), kLabelsPerStep)));
  for (const storage::Example& example : examples) {
    if (number(example.id) <= memory.last_example) continue;
    memory.last_example = number(example.id);
    changed = true;
    Result<storage::Prediction> p = store_.prediction(example.prediction);
    if (!p.ok()) continue;
    const bool right = p->top == example.label;
    if (p->version == info.version && memory.watched.predecessor != 0 &&
        example.data.size() == info.window.fields.size() * static_cast<size_t>(info.window.rows)) {
      compare(memory, serving, example, right);
    }
    if (info.training.drift_delta <= 0 || !memory.errors.add(right ? 0 : 1) || memory.errors.mean() <= memory.errors.mean_before()) continue;
    std::lock_guard lock(mutex_);
    memory.watched.drift = fmt::format("errors rose from {:.1f} % to {:.1f} % of labelled windows", 100 * memory.errors.mean_before(), 100 * memory.errors.mean());
    log::info("learning", "{}: {}", info.name, memory.watched.drift);
  }
  return {};
}

Status Watch::take_inputs(const inference::LoadedModel& serving, Memory& memory, bool& changed) {
  const inference::PackageInfo& info = serving.package.info;
  if (info.training.drift_delta <= 0) return {};
  SKERRY_ASSIGN(const std::vector<storage::Prediction> recent, store_.predictions("", "", {}, kWindowsPerStep));
  for (auto p = recent.rbegin(); p != recent.rend(); ++p) {
    if (number(p->id) <= memory.last_prediction) continue;
    memory.last_prediction = number(p->id);
    changed = true;
    if (p->model != info.name || p->series.empty()) continue;
    Result<std::vector<float>> window = inference::read_window(store_, info.window, p->series, p->window);
    if (!window.ok() || !memory.inputs.add(distance(info.window, *window))) continue;
    std::lock_guard lock(mutex_);
    memory.watched.drift = fmt::format("inputs moved: their distance from the training data went from {:.2f} to {:.2f}", memory.inputs.mean_before(),
                                       memory.inputs.mean());
    log::info("learning", "{}: {}", info.name, memory.watched.drift);
  }
  return {};
}

Status Watch::save(const std::string& model, const Memory& memory) {
  const Paired& c = memory.watched.counts;
  storage::Effect effect;
  effect.durability = storage::Durability::interval;  // lost with power, it is counted again
  effect.notes.emplace_back(note_name(model),
                            nlohmann::json{{"version", memory.watched.version},
                                           {"last_example", memory.last_example},
                                           {"last_prediction", memory.last_prediction},
                                           {"drift", memory.watched.drift},
                                           {"counts", {c.examples, c.parent_correct, c.candidate_correct, c.gained, c.lost, c.gained_apart, c.lost_apart}},
                                           {"errors", memory.errors.state()},
                                           {"inputs", memory.inputs.state()}}
                                .dump());
  SKERRY_TRY(store_.commit(effect));
  return {};
}

Result<StageDecision> Watch::step(const inference::LoadedModel& serving) {
  const inference::PackageInfo& info = serving.package.info;
  SKERRY_ASSIGN(Memory * memory, remember(serving));
  bool changed = false;
  SKERRY_TRY(take_labels(serving, *memory, changed));
  SKERRY_TRY(take_inputs(serving, *memory, changed));
  if (changed) SKERRY_TRY(save(info.name, *memory));
  if (memory->watched.predecessor == 0) return StageDecision{StageOutcome::pass, "there is no version to go back to"};
  return decide_rollback(info.rollout, memory->watched.counts);
}

Watched Watch::watched(const std::string& model) const {
  std::lock_guard lock(mutex_);
  auto at = memories_.find(model);
  return at == memories_.end() ? Watched{} : at->second.watched;
}

Status Watch::trained(const std::string& model) {
  std::unique_lock lock(mutex_);
  auto at = memories_.find(model);
  if (at == memories_.end() || at->second.watched.drift.empty()) return {};
  at->second.watched.drift.clear();
  lock.unlock();
  return save(model, at->second);
}

}  // namespace skerry::learning
