// The documentation of all keys, from the table that parses them: it can't be out of date.
#include <sstream>

#include "config/config.h"
#include "config/internal/keys.h"
#include "config/internal/policy_reader.h"

namespace skerry::config {
namespace {

void comment(std::string& out, const std::string& text) {
  constexpr size_t kWidth = 110;
  std::istringstream words(text);
  std::string line, word;
  while (words >> word) {
    if (!line.empty() && line.size() + 1 + word.size() > kWidth) {
      out += "# " + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  out += "# " + line + "\n";
}

// `off`: put before a line of TOML that is only an example.
template <typename T>
void keys(std::string& out, const Section<T>& section, const T& values, const std::string& off) {
  for (const Key<T>& key : section.keys) {
    comment(out, fmt::format("{} ({})", key.doc, key.type));
    out += off + key.name + " = " + key.show(values) + "\n";
  }
}

// Rules of a policy have keys that are left out when nothing is said: shown with an example each.
template <typename T>
void rule_keys(std::string& out, const Section<T>& section) {
  comment(out, fmt::format("{}: {}", section.name, section.doc));
  for (const Key<T>& key : section.keys) comment(out, fmt::format("  {}: {} ({})", key.name, key.doc, key.type));
}

void policy(std::string& out) {
  const sync::Policy values;
  comment(out, policy_section().doc);
  keys(out, policy_section(), values, "");
  out += "\n";
  comment(out, class_section().doc);
  out += "#[" + class_section().name + "]\n";
  keys(out, class_section(), sync::ClassPolicy{.price_max = 1, .temperature_max = 80}, "#");
  out += "\n";
  comment(out, bearer_section().doc);
  out += "#[[sync.bearer]]\n";
  sync::BearerPolicy bearer;
  bearer.technology = sync::Technology::lte;
  bearer.metered = true;
  keys(out, bearer_section(), bearer, "#");
  out += "\n";
  comment(out, window_section().doc);
  out += "#[[sync.window]]\n";
  keys(out, window_section(), sync::TransferWindow{.name = "night", .times = {60, 300}}, "#");
  out += "\n";
  comment(out, "A rule: name, when and then. Rules are looked at in their order, before those of the preset.");
  rule_keys(out, when_section());
  rule_keys(out, then_section());
  out += "#[[sync.rule]]\n#name = \"save the battery\"\n#when = { class = [\"model\", \"diagnostics\"], battery_below = 30 }\n#then = { send = \"wait\" }\n";
}

}  // namespace

std::string reference() {
  std::string out;
  comment(out,
          "Every key of a node's configuration with its default. Sizes are texts like \"64 MiB\", durations like "
          "\"250ms\", \"30s\" or \"48h\". "
          "Lines that begin with '#' and no space are examples: remove the '#' to use them.");
  const Config values = defaults();
  for (const Section<Config>& section : sections()) {
    out += "\n";
    comment(out, section.doc);
    out += "[" + section.name + "]\n";
    keys(out, section, values, "");
    if (section.name == "sync") policy(out);
    if (section.name != "storage") continue;
    out += "\n";
    comment(out, stream_section().doc);
    out += "#[[storage.stream]]\n";
    keys(out, stream_section(), storage::StreamRule{}, "#");
    out += "\n";
    comment(out, outbox_section().doc);
    out += "#[[storage.outbox]]\n";
    keys(out, outbox_section(), storage::OutboxRule{}, "#");
  }
  for (size_t i = 0; i < kSourceTypes.size(); ++i) {
    const auto type = static_cast<SourceType>(i);
    SourceConfig source = default_source(type);
    if (auto* replay = std::get_if<plugins::ReplayOptions>(&source.options)) replay->path = "data.csv";
    out += "\n";
    comment(out, source_section(type).doc);
    out += "#[[source]]\n#type = \"" + kSourceTypes[i] + "\"\n";
    keys(out, source_section(type), source, "#");
  }
  return out;
}

}  // namespace skerry::config
