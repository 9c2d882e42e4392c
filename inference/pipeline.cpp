#include "inference/pipeline.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/file.h"
#include "base/log.h"

namespace skerry::inference {
namespace {

constexpr uint32_t kStepWindowsMax = 64;
constexpr size_t kChunkValuesMax = 1 << 20;  // of one read: windows * channels * rows
constexpr Duration kIdle = std::chrono::milliseconds(50);
constexpr Duration kWaitMin = std::chrono::milliseconds(500);
constexpr Duration kWaitMax = std::chrono::seconds(30);

Result<std::vector<const Column*>> window_columns(const WindowSpec& spec, const Batch& records) {
  std::vector<const Column*> columns;
  for (const std::string& field : spec.fields) {
    const Column* column = records.column(field);
    if (!column || column->type() == FieldType::string) {
      return fail(Code::invalid, "stream {} has {} '{}', which the model needs as a number",
                  records.series.text(), column ? "text in field" : "no field", field);
    }
    columns.push_back(column);
  }
  return columns;
}

// A row of the window's fields as floats, row-major [rows, channels]; false where one is absent or no finite
// float.
std::vector<uint8_t> to_floats(const std::vector<const Column*>& columns, size_t rows,
                               std::vector<float>& out) {
  out.resize(columns.size() * rows);
  std::vector<uint8_t> whole(rows, 1);
  for (size_t c = 0; c < columns.size(); ++c) {
    for (size_t row = 0; row < rows; ++row) {
      auto value = static_cast<float>(columns[c]->number(row));  // NaN where absent
      out[c * rows + row] = value;
      if (!std::isfinite(value)) whole[row] = 0;
    }
  }
  return whole;
}

// A series with many tags may be longer than a note's name: then its digest stands for it.
std::string note_name(const std::string& model, const std::string& series) {
  constexpr size_t kPlainMax = 1024;
  return "pipeline/" + model + "/" + (series.size() <= kPlainMax ? series : "sha256:" + sha256_hex(series));
}

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

bool concerns_all(Code code) {
  return code == Code::exhausted || code == Code::unavailable || code == Code::cancelled;
}
bool is_about_the_window(Code code) { return code == Code::invalid || code == Code::internal; }

}  // namespace

Result<CutResult> cut_windows(const WindowSpec& spec, const Batch& records, size_t windows_max) {
  SKERRY_ASSIGN(std::vector<const Column*> columns, window_columns(spec, records));
  const size_t rows = records.rows(), channels = columns.size();
  const auto gap_ns = static_cast<int64_t>(static_cast<double>(spec.period.count()) * spec.gap_factor);
  std::vector<float> values;
  std::vector<uint8_t> whole = to_floats(columns, rows, values);

  CutResult result;
  size_t start = 0;  // of the next window; [start, row) is one unbroken stretch
  for (size_t row = 0; row < rows; ++row) {
    if (!whole[row]) {
      start = row + 1;
      continue;
    }
    if (row > start) {
      int64_t before = records.times[row - 1], now = records.times[row];
      // Unsigned: times of a hostile batch may be further apart than int64 can say.
      if (now <= before ||
          static_cast<uint64_t>(now) - static_cast<uint64_t>(before) > static_cast<uint64_t>(gap_ns))
        start = row;
    }
    if (row + 1 - start < spec.rows) continue;
    if (result.windows.size() == windows_max) break;
    Window window{{records.times[start], records.times[row] + 1}, std::vector<float>(channels * spec.rows)};
    for (size_t c = 0; c < channels; ++c) {
      std::copy_n(values.begin() + static_cast<ptrdiff_t>(c * rows + start), spec.rows,
                  window.data.begin() + static_cast<ptrdiff_t>(c * spec.rows));
    }
    result.windows.push_back(std::move(window));
    start += spec.stride;
  }
  result.consumed = start;
  return result;
}

Tensor make_input(const WindowSpec& spec, const std::vector<const std::vector<float>*>& windows) {
  std::vector<float> values;
  values.reserve(windows.size() * spec.fields.size() * spec.rows);
  for (const std::vector<float>* window : windows) {
    SKERRY_CHECK(window->size() == spec.fields.size() * spec.rows, "a window of {} values for {} fields",
                 window->size(), spec.fields.size());
    values.insert(values.end(), window->begin(), window->end());
  }
  return Tensor::fp32(
      "input", {static_cast<int64_t>(windows.size()), static_cast<int64_t>(spec.fields.size()), spec.rows},
      values);
}

Result<std::vector<float>> read_window(const storage::Store& store, const WindowSpec& spec,
                                       const std::string& series, storage::TimeRange range) {
  SKERRY_ASSIGN(Series parsed, Series::parse(series));
  SKERRY_ASSIGN(Batch records, store.read(parsed, range, spec.rows + 1, spec.fields));
  if (records.rows() != spec.rows) {
    return fail(Code::not_found, "the window of {} from {} to {} has {} records now, it had {}", series,
                format_time(range.from_ns), format_time(range.to_ns),
                records.rows() > spec.rows ? "more" : std::to_string(records.rows()), spec.rows);
  }
  SKERRY_ASSIGN(std::vector<const Column*> columns, window_columns(spec, records));
  std::vector<float> values;
  std::vector<uint8_t> whole = to_floats(columns, spec.rows, values);
  if (std::find(whole.begin(), whole.end(), 0) != whole.end()) {
    return fail(Code::not_found, "the window of {} from {} has lost values of a field", series,
                format_time(range.from_ns));
  }
  return values;
}

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
  if (!place.known) {
    SKERRY_ASSIGN(place.cursor_ns, read_cursor(store_, info.name, series));
    place.known = true;
  }

  // So many records that windows_max windows are in them when nothing is missing, and not more than memory
  // allows.
  size_t window_values = spec.fields.size() * spec.rows;
  size_t windows_wanted = std::clamp<size_t>(kChunkValuesMax / window_values, 1, windows_max);
  size_t rows_max = spec.rows + (windows_wanted - 1) * spec.stride;
  SKERRY_ASSIGN(Batch records,
                store_.read(stream.series, {place.cursor_ns, INT64_MAX}, rows_max, spec.fields));
  Work work{.windows = 0, .looked = true, .more = records.rows() == rows_max};
  if (records.rows() == 0) {
    place.records_seen = stream.records;
    return work;
  }
  SKERRY_ASSIGN(CutResult cut, cut_windows(spec, records, windows_wanted));
  int64_t cursor = cut.consumed < records.rows() ? records.times[cut.consumed] : records.times.back() + 1;

  storage::Effect effect;
  // Interval on purpose: after a power cut the predictions and the cursor vanish together and are made again
  // from the records, so an fsync per step would buy nothing.
  effect.durability = storage::Durability::interval;
  SKERRY_TRY(answer(model, series, cut.windows, effect.predictions));
  // A cursor that moved without a prediction (gaps) is written only when a whole chunk was passed over: it
  // can be found again.
  if (!cut.windows.empty() || (work.more && cursor != place.cursor_ns)) {
    effect.notes.emplace_back(note_name(info.name, series), std::to_string(cursor));
    SKERRY_TRY(store_.commit(effect));
  }
  work.windows = static_cast<uint32_t>(cut.windows.size());
  windows_ += effect.predictions.size();
  failures_ += cut.windows.size() - effect.predictions.size();
  place.cursor_ns = cursor;
  if (!work.more) place.records_seen = stream.records;
  return work;
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
