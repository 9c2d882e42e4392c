#include "tests/bench/figure.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace skerry::bench {

bool Figure::holds() const {
  if (!skipped.empty() || !judged) return true;
  return better == Better::lower ? value <= target : value >= target;  // a NaN never holds
}

std::string Figure::line() const {
  if (!skipped.empty()) return fmt::format("{} skipped: {}", name, skipped);
  std::string ratio = peer ? fmt::format(" ratio {} {:.3g}", peer->name, peer->ratio) : "";
  return fmt::format("{} {:.6g} {}{} target {}{:g} {}", name, value, unit, ratio, better == Better::lower ? "<=" : ">=", target,
                     !judged ? "smoke" : holds() ? "ok" : "short");
}

std::string to_json(const std::vector<Figure>& figures) {
  nlohmann::json all = nlohmann::json::array();
  for (const Figure& figure : figures) {
    nlohmann::json one = {{"name", figure.name}, {"unit", figure.unit}, {"target", figure.target},
                          {"better", figure.better == Better::lower ? "lower" : "higher"}, {"ok", figure.holds()}};
    if (figure.skipped.empty()) one["value"] = figure.value;
    else one["skipped"] = figure.skipped;
    if (figure.peer) one["peer"] = {{"name", figure.peer->name}, {"ratio", figure.peer->ratio}};
    all.push_back(one);
  }
  return nlohmann::json({{"figures", all}}).dump(2) + "\n";
}

}  // namespace skerry::bench
