// skerry check-config: every mistake of a file at once.
#include <cstdio>

#include "base/file.h"
#include "config/config.h"
#include "node/cli/print.h"

namespace skerry::cli {

int check_config(const Common& common, const CheckConfigOptions& options) {
  if (options.reference) {
    std::fputs(config::reference().c_str(), stdout);
    return 0;
  }
  if (options.file.empty()) return failed(common, fail(Code::invalid, "name a file, or write --reference for all keys with their defaults"));
  auto toml = read_file(options.file, 4 << 20);
  if (!toml.ok()) return failed(common, toml.error());
  config::Parsed parsed = config::parse(*toml, options.file);
  if (common.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& d : parsed.diagnostics) list.push_back({{"file", d.file}, {"line", d.line}, {"column", d.column}, {"message", d.message}});
    print_json({{"file", options.file}, {"good", parsed.diagnostics.empty()}, {"diagnostics", list}});
  } else {
    for (const auto& d : parsed.diagnostics) std::fprintf(stderr, "%s\n", d.text().c_str());
    if (parsed.diagnostics.empty()) print_line(options.file + " is good");
  }
  return parsed.diagnostics.empty() ? 0 : 1;
}

}  // namespace skerry::cli
