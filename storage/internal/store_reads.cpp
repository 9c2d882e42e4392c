#include <algorithm>

#include "storage/internal/range_read.h"
#include "storage/internal/store_impl.h"
#include "storage/internal/validate.h"
#include "storage/record_format.h"

namespace skerry::storage::internal {
namespace {

bool within(const TimeRange& inner, const TimeRange& outer) {
  return inner.from_ns >= outer.from_ns && inner.to_ns <= outer.to_ns;
}

bool wanted(const std::string& model, const std::string& of) { return model.empty() || model == of; }

// The row decoded, or nullopt and the damage counted.
template <typename Decode>
auto decoded(Damage& damage, const rocksdb::Iterator& row, Decode decode)
    -> std::optional<typename decltype(decode(std::string_view()))::value_type> {
  auto value = decode(view(row.value()));
  if (value.ok()) return std::move(value).value();
  damage.found(row.key().ToString(), value.error().message);
  return std::nullopt;
}

}  // namespace

Result<std::vector<StreamInfo>> StoreImpl::streams() const {
  std::shared_lock lock(state_mutex_);
  std::vector<StreamInfo> out;
  for (const auto& [text, s] : state_.series) {
    StreamInfo info;
    info.series = s.series;
    info.fields = s.fields;
    info.durability = rule_of(options_, s.series.name).durability;
    info.records = s.records;
    info.first_ns = s.first_ns;
    info.last_ns = s.last_ns;
    info.counted = s.surveyed;
    info.kept = s.head.rows + s.sealed.rows;
    info.head_bytes = s.head.bytes;
    info.chunk_bytes = s.sealed.bytes;
    out.push_back(std::move(info));
  }
  return out;
}

std::vector<Loss> StoreImpl::losses() const {
  std::shared_lock lock(state_mutex_);
  std::vector<Loss> out;
  for (const auto& [at, loss] : state_.losses) out.push_back(loss);
  return out;
}

std::vector<QuotaStatus> StoreImpl::quotas() const {
  std::shared_lock lock(state_mutex_);
  return state_.quotas;
}

Result<SeriesState> StoreImpl::series_state(const Series& series) const {
  std::shared_lock lock(state_mutex_);
  auto found = state_.series.find(series.text());
  if (found == state_.series.end()) {
    return fail(Code::not_found, "no stream {}: nothing was ever written to it", series.text());
  }
  return found->second;
}

Result<Batch> StoreImpl::read(const Series& series, TimeRange range, size_t rows_max,
                              const std::vector<std::string>& fields) const {
  std::shared_lock use(open_mutex_);
  SKERRY_ASSIGN(const SeriesState state, series_state(series));
  return read_range(*db_, damage_, state, range, rows_max, fields);
}

Status StoreImpl::scan(const Series& series, TimeRange range, const std::vector<std::string>& fields,
                       RecordVisitor& visitor) const {
  std::shared_lock use(open_mutex_);
  SKERRY_ASSIGN(const SeriesState state, series_state(series));
  return scan_range(*db_, damage_, state, range, fields, visitor);
}

Result<std::vector<RolledUp>> StoreImpl::rolled_up(const Series& series, TimeRange range) const {
  std::shared_lock use(open_mutex_);
  SKERRY_ASSIGN(const SeriesState state, series_state(series));
  const bool none = state.surveyed && std::all_of(state.rolled_bytes.begin(), state.rolled_bytes.end(), [](uint64_t bytes) { return bytes == 0; });
  if (none || range.from_ns >= range.to_ns) return std::vector<RolledUp>();
  return rolled_stretches(*db_, damage_, state, range);
}

Result<Prediction> StoreImpl::prediction(PredictionId id) const {
  std::shared_lock use(open_mutex_);
  auto bytes = db_->get(kLedger, key::prediction(id));
  if (bytes.ok()) return decode_prediction(*bytes);
  if (bytes.error().code == Code::not_found) return fail(Code::not_found, "no prediction {}", number(id));
  return bytes.error();
}

Result<std::vector<Prediction>> StoreImpl::predictions(const std::string& model, const std::string& series,
                                                       TimeRange range, size_t count_max) const {
  std::shared_lock use(open_mutex_);
  std::vector<Prediction> out;
  if (count_max == 0 || range.from_ns > range.to_ns) return out;
  auto take = [&](Prediction p) {
    if (wanted(model, p.model) && (series.empty() || series == p.series) && within(p.window, range))
      out.push_back(std::move(p));
  };
  if (series.empty()) {
    auto it = db_->iterate(kLedger);
    for (it->SeekForPrev(key::prediction(PredictionId{UINT64_MAX})); it->Valid() && out.size() < count_max;
         it->Prev()) {
      if (it->key().empty() || it->key()[0] != 'p') break;
      if (auto p = decoded(damage_, *it, decode_prediction)) take(std::move(*p));
    }
    if (!it->status().ok()) return db_->error(it->status(), "read predictions");
    return out;
  }
  const uint64_t hash = key::hash(series);
  const std::string first = key::prediction_by_window(hash, range.from_ns, PredictionId::none);
  auto it = db_->iterate(kLedger);
  for (it->SeekForPrev(key::prediction_by_window(hash, range.to_ns, PredictionId{UINT64_MAX}));
       it->Valid() && out.size() < count_max && it->key().compare(first) >= 0; it->Prev()) {
    Reader key(view(it->key()));
    key.u8();
    key.key64();
    key.key_time();
    auto p = prediction(PredictionId{key.key64()});
    if (p.ok()) {
      take(std::move(*p));
    } else {
      damage_.found(it->key().ToString(), p.error().message);
    }
  }
  if (!it->status().ok()) return db_->error(it->status(), "read predictions");
  return out;
}

Result<std::vector<Label>> StoreImpl::labels(const std::string& model, size_t count_max) const {
  std::shared_lock use(open_mutex_);
  std::vector<Label> out;
  auto it = db_->iterate(kLabels);
  for (it->SeekToLast(); it->Valid() && out.size() < count_max; it->Prev()) {
    auto label = decoded(damage_, *it, decode_label);
    if (label && wanted(model, label->model)) out.push_back(std::move(*label));
  }
  if (!it->status().ok()) return db_->error(it->status(), "read labels");
  return out;
}

// The newest count_max, in the order of their ids.
Result<std::vector<Example>> StoreImpl::examples(const std::string& model, size_t count_max) const {
  std::shared_lock use(open_mutex_);
  std::vector<Example> out;
  const std::string first = key::example_of_model(model, ExampleId::none);
  auto it = db_->iterate(kExamples);
  for (it->SeekForPrev(key::example_of_model(model, ExampleId{UINT64_MAX}));
       it->Valid() && out.size() < count_max && it->key().compare(first) >= 0; it->Prev()) {
    const ExampleId id{Reader(view(it->key()).substr(first.size() - sizeof(uint64_t))).key64()};
    auto bytes = db_->get(kExamples, key::example(id));
    auto example = bytes.ok() ? decode_example(*bytes) : Result<Example>(bytes.error());
    if (example.ok()) {
      out.push_back(std::move(*example));
    } else if (example.error().code != Code::not_found) {  // replaced since the iterator was made
      damage_.found(it->key().ToString(), example.error().message);
    }
  }
  if (!it->status().ok()) return db_->error(it->status(), "read examples");
  std::reverse(out.begin(), out.end());
  return out;
}

Result<ExampleCounts> StoreImpl::example_counts(const std::string& model, ExampleId after) const {
  std::shared_lock use(open_mutex_);
  const std::string last = key::example_of_model(model, ExampleId{UINT64_MAX});
  ExampleCounts counts;
  auto it = db_->iterate(kExamples);
  const uint64_t from = number(after) == UINT64_MAX ? UINT64_MAX : number(after) + 1;
  for (it->Seek(key::example_of_model(model, ExampleId{from})); it->Valid() && it->key().compare(last) <= 0; it->Next()) {
    Reader row(view(it->value()));
    (static_cast<ExampleRole>(row.u8()) == ExampleRole::train ? counts.train : counts.holdout) += 1;
  }
  if (!it->status().ok()) return db_->error(it->status(), "count examples");
  return counts;
}

LiveScore StoreImpl::live_score(const std::string& model, uint32_t version) const {
  std::shared_lock lock(state_mutex_);
  auto found = state_.scores.find({model, version});
  return found == state_.scores.end() ? LiveScore{} : found->second;
}

Result<std::vector<ModelVersion>> StoreImpl::versions(const std::string& model) const {
  std::shared_lock use(open_mutex_);
  std::vector<ModelVersion> out;
  const std::string first = key::version(model, 0);
  const std::string prefix = model.empty() ? "" : first.substr(0, first.size() - sizeof(uint32_t));
  auto it = db_->iterate(kModels);
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    if (auto version = decoded(damage_, *it, decode_model_version)) out.push_back(std::move(*version));
  }
  if (!it->status().ok()) return db_->error(it->status(), "read model versions");
  return out;
}

Result<std::optional<std::string>> StoreImpl::note(const std::string& name) const {
  std::shared_lock use(open_mutex_);
  auto value = db_->get(kMeta, key::note(name));
  if (value.ok()) return std::optional<std::string>(std::move(*value));
  if (value.error().code == Code::not_found) return std::optional<std::string>();
  return value.error();
}

}  // namespace skerry::storage::internal
