// skerry status: once, or as a live line.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "base/units.h"
#include "node/cli/api.h"
#include "node/cli/print.h"

namespace skerry::cli {
namespace {

using nlohmann::json;

std::string link_text(const json& sync) {
  if (!sync.value("enabled", false)) return "sync off";
  if (sync.value("held", false)) return "held";
  return sync.value("online", false) ? "online" : "offline";
}

std::string model_text(const json& models) {
  std::string out;
  for (const json& model : models) {
    out += fmt::format("{}{}/{}", out.empty() ? "" : ", ", text(model.at("name")), text(model.at("version")));
  }
  return out.empty() ? "none" : out;
}

json all_live(const json& models) {  // one accuracy over the serving versions
  uint64_t labelled = 0, correct = 0;
  for (const json& model : models) {
    labelled += model.at("live").value("labelled", uint64_t{0});
    correct += model.at("live").value("correct", uint64_t{0});
  }
  json live = {{"labelled", labelled}, {"accuracy", nullptr}};
  if (labelled > 0) live["accuracy"] = static_cast<double>(correct) / static_cast<double>(labelled);
  return live;
}

std::string one_line(const json& s) {
  return fmt::format("records {}  predictions {}  accuracy {}  outbox {}  link {}  model {}{}", thousands(s.value("records", uint64_t{0})),
                     thousands(s.value("predictions", uint64_t{0})), accuracy_text(all_live(s.at("models"))),
                     format_bytes(s.at("outbox").value("bytes", uint64_t{0})), link_text(s.at("sync")), model_text(s.at("models")),
                     s.at("trouble").is_null() ? "" : "  TROUBLE: " + text(s.at("trouble")));
}

std::string disk_text(const json& s) {
  std::string out = format_bytes(s.value("disk_bytes", uint64_t{0}));
  const json storage = s.value("storage", json::object());
  if (storage.value("records", json()).is_null()) return out;
  return out + fmt::format(": {} records, {} sealed, {} in the head", thousands(storage.value("records", uint64_t{0})),
                           format_bytes(storage.value("chunk_bytes", uint64_t{0})), format_bytes(storage.value("head_bytes", uint64_t{0})));
}

void print_whole(const json& s) {
  auto line = [](const char* name, const std::string& value) { print_line(fmt::format("{:<12}{}", name, value)); };
  line("node", fmt::format("{} ({})", text(s.at("node")), text(s.at("software"))));
  line("records", thousands(s.value("records", uint64_t{0})) + " since start");
  line("predictions", thousands(s.value("predictions", uint64_t{0})));
  for (const json& model : s.at("models")) {
    line("model", fmt::format("{}/{} serving, {}", text(model.at("name")), text(model.at("version")), accuracy_text(model.at("live"))));
  }
  if (s.at("models").empty()) line("model", "none: import one with `skerry models import PATH`");
  line("learning", fmt::format("{}; {}", text(s.at("learning").at("state")), text(s.at("learning").at("why"))));
  std::string error = s.at("sync").value("last_error", "");
  line("link", fmt::format("{} to {}{}", link_text(s.at("sync")), text(s.at("sync").at("hub")), error.empty() ? "" : " (" + error + ")"));
  line("outbox", format_bytes(s.at("outbox").value("bytes", uint64_t{0})));
  for (const json& c : s.at("outbox").at("classes")) {
    if (c.value("entries", uint64_t{0}) == 0) continue;
    line("", fmt::format("{}: {} entries, {}, oldest from {}", text(c.at("class")), thousands(c.value("entries", uint64_t{0})),
                         format_bytes(c.value("bytes", uint64_t{0})), text(c.at("oldest"))));
  }
  line("disk", disk_text(s));
  const json storage = s.value("storage", json::object());
  if (const uint64_t taken = storage.value("taken_bytes", uint64_t{0}); taken > 0) {
    const uint64_t written = storage.value("written_bytes", uint64_t{0});
    line("wear", fmt::format("{} written for {} taken in since start, {:.2f} per byte", format_bytes(written), format_bytes(taken),
                             static_cast<double>(written) / static_cast<double>(taken)));
  }
  for (const json& quota : storage.value("quotas", json::array())) {
    line("quota", fmt::format("{}: {} of {}{}", quota.at("rule").is_null() ? "all streams" : text(quota.at("rule")),
                              format_bytes(quota.value("bytes", uint64_t{0})), format_bytes(quota.value("quota", uint64_t{0})),
                              quota.value("full", false) ? ", FULL" : ""));
  }
  if (const uint64_t lost = storage.value("lost", uint64_t{0}); lost > 0) {
    line("lost", fmt::format("{} records by rule, {} of them before the hub had them: GET /v1/losses says which", thousands(lost),
                             thousands(storage.value("lost_unsent", uint64_t{0}))));
  }
  std::string rolled;
  const json rolled_up = storage.value("rolled_up", json::object());  // items() refers to it
  for (const auto& [resolution, records] : rolled_up.items()) {
    rolled += fmt::format("{}{} records to {}", rolled.empty() ? "" : ", ", thousands(records.get<uint64_t>()), resolution);
  }
  if (!rolled.empty()) line("rolled up", rolled);
  if (s.value("damaged", uint64_t{0}) > 0) line("damaged", thousands(s.value("damaged", uint64_t{0})) + " blocks skipped");
  if (const json recovery = s.value("recovery", json()); recovery.is_object()) {
    const std::string kept = recovery.value("kept", "");
    line("repaired", fmt::format("at {}: {} damaged things{}", text(recovery.at("at")), thousands(recovery.value("damaged", uint64_t{0})),
                                 kept.empty() ? "" : ", kept in " + kept));
  }
  if (!s.at("trouble").is_null()) line("trouble", text(s.at("trouble")));
}

// Goes on while the node is away: people watch it through a restart.
int watch(Api& api, const Common& common, std::optional<Duration> run_for) {
  const SteadyTime begin = system_clock().steady();
  const bool in_place = ::isatty(STDOUT_FILENO) && !common.json;
  bool answered = false;
  size_t width = 0;
  for (uint64_t tick = 1;; ++tick) {
    auto s = api.get("/v1/status");
    answered = answered || s.ok();
    std::string line = s.ok() ? (common.json ? s->dump() : one_line(*s)) : s.error().message;
    if (in_place) {
      std::string blank(width > line.size() ? width - line.size() : 0, ' ');
      std::printf("\r%s%s", line.c_str(), blank.c_str());
      std::fflush(stdout);
      width = line.size();
    } else if (s.ok() || !common.json) {
      print_line(line);
    }
    const SteadyTime next = begin + std::chrono::seconds(tick);
    if (run_for && next > begin + *run_for) break;
    std::this_thread::sleep_until(next);
  }
  if (run_for) std::this_thread::sleep_until(begin + *run_for);
  if (in_place) std::printf("\n");
  return answered ? 0 : 1;
}

}  // namespace

int status(const Common& common, const StatusOptions& options) {
  auto api = Api::open(common.url);
  if (!api.ok()) return failed(common, api.error());
  if (options.watch) return watch(*api, common, options.run_for);
  auto s = api->get("/v1/status");
  if (!s.ok()) return failed(common, s.error());
  if (common.json) {
    print_json(*s);
  } else {
    print_whole(*s);
  }
  return 0;
}

}  // namespace skerry::cli
