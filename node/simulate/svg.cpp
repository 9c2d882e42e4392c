// Three charts over the days of a run: what waits, how old it is, what the month has used. Plain SVG 1.1, readable without anything else.
#include <algorithm>
#include <cmath>
#include <functional>

#include "base/units.h"
#include "node/simulate/simulate.h"

namespace skerry::simulate {
namespace {

constexpr double kWidth = 900, kChart = 190, kLeft = 90, kRight = 20, kTop = 34, kGap = 56;
constexpr const char* kColours[] = {"#d62728", "#9467bd", "#8c564b", "#1f77b4", "#17becf", "#7f7f7f", "#2ca02c", "#ff7f0e"};

struct Curve {
  std::string name;
  size_t colour = 0;
  bool dashed = false;
  std::vector<std::pair<double, double>> points;  // days, value
};

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

std::string chart(const std::string& title, double top, double days, const std::vector<Curve>& curves, const std::function<std::string(double)>& unit) {
  double most = 0;
  for (const Curve& c : curves) {
    for (const auto& [x, y] : c.points) most = std::max(most, y);
  }
  if (most <= 0) most = 1;
  auto x_of = [&](double x) { return kLeft + (kWidth - kLeft - kRight) * x / std::max(days, 1e-9); };
  auto y_of = [&](double y) { return top + kChart * (1 - y / most); };
  std::string out = fmt::format("<text x=\"{}\" y=\"{:.1f}\" font-weight=\"bold\">{}</text>\n", kLeft, top - 8, escaped(title));
  for (int i = 0; i <= 4; ++i) {
    const double y = most * i / 4;
    out += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft,
                       kWidth - kRight, y_of(y), y_of(y), kLeft - 6, y_of(y) + 4, unit(y));
    const double x = days * i / 4;
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">day {:.4g}</text>\n", x_of(x), top + kChart + 16, x);
  }
  double legend = kLeft + 260;
  for (const Curve& c : curves) {
    const char* colour = kColours[c.colour % std::size(kColours)];
    const char* dash = c.dashed ? " stroke-dasharray=\"5 3\"" : "";
    out += fmt::format("<polyline fill=\"none\" stroke=\"{}\"{} stroke-width=\"1.5\" points=\"", colour, dash);
    for (const auto& [x, y] : c.points) out += fmt::format("{:.1f},{:.1f} ", x_of(x), y_of(y));
    out += fmt::format("\"/>\n<text x=\"{:.0f}\" y=\"{:.1f}\" fill=\"{}\">{}</text>\n", legend, top - 8, colour, escaped(c.name));
    legend += 8.0 * static_cast<double>(c.name.size()) + 14;
  }
  return out;
}

using Reports = std::vector<std::pair<std::string, const Report*>>;

// One curve per class and report, of classes that ever have a value.
template <typename Of>
std::vector<Curve> by_class(const Reports& reports, Of of) {
  std::vector<Curve> curves;
  for (size_t r = 0; r < reports.size(); ++r) {
    for (size_t i = 0; i < std::size(storage::kOutboxClasses); ++i) {
      const auto c = storage::kOutboxClasses[i];
      Curve curve{.name = std::string(to_string(c)) + (reports.size() > 1 ? " " + reports[r].first : ""), .colour = i, .dashed = r > 0, .points = {}};
      bool any = false;
      for (const Point& p : reports[r].second->points) {
        const auto& values = of(p);
        const auto found = values.find(c);
        const double y = found == values.end() ? 0 : static_cast<double>(found->second);
        any = any || y > 0;
        curve.points.emplace_back(p.days, y);
      }
      if (any) curves.push_back(std::move(curve));
    }
  }
  return curves;
}

std::vector<Curve> by_bearer(const Reports& reports) {
  std::vector<Curve> curves;
  for (size_t r = 0; r < reports.size(); ++r) {
    size_t colour = 3;
    for (const auto& [name, bearer] : reports[r].second->bearers) {
      Curve curve{.name = name + (reports.size() > 1 ? " " + reports[r].first : ""), .colour = colour++, .dashed = r > 0, .points = {}};
      for (const Point& p : reports[r].second->points) {
        const auto found = p.month_bytes.find(name);
        curve.points.emplace_back(p.days, found == p.month_bytes.end() ? 0 : static_cast<double>(found->second));
      }
      curves.push_back(std::move(curve));
    }
  }
  return curves;
}

}  // namespace

std::string to_svg(const Reports& reports) {
  double days = 0;
  for (const auto& [name, report] : reports) days = std::max(days, report->days);
  auto bytes = [](double v) { return format_bytes(static_cast<uint64_t>(v)); };
  auto time = [](double v) { return format_duration(Duration(static_cast<int64_t>(v * 1e9))); };
  const double height = kTop + 3 * (kChart + kGap);
  std::string out = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n"
                                "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n", kWidth, height);
  out += chart("Waiting for the hub", kTop, days, by_class(reports, [](const Point& p) { return p.backlog_bytes; }), bytes);
  out += chart("Age of the oldest that waits", kTop + kChart + kGap, days, by_class(reports, [](const Point& p) { return p.age_seconds; }), time);
  out += chart("Used of the month", kTop + 2 * (kChart + kGap), days, by_bearer(reports), bytes);
  return out + "</svg>\n";
}

}  // namespace skerry::simulate
