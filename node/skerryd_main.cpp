// skerryd: reads the command line and the configuration, then runs the daemon.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/units.h"
#include "node/daemon.h"

int main(int argc, char** argv) {
  using namespace skerry;
  CLI::App app{"skerryd: takes in sensor data, answers with a model on the spot, learns from labels, and brings everything home when there is a link.\n"
               "Example: skerryd --config config/quickstart.toml --for 30s"};
  std::string config_file, run_for, hub;
  std::string data_dir;
  int port = -1;
  app.add_option("--config", config_file, "TOML file (see: skerry check-config --reference)")->required();
  app.add_option("--for", run_for, "end by itself after this time, e.g. 30s");
  app.add_option("--port", port, "port of the REST API instead of the configured one; 0: any free one")->check(CLI::Range(0, 65535));
  app.add_option("--data", data_dir, "data folder instead of the configured one");
  app.add_option("--hub", hub, "address of the hub instead of the configured one, e.g. http://hub.example:8470");
  CLI11_PARSE(app, argc, argv);

  node::DaemonOptions options;
  if (!run_for.empty()) {
    auto duration = parse_duration(run_for);
    if (!duration.ok()) {
      std::fprintf(stderr, "skerryd: --for: %s\n", duration.error().message.c_str());
      return 2;
    }
    options.run_for = *duration;
  }
  if (port >= 0) options.port = static_cast<uint16_t>(port);
  if (!data_dir.empty()) options.data_dir = data_dir;
  if (!hub.empty()) options.hub = hub;
  auto config = config::load(config_file);
  if (!config.ok()) {
    std::fprintf(stderr, "%s\n", config.error().message.c_str());
    return 2;
  }
  return node::run_daemon(node::apply(options, std::move(config).value()), options.run_for);
}
