#include "learning/trials.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "inference/pipeline.h"
#include "learning/provenance.h"

namespace skerry::learning {
namespace {

using storage::ModelState;

constexpr size_t kWindowsPerStep = 256;
constexpr size_t kLabelsPerStep = 1000;  // newer ones first, when more came at once

std::string note_name(const std::string& model) { return "trial/" + model; }

using Counts = std::array<uint32_t, 10>;

Counts to_counts(const ProbationCounts& p) {
  const Paired& l = p.live;
  return {p.gained, p.lost, p.contradicted, l.examples, l.parent_correct, l.candidate_correct, l.gained, l.lost, l.gained_apart, l.lost_apart};
}

Result<ProbationCounts> from_counts(const Counts& c) {
  const ProbationCounts out{c[0], c[1], {c[3], c[4], c[5], c[6], c[7], c[8], c[9]}, c[2]};
  if (!out.live.consistent()) return fail(Code::corrupt, "what was noted of its labels contradicts itself");
  return out;
}

Result<bool> answers_rightly(inference::Engine& engine, const inference::PackageInfo& info, uint32_t version, const storage::Example& example) {
  SKERRY_ASSIGN(inference::Answer answer, engine.infer(info.name, version, {inference::make_input(info.window, {&example.data})}));
  const std::vector<float> scores = answer.outputs.front().floats();
  return std::max_element(scores.begin(), scores.end()) - scores.begin() == example.label;
}

}  // namespace

Trials::Trials(storage::Store& store, inference::Engine& engine, Models& models, const Clock& clock)
    : store_(store), engine_(engine), models_(models), clock_(clock), watch_(store, engine), deltas_(store) {}

std::string Trials::encode(const Trial& t) {
  return nlohmann::json{{"model", t.model}, {"version", t.version}, {"parent", t.parent}, {"stage", static_cast<int>(t.stage)}, {"since", t.since_ns},
                        {"last_prediction", t.last_prediction}, {"windows", t.shadow.windows}, {"agreed", t.shadow.agreed}, {"failed", t.shadow.failed},
                        {"serving_labelled", t.serving_before.labelled}, {"serving_correct", t.serving_before.correct}, {"gate", t.gate_reason},
                        {"unproven", t.unproven}, {"last_example", t.last_example}, {"probation", to_counts(t.probation)}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<Trials::Trial> Trials::decode(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    Trial t;
    t.model = json.at("model");
    t.version = json.at("version");
    t.parent = json.at("parent");
    t.stage = static_cast<ModelState>(json.at("stage").get<int>());
    t.since_ns = json.at("since");
    t.last_prediction = json.at("last_prediction");
    t.shadow = {json.at("windows"), json.at("agreed"), json.at("failed")};
    t.serving_before.labelled = json.at("serving_labelled");
    t.serving_before.correct = json.at("serving_correct");
    t.gate_reason = json.at("gate");
    t.unproven = json.value("unproven", false);
    if (t.unproven) {
      t.last_example = json.at("last_example");
      SKERRY_ASSIGN(t.probation, from_counts(json.at("probation").get<Counts>()));
      t.live = PairedCount(t.probation.live);
    }
    return t;
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, "what was noted of it can't be read: {}", error.what());
  }
}

// What was on trial at the last stop goes on; a version without a note, or that can't be loaded any more, is rejected.
void Trials::recover() {
  Result<std::vector<storage::ModelVersion>> versions = store_.versions("");
  if (!versions.ok()) return;
  recovered_ = true;
  for (const storage::ModelVersion& v : *versions) {
    if (v.state != ModelState::shadow && v.state != ModelState::canary) continue;
    Result<std::optional<std::string>> note = store_.note(note_name(v.model));
    Result<Trial> trial = note.ok() && note->has_value() ? decode(**note) : Result<Trial>(fail(Code::corrupt, "nothing was noted of it"));
    if (trial.ok() && trial->version != v.version) trial = fail(Code::corrupt, "another version is on trial");
    Status loaded = trial.ok() ? engine_.load(v.model, v.version) : Status(trial.error());
    if (!loaded.ok()) {
      if (Status done = models_.reject(v.model, v.version, "its trial can't go on: " + loaded.error().message); !done.ok()) {
        log::warn("learning", "{}", done.error().message);
      }
      continue;
    }
    if (v.state == ModelState::canary) {
      if (auto model = engine_.find(v.model, v.version); model.ok()) {
        (void)engine_.set_trial(v.model, inference::Trial{v.version, (*model)->package.info.rollout.canary_share});
      }
    }
    std::lock_guard lock(mutex_);
    trials_[v.model] = std::move(*trial);
  }
}

bool Trials::has_room_for(const std::string& model, const Judged& judged) const {
  std::lock_guard lock(mutex_);
  const auto there = trials_.find(model);
  if (there == trials_.end() || judged.decision.pass) return true;
  if (!there->second.unproven) return false;
  const ProbationCounts& p = there->second.probation;
  return evidence(judged.holdout.gained_apart, judged.holdout.lost_apart) > evidence(p.gained + p.live.gained_apart, p.lost + p.live.lost_apart);
}

Status Trials::begin(storage::ModelVersion record, const Judged& judged, const std::string& delta, const std::string& residual, storage::Effect also) {
  SKERRY_TRY(engine_.load(record.model, record.version));
  if (auto there = trials_.find(record.model); there != trials_.end()) {
    SKERRY_TRY(refuse(there->second, "probation", fmt::format("{}; {}/{} takes its place", there->second.why, record.model, record.version)));
  }
  const std::string& gate_reason = judged.decision.reason;
  Trial trial;
  trial.model = record.model;
  trial.version = record.version;
  trial.parent = record.parent;
  trial.since_ns = clock_.now_ns();
  trial.gate_reason = gate_reason;
  trial.unproven = !judged.decision.pass;
  if (trial.unproven) {
    trial.probation.gained = judged.holdout.gained_apart;
    trial.probation.lost = judged.holdout.lost_apart;
    SKERRY_ASSIGN(const std::vector<storage::Example> newest, store_.examples(trial.model, 1));
    if (!newest.empty()) trial.last_example = number(newest.back().id);
  }
  record.state = ModelState::shadow;
  record.reason = gate_reason;
  record.changed_ns = clock_.now_ns();
  models_.decisions().add(also, {0, record.model, record.version, "gate", trial.unproven ? "unproven" : "passed", gate_reason});
  also.versions.push_back(std::move(record));
  if (!delta.empty()) deltas_.keep(also, trial.model, trial.version, delta, residual);
  also.notes.emplace_back(note_name(trial.model), encode(trial));
  SKERRY_TRY(store_.commit(also));
  {
    std::lock_guard lock(mutex_);
    trials_[trial.model] = trial;
  }
  step();  // without shadow and canary it serves at once
  return {};
}

void Trials::say(Trial& trial, const std::string& why) {
  std::lock_guard lock(mutex_);
  trial.why = why;
}

Status Trials::end(Trial& trial) {
  const std::string model = trial.model;
  std::lock_guard lock(mutex_);
  trials_.erase(model);
  return {};
}

Status Trials::refuse(Trial& trial, const std::string& step, const std::string& reason) {
  storage::Effect effect;
  effect.notes.emplace_back(note_name(trial.model), "");
  deltas_.forget(effect, trial.model, trial.version);
  models_.decisions().add(effect, {0, trial.model, trial.version, step, "refused", reason});
  (void)engine_.set_trial(trial.model, std::nullopt);
  SKERRY_TRY(models_.reject(trial.model, trial.version, reason, std::move(effect)));
  if (Status done = engine_.unload(trial.model, trial.version); !done.ok()) log::warn("learning", "{}", done.error().message);
  {
    std::lock_guard lock(mutex_);
    ++counts_.refused;
  }
  return end(trial);
}

Status Trials::promote(Trial& trial, const std::string& reason) {
  storage::Effect effect;
  effect.notes.emplace_back(note_name(trial.model), "");
  SKERRY_TRY(deltas_.queue(effect, trial.model, trial.version));
  SKERRY_TRY(models_.promote(trial.model, trial.version, reason, std::move(effect)));
  {
    std::lock_guard lock(mutex_);
    ++counts_.promoted;
  }
  return end(trial);
}

// The windows that the serving version answered, newest ones of the past included.
Status Trials::observe(Trial& trial, uint32_t windows_max) {
  SKERRY_ASSIGN(std::vector<storage::Prediction> recent, store_.predictions("", "", {}, kWindowsPerStep));
  SKERRY_ASSIGN(const auto shadow, engine_.find(trial.model, trial.version));
  const inference::PackageInfo& info = shadow->package.info;
  const uint64_t seen = trial.last_prediction;
  for (const storage::Prediction& p : recent) {
    if (number(p.id) <= seen || trial.shadow.windows >= windows_max) break;
    trial.last_prediction = std::max(trial.last_prediction, number(p.id));
    if (p.model != trial.model || p.version != trial.parent || p.series.empty()) continue;
    Result<std::vector<float>> window = inference::read_window(store_, info.window, p.series, p.window);
    if (!window.ok()) continue;
    Result<inference::Answer> answer = engine_.infer(trial.model, trial.version, {inference::make_input(info.window, {&*window})});
    ++trial.shadow.windows;
    if (!answer.ok()) {
      ++trial.shadow.failed;
      continue;
    }
    const std::vector<float> scores = answer->outputs.front().floats();
    trial.shadow.agreed += std::max_element(scores.begin(), scores.end()) - scores.begin() == p.top;
  }
  return {};
}

// Both versions answer the windows of the labels that came, but for those that the candidate was made with.
Status Trials::observe_labels(Trial& trial, const inference::PackageInfo& info) {
  SKERRY_ASSIGN(const storage::ExampleCounts fresh, store_.example_counts(trial.model, storage::ExampleId{trial.last_example}));
  if (fresh.all() == 0) return {};
  SKERRY_ASSIGN(const std::vector<uint64_t> used, used_by(store_, trial.model, trial.version));
  SKERRY_ASSIGN(const std::vector<storage::Example> examples, store_.examples(trial.model, std::min<size_t>(fresh.all(), kLabelsPerStep)));
  SKERRY_TRY(engine_.load(trial.model, trial.parent));
  for (const storage::Example& example : examples) {
    if (number(example.id) <= trial.last_example) continue;
    trial.last_example = number(example.id);
    const bool fits = example.data.size() == info.window.fields.size() * static_cast<size_t>(info.window.rows);
    if (!fits || std::binary_search(used.begin(), used.end(), number(example.prediction))) continue;
    SKERRY_ASSIGN(const bool parent, answers_rightly(engine_, info, trial.parent, example));
    SKERRY_ASSIGN(const bool candidate, answers_rightly(engine_, info, trial.version, example));
    trial.live.add(example.series, example.window, parent, candidate);
    trial.probation.contradicted += !parent && !candidate;
  }
  std::lock_guard lock(mutex_);
  trial.probation.live = trial.live.counts();
  return {};
}

Status Trials::advance_probation(Trial& trial, const inference::PackageInfo& info) {
  const uint64_t before = trial.last_example;
  SKERRY_TRY(observe_labels(trial, info));
  const StageDecision decision = decide_probation(info.rollout, info.gate, trial.probation, Duration(clock_.now_ns() - trial.since_ns));
  say(trial, decision.reason);
  if (decision.outcome == StageOutcome::refuse) return refuse(trial, "probation", decision.reason);
  if (decision.outcome == StageOutcome::wait && trial.last_example == before) return {};
  storage::Effect effect;
  Trial next = trial;
  if (decision.outcome == StageOutcome::pass) {
    next.unproven = false;
    next.since_ns = clock_.now_ns();
    next.gate_reason = fmt::format("{}; {}", trial.gate_reason, decision.reason);
    models_.decisions().add(effect, {0, trial.model, trial.version, "probation", "passed", decision.reason});
  } else {
    effect.durability = storage::Durability::interval;
  }
  effect.notes.emplace_back(note_name(trial.model), encode(next));
  SKERRY_TRY(store_.commit(effect));
  std::lock_guard lock(mutex_);
  trial = next;
  return {};
}

Status Trials::advance_shadow(Trial& trial, const inference::RolloutSpec& spec) {
  const uint32_t before = trial.shadow.windows;
  if (spec.shadow_windows > trial.shadow.windows) SKERRY_TRY(observe(trial, spec.shadow_windows));
  const StageDecision decision = decide_shadow(spec, trial.shadow, Duration(clock_.now_ns() - trial.since_ns));
  say(trial, decision.reason);
  if (decision.outcome == StageOutcome::refuse) return refuse(trial, "shadow", decision.reason);
  storage::Effect effect;
  if (decision.outcome == StageOutcome::wait) {
    if (trial.shadow.windows == before) return {};
    effect.durability = storage::Durability::interval;
  } else {
    if (spec.canary_share <= 0) return promote(trial, fmt::format("{}; {}", trial.gate_reason, decision.reason));
    Trial next = trial;
    next.stage = ModelState::canary;
    next.since_ns = clock_.now_ns();
    next.serving_before = store_.live_score(trial.model, trial.parent);
    models_.decisions().add(effect, {0, trial.model, trial.version, "shadow", "passed", decision.reason});
    effect.notes.emplace_back(note_name(trial.model), encode(next));
    SKERRY_TRY(models_.enter(trial.model, trial.version, ModelState::canary, decision.reason, std::move(effect)));
    SKERRY_TRY(engine_.set_trial(trial.model, inference::Trial{trial.version, spec.canary_share}));
    std::lock_guard lock(mutex_);
    trial = next;
    return {};
  }
  effect.notes.emplace_back(note_name(trial.model), encode(trial));
  SKERRY_TRY(store_.commit(effect));
  return {};
}

Status Trials::advance_canary(Trial& trial, const inference::RolloutSpec& spec) {
  const storage::LiveScore canary = store_.live_score(trial.model, trial.version);
  storage::LiveScore serving = store_.live_score(trial.model, trial.parent);
  serving.labelled -= std::min(serving.labelled, trial.serving_before.labelled);
  serving.correct -= std::min(serving.correct, trial.serving_before.correct);
  serving.correct = std::min(serving.correct, serving.labelled);  // a label of before that was changed meanwhile
  const StageDecision decision = decide_canary(spec, canary, serving, Duration(clock_.now_ns() - trial.since_ns));
  say(trial, decision.reason);
  if (decision.outcome == StageOutcome::refuse) return refuse(trial, "canary", decision.reason);
  if (decision.outcome == StageOutcome::wait) return {};
  return promote(trial, fmt::format("{}; {}", trial.gate_reason, decision.reason));
}

Status Trials::advance(Trial& trial) {
  const std::string name = trial.model;
  const std::optional<uint32_t> serving = engine_.serving(trial.model);
  if (serving == trial.version) {  // promoted by hand
    storage::Effect effect;
    effect.notes.emplace_back(note_name(trial.model), "");
    SKERRY_TRY(store_.commit(effect));
    return end(trial);
  }
  if (serving != trial.parent) return refuse(trial, trial.unproven ? "probation" : "shadow", fmt::format("its parent {}/{} no longer serves", trial.model, trial.parent));
  if (auto pinned = models_.pinned_by_hand(trial.model)) {
    say(trial, fmt::format("waits: {}/{} is pinned by hand", trial.model, *pinned));
    return {};
  }
  SKERRY_ASSIGN(const auto model, engine_.find(trial.model, trial.version));
  if (trial.unproven) {
    SKERRY_TRY(advance_probation(trial, model->package.info));
    if (trials_.count(name) == 0 || trials_.at(name).unproven) return {};
  }
  const inference::RolloutSpec& spec = model->package.info.rollout;
  return trial.stage == ModelState::canary ? advance_canary(trial, spec) : advance_shadow(trial, spec);
}

// What serves: is it better than what was before? And what of it the hub still has to get.
void Trials::look_after(const std::string& model) {
  auto serving = engine_.find(model, std::nullopt);
  if (!serving.ok()) return;
  const uint32_t version = (*serving)->package.info.version;
  if (Status queued = deltas_.step(model, version); !queued.ok()) log::warn("learning", "{}: {}", model, queued.error().message);
  Result<StageDecision> decision = watch_.step(**serving);
  if (!decision.ok()) {
    log::warn("learning", "{} is not watched just now: {}", model, decision.error().message);
    return;
  }
  if (decision->outcome != StageOutcome::refuse || models_.pinned_by_hand(model)) return;
  Result<uint32_t> back = models_.rollback(model, decision->reason);
  if (!back.ok()) {
    log::warn("learning", "{} can't be rolled back: {}", model, back.error().message);
    return;
  }
  std::lock_guard lock(mutex_);
  ++counts_.rolled_back;
}

void Trials::step() {
  if (!recovered_) recover();
  std::vector<std::string> under_way, serving;
  for (const auto& [model, trial] : trials_) under_way.push_back(model);
  for (const std::string& model : under_way) {
    Trial& trial = trials_.at(model);
    Status moved = advance(trial);
    if (moved.ok()) continue;
    const bool later = moved.error().code == Code::exhausted || moved.error().code == Code::unavailable;
    if (!later && trials_.count(model) > 0) moved = refuse(trial, trial.unproven ? "probation" : "shadow", moved.error().message);
    if (!moved.ok() && trials_.count(model) > 0) say(trial, moved.error().message);
  }
  for (const auto& loaded : engine_.loaded()) {
    const inference::PackageInfo& info = loaded->package.info;
    if (engine_.serving(info.name) == info.version) serving.push_back(info.name);
  }
  for (const std::string& model : serving) look_after(model);
}

bool Trials::under_way(const std::string& model) const {
  std::lock_guard lock(mutex_);
  const auto at = trials_.find(model);
  return at != trials_.end() && !at->second.unproven;
}

std::vector<TrialStatus> Trials::status() const {
  std::lock_guard lock(mutex_);
  std::vector<TrialStatus> out;
  for (const auto& [model, trial] : trials_) out.push_back({model, trial.version, trial.unproven ? "probation" : to_string(trial.stage), trial.why});
  return out;
}

TrialCounts Trials::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace skerry::learning
