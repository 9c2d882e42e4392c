// skerry simulate: a scenario played, reported, drawn and judged.
#include <cstdio>

#include "base/file.h"
#include "base/log.h"
#include "config/config.h"
#include "node/cli/print.h"
#include "node/simulate/simulate.h"

namespace skerry::cli {
namespace {

constexpr int kCannotRun = 2;
constexpr size_t kFileBytesMax = 1 << 20;

int cannot(const Common& common, const Error& error) {
  (void)failed(common, error);
  return kCannotRun;
}

Result<simulate::Scenario> read_scenario(const SimulateOptions& options) {
  SKERRY_ASSIGN(const std::string toml, read_file(options.scenario, kFileBytesMax));
  config::ParsedScenario parsed = config::parse_scenario(toml, options.scenario);
  if (!parsed.diagnostics.empty()) {
    std::string message;
    for (const auto& d : parsed.diagnostics) message += (message.empty() ? "" : "\n") + d.text();
    return Error{Code::invalid, std::move(message)};
  }
  if (!options.trace.empty()) parsed.scenario.trace = options.trace;
  if (options.days) parsed.scenario.length = Duration(static_cast<int64_t>(*options.days * 86400e9));
  return std::move(parsed.scenario);
}

Result<simulate::Report> play(const std::string& config_file, const simulate::Scenario& scenario, const SimulateOptions& options) {
  config::Config config = config::defaults();
  if (!config_file.empty()) {
    SKERRY_ASSIGN(config, config::load(config_file));
    if (!config.sync.policy_file.empty()) {
      SKERRY_ASSIGN(const std::string toml, read_file(config.sync.policy_file, kFileBytesMax));
      config::ParsedPolicy parsed = config::parse_policy(toml, config.sync.policy_file);
      if (!parsed.diagnostics.empty()) return fail(Code::invalid, "{}", parsed.diagnostics[0].text());
      config.sync.policy = parsed.policy;
    }
  }
  simulate::Options run{.seed = options.seed, .trace = {}};
  if (!scenario.trace.empty() && scenario.trace != "driving") {
    SKERRY_ASSIGN(run.trace, simulate::read_trace(scenario.trace));
  }
  return simulate::run(config, scenario, run);
}

Status draw(const std::string& file, const std::vector<std::pair<std::string, const simulate::Report*>>& reports) {
  if (file.empty()) return {};
  return write_file_atomic(file, simulate::to_svg(reports));
}

}  // namespace

int simulate(const Common& common, const SimulateOptions& options) {
  log::configure({.level = log::Level::off});
  auto scenario = read_scenario(options);
  if (!scenario.ok()) return cannot(common, scenario.error());
  auto a = play(options.config, *scenario, options);
  if (!a.ok()) return cannot(common, a.error());
  if (options.compare.empty()) {
    if (auto drawn = draw(options.svg, {{"", &*a}}); !drawn.ok()) return cannot(common, drawn.error());
    std::fputs((common.json ? simulate::to_json(*a) + "\n" : simulate::to_text(*a)).c_str(), stdout);
    return a->broken.empty() ? 0 : 1;
  }
  auto b = play(options.compare, *scenario, options);
  if (!b.ok()) return cannot(common, b.error());
  if (auto drawn = draw(options.svg, {{"A", &*a}, {"B", &*b}}); !drawn.ok()) return cannot(common, drawn.error());
  if (common.json) std::printf("{\"a\": %s,\n\"b\": %s}\n", simulate::to_json(*a).c_str(), simulate::to_json(*b).c_str());
  else std::fputs(simulate::to_text(*a, options.config, *b, options.compare).c_str(), stdout);
  return a->broken.empty() && b->broken.empty() ? 0 : 1;
}

}  // namespace skerry::cli
