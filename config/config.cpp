#include "config/config.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/file.h"
#include "config/internal/document.h"
#include "config/internal/keys.h"
#include "config/internal/policy_reader.h"
#include "config/internal/reader.h"

namespace skerry::config {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSourcesMax = 64, kStreamRulesMax = 1024;

class Parser : Reader {
 public:
  Parser(Parsed& out, const fs::path& file) : Reader(out.diagnostics, file), out_(out), file_(file) {}

  void parse(std::string_view toml) {
    auto document = read_document(toml);
    if (const auto* syntax = std::get_if<SyntaxError>(&document)) {
      complain(syntax->at, syntax->message);
      return;
    }
    const Table& root = *std::get<Value>(document).as<Table>();
    for (const Member& m : root) top_level(m);
    check_together();
    resolve_paths();
  }

 private:
  void top_level(const Member& m) {
    const Value& value = m.value.front();
    if (m.key == "source") return sources(m.at, value);
    std::vector<std::string> tables = {"source"};
    for (const Section<Config>& section : sections()) {
      if (section.name == m.key) return table(section, m.at, value);
      tables.push_back(section.name);
    }
    if (value.as<Table>() != nullptr || value.as<Array>() != nullptr) {
      const std::string near = nearest(m.key, tables);
      complain(m.at, near.empty()
                         ? fmt::format("unknown table [{}]: known are {}", m.key.substr(0, 64), listed(tables))
                         : fmt::format("unknown table [{}]: did you mean [{}]?", m.key.substr(0, 64), near));
    } else {
      complain(m.at, fmt::format("'{}' stands outside of any table{}", m.key.substr(0, 64), home_of(m.key)));
    }
  }

  void table(const Section<Config>& section, Place at, const Value& value) {
    const Table* table = value.as<Table>();
    if (table == nullptr) {
      complain(at, fmt::format("'{}' is a table: begin it with a line [{}]", section.name, section.name));
      return;
    }
    Table rest;
    for (const Member& m : *table) {
      if (section.name == "storage" && m.key == "stream")
        stream_rules(m.at, m.value.front());
      else if (section.name == "storage" && m.key == "outbox")
        outbox_rules(m.at, m.value.front());
      else if (section.name != "sync" || !is_policy_key(m.key))
        rest.push_back(m);
    }
    if (section.name == "sync") read_policy(*this, *table, out_.config.sync.policy);
    fill(rest, section, out_.config, [this](const std::string& key) { return home_of(key); });
  }

  // ": it belongs to [http]" when some table has a key of that name, else nothing.
  std::string home_of(const std::string& key) const {
    std::vector<std::string> homes;
    for (const Section<Config>& section : sections()) {
      const std::vector<std::string> known = names_of(section);
      if (std::find(known.begin(), known.end(), key) != known.end()) homes.push_back("[" + section.name + "]");
    }
    return homes.empty() ? "" : ": it belongs to " + listed(homes);
  }

  void stream_rules(Place at, const Value& value) {
    std::set<std::string> seen;
    bool everything = false;
    for (const Value* item : array_of_tables("storage.stream", at, value, kStreamRulesMax)) {
      const Table& table = *item->as<Table>();
      storage::StreamRule rule;
      fill(table, stream_section(), rule, [](const std::string&) { return ""; });
      if (find(table, "name") == nullptr) {
        complain(item->at, "storage.stream: 'name' is missing: which streams, e.g. name = \"imu\"");
        continue;
      }
      if (!seen.insert(rule.name).second) {
        complain(find(table, "name")->at,
                 fmt::format("a second rule for the stream '{}': the first one wins, remove one", rule.name));
      } else if (everything) {
        complain(find(table, "name")->at,
                 fmt::format("the rule for '{}' comes after \"*\", so it never applies: move it up", rule.name));
      }
      everything |= rule.name == "*";
      out_.config.storage.streams.push_back(std::move(rule));
    }
  }

