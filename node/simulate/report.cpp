// The report of a run as text and JSON.
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "node/simulate/simulate.h"

namespace skerry::simulate {
namespace {

using nlohmann::json;

std::string time_text(double seconds) { return format_duration(Duration(static_cast<int64_t>(seconds * 1e9))); }

std::string share(uint64_t part, uint64_t whole) { return whole == 0 ? "-" : fmt::format("{:.2f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole)); }

// Rows of one report: name and value, the same names in the same order for all.
std::vector<std::pair<std::string, std::string>> rows(const Report& r) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [c, f] : r.classes) {
    if (f.queued == 0) continue;
    const std::string name = to_string(c);
    out.emplace_back(name + " delivered", fmt::format("{} of {} ({}), {} wait", f.delivered, f.queued, share(f.delivered, f.queued), f.waiting));
    out.emplace_back(name + " freshness", fmt::format("p50 {}, p90 {}, p99 {}, worst {}", time_text(f.p50_seconds), time_text(f.p90_seconds),
                                                      time_text(f.p99_seconds), time_text(f.max_seconds)));
  }
  for (const auto& [name, b] : r.bearers) {
    std::string text = fmt::format("worst month {}{}", format_bytes(b.worst_month_bytes), b.monthly_bytes == 0 ? "" : " of " + format_bytes(b.monthly_bytes));
    for (const auto& [purpose, bytes] : b.use.purposes) text += fmt::format(", {} {}", purpose, format_bytes(bytes.sent + bytes.received));
    out.emplace_back("bearer " + name, text);
  }
  out.emplace_back("on the wire", fmt::format("{} in {} exchanges, {} failed, {} repeated", format_bytes(r.wire_bytes), r.exchanges, r.failures, r.repeated));
  out.emplace_back("cost", fmt::format("{:.2f}", r.cost));
  out.emplace_back("backlog at most", format_bytes(r.backlog_max));
  out.emplace_back("lost", fmt::format("{} lost, {} dropped by rule, {} refused, {} taken twice", r.lost, r.dropped, r.refused, r.duplicates));
  return out;
}

std::string broken_text(const Report& r) {
  std::string out;
  for (const std::string& one : r.broken) out += fmt::format("BROKEN {}\n", one);
  return out;
}

}  // namespace

std::string to_text(const Report& r) {
  std::string out = fmt::format("{}: {:g} days in {:.1f} s, {} records, {} reboots\n", r.scenario, r.days, r.took_seconds, r.records, r.reboots);
  for (const auto& [name, value] : rows(r)) out += fmt::format("  {:<22}{}\n", name, value);
  return out + (r.broken.empty() ? "all that was expected came true\n" : broken_text(r));
}

std::string to_text(const Report& a, const std::string& name_a, const Report& b, const std::string& name_b) {
  std::string out = fmt::format("{}: {:g} days; A is {}, B is {}\n", a.scenario, a.days, name_a, name_b);
  std::vector<std::string> seen;
  const auto in_a = rows(a), in_b = rows(b);
  auto find = [](const auto& all, const std::string& name) {
    for (const auto& [key, value] : all) {
      if (key == name) return value;
    }
    return std::string("-");
  };
  for (const auto& [name, value] : in_a) out += fmt::format("  {:<22}A  {}\n  {:<22}B  {}\n", name, value, "", find(in_b, name));
  for (const auto& [name, value] : in_b) {
    if (find(in_a, name) == "-") out += fmt::format("  {:<22}A  -\n  {:<22}B  {}\n", name, "", value);
  }
  return out + (a.broken.empty() ? "" : "A " + broken_text(a)) + (b.broken.empty() ? "" : "B " + broken_text(b));
}

std::string to_json(const Report& r) {
  json classes = json::object(), bearers = json::object(), points = json::array();
  for (const auto& [c, f] : r.classes) {
    classes[to_string(c)] = {{"queued", f.queued}, {"delivered", f.delivered}, {"waiting", f.waiting}, {"p50_seconds", f.p50_seconds},
                             {"p90_seconds", f.p90_seconds}, {"p99_seconds", f.p99_seconds}, {"max_seconds", f.max_seconds}};
  }
  for (const auto& [name, b] : r.bearers) {
    json purposes = json::object();
    for (const auto& [purpose, bytes] : b.use.purposes) purposes[purpose] = {{"sent", bytes.sent}, {"received", bytes.received}, {"exchanges", bytes.exchanges}};
    bearers[name] = {{"worst_month_bytes", b.worst_month_bytes}, {"worst_day_bytes", b.worst_day_bytes}, {"monthly_budget_bytes", b.monthly_bytes},
                     {"daily_budget_bytes", b.daily_bytes}, {"cost", b.use.cost}, {"purposes", purposes}};
  }
  for (const Point& p : r.points) {
    json backlog = json::object(), age = json::object();
    for (const auto& [c, bytes] : p.backlog_bytes) backlog[to_string(c)] = bytes;
    for (const auto& [c, seconds] : p.age_seconds) age[to_string(c)] = seconds;
    points.push_back({{"days", p.days}, {"up", p.up}, {"backlog_bytes", backlog}, {"age_seconds", age}, {"month_bytes", p.month_bytes}});
  }
  return json{{"scenario", r.scenario}, {"days", r.days}, {"took_seconds", r.took_seconds}, {"records", r.records}, {"classes", classes}, {"bearers", bearers},
              {"lost", r.lost}, {"duplicates", r.duplicates}, {"refused", r.refused}, {"dropped", r.dropped}, {"wire_bytes", r.wire_bytes},
              {"backlog_max_bytes", r.backlog_max}, {"exchanges", r.exchanges}, {"failures", r.failures}, {"repeated", r.repeated},
              {"epochs", r.epochs}, {"reboots", r.reboots}, {"cost", r.cost}, {"broken", r.broken}, {"points", points}}
      .dump(1);
}

}  // namespace skerry::simulate
