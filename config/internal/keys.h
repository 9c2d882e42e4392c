// The table of all keys: name, type and bounds, documentation, setter. Adding a key is adding one line to keys.cpp;
// parsing, the complaints about a wrong value and the reference follow from it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/internal/document.h"

namespace skerry::config {

template <typename Target>
struct Key {
  std::string name;
  std::string type;  // "duration, 1ms to 1h": for the reference
  std::string doc;
  std::function<std::string(const Target&)> show;  // its value as TOML
  std::function<std::optional<std::string>(const Value&, Target&)>
      set;  // what is wrong with the value, if anything
};

template <typename Target>
struct Section {
  std::string name;  // "storage", "storage.stream"
  std::string doc;
  std::vector<Key<Target>> keys;
};

enum class SourceType : uint8_t { host, replay, simulate };
inline const std::vector<std::string> kSourceTypes = {"host", "replay", "simulate"};

const std::vector<Section<Config>>& sections();
const Section<storage::StreamRule>& stream_section();
const Section<storage::OutboxRule>& outbox_section();
const Section<SourceConfig>& source_section(SourceType type);
SourceConfig default_source(SourceType type);

// `wanted` with few typing mistakes, or empty.
std::string nearest(const std::string& wanted, const std::vector<std::string>& known);

}  // namespace skerry::config
