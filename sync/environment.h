// What the Syncer is told about the world around it: the state of links and of the device. Each a function, so that node/ wires the real ones,
// and simulation and tests their own.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sync/link.h"
#include "sync/policy_options.h"

namespace skerry::sync {

class Downloads;

struct DeviceFacts {
  std::optional<double> battery;      // percent
  std::optional<bool> on_mains;
  std::optional<double> temperature;  // degrees Celsius, of the hottest zone
  std::optional<double> cpu_idle;     // share
};

struct Environment {
  std::function<std::vector<std::string>()> describe;      // the models line of each HELLO; may be empty
  std::function<LinkFacts(const BearerPolicy&)> link;      // empty: every bearer is up, nothing else is known
  std::function<DeviceFacts()> device;                     // empty: nothing is known
  Downloads* downloads = nullptr;                    // null: nothing is fetched; of the thread that steps, and outlives the Syncer
};

}  // namespace skerry::sync
