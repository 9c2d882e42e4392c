// An action on predictions: an alarm is raised when the score of a label stays at or above its upper threshold for so many windows in a row,
// and ends when it stays below the lower one for as many.
// Threads: pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "inference/package.h"

namespace skerry::inference {

struct AlarmState {
  bool raised = false;
  uint32_t windows = 0;  // in a row that speak for a change
  bool operator==(const AlarmState&) const = default;
};
using AlarmStates = std::map<std::string, AlarmState>;  // by label, of one model on one series

struct AlarmChange {
  std::string label;
  bool raised = false;  // or ended
  double score = 0;     // of the window that decided
};

// The states after one more window; what changed.
std::vector<AlarmChange> judge(const PackageInfo& info, const std::vector<float>& scores, AlarmStates& states);

// As they are kept in a note of the store. Error: corrupt.
std::string alarm_note(const AlarmStates& states);
Result<AlarmStates> read_alarm_note(const std::string& note);

}  // namespace skerry::inference