  void outbox_rules(Place at, const Value& value) {
    std::set<storage::OutboxClass> seen;
    for (const Value* item : array_of_tables("storage.outbox", at, value, std::size(storage::kOutboxClasses) * 2)) {
      const Table& table = *item->as<Table>();
      storage::OutboxRule rule;
      fill(table, outbox_section(), rule, [](const std::string&) { return ""; });
      if (find(table, "class") == nullptr) {
        complain(item->at, "storage.outbox: 'class' is missing: which entries, e.g. class = \"telemetry\"");
        continue;
      }
      if (!seen.insert(rule.outbox_class).second) {
        complain(find(table, "class")->at, "a second rule for this class: remove one");
        continue;
      }
      out_.config.storage.outbox.push_back(rule);
    }
  }

  void sources(Place at, const Value& value) {
    std::set<std::string> seen;
    for (const Value* item : array_of_tables("source", at, value, kSourcesMax)) {
      const Table& table = *item->as<Table>();
      const std::optional<SourceType> type = source_type(*item);
      if (!type) continue;
      SourceConfig source = default_source(*type);
      Table rest;
      for (const Member& m : table) {
        if (m.key != "type") rest.push_back(m);
      }
      fill(rest, source_section(*type), source, [&](const std::string& key) { return source_of(key); });
      if (*type == SourceType::replay && find(table, "path") == nullptr) {
        complain(item->at, "source: 'path' is missing: what shall be played, e.g. path = \"data.csv\"");
      }
      if (!seen.insert(source.name).second) {
        const Value* name = find(table, "name");
        complain(name != nullptr ? name->at : item->at,
                 fmt::format("two sources are named '{}': give each its own name", source.name));
      }
      finish(source);
      out_.config.sources.push_back(std::move(source));
    }
  }

  std::optional<SourceType> source_type(const Value& item) {
    const Value* type = find(*item.as<Table>(), "type");
    const std::string choices = "write type = \"host\", \"replay\" or \"simulate\"";
    if (type == nullptr) {
      complain(item.at, "source: 'type' is missing: " + choices);
      return {};
    }
    const std::string* name = type->as<std::string>();
    for (size_t i = 0; name != nullptr && i < kSourceTypes.size(); ++i) {
      if (kSourceTypes[i] == *name) return static_cast<SourceType>(i);
    }
    const std::string near = name != nullptr ? nearest(*name, kSourceTypes) : "";
    complain(type->at, near.empty()
                           ? "source.type: " + choices
                           : fmt::format("source.type: unknown type '{}': did you mean \"{}\"?", *name, near));
    return {};
  }

  static std::string source_of(const std::string& key) {
    std::vector<std::string> types;
    for (size_t i = 0; i < kSourceTypes.size(); ++i) {
      const std::vector<std::string> known = names_of(source_section(static_cast<SourceType>(i)));
      if (std::find(known.begin(), known.end(), key) != known.end()) types.push_back("\"" + kSourceTypes[i] + "\"");
    }
    return types.empty() ? "" : ": it belongs to sources of type " + listed(types);
  }

  // Truths are computed only where somebody plays the operator; replayed files lie beside the configuration.
  void finish(SourceConfig& source) const {
    if (auto* replay = std::get_if<plugins::ReplayOptions>(&source.options)) {
      replay->labels = source.operator_share > 0;
      if (!replay->path.empty()) replay->path = beside_file(replay->path);
    } else if (auto* pump = std::get_if<plugins::PumpOptions>(&source.options)) {
      pump->labels = source.operator_share > 0;
    }
  }

