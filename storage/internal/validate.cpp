#include "storage/internal/validate.h"

#include <algorithm>

#include "storage/internal/producers.h"
#include "storage/record_format.h"

namespace skerry::storage::internal {
namespace {


Status check_text(const char* what, std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return {};
  return fail(Code::invalid, "a {} of {} bytes: at most {} are allowed", what, text.size(), bytes_max);
}

Status check_model(std::string_view model) {
  if (model.empty()) return fail(Code::invalid, "no model is named: say which one");
  return check_text("model name", model, kNameBytesMax);
}

// `text` may be empty where there is no stream.
Status check_series(std::string_view text) {
  SKERRY_TRY(check_text("series", text, kSeriesTextBytesMax));
  if (text.empty()) return {};
  auto series = Series::parse(text);
  return series.ok() ? Status() : series.error();
}

Status check_window(const TimeRange& window) {
  if (window.from_ns <= window.to_ns) return {};
  return fail(Code::invalid, "a window that ends before it begins: {} to {}", window.from_ns, window.to_ns);
}

Status check_times(const Batch& batch, const Options& options, int64_t now_ns) {
  const auto [oldest, newest] = std::minmax_element(batch.times.begin(), batch.times.end());
  if (*oldest < options.time_min_ns) {
    return fail(Code::invalid, "record {} of {} has the time {}, before {}: is the precision parameter right?",
                oldest - batch.times.begin(), batch.series.text(), format_time(*oldest),
                format_time(options.time_min_ns));
  }
  if (now_ns < kClockPlausibleNs) return {};  // this node does not know the time yet: no reason to refuse what does
  const int64_t ahead = options.time_ahead_max.count();
  const int64_t limit = now_ns > INT64_MAX - ahead ? INT64_MAX : now_ns + ahead;
  if (*newest > limit) {
    return fail(
        Code::invalid,
        "record {} of {} has the time {}, too far ahead of now ({}): is the precision parameter, or a clock, wrong?",
        newest - batch.times.begin(), batch.series.text(), format_time(*newest), format_time(now_ns));
  }
  return {};
}

Status check(const Producer& p) {
  if (p.id.empty() || p.id.size() > kProducerIdBytesMax) {
    return fail(Code::invalid, "a producer id of {} bytes: it has 1 to {}", p.id.size(), kProducerIdBytesMax);
  }
  return p.seq > 0 ? Status() : fail(Code::invalid, "producer {} sends number 0: count from 1", p.id);
}

Status check(const Prediction& p) {
  SKERRY_TRY(check_model(p.model));
  SKERRY_TRY(check_series(p.series));
  SKERRY_TRY(check_window(p.window));
  if (p.scores.size() > kScoresMax) {
    return fail(Code::invalid, "a prediction of {} with {} scores: at most {} are kept", p.model, p.scores.size(),
                kScoresMax);
  }
  return {};
}

Status check(const Label& l) {
  if (l.prediction == PredictionId::none || !l.model.empty()) SKERRY_TRY(check_model(l.model));
  SKERRY_TRY(check_series(l.series));
  SKERRY_TRY(check_window(l.window));
  SKERRY_TRY(check_text("label source", l.source, kNameBytesMax));
  if (l.value == kWithdrawn && l.prediction == PredictionId::none) return fail(Code::invalid, "what is withdrawn must name its prediction");
  if (l.value < 0 && l.value != kWithdrawn) return fail(Code::invalid, "the label {} is no class: classes count from 0", l.value);
  return {};
}

Status check(const Example& e) {
  SKERRY_TRY(check_model(e.model));
  SKERRY_TRY(check_series(e.series));
  SKERRY_TRY(check_window(e.window));
  if (e.label < 0) return fail(Code::invalid, "an example with the label {}: classes count from 0", e.label);
  if (e.role != ExampleRole::train && e.role != ExampleRole::holdout) {
    return fail(Code::invalid, "an example with the unknown role {}", static_cast<int>(e.role));
  }
  if (e.data.size() * sizeof(float) > kPayloadBytesMax) {
    return fail(Code::invalid, "an example of {} values: at most {} are kept", e.data.size(),
                kPayloadBytesMax / sizeof(float));
  }
  if (e.channels == 0 ? !e.data.empty() : e.data.size() % e.channels != 0) {
    return fail(Code::invalid, "an example of {} values does not divide into {} channels", e.data.size(), e.channels);
  }
  return {};
}

Status check(const ModelVersion& v) {
  SKERRY_TRY(check_model(v.model));
  SKERRY_TRY(check_text("reason", v.reason, kTextBytesMax));
  SKERRY_TRY(check_text("digest", v.digest, kNameBytesMax));
  SKERRY_TRY(check_text("job", v.job, kTextBytesMax));
  const int state = static_cast<int>(v.state);
  if (state < 1 || state > 6)
    return fail(Code::invalid, "the version {}/{} has the unknown state {}", v.model, v.version, state);
  return {};
}

Status check(const OutboxEntry& e) {
  if (std::find(std::begin(kOutboxClasses), std::end(kOutboxClasses), e.outbox_class) == std::end(kOutboxClasses)) {
    return fail(Code::invalid, "an outbox entry of the unknown class {}", static_cast<int>(e.outbox_class));
  }
  const int kind = static_cast<int>(e.kind);
  if (kind < 1 || kind > 5) return fail(Code::invalid, "an outbox entry of the unknown kind {}", kind);
  SKERRY_TRY(check_text("subject of an outbox entry", e.subject, kTextBytesMax));
  return check_text("payload of an outbox entry", e.payload, kPayloadBytesMax);
}

bool matches(std::string_view pattern, std::string_view name) {
  if (!pattern.empty() && pattern.back() == '*') return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == name;
}

}  // namespace

Status validate(const Effect& effect, const Options& options, int64_t now_ns) {
  size_t bytes = 0;
  for (const Batch& batch : effect.batches) {
    SKERRY_TRY(batch.validate());
    SKERRY_TRY(check_times(batch, options, now_ns));
    bytes += batch.bytes();
  }
  for (const Prediction& p : effect.predictions) {
    SKERRY_TRY(check(p));
    bytes += p.scores.size() * sizeof(float) + p.series.size();
  }
  for (const Label& l : effect.labels) SKERRY_TRY(check(l));
  for (const Example& e : effect.examples) {
    SKERRY_TRY(check(e));
    bytes += e.data.size() * sizeof(float);
  }
  for (const ModelVersion& v : effect.versions) SKERRY_TRY(check(v));
  for (const OutboxEntry& e : effect.outbox) {
    SKERRY_TRY(check(e));
    bytes += e.payload.size();
  }
  for (const auto& [name, value] : effect.notes) {
    if (name.empty()) return fail(Code::invalid, "a note without a name");
    SKERRY_TRY(check_text("name of a note", name, kTextBytesMax));
    SKERRY_TRY(check_text("note", value, kPayloadBytesMax));
    bytes += value.size();
  }
  if (effect.producer) SKERRY_TRY(check(*effect.producer));
  if (bytes > kBytesPerEffectMax) {
    return fail(Code::invalid, "{} bytes in one step: split them, at most {} are allowed", bytes, kBytesPerEffectMax);
  }
  return {};
}

size_t rule_index(const Options& options, std::string_view series_name) {
  size_t i = 0;
  while (i < options.streams.size() && !matches(options.streams[i].name, series_name)) ++i;
  return i;
}

const OutboxRule* outbox_rule_of(const Options& options, OutboxClass c) {
  for (const OutboxRule& rule : options.outbox) {
    if (rule.outbox_class == c) return &rule;
  }
  return nullptr;
}

const StreamRule& rule_of(const Options& options, std::string_view series_name) {
  static const StreamRule fallback;
  const size_t i = rule_index(options, series_name);
  return i < options.streams.size() ? options.streams[i] : fallback;
}

}  // namespace skerry::storage::internal
