// skerry sync: what goes to the hub, why not, and the policy that says so.
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "base/units.h"
#include "config/config.h"
#include "node/cli/api.h"
#include "node/cli/print.h"

namespace skerry::cli {
namespace {

using nlohmann::json;

constexpr size_t kPolicyBytesMax = 1 << 20;

// "over wwan0: lte says ModemManager, registered: home, RSRP -101 dBm, SNR 7 dB, metered says NetworkManager". Empty when only the kernel is known.
std::string link_text(const json& b) {
  std::vector<std::string> parts;
  auto add = [&](std::string said, const char* from) { parts.push_back(std::move(said) + " says " + b.value(from, "")); };
  if (b.value("technology_from", "kernel") != "kernel" && !b.value("technology_from", "").empty()) add(b.value("technology", ""), "technology_from");
  if (!b.value("registration", "").empty()) {
    parts.push_back("registered: " + b.value("registration", "") + (b.value("operator", "").empty() ? "" : " with " + b.value("operator", "")));
  }
  if (!b.value("apn", "").empty()) parts.push_back("APN " + b.value("apn", ""));
  for (auto [key, name, unit] : {std::tuple{"rsrp_dbm", "RSRP", "dBm"}, {"rsrq_db", "RSRQ", "dB"}, {"snr_db", "SNR", "dB"}}) {
    if (b.value(key, json()).is_number()) parts.push_back(fmt::format("{} {:g} {}", name, b.at(key).get<double>(), unit));
  }
  if (b.value("metered", json()).is_boolean()) add(b.at("metered").get<bool>() ? "metered" : "not metered", "metered_from");
  if (b.value("roaming", json()) == json(true)) parts.push_back("roaming");
  if (!b.value("connectivity", "").empty()) parts.push_back("connectivity: " + b.value("connectivity", ""));
  if (parts.empty()) return {};
  return fmt::format("over {}: {}", b.value("device", ""), fmt::join(parts, ", "));
}

void print_bearers(const json& s) {
  for (const json& b : s.value("bearers", json::array())) {
    const json month = b.value("month", json::object());
    const uint64_t budget = month.value("budget", uint64_t{0});
    print_line(fmt::format("bearer  {}: {}{}, {} this month{}, {:.0f} kB/s, cost {:.2f}", text(b.at("name")), b.value("online", false) ? "online" : "offline",
                           text(b.at("technology")) == "unknown" ? "" : ", " + text(b.at("technology")), format_bytes(month.value("bytes", uint64_t{0})),
                           budget == 0 ? "" : " of " + format_bytes(budget), b.value("goodput_bytes_per_second", 0.0) / 1e3, b.value("cost", 0.0)));
    if (const std::string link = link_text(b); !link.empty()) print_line("        " + link);
    const json purposes = b.value("purposes", json::object());  // items() refers to it
    for (const auto& [purpose, bytes] : purposes.items()) {
      print_line(fmt::format("        {:<12}{} up, {} down in {} exchanges", purpose, format_bytes(bytes.value("sent", uint64_t{0})),
                             format_bytes(bytes.value("received", uint64_t{0})), thousands(bytes.value("exchanges", uint64_t{0}))));
    }
  }
}

void print_sync(const json& s) {
  std::string link = s.value("held", false) ? "held back by hand (skerry sync resume)" : s.value("online", false) ? "online" : "offline";
  print_line(fmt::format("link    {} to {}{}", s.value("enabled", false) ? link : "sync is off", text(s.at("hub")),
                         s.value("last_error", "").empty() ? "" : ": " + s.value("last_error", "")));
  print_line(fmt::format("sent    {} records in {} batches ({} repeated), {} up, {} down", thousands(s.value("records", uint64_t{0})),
                         thousands(s.value("batches", uint64_t{0})), thousands(s.value("repeated", uint64_t{0})),
                         format_bytes(s.value("bytes_sent", uint64_t{0})), format_bytes(s.value("bytes_received", uint64_t{0}))));
  print_bearers(s);
  std::vector<std::vector<std::string>> table(1, {"class", "waiting", "bytes", "oldest", "now"});
  for (const json& c : s.at("outbox").at("classes")) {
    std::string reason = "-";
    for (const json& d : s.at("decisions")) {
      if (d.at("class") == c.at("class")) reason = fmt::format("{}: {}", d.value("send", false) ? "sending" : "waiting", text(d.at("reason")));
    }
    table.push_back({text(c.at("class")), text(c.at("entries")), format_bytes(c.value("bytes", uint64_t{0})), text(c.at("oldest")), reason});
  }
  print_table(table);
}

std::string when_text(const json& d) {
  if (d.at("not_before_seconds").is_null()) return "when that changes";
  return "in " + format_duration(Duration(static_cast<int64_t>(d.value("not_before_seconds", 0.0) * 1e9)));
}

void print_class(const json& d) {
  const bool sends = d.value("send", false);
  print_line(fmt::format("{}: {}{}", text(d.at("class")), sends ? "goes now" : "waits", sends ? fmt::format(" over {}, up to {} at once", text(d.value("bearer", json())), format_bytes(d.value("bytes_max", uint64_t{0}))) : fmt::format(", {}", when_text(d))));
  print_line("  " + text(d.at("reason")));
  for (const json& c : d.value("conditions", json::array())) {
    const std::string bearer = c.at("bearer").is_null() ? "" : fmt::format(" [{}]", text(c.at("bearer")));
    print_line(fmt::format("  {}  {}{}", c.value("holds", false) ? "yes" : "NO ", text(c.at("text")), bearer));
  }
}

int why(const Common& common, Api& api, const SyncOptions& options) {
  const bool record = options.argument.find('{') != std::string::npos || !options.time.empty();
  auto answer = api.get("/v1/sync/explain" + query_string({{record ? "series" : "class", options.argument}, {"time", options.time}}));
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
    return 0;
  }
  if (answer->contains("record")) {
    const json& r = answer->at("record");
    print_line(fmt::format("the record is {}{}", text(r.at("state")),
                           r.contains("seq") ? fmt::format(": entry {} of telemetry, behind {} entries with {}", text(r.at("seq")), text(r.at("entries_before")),
                                                           format_bytes(r.value("bytes_before", uint64_t{0})))
                                             : ""));
  }
  for (const json& d : answer->at("classes")) print_class(d);
  return 0;
}

int policy(const Common& common, Api& api, const SyncOptions& options) {
  Result<json> answer = json();
  if (options.argument.empty()) {
    answer = api.get("/v1/sync/policy");
  } else if (options.argument == "take-back") {
    answer = api.send("DELETE", "/v1/sync/policy", "");
  } else {
    auto toml = read_file(options.argument, kPolicyBytesMax);
    if (!toml.ok()) return failed(common, toml.error());
    answer = options.action == "try" ? api.send("POST", "/v1/sync/policy/try", *toml) : api.send("PUT", "/v1/sync/policy", *toml);
  }
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
  } else if (options.action == "try") {
    for (const json& d : answer->at("classes")) print_class(d);
  } else {
    print_line(fmt::format("# from {}{}", text(answer->at("source")), answer->at("problem").is_null() ? "" : "; the file is not good:\n# " + text(answer->at("problem"))));
    std::fputs(answer->value("toml", "").c_str(), stdout);
  }
  return 0;
}

