#include "inference/pipeline.h"

#include <algorithm>
#include <charconv>

#include "base/file.h"
#include "base/log.h"

namespace skerry::inference {
namespace {

constexpr uint32_t kStepWindowsMax = 64;
constexpr size_t kChunkValuesMax = 1 << 20;  // of one read: windows * channels * rows
constexpr Duration kIdle = std::chrono::milliseconds(50);
constexpr Duration kWaitMin = std::chrono::milliseconds(500);
constexpr Duration kWaitMax = std::chrono::seconds(30);

// A series with many tags may be longer than a note's name: then its digest stands for it.
std::string note_name(const std::string& model, const std::string& series) {
  constexpr size_t kPlainMax = 1024;
  return "pipeline/" + model + "/" + (series.size() <= kPlainMax ? series : "sha256:" + sha256_hex(series));
}

std::string alarm_note_name(const std::string& model, const std::string& series) { return "alarm" + note_name(model, series).substr(8); }

// Where a pipeline goes on: the note, or the start. A note that is not a number is as good as none, but then
// what the ledger has already must not come again.
Result<int64_t> read_cursor(const storage::Store& store, const std::string& model,
                            const std::string& series) {
  SKERRY_ASSIGN(std::optional<std::string> note, store.note(note_name(model, series)));
  if (!note) return INT64_MIN;
  int64_t cursor = 0;
  auto [end, code] = std::from_chars(note->data(), note->data() + note->size(), cursor);
  if (code == std::errc() && end == note->data() + note->size()) return cursor;
  log::error("inference", "the note '{}' is damaged: going on after the newest prediction",
             note_name(model, series));
  SKERRY_ASSIGN(auto newest, store.predictions(model, series, {}, 1));
  return newest.empty() ? INT64_MIN : newest.front().window.to_ns;
}

// Empty: the series can feed the model.
std::string unfit(const WindowSpec& spec, const storage::StreamInfo& stream) {
  for (const std::string& field : spec.fields) {
    auto at = std::find_if(stream.fields.begin(), stream.fields.end(),
                           [&](const auto& f) { return f.first == field; });
    if (at == stream.fields.end()) return fmt::format("it has no field '{}'", field);
    if (at->second == FieldType::string) return fmt::format("its field '{}' holds text", field);
  }
  return "";
}

Series beside(const Series& series, const char* kind, const std::string& model) { return {std::string(kind) + model, series.tags}; }

std::string label_of(const PackageInfo& info, const storage::Prediction& p) {
  return p.top >= 0 && static_cast<size_t>(p.top) < info.labels.size() ? info.labels[static_cast<size_t>(p.top)] : std::string();
}

Batch prediction_records(const PackageInfo& info, const Series& series, const std::vector<storage::Prediction>& predictions) {
  Batch batch{beside(series, "predictions.", info.name), {}, {}};
  std::vector<std::string> labels;
  std::vector<double> scores;
  std::vector<int64_t> versions;
  for (const storage::Prediction& p : predictions) {
    batch.times.push_back(p.window.to_ns - 1);
    labels.push_back(label_of(info, p));
    scores.push_back(p.scores[static_cast<size_t>(p.top)]);
    versions.push_back(p.version);
  }
  batch.columns = {{"label", labels, {}}, {"score", scores, {}}, {"version", versions, {}}};
  return batch;
}

void append_alarm(const PackageInfo& info, const Series& series, const storage::Prediction& p, const AlarmChange& change,
                  storage::Effect& effect) {
  Series of = beside(series, "alarms.", info.name);
  of.tags["alarm"] = change.label;  // two at one time are two series
  Batch record{of, {p.window.to_ns - 1}, {}};
  record.columns = {{"raised", std::vector<uint8_t>{change.raised}, {}},
                    {"score", std::vector<double>{change.score}, {}},
                    {"version", std::vector<int64_t>{p.version}, {}}};
  effect.batches.push_back(std::move(record));
  const std::string says = fmt::format("{} '{}' on {} at {} (score {:.3g}, version {})", change.raised ? "alarm" : "end of alarm", change.label,
                                       series.text(), format_time(p.window.to_ns - 1), change.score, p.version);
  effect.outbox.push_back({storage::OutboxClass::alarm, storage::EntryKind::model_event, fmt::format("{}/{}", info.name, p.version), says});
  log::warn("inference", "model {}: {}", info.name, says);
}

// Adds what the package wants done about the predictions in `effect`. False: nothing.
bool append_consequences(const PackageInfo& info, const Series& series, AlarmStates& alarms, storage::Effect& effect) {
  if (effect.predictions.empty()) return false;
  if (info.predictions_stream) effect.batches.push_back(prediction_records(info, series, effect.predictions));
  if (info.alarms.empty()) return info.predictions_stream;
  for (const storage::Prediction& p : effect.predictions) {
    for (const AlarmChange& change : judge(info, p.scores, alarms)) {
      append_alarm(info, series, p, change, effect);
      effect.durability = storage::Durability::batch;  // an alarm that was given must not be forgotten
    }
  }
  effect.notes.emplace_back(alarm_note_name(info.name, series.text()), alarm_note(alarms));
  return true;
}

bool concerns_all(Code code) {
  return code == Code::exhausted || code == Code::unavailable || code == Code::cancelled;
}
bool is_about_the_window(Code code) { return code == Code::invalid || code == Code::internal; }

}  // namespace

Pipelines::Pipelines(Engine& engine, storage::Store& store, const Clock& clock)
    : engine_(engine), store_(store), clock_(clock) {}

Duration Pipelines::step() {
  if (SteadyTime now = clock_.steady(); now < wait_until_) return wait_until_ - now;
  Result<std::vector<storage::StreamInfo>> streams = store_.streams();
  Result<bool> more = streams.ok() ? step_all(*streams) : Result<bool>(streams.error());
  if (!more.ok()) {
    if (wait_ == Duration{0}) log::warn("inference", "pipelines wait: {}", more.error().message);
    wait_ = std::clamp<Duration>(wait_ * 2, kWaitMin, kWaitMax);
    wait_until_ = clock_.steady() + wait_;
    return wait_;
  }
  if (wait_ != Duration{0}) log::info("inference", "pipelines go on");
  wait_ = Duration{0};
  return *more ? Duration{0} : kIdle;
}

// Serving models times the series that feed them, beginning with the one whose turn it is.
Result<bool> Pipelines::step_all(const std::vector<storage::StreamInfo>& streams) {
  struct Turn {
    Key key;
    std::shared_ptr<const LoadedModel> model;
    const storage::StreamInfo* stream;
  };
  std::vector<Turn> turns;
  for (auto& model : engine_.loaded()) {
    const PackageInfo& info = model->package.info;
    if (engine_.serving(info.name) != info.version) continue;
    for (const storage::StreamInfo& stream : streams) {
      if (stream.series.name == info.window.stream)
        turns.push_back({{info.name, stream.series.text()}, model, &stream});
    }
  }
  std::sort(turns.begin(), turns.end(), [](const Turn& a, const Turn& b) { return a.key < b.key; });
  auto first = std::lower_bound(turns.begin(), turns.end(), next_,
                                [](const Turn& turn, const Key& key) { return turn.key < key; });
  std::rotate(turns.begin(), first, turns.end());

  uint32_t budget = kStepWindowsMax;
  bool more = false;
  for (size_t i = 0; i < turns.size(); ++i) {
    if (budget == 0) {
      next_ = turns[i].key;
      return true;
    }
    Place& place = places_[turns[i].key];
    Result<Work> work = step_series(*turns[i].model, *turns[i].stream, place, budget);
    if (!work.ok() && concerns_all(work.error().code)) return work.error();
    if (!work.ok()) {  // this series' own trouble: looked at again when records come, and meanwhile the
                       // others are served
      failures_ += 1;
      log::warn("inference", "model {} on series {}: {}", turns[i].key.first, turns[i].key.second,
                work.error().message);
      place.records_seen = turns[i].stream->records;
      budget -= 1;
      continue;
    }
    budget -= std::min(budget, std::max<uint32_t>(work->windows, work->looked ? 1 : 0));
    more = more || work->more;
  }
  return more;
}

Result<Pipelines::Work> Pipelines::step_series(const LoadedModel& model, const storage::StreamInfo& stream,
                                               Place& place, uint32_t windows_max) {
  const PackageInfo& info = model.package.info;
  const WindowSpec& spec = info.window;
  if (place.version != info.version) {  // another version may want other fields or shorter windows
    place.version = info.version;
    place.records_seen = 0;
    place.fields_refused = 0;
  }
  if (stream.records == place.records_seen) return Work{};
  std::string series = stream.series.text();
  if (place.fields_refused == stream.fields.size()) return Work{};
  if (std::string reason = unfit(spec, stream); !reason.empty()) {
    failures_ += 1;
    log::warn("inference", "series {} can't feed model {}: {}", series, info.name, reason);
    place.fields_refused = stream.fields.size();
    return Work{};
  }
  SKERRY_TRY(know(info, series, place));

  // So many records that windows_max windows are in them when nothing is missing, and not more than memory
  // allows.
  const size_t windows_wanted = std::clamp<size_t>(kChunkValuesMax / (spec.fields.size() * spec.rows), 1, windows_max);
  SKERRY_ASSIGN(const Cut cut, spec.by == WindowSpec::By::time ? cut_by_time(spec, stream.series, place.cursor_ns, windows_wanted)
                                                               : cut_by_count(spec, stream.series, place.cursor_ns, windows_wanted));
  Work work{.windows = 0, .looked = true, .more = cut.more};
  if (cut.empty) {
    place.records_seen = stream.records;
    return work;
  }
  storage::Effect effect;
  // Interval on purpose: after a power cut the predictions and the cursor vanish together and are made again
  // from the records, so an fsync per step would buy nothing.
  effect.durability = storage::Durability::interval;
  SKERRY_TRY(answer(model, series, cut.windows, effect.predictions));
  const size_t answered = effect.predictions.size();
  // A cursor that moved without a prediction (gaps) is written only when a whole chunk was passed over: it
  // can be found again.
  if (!cut.windows.empty() || (work.more && cut.cursor_ns != place.cursor_ns)) {
    effect.notes.emplace_back(note_name(info.name, series), std::to_string(cut.cursor_ns));
    SKERRY_TRY(commit(info, stream.series, place, std::move(effect)));
  }
  work.windows = static_cast<uint32_t>(cut.windows.size());
  windows_ += answered;
  failures_ += cut.windows.size() - answered;
  place.cursor_ns = cut.cursor_ns;
  if (!work.more) place.records_seen = stream.records;
  return work;
}

Status Pipelines::know(const PackageInfo& info, const std::string& series, Place& place) {
  if (place.known) return {};
  SKERRY_ASSIGN(place.cursor_ns, read_cursor(store_, info.name, series));
  SKERRY_ASSIGN(const std::optional<std::string> note, store_.note(alarm_note_name(info.name, series)));
  if (note) {
    auto alarms = read_alarm_note(*note);
    if (!alarms.ok()) log::error("inference", "alarms of {} on {} start anew: {}", info.name, series, alarms.error().message);
    place.alarms = alarms.value_or({});
  }
  place.known = true;
  return {};
}

// Up to what is rolled up. The store is asked after the reading, because it may roll up at any moment.
Result<Pipelines::Samples> Pipelines::read_samples(const WindowSpec& spec, const Series& series, int64_t from_ns, int64_t cursor_ns,
                                                   size_t rows_max) const {
  Samples out;
  storage::TimeRange range{from_ns, INT64_MAX};
  while (true) {
    SKERRY_ASSIGN(out.records, store_.read(series, range, rows_max, spec.fields));
    out.full = out.records.rows() == rows_max;
    if (out.records.rows() == 0) return out;
    SKERRY_ASSIGN(const auto means, store_.rolled_up(series, {out.records.times.front(), out.records.times.back() + 1}));
    if (means.empty()) return out;
    const int64_t last_mean_ns = means.front().range.to_ns - means.front().resolution_ns;
    if (last_mean_ns < cursor_ns) {  // only good to interpolate from
      range.from_ns = last_mean_ns + 1;
      continue;
    }
    SKERRY_ASSIGN(const auto stretches, store_.rolled_up(series, {means.front().range.from_ns, INT64_MAX}));
    const storage::RolledUp& stretch = stretches.empty() ? means.front() : stretches.front();
    out.behind_ns = stretch.range.to_ns - stretch.resolution_ns + 1;
    range.to_ns = stretch.range.from_ns;
  }
}

// Every window before what is rolled up was cut: goes on behind it.
void Pipelines::pass_over(const Series& series, int64_t behind_ns, Cut& cut) {
  log::info("inference", "{} was rolled up until {} before a model came to it: there are no windows of that", series.text(), format_time(behind_ns));
  rolled_up_ += 1;
  cut.cursor_ns = behind_ns;
  cut.empty = false;
  cut.more = true;
}

Result<Pipelines::Cut> Pipelines::cut_by_count(const WindowSpec& spec, const Series& series, int64_t cursor_ns, size_t windows_max) {
  const size_t rows_max = spec.rows + (windows_max - 1) * spec.stride;
  SKERRY_ASSIGN(const Samples samples, read_samples(spec, series, cursor_ns, cursor_ns, rows_max));
  const Batch& records = samples.records;
  Cut out{{}, cursor_ns, records.rows() == 0, samples.full};
  if (out.empty) {
    if (samples.behind_ns != INT64_MIN) pass_over(series, samples.behind_ns, out);
    return out;
  }
  SKERRY_ASSIGN(CutResult cut, cut_windows(spec, records, windows_max));
  out.windows = std::move(cut.windows);
  out.cursor_ns = cut.consumed < records.rows() ? records.times[cut.consumed] : records.times.back() + 1;
  if (samples.behind_ns != INT64_MIN && !out.more) pass_over(series, samples.behind_ns, out);
  return out;
}

// Records may come more often than the period says: then more of them are needed for a window, up to what memory allows.
Result<Pipelines::Cut> Pipelines::cut_by_time(const WindowSpec& spec, const Series& series, int64_t cursor_ns, size_t windows_max) {
  const size_t most = kChunkValuesMax / spec.fields.size();
  size_t rows_max = std::min(most, 2 * (spec.rows + windows_max * spec.stride) + static_cast<size_t>(2 * spec.gap_factor) + 2);
  for (;; rows_max = std::min(most, 8 * rows_max)) {
    SKERRY_ASSIGN(const Samples samples, read_samples(spec, series, record_needed_ns(spec, cursor_ns), cursor_ns, rows_max));
    const Batch& records = samples.records;
    Cut out{{}, cursor_ns, records.rows() == 0, samples.full};
    if (out.empty) {
      if (samples.behind_ns != INT64_MIN) pass_over(series, samples.behind_ns, out);
      return out;
    }
    SKERRY_ASSIGN(TimeCutResult cut, cut_windows_by_time(spec, records, cursor_ns, windows_max));
    const bool stuck = cut.windows.empty() && out.more;
    if (stuck && rows_max < most) continue;
    out.more = out.more || cut.windows.size() == windows_max;
    out.windows = std::move(cut.windows);
    out.cursor_ns = cut.next_ns;
    if (samples.behind_ns != INT64_MIN && !out.more) pass_over(series, samples.behind_ns, out);
    if (!stuck) return out;
    // A whole chunk without a window: either none of it is usable, or it is far denser than one window may be.
    out.cursor_ns = std::max(cut.next_ns, records.times.back());
    if (cut.next_ns < records.times.back()) {
      log::warn("inference", "{} has {} records without a whole window of {} ms: they are passed over", series.text(), records.rows(),
                (spec.rows - 1) * spec.period.count() / 1'000'000);
    }
    return out;
  }
}

// With what follows from the predictions. Should the store refuse these records (a stream of that name with other fields), the predictions
// are worth keeping without them.
Status Pipelines::commit(const PackageInfo& info, const Series& series, Place& place, storage::Effect effect) {
  AlarmStates alarms = place.alarms;
  const bool follows = append_consequences(info, series, alarms, effect);
  auto committed = store_.commit(effect);
  if (!committed.ok() && committed.error().code == Code::invalid && follows && !effect.batches.empty()) {
    if (!place.streams_refused) log::warn("inference", "predictions of {} are not written into streams: {}", info.name, committed.error().message);
    place.streams_refused = true;
    effect.batches.clear();
    committed = store_.commit(effect);
  }
  if (!committed.ok()) return committed.error();
  place.alarms = std::move(alarms);
  return {};
}

Status Pipelines::answer(const LoadedModel& model, const std::string& series,
                         const std::vector<Window>& windows, std::vector<storage::Prediction>& out) {
  std::vector<const Window*> all, on_trial;
  const std::optional<Trial> trial = engine_.trial(model.package.info.name);
  std::shared_ptr<const LoadedModel> other = trial ? engine_.find(model.package.info.name, trial->version).value_or(nullptr) : nullptr;
  const uint64_t where = trial ? std::hash<std::string>{}(series) : 0;
  for (const Window& window : windows) {
    const bool takes = other && other->package.info.window.fields == model.package.info.window.fields &&
                       other->package.info.window.rows == model.package.info.window.rows &&
                       trial->takes(where + static_cast<uint64_t>(window.range.from_ns));
    (takes ? on_trial : all).push_back(&window);
  }
  for (const Window* window : on_trial) {  // one by one: they are few, and the serving version answers where this one can't
    if (!answer_together(*other, series, {window}, out).ok()) all.push_back(window);
  }
  for (size_t from = 0; from < all.size();) {
    size_t count = std::min<size_t>(all.size() - from, engine_.options().batch_max);
    std::vector<const Window*> some(all.begin() + static_cast<ptrdiff_t>(from),
                                    all.begin() + static_cast<ptrdiff_t>(from + count));
    from += count;
    Status done = answer_together(model, series, some, out);
    if (done.ok()) continue;
    if (!is_about_the_window(done.error().code)) return done;
    for (const Window* window : some) {  // find out which one it is, so that the rest is answered
      Status alone = answer_together(model, series, {window}, out);
      if (alone.ok()) continue;
      if (!is_about_the_window(alone.error().code)) return alone;
      log::warn("inference", "window of {} at {} passed over: {}", series, format_time(window->range.from_ns),
                alone.error().message);
    }
  }
  return {};
}

Status Pipelines::answer_together(const LoadedModel& model, const std::string& series,
                                  const std::vector<const Window*>& windows,
                                  std::vector<storage::Prediction>& out) {
  const PackageInfo& info = model.package.info;
  std::vector<const std::vector<float>*> data;
  for (const Window* window : windows) data.push_back(&window->data);
  SKERRY_ASSIGN(Answer answer, engine_.infer(info.name, info.version, {make_input(info.window, data)}));
  std::vector<float> scores = answer.outputs.front().floats();
  size_t labels = info.labels.size();
  for (size_t i = 0; i < windows.size(); ++i) {
    storage::Prediction p;
    p.model = answer.model;
    p.version = answer.version;
    p.series = series;
    p.window = windows[i]->range;
    p.window_rows = info.window.rows;
    p.at_ns = clock_.now_ns();
    auto begin = scores.begin() + static_cast<ptrdiff_t>(i * labels);
    p.scores.assign(begin, begin + static_cast<ptrdiff_t>(labels));
    p.top = static_cast<int32_t>(std::max_element(p.scores.begin(), p.scores.end()) - p.scores.begin());
    out.push_back(std::move(p));
  }
  return {};
}

}  // namespace skerry::inference
