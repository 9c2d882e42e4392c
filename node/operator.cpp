#include <algorithm>

#include "base/log.h"
#include "node/internal/operator.h"

namespace skerry::node {
namespace {

constexpr size_t kWaitingMax = 4096;

// The serving models whose windows are cut from this series.
std::vector<std::string> models_about(const inference::Engine& engine, const std::string& series_text) {
  std::vector<std::string> out;
  auto series = Series::parse(series_text);
  if (!series.ok()) return out;
  for (const auto& model : engine.loaded()) {
    const auto& info = model->package.info;
    if (info.window.stream == series->name && engine.serving(info.name) == info.version) out.push_back(info.name);
  }
  return out;
}

}  // namespace

void Operator::take(const std::vector<Batch>& batches, const std::vector<plugins::Truth>& truths, uint64_t ingest) {
  if (share_ <= 0) return;
  for (const Batch& batch : batches) {
    if (batch.times.empty()) continue;
    int64_t last = *std::max_element(batch.times.begin(), batch.times.end());
    auto [at, is_new] = newest_.try_emplace(batch.series.text(), last);
    if (!is_new) at->second = std::max(at->second, last);
  }
  for (const plugins::Truth& truth : truths) {
    if (!random_.chance(share_)) continue;
    if (waiting_.size() >= kWaitingMax) {
      waiting_.pop_front();
      ++dropped_;
    }
    waiting_.push_back({truth, ingest});
  }
}

bool Operator::due(const Waiting& waiting, uint64_t passed) const {
  if (waiting.ingest > passed) return false;
  auto newest = newest_.find(waiting.truth.series);
  return finished_ || (newest != newest_.end() && newest->second >= waiting.truth.to_ns - 1);
}

bool Operator::step(learning::Labels& labels, const inference::Engine& engine, uint64_t passed, size_t count_max) {
  size_t looked = 0;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    if (looked == count_max) return true;
    if (!due(*at, passed)) {
      ++at;
      continue;
    }
    ++looked;
    bool matched = false, again = false;
    for (const std::string& model : models_about(engine, at->truth.series)) {
      auto outcome = labels.apply({.prediction = std::nullopt,
                                   .model = model,
                                   .series = at->truth.series,
                                   .range = {at->truth.from_ns, at->truth.to_ns},
                                   .label = at->truth.label});
      if (outcome.ok()) {
        matched = true;
        given_ += outcome->predictions;
      } else if (outcome.error().code == Code::unavailable || outcome.error().code == Code::exhausted) {
        again = true;
      } else if (outcome.error().code != Code::not_found) {
        log::warn("operator", "a truth of {} is no label: {}", at->truth.series, outcome.error().message);
      }
    }
    if (again) return false;  // the store refuses for now: everything waits
    if (!matched) ++unmatched_;
    at = waiting_.erase(at);
  }
  return false;
}

}  // namespace skerry::node
