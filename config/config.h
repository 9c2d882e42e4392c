// The whole configuration of a node, from TOML. Every mistake is reported at once with file, line, column and remedy; an unknown key is a
// mistake, with the nearest known name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "inference/options.h"
#include "learning/options.h"
#include "node/options.h"
#include "plugins/source.h"
#include "storage/options.h"
#include "sync/options.h"

namespace skerry::config {

struct SourceConfig {
  std::string name;
  double operator_share = 0;     // replay, simulate: this share of truths is given as labels, as an operator would
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
  std::string message;           // what is wrong and what to write instead
  std::string text() const;      // "node.toml:12:3: message"
};

struct Parsed {
  Config config;
  std::vector<Diagnostic> diagnostics;  // empty: config is good
};

// Relative paths are taken relative to node.data_dir (folders) or to the config file (replay data).
Parsed parse(std::string_view toml, const std::filesystem::path& file);
// Error: not_found, or invalid with every diagnostic in the message.
Result<Config> load(const std::filesystem::path& file);

}  // namespace skerry::config
