// A policy as TOML that parses back to it.
#include "config/internal/policy_reader.h"

namespace skerry::config {
namespace {

template <typename T>
void show(std::string& out, const Section<T>& section, const T& value) {
  for (const Key<T>& key : section.keys) {
    const std::string text = key.show(value);
    if (!text.empty()) out += key.name + " = " + text + "\n";
  }
}

template <typename T>
std::string show_inline(const Section<T>& section, const T& value) {
  std::string out;
  for (const Key<T>& key : section.keys) {
    const std::string text = key.show(value);
    if (!text.empty() && text != "[]") out += (out.empty() ? " " : ", ") + key.name + " = " + text;
  }
  return out.empty() ? "{}" : "{" + out + " }";
}

std::string quoted_name(const std::string& name) {
  std::string out = "\"";
  for (char c : name) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

// The preset is part of the whole already: its name is kept as a remark, so that reading it does not bring it in once more.
std::string show_policy(const sync::Policy& policy) {
  sync::Policy plain = policy;
  plain.preset.clear();
  std::string out = policy.preset.empty() ? "" : "# based on the preset " + policy.preset + "\n";
  out += "[sync]\n";
  show(out, policy_section(), plain);
  for (const auto& [name, outbox_class] : class_names()) {
    out += "\n[sync.class." + name + "]\n";
    show(out, class_section(), of(policy, outbox_class));
  }
  for (const auto& bearer : policy.bearers) {
    out += "\n[[sync.bearer]]\n";
    show(out, bearer_section(), bearer);
  }
  for (const auto& window : policy.windows) {
    out += "\n[[sync.window]]\n";
    show(out, window_section(), window);
  }
  for (const auto& rule : policy.rules) {
    out += "\n[[sync.rule]]\nname = " + quoted_name(rule.name) + "\nwhen = " + show_inline(when_section(), rule.when) + "\nthen = " +
           show_inline(then_section(), rule.then) + "\n";
  }
  return out;
}

}  // namespace skerry::config
