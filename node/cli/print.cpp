#include "node/cli/print.h"

#include <algorithm>
#include <cstdio>

namespace skerry::cli {

int failed(const Common& common, const Error& error) {
  if (common.json) print_json({{"error", error.message}});
  std::fprintf(stderr, "skerry: %s\n", error.message.c_str());
  return 1;
}

void print_json(const nlohmann::json& value) { print_line(value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace)); }

void print_line(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    print_line(line);
  }
}

std::string thousands(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string text(const nlohmann::json& value) {
  if (value.is_null()) return "-";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string accuracy_text(const nlohmann::json& live) {
  if (!live.is_object() || !live.contains("accuracy") || !live["accuracy"].is_number()) return "no labels yet";
  return fmt::format("{:.1f} % of {} labelled", 100 * live["accuracy"].get<double>(), thousands(live.value("labelled", uint64_t{0})));
}

}  // namespace skerry::cli
