#include "learning/labels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "inference/pipeline.h"
#include "learning/internal/hash.h"
#include "learning/provenance.h"
#include "storage/record_format.h"

namespace skerry::learning {
namespace {

constexpr size_t kPredictionsMax = 10'000;  // of one label: about five hours of windows at half a window a second
constexpr size_t kPerEffect = 200;          // bounded memory; a label that was cut short can be repeated without harm

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

Result<int32_t> label_index(const inference::PackageInfo& info, const std::string& label) {
  auto it = std::find(info.labels.begin(), info.labels.end(), label);
  if (it != info.labels.end()) return static_cast<int32_t>(it - info.labels.begin());
  int32_t index = -1;
  auto [end, code] = std::from_chars(label.data(), label.data() + label.size(), index);
  bool number = code == std::errc() && end == label.data() + label.size();
  if (number && index >= 0 && static_cast<size_t>(index) < info.labels.size()) return index;
  std::string known;
  for (const std::string& name : info.labels) known += (known.empty() ? "" : ", ") + name;
  return fail(Code::invalid, "'{}' is no label of {}: use one of {}", label.substr(0, 64), info.name, known);
}

}  // namespace

std::optional<storage::ExampleRole> example_role(const Options& options, const std::string& series, storage::TimeRange window) {
  const int64_t stretch = std::max<int64_t>(options.holdout_stretch.count(), 1);
  auto held_out = [&](int64_t index) {
    uint64_t hash = stable_hash(series, static_cast<uint64_t>(index));
    return static_cast<double>(hash >> 11) * 0x1.0p-53 < options.holdout_share;
  };
  const int64_t first = floor_div(window.from_ns, stretch), last = floor_div(window.to_ns - 1, stretch);
  if (last - first > 1000) return std::nullopt;  // a window longer than any sensible stretch
  const bool role = held_out(first);
  for (int64_t index = first + 1; index <= last; ++index) {
    if (held_out(index) != role) return std::nullopt;
  }
  return role ? storage::ExampleRole::holdout : storage::ExampleRole::train;
}

uint8_t trust_of(const Options& options, const std::string& source) {
  std::vector<std::string> trusted;
  std::stringstream in(options.trusted_sources);
  for (std::string name; std::getline(in, name, ',');) {
    const size_t from = name.find_first_not_of(' '), to = name.find_last_not_of(' ');
    if (from != std::string::npos) trusted.push_back(name.substr(from, to - from + 1));
  }
  const auto at = std::find(trusted.begin(), trusted.end(), source);
  return static_cast<uint8_t>(std::min<std::ptrdiff_t>(trusted.end() - at, 255));
}

uint8_t hardness_of(const std::vector<float>& scores, int32_t label) {
  if (scores.empty()) return 0;
  const auto top = std::max_element(scores.begin(), scores.end());
  if (top - scores.begin() != label) return 255;
  float next = -INFINITY;
  for (auto score = scores.begin(); score != scores.end(); ++score) {
    if (score != top) next = std::max(next, *score);
  }
  const double likelier = std::exp(static_cast<double>(next) - *top);  // of softmax: the second class against the first
  return likelier > 0 && likelier <= 1 ? static_cast<uint8_t>(254 * likelier) : uint8_t{0};
}

Labels::Labels(storage::Store& store, inference::Engine& engine, const Options& options, const Clock& clock)
    : store_(store), engine_(engine), options_(options), clock_(clock) {}

Result<std::string> Labels::the_model(const std::string& asked) const {
  if (!asked.empty()) return asked;
  std::string model;
  for (const auto& m : engine_.loaded()) {
    if (!model.empty() && model != m->package.info.name) return fail(Code::invalid, "several models serve: name the one that the label is about");
    model = m->package.info.name;
  }
  return model;
}

// Newest first.
Result<std::vector<storage::Prediction>> Labels::select(const LabelRequest& request) const {
  std::vector<storage::Prediction> predictions;
  if (request.prediction) {
    SKERRY_ASSIGN(storage::Prediction p, store_.prediction(storage::PredictionId{*request.prediction}));
    predictions.push_back(std::move(p));
    return predictions;
  }
  SKERRY_ASSIGN(const std::string model, the_model(request.model));
  if (request.series.empty()) return fail(Code::invalid, "a label needs a prediction id, or a series and a time range");
  if (request.range.from_ns >= request.range.to_ns) return fail(Code::invalid, "the label's range is empty: 'from' must lie before 'to'");
  SKERRY_ASSIGN(predictions, store_.predictions(model, request.series, request.range, kPredictionsMax + 1));
  if (predictions.empty()) {
    return fail(Code::not_found, "no prediction of '{}' on {} lies wholly between {} and {}", model, request.series,
                format_time(request.range.from_ns), format_time(request.range.to_ns));
  }
  if (predictions.size() > kPredictionsMax) {
    return fail(Code::invalid, "more than {} predictions lie in the range: label it in parts", kPredictionsMax);
  }
  return predictions;
}

Result<WithdrawOutcome> Labels::withdraw(const LabelRequest& request) {
  std::lock_guard one_at_a_time(mutex_);
  SKERRY_ASSIGN(const std::vector<storage::Prediction> predictions, select(request));
  const uint8_t trust = trust_of(options_, request.source);
  WithdrawOutcome outcome;
  std::vector<uint64_t> withdrawn;
  for (size_t from = 0; from < predictions.size(); from += kPerEffect) {
    storage::Effect effect;
    for (size_t i = from; i < std::min(predictions.size(), from + kPerEffect); ++i) {
      const storage::Prediction& p = predictions[i];
      withdrawn.push_back(number(p.id));
      if (p.label < 0) continue;  // nothing was said, or it was taken back before
      if (trust < p.label_trust) {
        ++outcome.overruled;
        continue;
      }
      storage::Label label;
      label.model = p.model;
      label.prediction = p.id;
      label.series = p.series;
      label.window = p.window;
      label.value = storage::kWithdrawn;
      label.trust = trust;
      label.source = request.source.substr(0, kNameBytesMax);
      label.at_ns = clock_.now_ns();
      effect.labels.push_back(std::move(label));
    }
    if (!effect.labels.empty()) SKERRY_TRY(store_.commit(effect));
    outcome.predictions += static_cast<uint32_t>(effect.labels.size());
  }
  SKERRY_ASSIGN(outcome.versions, versions_that_used(store_, predictions.front().model, std::move(withdrawn)));
  return outcome;
}

Result<std::vector<Proposal>> Labels::next(const std::string& model, size_t count_max) const {
  SKERRY_ASSIGN(const std::string name, the_model(model));
  SKERRY_TRY(engine_.find(name, std::nullopt));
  SKERRY_ASSIGN(const std::vector<storage::Prediction> newest, store_.predictions(name, "", {}, kPredictionsMax));
  return choose_next(newest, count_max);
}

Result<LabelOutcome> Labels::apply(const LabelRequest& request) {
  std::lock_guard one_at_a_time(mutex_);
  SKERRY_ASSIGN(std::vector<storage::Prediction> predictions, select(request));
  SKERRY_ASSIGN(auto model, engine_.find(predictions.front().model, std::nullopt));
  const inference::PackageInfo& info = model->package.info;
  SKERRY_ASSIGN(int32_t value, label_index(info, request.label));

  const uint8_t trust = trust_of(options_, request.source);
  LabelOutcome outcome;
  std::reverse(predictions.begin(), predictions.end());  // oldest first, as they happened
  for (size_t from = 0; from < predictions.size(); from += kPerEffect) {
    storage::Effect effect;
    LabelOutcome part;
    for (size_t i = from; i < std::min(predictions.size(), from + kPerEffect); ++i) {
      const storage::Prediction& p = predictions[i];
      ++part.predictions;
      part.correct += p.top == value;
      if (p.label == value && trust <= p.label_trust) continue;  // said before
      storage::Label label;
      label.model = p.model;
      label.prediction = p.id;
      label.series = p.series;
      label.window = p.window;
      label.value = value;
      label.trust = trust;
      label.source = request.source.substr(0, kNameBytesMax);
      label.at_ns = clock_.now_ns();
      effect.labels.push_back(std::move(label));
      if (p.label >= 0 && trust < p.label_trust) {
        ++part.overruled;
        continue;
      }
      auto role = p.series.empty() ? std::nullopt : example_role(options_, p.series, p.window);
      if (!role) continue;
      auto data = inference::read_window(store_, info.window, p.series, p.window);
      if (!data.ok()) {  // its records are gone: the answer is scored, there is nothing to learn from
        if (data.error().code == Code::not_found || data.error().code == Code::invalid) continue;
        return data.error();
      }
      storage::Example example;
      example.model = p.model;
      example.series = p.series;
      example.window = p.window;
      example.data = std::move(*data);
      example.channels = static_cast<uint32_t>(info.window.fields.size());
      example.label = value;
      example.role = *role;
      example.prediction = p.id;
      example.at_ns = clock_.now_ns();
      example.hardness = hardness_of(p.scores, value);
      effect.examples.push_back(std::move(example));
      ++part.examples;
    }
    if (!effect.labels.empty()) SKERRY_TRY(store_.commit(effect));
    outcome.predictions += part.predictions;
    outcome.examples += part.examples;
    outcome.correct += part.correct;
    outcome.overruled += part.overruled;
  }
  return outcome;
}

}  // namespace skerry::learning