int show_preset(const Common& common, const std::string& name) {
  const std::string toml = config::preset(name);
  if (toml.empty()) {
    std::string names;
    for (const std::string& known : config::presets()) names += (names.empty() ? "" : ", ") + known;
    return failed(common, fail(Code::not_found, "there is no preset '{}': {} are", name, names));
  }
  std::fputs(toml.c_str(), stdout);
  return 0;
}

}  // namespace

int sync(const Common& common, const SyncOptions& options) {
  if (options.action == "preset") return show_preset(common, options.argument);
  if (options.action == "try" && options.argument.empty()) return failed(common, fail(Code::invalid, "name a file with a policy: skerry sync try FILE"));
  auto api = Api::open(common.url);
  if (!api.ok()) return failed(common, api.error());
  if (options.action == "why") return why(common, *api, options);
  if (options.action == "policy" || options.action == "try") return policy(common, *api, options);
  Result<json> done = json();
  if (options.action == "hold" || options.action == "resume") done = api->post("/v1/sync/hold", {{"held", options.action == "hold"}});
  if (options.action == "revoke" || options.action == "restore") {
    done = api->post("/v1/sync/windows", {{"name", options.argument}, {"revoked", options.action == "revoke"}});
  }
  if (!done.ok()) return failed(common, done.error());
  auto answer = api->get("/v1/sync");
  if (!answer.ok()) return failed(common, answer.error());
  if (common.json) {
    print_json(*answer);
  } else {
    print_sync(*answer);
  }
  return 0;
}

}  // namespace skerry::cli
