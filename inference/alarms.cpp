#include "inference/alarms.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace skerry::inference {
namespace {

double softmax_of(const std::vector<float>& scores, size_t index) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (float score : scores) sum += std::exp(score - largest);
  return std::exp(scores[index] - largest) / sum;
}

}  // namespace

std::vector<AlarmChange> judge(const PackageInfo& info, const std::vector<float>& scores, AlarmStates& states) {
  std::vector<AlarmChange> changes;
  for (const AlarmSpec& alarm : info.alarms) {
    const auto at = std::find(info.labels.begin(), info.labels.end(), alarm.label);
    if (at == info.labels.end()) continue;
    const auto index = static_cast<size_t>(at - info.labels.begin());
    const double score = alarm.softmax ? softmax_of(scores, index) : scores[index];
    AlarmState& state = states[alarm.label];
    const bool speaks_for_change = state.raised ? score < alarm.off : score >= alarm.on;
    state.windows = speaks_for_change ? state.windows + 1 : 0;
    if (state.windows < alarm.windows) continue;
    state = {!state.raised, 0};
    changes.push_back({alarm.label, state.raised, score});
  }
  return changes;
}

std::string alarm_note(const AlarmStates& states) {
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [label, state] : states) out[label] = {{"raised", state.raised}, {"windows", state.windows}};
  return out.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

Result<AlarmStates> read_alarm_note(const std::string& note) try {
  AlarmStates states;
  const auto parsed = nlohmann::json::parse(note);
  for (const auto& [label, state] : parsed.items()) states[label] = {state.at("raised").get<bool>(), state.at("windows").get<uint32_t>()};
  return states;
} catch (const nlohmann::json::exception& e) {
  return fail(Code::corrupt, "an alarm's state can't be read: {}", e.what());
}

}  // namespace skerry::inference
