// The whole configuration of a node, from TOML. Every mistake is reported at once with file, line, column and
// remedy; an unknown key is a mistake, with the nearest known name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "inference/options.h"
#include "learning/options.h"
#include "node/options.h"
#include "plugins/source.h"
#include "node/simulate/scenario.h"
#include "storage/options.h"
#include "sync/options.h"

namespace skerry::config {

struct SourceConfig {
  std::string name;
  double operator_share = 0;  // replay, simulate: this share of truths is given as labels, as an operator would
  std::variant<plugins::HostOptions, plugins::ReplayOptions, plugins::PumpOptions> options;
};

struct Config {
  node::Options node;
  storage::Options storage;
  inference::Options inference;
  learning::Options learning;
  sync::Options sync;
  log::Options log;
  std::vector<SourceConfig> sources;
};

struct Diagnostic {
  std::string file;
  uint32_t line = 0, column = 0;
  std::string message;       // what is wrong and what to write instead
  std::string text() const;  // "node.toml:12:3: message"
};

struct Parsed {
  Config config;
  std::vector<Diagnostic> diagnostics;  // empty: config is good
};

struct ParsedScenario {
  simulate::Scenario scenario;
  std::vector<Diagnostic> diagnostics;  // empty: scenario is good
};

struct ParsedPolicy {
  sync::Policy policy;
  std::vector<Diagnostic> diagnostics;  // empty: policy is good
};

// Every key at its default, with the folders still relative to node.data_dir.
Config defaults();
// node.data_dir is relative to the current folder; the other folders are relative to node.data_dir; replay data and
// programs are relative to the config file. A file over 1 MiB or with a syntax error gives one diagnostic.
Parsed parse(std::string_view toml, const std::filesystem::path& file);
// Error: not_found, or invalid with every diagnostic in the message.
Result<Config> load(const std::filesystem::path& file);
// A policy alone: [sync] with preset, class, bearer, window and rule and nothing else.
ParsedPolicy parse_policy(std::string_view toml, const std::filesystem::path& file);
// A scenario of `skerry simulate`; a trace's file is relative to `file`. Without any [[load]] there is one of a record a second.
ParsedScenario parse_scenario(std::string_view toml, const std::filesystem::path& file);
// The whole of a policy as TOML that parses back to it.
std::string show_policy(const sync::Policy& policy);
// The names of the presets, and their TOML; empty for an unknown one.
const std::vector<std::string>& presets();
std::string preset(const std::string& name);
// All keys with their defaults and what they mean, as TOML that parses back to the defaults.
std::string reference();

}  // namespace skerry::config
