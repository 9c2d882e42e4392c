#include "storage/internal/transaction.h"

#include <algorithm>
#include <map>
#include <optional>

#include "storage/internal/validate.h"
#include "storage/record_format.h"

namespace skerry::storage::internal {

Transaction::Transaction(const Database& db, const State& state, const Options& options)
    : db_(db),
      state_(state),
      options_(options),
      batch_(rocksdb::BytewiseComparator(), 0, /*overwrite_key=*/true),
      counters_(state.counters),
      classes_(state.classes) {}

void Transaction::begin(int64_t now_ns) {
  now_ns_ = now_ns;
  receipt_ = {};
}

bool Transaction::claim(const Producer& producer) {
  auto [at, fresh] = producers_.try_emplace(producer.id, producer.seq);
  if (producer.seq <= (fresh ? state_.producers.last_seq(producer.id) : at->second)) {
    if (fresh) producers_.erase(at);
    return false;
  }
  at->second = producer.seq;
  return true;
}

void Transaction::put(Family f, const std::string& key, std::string_view value) {
  rocksdb::Status status = batch_.Put(db_.family(f), key, slice(value));
  SKERRY_CHECK(status.ok(), "staging a row: {}", status.ToString());
}

void Transaction::put_unread(Family f, const std::string& key, std::string_view value) {
  rocksdb::Status status = batch_.GetWriteBatch()->Put(db_.family(f), key, slice(value));
  SKERRY_CHECK(status.ok(), "staging a row: {}", status.ToString());
}

void Transaction::remove(Family f, const std::string& key) {
  rocksdb::Status status = batch_.Delete(db_.family(f), key);
  SKERRY_CHECK(status.ok(), "staging a deletion: {}", status.ToString());
}

Result<std::string> Transaction::get(Family f, const std::string& key) {
  std::string value;
  rocksdb::Status status = batch_.GetFromBatchAndDB(&db_.rocks(), {}, db_.family(f), key, &value);
  if (!status.ok()) return db_.error(status, "read");
  return value;
}

// False: the rule of the class drops what is new, and that was noted. Error: exhausted.
Result<bool> Transaction::may_wait(OutboxClass c, const OutboxRow& row) {
  const OutboxRule* rule = outbox_rule_of(options_, c);
  if (rule == nullptr || rule->quota_bytes == 0 || (rule->on_full != OnFull::reject && rule->on_full != OnFull::drop_newest)) return true;
  const ClassState& s = classes_[static_cast<size_t>(c)];
  const uint64_t waiting = s.queued_bytes - std::min(s.queued_bytes, std::max(s.acked_bytes, state_.dropped_of(c).upto_bytes));
  if (waiting == 0 || waiting + row.bytes <= rule->quota_bytes) return true;
  if (rule->on_full == OnFull::reject) {
    return fail(Code::exhausted,
                "no room in the outbox for {} of {}: {} of {} bytes of class {} wait for the hub, and its rule rejects what is new: connect, raise the "
                "quota, or choose on_full = \"drop_oldest\"",
                to_string(row.kind), row.subject, waiting, rule->quota_bytes, to_string(c));
  }
  Loss& loss = dropped_.try_emplace(loss_id(c), Loss{"", LossReason::full, {now_ns_, now_ns_ + 1}, 0, 0, 0, now_ns_, c, 0}).first->second;
  loss.range = {std::min(loss.range.from_ns, now_ns_), std::max(loss.range.to_ns, now_ns_ + 1)};
  loss.records += row.records;
  loss.unsent += row.records;
  ++loss.entries;
  return false;
}

Status Transaction::queue(OutboxClass c, OutboxRow row) {
  SKERRY_ASSIGN(const bool waits, may_wait(c, row));
  if (!waits) return {};
  ClassState& s = classes_[static_cast<size_t>(c)];
  class_changed_[static_cast<size_t>(c)] = true;
  row.queued_ns = now_ns_;
  row.bytes_before = s.queued_bytes;
  s.queued_bytes += row.bytes;
  if (s.last_seq == std::max(s.acked_seq, state_.dropped_of(c).upto_seq)) s.oldest_ns = now_ns_;
  put_unread(kOutbox, key::outbox(c, ++s.last_seq), encode_row(row));
  return {};
}

// The series as this effect leaves it: known or new, with the batch's fields.
Result<SeriesState*> Transaction::series_for(const Batch& batch, const std::string& text) {
  auto [at, fresh] = series_.try_emplace(text);
  SeriesState& s = at->second;
  if (fresh) {
    auto known = state_.series.find(text);
    if (known != state_.series.end()) {
      s = known->second;
    } else {
      if (state_.series.size() + new_series_ >= kSeriesMax) {
        return fail(Code::exhausted, "{} would be series number {}: a node keeps at most {}, use fewer different tags",
                    text, kSeriesMax + 1, kSeriesMax);
      }
      s.id = static_cast<uint32_t>(state_.series.size() + ++new_series_);
      s.series = batch.series;
      s.surveyed = true;
      put(kMeta, key::series(s.id), encode_series(s));
    }
  }
  const size_t fields_before = s.fields.size();
  for (const Column& column : batch.columns) {
    const int known = s.field(column.name);
    if (known < 0) {
      s.fields.emplace_back(column.name, column.type());
    } else if (s.fields[known].second != column.type()) {
      return fail(Code::invalid, "field '{}' of {} is {}, but came as {}: send {} or use another field name",
                  column.name, text, to_string(s.fields[known].second), to_string(column.type()),
                  to_string(s.fields[known].second));
    }
  }
  if (s.fields.size() > kFieldsPerSeriesMax) {
    return fail(Code::invalid, "{} would have {} fields: at most {} are allowed", text, s.fields.size(),
                kFieldsPerSeriesMax);
  }
  if (s.fields.size() != fields_before) put(kMeta, key::series(s.id), encode_series(s));
  return &s;
}

// False: its rule drops what is new, and what is dropped was noted. Error: exhausted.
Result<bool> Transaction::has_room(const PreparedBatch& prepared, const SeriesState& s) {
  if (state_.quotas.empty()) return true;
  const QuotaStatus& own = state_.quotas[rule_index(options_, prepared.batch->series.name)];
  const QuotaStatus& all = state_.quotas.back();
  if (!own.full && !all.full) return true;
  const QuotaStatus& which = own.full ? own : all;
  const StreamRule& rule = rule_of(options_, prepared.batch->series.name);
  if (rule.on_full != OnFull::drop_newest) {
    return fail(Code::exhausted, "no room for {}: {} uses {} of {} bytes, and {}", prepared.series,
                which.rule.empty() ? "the store" : fmt::format("stream rule \"{}\"", which.rule), which.bytes, which.quota_bytes,
                rule.on_full == OnFull::reject
                    ? "its rule rejects what is new: raise the quota, or choose on_full = \"drop_oldest\""
                    : "what the hub does not have yet is not dropped: connect, raise the quota, or allow drop_unsent");
  }
  Loss& loss = dropped_.try_emplace(s.id, Loss{prepared.series, LossReason::full, {INT64_MAX, INT64_MIN}, 0, 0, 0, now_ns_}).first->second;
  for (const Block& block : prepared.blocks) {
    loss.range = {std::min(loss.range.from_ns, block.first_ns), std::max(loss.range.to_ns, block.last_ns + 1)};
    loss.records += block.rows;
    loss.unsent += rule.sync ? block.rows : 0;
    receipt_.dropped += block.rows;
  }
  return false;
}

Status Transaction::add(const PreparedBatch& prepared) {
  SKERRY_ASSIGN(SeriesState * s, series_for(*prepared.batch, prepared.series));
  SKERRY_ASSIGN(const bool room, has_room(prepared, *s));
  if (!room) return {};
  const bool sync = rule_of(options_, prepared.batch->series.name).sync;
  for (const Block& block : prepared.blocks) {
    std::string key = key::run(s->id, block.first_ns, counters_.block++);
    put_unread(kHead, key, block.bytes);
    s->first_ns = s->records == 0 ? block.first_ns : std::min(s->first_ns, block.first_ns);
    s->last_ns = s->records == 0 ? block.last_ns : std::max(s->last_ns, block.last_ns);
    s->span_max_ns = std::max(s->span_max_ns, static_cast<uint64_t>(block.last_ns - block.first_ns));
    s->records += block.rows;
    s->head.add({block.rows, block.bytes.size(), 1, block.first_ns});
    receipt_.records += block.rows;
    if (!sync) continue;
    OutboxRow row;
    row.kind = EntryKind::samples;
    row.refers = Refers::block;
    row.bytes = block.bytes.size();
    row.records = block.rows;
    row.subject = prepared.series;
    row.data = std::move(key);
    row.span_ns = static_cast<uint64_t>(block.last_ns - block.first_ns);
    SKERRY_TRY(queue(OutboxClass::telemetry, std::move(row)));
  }
  return {};
}

Status Transaction::add(Prediction p) {
  p.id = PredictionId{counters_.prediction++};
  p.label = -1;
  receipt_.predictions.push_back(p.id);
  const std::string bytes = encode(p);
  const std::string key = key::prediction(p.id);
  put(kLedger, key, bytes);
  put(kLedger, key::prediction_by_window(key::hash(p.series), p.window.from_ns, p.id), "");
  ++score_of(p.model, p.version).predictions;
  if (!p.series.empty() && !rule_of(options_, Series::parse(p.series).value().name).sync) return {};
  OutboxRow row;
  row.kind = EntryKind::prediction;
  row.refers = Refers::prediction;
  row.bytes = bytes.size();
  row.subject = fmt::format("{}/{}", p.model, p.version);
  row.data = key;
  return queue(OutboxClass::telemetry, std::move(row));
}

LiveScore& Transaction::score_of(const std::string& model, uint32_t version) {
  auto [at, fresh] = scores_.try_emplace({model, version});
  if (fresh) {
    auto known = state_.scores.find({model, version});
    if (known != state_.scores.end()) at->second = known->second;
  }
  return at->second;
}

// Sets the label of its prediction and moves the score of the version that answered; each prediction counts once. False: one of higher trust
// was there, which stays.
Result<bool> Transaction::score(Label& label) {
  const std::string key = key::prediction(label.prediction);
  auto bytes = get(kLedger, key);
  if (!bytes.ok() && bytes.error().code == Code::not_found) {
    return fail(Code::not_found, "no prediction {}: its number is in the answer that gave it",
                number(label.prediction));
  }
  SKERRY_TRY(bytes.ok() ? Status() : bytes.error());
  SKERRY_ASSIGN(Prediction p, decode_prediction(*bytes));
  if (label.model.empty()) label.model = p.model;
  if (label.model != p.model) {
    return fail(Code::invalid, "prediction {} is of model {}, not of {}", number(label.prediction), p.model,
                label.model);
  }
  if (label.series.empty() && label.window == TimeRange{}) {  // so that the label can be sent by itself
    label.series = p.series;
    label.window = p.window;
  }
  if (p.label >= 0 && label.trust < p.label_trust) return label.value == p.label;
  if (p.label == label.value) {
    if (label.trust == p.label_trust) return true;
    p.label_trust = label.trust;
    put(kLedger, key, encode(p));
    return true;
  }
  LiveScore& score = score_of(p.model, p.version);
  if (p.label < 0) ++score.labelled;
  if (label.value == kWithdrawn) --score.labelled;
  if (p.label >= 0 && p.label == p.top) --score.correct;
  if (label.value >= 0 && label.value == p.top) ++score.correct;
  p.label = label.value == kWithdrawn ? -1 : label.value;
  p.label_trust = label.value == kWithdrawn ? 0 : label.trust;
  put(kLedger, key, encode(p));
  return true;
}

Status Transaction::add(Label label) {
  bool counts = true;
  if (label.prediction != PredictionId::none) {
    SKERRY_ASSIGN(counts, score(label));
  }
  if (counts && label.value == kWithdrawn) SKERRY_TRY(withdraw_example(label));
  label.id = LabelId{counters_.label++};
  receipt_.labels.push_back(label.id);
  std::string bytes = encode(label);
  put(kLabels, key::label(label.id), bytes);
  OutboxRow row;
  row.kind = EntryKind::label;
  row.bytes = bytes.size();
  row.subject = label.model;
  row.data = std::move(bytes);
  return queue(OutboxClass::label, std::move(row));
}

uint64_t& Transaction::example_count(const ExampleClass& c) {
  auto [at, fresh] = examples_.try_emplace(c, 0);
  if (fresh) {
    auto known = state_.examples.find(c);
    if (known != state_.examples.end()) at->second = known->second;
  }
  return at->second;
}

// True when the very same example is there already; otherwise an earlier one of its window is removed.
Result<bool> Transaction::replace(Example& example) {
  auto found = get(kExamples, key::example_by_window(example));
  if (!found.ok()) {
    if (found.error().code == Code::not_found) return false;
    return found.error();
  }
  const ExampleId id{Reader(*found).key64()};
  if (auto bytes = get(kExamples, key::example(id)); bytes.ok()) {
    auto earlier = decode_example(*bytes);
    if (earlier.ok() && earlier->label == example.label && earlier->role == example.role &&
        earlier->channels == example.channels && earlier->data == example.data) {
      example.id = id;
      return true;
    }
  }
  if (const auto earlier = class_of(example.model, id); earlier.ok()) remove_example(example.model, id, *earlier);
  return false;
}

// As its row of the model says, or, when that is damaged, the example itself: nothing else may move the counts of a class.
Result<Transaction::ExampleRow> Transaction::class_of(const std::string& model, ExampleId id) {
  SKERRY_ASSIGN(const std::string row, get(kExamples, key::example_of_model(model, id)));
  Reader in(row);
  const auto role = static_cast<ExampleRole>(in.u8());
  const int32_t label = in.signed32();
  if (in.done() && (role == ExampleRole::train || role == ExampleRole::holdout)) return ExampleRow{role, label};
  const auto bytes = get(kExamples, key::example(id));
  const auto example = bytes.ok() ? decode_example(*bytes) : Result<Example>(bytes.error());
  if (example.ok() && example->model == model && example->id == id) return ExampleRow{example->role, example->label};
  return fail(Code::corrupt, "example {} of {} is damaged: stop the node and run `skerry fsck --repair`, then its label can be withdrawn",
              number(id), model);
}

Status Transaction::withdraw_example(const Label& label) {
  Example gone;
  gone.model = label.model;
  gone.series = label.series;
  gone.window = label.window;
  const std::string by_window = key::example_by_window(gone);
  const auto found = get(kExamples, by_window);
  if (!found.ok()) return found.error().code == Code::not_found ? Status() : Status(found.error());
  const ExampleId id{Reader(*found).key64()};
  SKERRY_ASSIGN(const ExampleRow known, class_of(label.model, id));
  remove(kExamples, by_window);
  remove_example(label.model, id, known);
  return {};
}

void Transaction::remove_example(const std::string& model, ExampleId id, const ExampleRow& row) {
  remove(kExamples, key::example(id));
  remove(kExamples, key::example_of_model(model, id));
  remove(kExamples, key::example_of_class(model, row.role, row.label, id));
  uint64_t& count = example_count({model, row.role, row.label});
  if (count > 0) --count;
}

// Of training examples the easiest of the oldest few: what the node answers rightly and surely teaches it least. But every fourth time the oldest,
// so that none stays for ever, a wrong label least of all. Held-out ones are evidence: which of them stay must not depend on the answer.
void Transaction::drop_one(const ExampleClass& c, uint64_t newest) {
  const auto& [model, role, label] = c;
  constexpr size_t kLookedAt = 64;
  constexpr uint64_t kOldestEvery = 4;
  const bool by_age = role == ExampleRole::holdout || newest % kOldestEvery == 0;
  const std::string first = key::example_of_class(model, role, label, ExampleId::none);
  const std::string prefix = first.substr(0, first.size() - sizeof(uint64_t));
  std::unique_ptr<rocksdb::Iterator> it(batch_.NewIteratorWithBase(db_.family(kExamples), db_.iterate(kExamples).release()));
  std::optional<std::pair<uint8_t, ExampleId>> goes;
  size_t looked_at = 0;
  for (it->Seek(first); it->Valid() && it->key().starts_with(prefix) && looked_at < (by_age ? 1 : kLookedAt); it->Next(), ++looked_at) {
    const ExampleId id{Reader(view(it->key()).substr(prefix.size())).key64()};
    const uint8_t hardness = Reader(view(it->value())).u8();
    if (number(id) != newest && (!goes || hardness < goes->first)) goes = {hardness, id};
  }
  it.reset();
  if (!goes) return;
  if (auto bytes = get(kExamples, key::example(goes->second)); bytes.ok()) {
    if (auto example = decode_example(*bytes); example.ok()) remove(kExamples, key::example_by_window(*example));
  }
  remove_example(model, goes->second, {role, label});
}

// First of its own class, then of the largest, until they fit; examples of a model are as large as its newest one.
void Transaction::make_room(const Example& newest, size_t bytes) {
  const ExampleClass own{newest.model, newest.role, newest.label};
  if (example_count(own) > std::max<uint64_t>(options_.examples_per_class_max, 1)) drop_one(own, number(newest.id));
  const ExampleClass first{newest.model, ExampleRole{}, INT32_MIN};
  std::map<ExampleClass, uint64_t> counts;
  for (const auto* known : {&state_.examples, &std::as_const(examples_)}) {
    for (auto at = known->lower_bound(first); at != known->end() && std::get<0>(at->first) == newest.model; ++at) counts[at->first] = at->second;
  }
  uint64_t all = 0;
  for (const auto& [c, count] : counts) all += count;
  while (all > 1 && all * bytes > options_.examples_bytes_max) {
    const auto largest = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    drop_one(largest->first, number(newest.id));
    if (example_count(largest->first) == largest->second) return;  // nothing could be dropped: the rows are damaged
    --largest->second;
    --all;
  }
}

Status Transaction::add(Example e) {
  SKERRY_ASSIGN(const bool there, replace(e));
  if (there) {
    receipt_.examples.push_back(e.id);
    return {};
  }
  e.id = ExampleId{counters_.example++};
  receipt_.examples.push_back(e.id);
  const std::string bytes = encode(e);
  put(kExamples, key::example(e.id), bytes);
  put(kExamples, key::example_by_window(e), key::build(key::u64(number(e.id))));
  put(kExamples, key::example_of_class(e.model, e.role, e.label, e.id), key::hardness_row(e));
  Writer row;
  row.u8(static_cast<uint8_t>(e.role));
  row.signed32(e.label);
  put(kExamples, key::example_of_model(e.model, e.id), row.bytes());
  ++example_count({e.model, e.role, e.label});
  make_room(e, bytes.size());
  return {};
}

void Transaction::add(const ModelVersion& version) {
  put(kModels, key::version(version.model, version.version), encode(version));
}

Status Transaction::add(const OutboxEntry& entry) {
  OutboxRow row;
  row.kind = entry.kind;
  row.bytes = entry.payload.size();
  row.subject = entry.subject;
  row.data = entry.payload;
  return queue(entry.outbox_class, std::move(row));
}

void Transaction::add_note(const std::string& name, const std::string& value) {
  if (value.empty()) {
    remove(kMeta, key::note(name));
  } else {
    put(kMeta, key::note(name), value);
  }
}

rocksdb::WriteBatch* Transaction::finish() {
  put_unread(kMeta, key::counters(), encode_counters(counters_));
  for (OutboxClass c : kOutboxClasses) {
    const size_t i = static_cast<size_t>(c);
    if (class_changed_[i]) put_unread(kMeta, key::outbox_class(c), encode_class(classes_[i]));
  }
  for (const auto& [text, s] : series_) put_unread(kMeta, key::series_totals(s.id), encode_totals(s));
  for (const auto& [series, loss] : dropped_) {
    const auto [at, sum] = merged(state_.losses, series, loss);
    put_unread(kMeta, loss_row_key(at), encode_loss(sum));
    losses_[at] = sum;
  }
  for (const auto& [k, score] : scores_) put_unread(kMeta, key::score(k.first, k.second), encode_score(score));
  uint64_t use = state_.producers.last_use();
  for (const auto& [id, seq] : producers_) put_unread(kMeta, key::producer(id), encode_producer({seq, ++use}));
  forgotten_ = state_.producers.surplus(producers_);
  for (const std::string& id : forgotten_) remove(kMeta, key::producer(id));
  for (const auto& [k, count] : examples_) {
    put_unread(kMeta, key::example_count(std::get<0>(k), std::get<1>(k), std::get<2>(k)), encode_count(count));
  }
  return batch_.GetWriteBatch();
}

void Transaction::apply(State& state) {
  state.counters = counters_;
  state.classes = classes_;
  for (auto& [text, s] : series_) state.series[text] = std::move(s);
  for (const auto& [k, score] : scores_) state.scores[k] = score;
  for (const auto& [k, count] : examples_) state.examples[k] = count;
  uint64_t use = state.producers.last_use();
  for (const auto& [id, seq] : producers_) state.producers.set(id, {seq, ++use});
  for (const std::string& id : forgotten_) state.producers.remove(id);
  for (const auto& [k, loss] : losses_) state.losses[k] = loss;
}

}  // namespace skerry::storage::internal
