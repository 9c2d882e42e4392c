// model.toml in both directions. The only file here that includes toml++.
//
// toml++ 3.3 does not stand hostile input as it is: it asserts where there is only a mistake
// ("1979-05-27Tx"), with NDEBUG it assumes what it would have asserted, and it calls code unreachable that
// characters outside ASCII reach. So its assertions stay on here and throw, its name is changed so that the
// linker can't mix this copy with one that was compiled otherwise, and it is given ASCII only.
#include <stdexcept>
#ifdef NDEBUG
#undef NDEBUG
#endif
#define TOML_EXCEPTIONS 1
#define TOML_ASSERT(condition) ((condition) ? void() : throw std::runtime_error("malformed value"))
#define toml skerry_checked_toml
#pragma GCC diagnostic push
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wterminate"  // in accessors that the parser does not use
#endif
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <type_traits>

#include "base/units.h"
#include "inference/features.h"
#include "inference/internal/manifest.h"
#include "inference/package.h"

namespace skerry::inference {
namespace {

constexpr size_t kTextBytesMax = 256;
constexpr size_t kNoteBytesMax = 4096;
constexpr size_t kMistakesMax = 50;  // more are only counted
constexpr int64_t kPeriodNsMax = 7LL * 24 * 3600 * 1'000'000'000;
constexpr int64_t kStageNsMax = 366LL * 24 * 3600 * 1'000'000'000;

// What a hostile file put into a message must not fill or garble a log.
std::string shown(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 60)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return text.size() > 60 ? out + "..." : out;
}

bool is_clean(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// Collects every mistake instead of stopping at the first.
class Mistakes {
 public:
  explicit Mistakes(std::string file) : file_(std::move(file)) {}

  template <typename... Args>
  void add(size_t line, fmt::format_string<Args...> format, Args&&... args) {
    if (++count_ <= kMistakesMax) lines_.emplace_back(line, fmt::format(format, std::forward<Args>(args)...));
  }
  bool empty() const { return count_ == 0; }
  Error error() {
    std::stable_sort(lines_.begin(), lines_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string text;
    for (const auto& [line, message] : lines_)
      text += fmt::format("{}{}:{}: {}", text.empty() ? "" : "\n", file_, line, message);
    if (count_ > kMistakesMax)
      text += fmt::format("\n{}: and {} more mistakes", file_, count_ - kMistakesMax);
    return Error{Code::invalid, text};
  }

 private:
  std::string file_;
  std::vector<std::pair<size_t, std::string>> lines_;
  size_t count_ = 0;
};

struct Range {
  double min, max;
};

// One table of the file: reads its keys, remembers which were asked for, and calls the rest mistakes.
class Section {
 public:
  Section(const toml::table* table, std::string prefix, size_t line, Mistakes& mistakes)
      : table_(table), prefix_(std::move(prefix)), line_(line), mistakes_(mistakes) {}

  size_t line_of(const char* key) const {
    const toml::node* node = table_ ? table_->get(key) : nullptr;
    return node ? node->source().begin.line : line_;
  }

  const toml::node* take(const char* key, bool required) {
    known_.insert(key);
    const toml::node* node = table_ ? table_->get(key) : nullptr;
    if (!node && required) mistakes_.add(line_, "'{}{}' is missing", prefix_, key);
    return node;
  }

  void text(const char* key, bool required, size_t bytes_max, std::string& out) {
    const toml::node* node = take(key, required);
    if (!node) return;
    size_t line = node->source().begin.line;
    const auto* value = node->as_string();
    if (!value) {
      mistakes_.add(line, "'{}{}' must be a text in quotes", prefix_, key);
    } else if ((value->get().empty() && required) || value->get().size() > bytes_max ||
               !is_clean(value->get())) {
      mistakes_.add(line, "'{}{}' must have 1 to {} bytes and no control characters", prefix_, key,
                    bytes_max);
    } else {
      out = value->get();
    }
  }

  template <typename Integer>
  void integer(const char* key, bool required, int64_t min, int64_t max, Integer& out) {
    const toml::node* node = take(key, required);
    if (!node) return;
    const auto* value = node->as_integer();
    if (!value || value->get() < min || value->get() > max) {
      mistakes_.add(node->source().begin.line, "'{}{}' must be a whole number from {} to {}", prefix_, key,
                    min, max);
    } else {
      out = static_cast<Integer>(value->get());
    }
  }

  void number(const char* key, bool required, Range range, double& out) {
    const toml::node* node = take(key, required);
    if (!node) return;
    std::optional<double> value = as_number(*node);
    if (!value || !(*value >= range.min && *value <= range.max)) {  // NaN fails too
      mistakes_.add(node->source().begin.line, "'{}{}' must be a number from {} to {}", prefix_, key,
                    range.min, range.max);
    } else {
      out = *value;
    }
  }

  void duration(const char* key, int64_t ns_max, Duration& out) {
    std::string given;
    text(key, false, 32, given);
    if (given.empty()) return;
    Result<Duration> parsed = parse_duration(given);
    if (!parsed.ok() || parsed->count() < 0 || parsed->count() > ns_max) {
      mistakes_.add(line_of(key), "'{}{}' must be a duration from \"0s\" to \"{}d\", e.g. \"30m\"", prefix_, key, ns_max / (24LL * 3600 * 1'000'000'000));
    } else {
      out = *parsed;
    }
  }

  void texts(const char* key, size_t count_max, std::vector<std::string>& out) {
    const toml::array* array = list(key, count_max);
    if (!array) return;
    std::set<std::string> seen;
    for (const toml::node& node : *array) {
      size_t line = node.source().begin.line;
      const auto* value = node.as_string();
      if (!value || value->get().empty() || value->get().size() > kTextBytesMax || !is_clean(value->get())) {
        mistakes_.add(line, "each of '{}{}' must be a text of 1 to {} bytes without control characters",
                      prefix_, key, kTextBytesMax);
      } else if (!seen.insert(value->get()).second) {
        mistakes_.add(line, "'{}' is twice in '{}{}'", shown(value->get()), prefix_, key);
      } else {
        out.push_back(value->get());
      }
    }
  }

  void flag(const char* key, bool& out) {
    const toml::node* node = take(key, false);
    if (!node) return;
    if (const auto* value = node->as_boolean()) out = value->get();
    else mistakes_.add(node->source().begin.line, "'{}{}' must be true or false", prefix_, key);
  }

  void numbers(const char* key, size_t count_max, Range range, std::vector<float>& out) {
    const toml::array* array = list(key, count_max);
    if (!array) return;
    for (const toml::node& node : *array) {
      std::optional<double> value = as_number(node);
      if (!value || !(*value >= range.min && *value <= range.max)) {
        mistakes_.add(node.source().begin.line, "each of '{}{}' must be a number from {:g} to {:g}", prefix_,
                      key, range.min, range.max);
      } else {
        out.push_back(static_cast<float>(*value));
      }
    }
  }

  void refuse_unknown() {
    if (!table_) return;
    for (const auto& [key, node] : *table_) {
      if (known_.count(std::string(key.str())) > 0) continue;
      std::string names;
      for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
      mistakes_.add(key.source().begin.line, "unknown key '{}{}': known here are {}", prefix_,
                    shown(key.str()), names);
    }
  }

 private:
  static std::optional<double> as_number(const toml::node& node) {
    if (const auto* real = node.as_floating_point()) return real->get();
    if (const auto* whole = node.as_integer()) return static_cast<double>(whole->get());
    return std::nullopt;
  }

  const toml::array* list(const char* key, size_t count_max) {
    const toml::node* node = take(key, true);
    if (!node) return nullptr;
    const toml::array* array = node->as_array();
    if (array && !array->empty() && array->size() <= count_max) return array;
    mistakes_.add(node->source().begin.line, "'{}{}' must be a list of 1 to {} values", prefix_, key,
                  count_max);
    return nullptr;
  }

  const toml::table* table_;
  std::string prefix_;
  size_t line_;
  Mistakes& mistakes_;
  std::set<std::string> known_;
};

// A sub-table of `root`; one that is absent reads as empty, so that what it must have is named.
Section section(Section& root, const char* name, bool required, Mistakes& mistakes) {
  const toml::node* node = root.take(name, required);
  const toml::table* table = node ? node->as_table() : nullptr;
  if (node && !table) mistakes.add(node->source().begin.line, "'{}' must be a table: write [{}]", name, name);
  return Section(table, std::string(name) + ".", node ? node->source().begin.line : 1, mistakes);
}

// The tables of [[name]] in `parent`; none when it is absent.
std::vector<Section> tables(Section& parent, const char* name, const char* title, size_t count_max, Mistakes& mistakes) {
  std::vector<Section> out;
  const toml::node* node = parent.take(name, false);
  if (!node) return out;
  const toml::array* array = node->as_array();
  if (!array || array->size() > count_max) {
    mistakes.add(node->source().begin.line, "'{}' must be at most {} tables: write [[{}]]", title, count_max, title);
    return out;
  }
  for (const toml::node& item : *array) {
    const size_t line = item.source().begin.line;
    if (!item.as_table()) {
      mistakes.add(line, "each of '{}' must be a table: write [[{}]]", title, title);
      continue;
    }
    out.emplace_back(item.as_table(), std::string(title) + ".", line, mistakes);
  }
  return out;
}

constexpr std::pair<FeatureSpec::Kind, const char*> kFeatureKinds[] = {
    {FeatureSpec::Kind::rows, "rows"}, {FeatureSpec::Kind::mean, "mean"}, {FeatureSpec::Kind::deviation, "deviation"},
    {FeatureSpec::Kind::min, "min"},   {FeatureSpec::Kind::max, "max"},   {FeatureSpec::Kind::rms, "rms"},
    {FeatureSpec::Kind::band, "band"}};

void read_features(Section& window, Mistakes& mistakes, WindowSpec& out) {
  for (Section& table : tables(window, "feature", "window.feature", kFeaturesMax, mistakes)) {
    FeatureSpec feature;
    std::string kind;
    table.text("kind", true, 16, kind);
    const auto known = std::find_if(std::begin(kFeatureKinds), std::end(kFeatureKinds), [&](const auto& k) { return kind == k.second; });
    if (known != std::end(kFeatureKinds)) {
      feature.kind = known->first;
    } else if (!kind.empty()) {
      mistakes.add(table.line_of("kind"), "'window.feature.kind' must be rows, mean, deviation, min, max, rms or band, not '{}'", shown(kind));
    }
    table.texts("of", kChannelsMax, feature.of);
    for (const std::string& field : feature.of) {
      if (std::find(out.fields.begin(), out.fields.end(), field) != out.fields.end()) continue;
      mistakes.add(table.line_of("of"), "'{}' is none of 'window.fields'", shown(field));
    }
    if (feature.kind == FeatureSpec::Kind::band) {
      table.number("from_hz", true, {0, 1e9}, feature.from_hz);
      table.number("to_hz", true, {0, 1e9}, feature.to_hz);
      if (feature.from_hz > feature.to_hz) mistakes.add(table.line_of("to_hz"), "'window.feature.to_hz' must not be below 'from_hz'");
    }
    table.refuse_unknown();
    const bool of_rows = feature.kind == FeatureSpec::Kind::rows;
    if (!out.features.empty() && of_rows != (out.features.front().kind == FeatureSpec::Kind::rows)) {
      mistakes.add(table.line_of("kind"), "features of rows and numbers of the whole window don't go together: a model sees one or the other");
    }
    out.features.push_back(std::move(feature));
  }
}

void read_alarms(Section& root, Mistakes& mistakes, PackageInfo& out) {
  for (Section& table : tables(root, "alarm", "alarm", kAlarmsMax, mistakes)) {
    AlarmSpec alarm;
    table.text("label", true, kTextBytesMax, alarm.label);
    if (!alarm.label.empty() && std::find(out.labels.begin(), out.labels.end(), alarm.label) == out.labels.end()) {
      mistakes.add(table.line_of("label"), "'{}' is none of 'labels'", shown(alarm.label));
    }
    for (const AlarmSpec& other : out.alarms) {
      if (other.label == alarm.label) mistakes.add(table.line_of("label"), "'{}' has an alarm already", shown(alarm.label));
    }
    table.number("on", false, {-1e30, 1e30}, alarm.on);
    table.number("off", false, {-1e30, 1e30}, alarm.off);
    if (alarm.off > alarm.on) mistakes.add(table.line_of("off"), "'alarm.off' must not be above 'alarm.on'");
    table.integer("windows", false, 1, 1'000'000, alarm.windows);
    table.flag("softmax", alarm.softmax);
    table.refuse_unknown();
    out.alarms.push_back(std::move(alarm));
  }
}

void read_window_spec(Section& window, Mistakes& mistakes, WindowSpec& out) {
  constexpr double kFloatMax = std::numeric_limits<float>::max();
  window.text("stream", true, kTextBytesMax, out.stream);
  window.texts("fields", kChannelsMax, out.fields);
  window.integer("rows", true, 1, kRowsMax, out.rows);
  window.integer("stride", true, 1, kRowsMax, out.stride);
  if (out.rows > 0 && out.stride > out.rows) {
    mistakes.add(window.line_of("stride"), "'window.stride' must not be more than 'window.rows' ({})",
                 out.rows);
  }
  if (out.rows * out.fields.size() > kWindowElementsMax) {
    mistakes.add(window.line_of("rows"), "'window.rows' times the number of fields must not be more than {}",
                 kWindowElementsMax);
  }
  std::string period;
  window.text("period", true, 32, period);
  if (!period.empty()) {
    Result<Duration> parsed = parse_duration(period);
    if (!parsed.ok() || parsed->count() < 1 || parsed->count() > kPeriodNsMax) {
      mistakes.add(window.line_of("period"),
                   "'window.period' must be a duration from \"1ns\" to \"7d\", e.g. \"20ms\"");
    } else {
      out.period = *parsed;
    }
  }
  window.number("gap_factor", false, {1, 1000}, out.gap_factor);
  window.numbers("mean", kFeaturesMax, {-kFloatMax, kFloatMax}, out.mean);
  window.numbers("deviation", kFeaturesMax, {1e-30, kFloatMax}, out.deviation);
  std::string by = "count";
  window.text("by", false, 16, by);
  if (by != "count" && by != "time") {
    mistakes.add(window.line_of("by"), "'window.by' must be \"count\" or \"time\", not '{}'", shown(by));
  }
  out.by = by == "time" ? WindowSpec::By::time : WindowSpec::By::count;
  read_features(window, mistakes, out);
  const size_t channels = out.features.empty() ? out.fields.size() : out.features.size();
  const char* const of = out.features.empty() ? "fields" : "features";
  if (!out.fields.empty() && !out.mean.empty() && out.mean.size() != channels) {
    mistakes.add(window.line_of("mean"), "'window.mean' has {} values for {} {}", out.mean.size(), channels, of);
  }
  if (!out.fields.empty() && !out.deviation.empty() && out.deviation.size() != channels) {
    mistakes.add(window.line_of("deviation"), "'window.deviation' has {} values for {} {}", out.deviation.size(), channels, of);
  }
  window.refuse_unknown();
}

void read_root(Section& root, Mistakes& mistakes, PackageInfo& out) {
  root.text("name", true, kTextBytesMax, out.name);
  if (!out.name.empty() && !is_model_name(out.name)) {
    mistakes.add(root.line_of("name"), "'name' must be 1 to 64 of a-z, 0-9, '_' and '-', not '{}'",
                 shown(out.name));
  }
  root.integer("version", true, 1, kVersionMax, out.version);
  root.integer("parent", false, 0, kVersionMax, out.parent);
  if (out.parent != 0 && out.parent == out.version) {
    mistakes.add(root.line_of("parent"), "'parent' must be another version than {} itself, or 0 for none",
                 out.version);
  }
  root.text("architecture", true, 64, out.architecture);
  root.text("engine", true, 64, out.engine);
  if (!out.engine.empty() && out.engine != "onednn" && out.engine != "qnnpack") {
    mistakes.add(root.line_of("engine"), "'engine' must be \"onednn\" or \"qnnpack\", not '{}'",
                 shown(out.engine));
  }
  root.text("int8_file", false, kTextBytesMax, out.int8_file);
  if (!is_package_file_name(out.int8_file) || out.int8_file == kModelFile) {
    mistakes.add(root.line_of("int8_file"),
                 "'int8_file' must be a plain file name like \"model.int8.pt\", not '{}'",
                 shown(out.int8_file));
  }
  root.text("no_plan", false, kNoteBytesMax, out.no_plan);
  root.text("note", false, kNoteBytesMax, out.note);
  root.texts("labels", kLabelsMax, out.labels);
}

void read_method(Section& training, Mistakes& mistakes, TrainingMethod& out) {
  std::string method = to_string(out);
  training.text("method", false, 16, method);
  for (TrainingMethod m : {TrainingMethod::sparse, TrainingMethod::all, TrainingMethod::head}) {
    if (method == to_string(m)) {
      out = m;
      return;
    }
  }
  mistakes.add(training.line_of("method"), "'training.method' must be \"sparse\", \"all\" or \"head\", not '{}'", shown(method));
}

void read_rollout(Section& rollout, RolloutSpec& out) {
  rollout.integer("shadow_windows", false, 0, 1'000'000, out.shadow_windows);
  rollout.duration("shadow_time", kStageNsMax, out.shadow_time);
  rollout.number("shadow_agreement_min", false, {0, 1}, out.shadow_agreement_min);
  rollout.number("canary_share", false, {0, 0.9}, out.canary_share);
  rollout.integer("canary_labels", false, 1, 1'000'000, out.canary_labels);
  rollout.duration("canary_time", kStageNsMax, out.canary_time);
  rollout.integer("probation_labels", false, 0, 1'000'000, out.probation_labels);
  rollout.duration("probation_time", kStageNsMax, out.probation_time);
  rollout.number("rollback_loss", false, {0, 1}, out.rollback_loss);
  rollout.integer("rollback_labels", false, 1, 1'000'000, out.rollback_labels);
  rollout.number("confidence", false, {0.5, 0.9999}, out.confidence);
  rollout.refuse_unknown();
}

// Length of the UTF-8 character at the start of `text` and its code point; 0 when it is none (RFC 3629).
size_t decode(std::string_view text, uint32_t& code) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  size_t length = byte(0) < 0x80                      ? 1
                  : byte(0) >= 0xf0 && byte(0) < 0xf5 ? 4
                  : byte(0) >= 0xe0                   ? 3
                  : byte(0) >= 0xc2                   ? 2
                                                      : 0;
  if (length == 0 || byte(0) >= 0xf5 || length > text.size()) return 0;
  code = length == 1 ? byte(0) : byte(0) & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  bool shortest = length < 3 || code >= (length == 3 ? 0x800u : 0x10000u);
  return shortest && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? length : 0;
}

// ASCII only. What is no UTF-8 stays as it is, so that parsing refuses it.
std::string quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    uint32_t code = 0;
    size_t length = decode(text, code);
    if (code == '"' || code == '\\') out += '\\';
    if (length > 1 || (length == 1 && (code < 0x20 || code == 0x7f))) {
      out += code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
    } else {
      out += text[0];
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out + '"';
}

// TOML wants a point or an exponent in a float, and a digit on both sides of the point: fmt's shortest form
// has them.
std::string real(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".eni") == std::string::npos ? text + ".0" : text;
}

// The shortest form of the float if it survives the way through double, else all digits of the double.
std::string real(float value) {
  std::string text = fmt::format("{}", value);
  if (static_cast<float>(std::strtod(text.c_str(), nullptr)) != value)
    return real(static_cast<double>(value));
  return text.find_first_of(".eni") == std::string::npos ? text + ".0" : text;
}

template <typename T, typename Format>
std::string joined(const std::vector<T>& values, Format&& format) {
  std::string out = "[";
  for (const T& value : values) out += (out.size() > 1 ? ", " : "") + format(value);
  return out + "]";
}

std::string period_text(Duration period) {
  int64_t ns = period.count();
  if (ns % 1'000'000 == 0) return fmt::format("{}ms", ns / 1'000'000);
  return fmt::format("{}ns", ns);
}

}  // namespace

const char* to_string(TrainingMethod method) {
  switch (method) {
    case TrainingMethod::sparse: return "sparse";
    case TrainingMethod::all: return "all";
    case TrainingMethod::head: return "head";
  }
  return "?";
}

bool is_model_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

void normalise(const WindowSpec& spec, float* windows, size_t count) {
  const auto [channels, rows] = input_shape(spec);
  for (size_t i = 0; i < count * static_cast<size_t>(channels); ++i) {
    const size_t channel = i % static_cast<size_t>(channels);
    const float mean = spec.mean[channel], deviation = spec.deviation[channel];
    for (int64_t row = 0; row < rows; ++row) windows[row] = (windows[row] - mean) / deviation;
    windows += rows;
  }
}

std::string to_toml(const PackageInfo& info) {
  const WindowSpec& w = info.window;
  auto real_text = [](float value) { return real(value); };
  std::string out;
  out += fmt::format("name = {}\nversion = {}\nparent = {}\n", quote(info.name), info.version, info.parent);
  out += fmt::format("architecture = {}\nengine = {}\nint8_file = {}\n", quote(info.architecture),
                     quote(info.engine), quote(info.int8_file));
  if (!info.no_plan.empty()) out += fmt::format("no_plan = {}\n", quote(info.no_plan));
  out += fmt::format("note = {}\nlabels = {}\n", quote(info.note), joined(info.labels, quote));
  if (info.predictions_stream) out += "predictions_stream = true\n";
  out += fmt::format("\n[window]\nstream = {}\nfields = {}\n", quote(w.stream), joined(w.fields, quote));
  out += fmt::format("rows = {}\nstride = {}\nperiod = \"{}\"\ngap_factor = {}\n", w.rows, w.stride,
                     period_text(w.period), real(w.gap_factor));
  if (w.by == WindowSpec::By::time) out += "by = \"time\"\n";
  out +=
      fmt::format("mean = {}\ndeviation = {}\n", joined(w.mean, real_text), joined(w.deviation, real_text));
  for (const FeatureSpec& feature : w.features) {
    const auto known = std::find_if(std::begin(kFeatureKinds), std::end(kFeatureKinds), [&](const auto& k) { return feature.kind == k.first; });
    out += fmt::format("\n[[window.feature]]\nkind = \"{}\"\nof = {}\n", known->second, joined(feature.of, quote));
    if (feature.kind != FeatureSpec::Kind::band) continue;
    out += fmt::format("from_hz = {}\nto_hz = {}\n", real(feature.from_hz), real(feature.to_hz));
  }
  const GateSpec& g = info.gate;
  out += fmt::format("\n[gate]\nexamples_min = {}\nconfidence = {}\ngain_min = {}\nreference_loss_max = {}\nunexplained_max = {}\n",
                     g.examples_min, real(g.confidence), real(g.gain_min), real(g.reference_loss_max), real(g.unexplained_max));
  const TrainingSpec& t = info.training;
  out += fmt::format("\n[training]\nmethod = \"{}\"\nlabels_min = {}\nsparsity = {}\nepochs = {}\nlearning_rate = {}\n", to_string(t.method),
                     t.labels_min, real(t.sparsity), t.epochs, real(t.learning_rate));
  out += fmt::format("ewc = {}\npatience = {}\nevery = \"{}\"\ndrift_delta = {}\n", real(t.ewc), t.patience, period_text(t.every),
                     real(t.drift_delta));
  const RolloutSpec& r = info.rollout;
  out += fmt::format("\n[rollout]\nshadow_windows = {}\nshadow_time = \"{}\"\nshadow_agreement_min = {}\n", r.shadow_windows,
                     period_text(r.shadow_time), real(r.shadow_agreement_min));
  out += fmt::format("canary_share = {}\ncanary_labels = {}\ncanary_time = \"{}\"\n", real(r.canary_share), r.canary_labels,
                     period_text(r.canary_time));
  out += fmt::format("probation_labels = {}\nprobation_time = \"{}\"\n", r.probation_labels, period_text(r.probation_time));
  out += fmt::format("rollback_loss = {}\nrollback_labels = {}\nconfidence = {}\n", real(r.rollback_loss), r.rollback_labels, real(r.confidence));
  for (const AlarmSpec& alarm : info.alarms) {
    out += fmt::format("\n[[alarm]]\nlabel = {}\non = {}\noff = {}\nwindows = {}\nsoftmax = {}\n", quote(alarm.label), real(alarm.on),
                       real(alarm.off), alarm.windows, alarm.softmax);
  }
  return out;
}

Result<PackageInfo> parse_package_info(const std::string& text, const std::string& file_name) {
  if (text.size() > kModelTomlBytesMax) {
    return fail(Code::invalid, "{}:1: larger than {} bytes", file_name, kModelTomlBytesMax);
  }
  for (size_t i = 0, line = 1; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x7f || (c < 0x20 && c != '\n' && c != '\t' && c != '\r')) {
      return fail(Code::invalid,
                  "{}:{}: byte 0x{:02x}: only ASCII is allowed, write other characters as \\uXXXX in quotes",
                  file_name, line, c);
    }
    line += c == '\n';
  }
  toml::table parsed;
  try {
    parsed = toml::parse(text, file_name);
  } catch (const toml::parse_error& error) {
    return fail(Code::invalid, "{}:{}: {}", file_name, error.source().begin.line, shown(error.description()));
  } catch (const std::exception& error) {
    return fail(Code::invalid, "{}:1: not TOML: {}", file_name, shown(error.what()));
  }
  Mistakes mistakes(file_name);
  PackageInfo info;
  Section root(&parsed, "", 1, mistakes);
  read_root(root, mistakes, info);

  Section window = section(root, "window", true, mistakes);
  read_window_spec(window, mistakes, info.window);

  Section gate = section(root, "gate", false, mistakes);
  gate.integer("examples_min", false, 0, 1'000'000, info.gate.examples_min);
  gate.number("confidence", false, {0.5, 0.9999}, info.gate.confidence);
  gate.number("unexplained_max", false, {0, 1}, info.gate.unexplained_max);
  gate.number("gain_min", false, {-1, 1}, info.gate.gain_min);
  gate.number("reference_loss_max", false, {0, 1}, info.gate.reference_loss_max);
  gate.refuse_unknown();

  Section training = section(root, "training", false, mistakes);
  training.integer("labels_min", false, 1, 1'000'000, info.training.labels_min);
  training.number("sparsity", false, {1e-6, 1}, info.training.sparsity);
  training.integer("epochs", false, 1, 10'000, info.training.epochs);
  training.number("learning_rate", false, {1e-9, 10}, info.training.learning_rate);
  training.number("ewc", false, {0, 1e9}, info.training.ewc);
  training.integer("patience", false, 0, 10'000, info.training.patience);
  training.duration("every", kStageNsMax, info.training.every);
  training.number("drift_delta", false, {0, 0.5}, info.training.drift_delta);
  read_method(training, mistakes, info.training.method);
  training.refuse_unknown();

  Section rollout = section(root, "rollout", false, mistakes);
  read_rollout(rollout, info.rollout);
  root.flag("predictions_stream", info.predictions_stream);
  read_alarms(root, mistakes, info);

  root.refuse_unknown();
  if (!mistakes.empty()) return mistakes.error();
  return info;
}

}  // namespace skerry::inference