  // Keys that make sense only in view of each other. The complaint stands at whichever of the two is given.
  void check_together() {
    auto ordered = [&](const std::string& table, const char* small, const char* large, bool holds) {
      if (holds) return;
      auto at = places_.find(table + "." + large);
      if (at == places_.end()) at = places_.find(table + "." + small);
      complain(at != places_.end() ? at->second : Place{1, 1},
               fmt::format("{}.{} must not be larger than {}: change one of them", table, small, large));
    };
    const Config& c = out_.config;
    ordered("learning", "idle_cpu_below", "busy_cpu_above", c.learning.idle_cpu_below <= c.learning.busy_cpu_above);
    ordered("learning", "idle_celsius_below", "busy_celsius_above", c.learning.idle_celsius_below <= c.learning.busy_celsius_above);
    ordered("learning", "idle_requests_below", "busy_requests_above",
            c.learning.idle_requests_below <= c.learning.busy_requests_above);
    ordered("sync", "backoff_min", "backoff_max", c.sync.backoff_min <= c.sync.backoff_max);
  }

  fs::path beside_file(const fs::path& path) const {
    return path.is_absolute() ? path : (file_.parent_path() / path).lexically_normal();
  }

  void resolve_paths() {
    Config& c = out_.config;
    for (fs::path* folder : {&c.storage.path, &c.inference.models, &c.learning.jobs}) {
      *folder = (c.node.data_dir / *folder).lexically_normal();  // an absolute one stays
    }
    for (fs::path* program : {&c.inference.torch_runtime, &c.learning.worker}) {
      if (!program->empty()) *program = beside_file(*program);
    }
    for (std::string* path : {&c.sync.policy_file, &c.sync.proofs.ca, &c.sync.proofs.certificate, &c.sync.proofs.key, &c.sync.proofs.token}) {
      if (!path->empty()) *path = beside_file(*path).string();
    }
    c.storage.node = c.node.name;
  }

  Parsed& out_;
  const fs::path file_;
};

}  // namespace

ParsedPolicy parse_policy(std::string_view toml, const fs::path& file) {
  ParsedPolicy out;
  Reader reader(out.diagnostics, file);
  auto document = read_document(toml);
  if (const auto* syntax = std::get_if<SyntaxError>(&document)) {
    reader.complain(syntax->at, syntax->message);
    return out;
  }
  for (const Member& m : *std::get<Value>(document).as<Table>()) {
    const Table* table = m.value.front().as<Table>();
    if (m.key != "sync" || table == nullptr) {
      reader.complain(m.at, fmt::format("'{}' is not part of a policy: a policy is [sync] with preset, class, bearer, window and rule", m.key.substr(0, 64)));
      continue;
    }
    for (const Member& key : *table) {
      if (is_policy_key(key.key)) continue;
      const std::string near = nearest(key.key, policy_key_names());
      reader.complain(key.at, near.empty() ? fmt::format("unknown key '{}' in a policy: known are {}", key.key.substr(0, 64), listed(policy_key_names()))
                                           : fmt::format("unknown key '{}' in a policy: did you mean '{}'?", key.key.substr(0, 64), near));
    }
    read_policy(reader, *table, out.policy);
  }
  return out;
}

std::string Diagnostic::text() const { return fmt::format("{}:{}:{}: {}", file, line, column, message); }

Config defaults() {
  Config out;
  out.storage.path = "store";  // in data_dir
  out.inference.models = "models";
  out.learning.jobs = "jobs";
  return out;
}

Parsed parse(std::string_view toml, const fs::path& file) {
  Parsed out{defaults(), {}};
  Parser(out, file).parse(toml);
  std::stable_sort(out.diagnostics.begin(), out.diagnostics.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  return out;
}

Result<Config> load(const fs::path& file) {
  Result<std::string> text = read_file(file, kFileBytesMax);
  if (!text && text.error().code == Code::exhausted) {
    return fail(Code::invalid, "{}: larger than {} bytes: this is not a configuration", file.string(),
                kFileBytesMax);
  }
  if (!text) return text.error();
  Parsed parsed = parse(*text, file);
  if (parsed.diagnostics.empty()) return std::move(parsed.config);
  std::string message;
  for (const Diagnostic& d : parsed.diagnostics) message += (message.empty() ? "" : "\n") + d.text();
  return Error{Code::invalid, std::move(message)};
}

}  // namespace skerry::config
