#include "storage/internal/state.h"

namespace skerry::storage::internal {
namespace {

constexpr uint8_t kVersion = 1;

std::string sealed(char tag, Writer& body) { return seal(tag, kVersion, body.bytes()); }

Error broken(const char* what) {
  return fail(Code::corrupt, "the store's {} row is damaged: run `skerry fsck --repair` on its folder, restore it from a copy, or move it away", what);
}

Status load_identity(Reader in, State& state) {
  const uint32_t format = in.fixed32();
  const uint64_t epoch = in.fixed64();
  if (!in.done() || epoch == 0) return broken("identity");
  if (format > kStoreFormat) {
    return fail(Code::invalid, "the store has format {}, this program knows up to {}: update it", format, kStoreFormat);
  }
  state.epoch = epoch;
  return {};
}

Status load_counters(Reader in, State& state) {
  Counters c;
  c.prediction = in.fixed64();
  c.label = in.fixed64();
  c.example = in.fixed64();
  c.block = in.fixed64();
  if (!in.done()) return broken("counters");
  state.counters = c;
  return {};
}

Status load_class(std::string_view key, Reader in, State& state) {
  const uint8_t number = key.size() == 2 ? static_cast<uint8_t>(key[1]) : 0;
  if (number == 0 || number >= state.classes.size()) return broken("outbox class");
  ClassState c;
  c.last_seq = in.fixed64();
  c.acked_seq = in.fixed64();
  c.trimmed_seq = in.fixed64();
  c.queued_bytes = in.fixed64();
  c.acked_bytes = in.fixed64();
  if (!in.done()) return broken("outbox class");
  state.classes[number] = c;
  return {};
}

Status load_dropped(std::string_view key, std::string_view body, State& state) {
  const uint8_t number = key.size() == 2 ? static_cast<uint8_t>(key[1]) : 0;
  if (number == 0 || number >= state.dropped.size()) return broken("dropped outbox entries");
  SKERRY_ASSIGN(state.dropped[number], decode_dropped(body));
  return {};
}

Status load_series(std::string_view key, Reader in, std::map<uint32_t, SeriesState>& by_id) {
  Reader id(key.substr(1));
  SeriesState s;
  s.id = __builtin_bswap32(id.fixed32());
  auto series = Series::parse(in.text());
  const uint64_t fields = in.varint();
  for (uint64_t i = 0; i < fields && in.ok(); ++i) {
    std::string name(in.text());
    const uint8_t type = in.u8();
    if (type < 1 || type > 4) return broken("series");
    s.fields.emplace_back(std::move(name), static_cast<FieldType>(type));
  }
  if (!in.done() || !id.done() || !series) return broken("series");
  s.series = std::move(*series);
  by_id[s.id] = std::move(s);
  return {};
}

Status load_totals(std::string_view key, Reader in, std::map<uint32_t, SeriesState>& by_id) {
  Reader id(key.substr(1));
  auto found = by_id.find(__builtin_bswap32(id.fixed32()));
  if (found == by_id.end()) return broken("series totals");
  const uint64_t records = in.fixed64();
  const int64_t first_ns = in.signed64(), last_ns = in.signed64();
  const uint64_t span_max_ns = in.fixed64();
  if (!in.done() || !id.done()) return broken("series totals");
  SeriesState& s = found->second;
  s.records = records;
  s.first_ns = first_ns;
  s.last_ns = last_ns;
  s.span_max_ns = span_max_ns;
  return {};
}

// `letter` and a model's name; leaves the reader at what follows.
std::string key_model(Reader& key) {
  key.u8();
  return std::string(key.raw(__builtin_bswap16(key.fixed16())));
}

// In key order losses come before the series that they name.
Status load_loss(std::string_view row_key, std::string_view body, State& state) {
  SKERRY_ASSIGN(const LossKey at, loss_row_at(row_key));
  SKERRY_ASSIGN(state.losses[at], decode_loss(body, "", at.reason));
  state.losses[at].resolution_ns = at.resolution_ns;
  return {};
}

Status load_producer(std::string_view key, std::string_view body, State& state) {
  if (key.size() < 2 || key.size() > 1 + kProducerIdBytesMax) return broken("producer");
  SKERRY_ASSIGN(const ProducerState producer, decode_producer(body));
  state.producers.set(std::string(key.substr(1)), producer);
  return {};
}

Status load_score(std::string_view row_key, Reader in, State& state) {
  Reader key(row_key);
  std::string model = key_model(key);
  const uint32_t version = __builtin_bswap32(key.fixed32());
  LiveScore score;
  score.predictions = in.fixed64();
  score.labelled = in.fixed64();
  score.correct = in.fixed64();
  if (!key.done() || !in.done()) return broken("live score");
  state.scores[{std::move(model), version}] = score;
  return {};
}

Status load_count(std::string_view row_key, Reader in, State& state) {
  Reader key(row_key);
  std::string model = key_model(key);
  const auto role = static_cast<ExampleRole>(key.u8());
  const auto label = static_cast<int32_t>(__builtin_bswap32(key.fixed32()));
  const uint64_t count = in.fixed64();
  if (!key.done() || !in.done()) return broken("example count");
  state.examples[{std::move(model), role, label}] = count;
  return {};
}

}  // namespace

int SeriesState::field(std::string_view name) const {
  for (size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].first == name) return static_cast<int>(i);
  }
  return -1;
}

std::string encode_identity(uint64_t epoch) {
  Writer out;
  out.fixed32(kStoreFormat);
  out.fixed64(epoch);
  return sealed('i', out);
}

std::string encode_counters(const Counters& c) {
  Writer out;
  out.fixed64(c.prediction);
  out.fixed64(c.label);
  out.fixed64(c.example);
  out.fixed64(c.block);
  return sealed('c', out);
}

std::string encode_class(const ClassState& c) {
  Writer out;
  out.fixed64(c.last_seq);
  out.fixed64(c.acked_seq);
  out.fixed64(c.trimmed_seq);
  out.fixed64(c.queued_bytes);
  out.fixed64(c.acked_bytes);
  return sealed('o', out);
}

std::string encode_series(const SeriesState& s) {
  Writer out;
  out.text(s.series.text());
  out.varint(s.fields.size());
  for (const auto& [name, type] : s.fields) {
    out.text(name);
    out.u8(static_cast<uint8_t>(type));
  }
  return sealed('s', out);
}

std::string encode_totals(const SeriesState& s) {
  Writer out;
  out.fixed64(s.records);
  out.signed64(s.first_ns);
  out.signed64(s.last_ns);
  out.fixed64(s.span_max_ns);
  return sealed('t', out);
}

std::string encode_score(const LiveScore& s) {
  Writer out;
  out.fixed64(s.predictions);
  out.fixed64(s.labelled);
  out.fixed64(s.correct);
  return sealed('v', out);
}

std::string encode_count(uint64_t count) {
  Writer out;
  out.fixed64(count);
  return sealed('x', out);
}

Status StateLoader::add(std::string_view key, std::string_view value) {
  if (key.empty()) return broken("state");
  if (key[0] == 'n') return {};  // notes are read when asked for
  SKERRY_ASSIGN(std::string_view body, unseal(key[0], kVersion, value, "row of the store's state"));
  Reader in(body);
  switch (key[0]) {  // in key order: every 's' comes before the 't's
    case 'i':
      return load_identity(in, state_);
    case 'c':
      return load_counters(in, state_);
    case 'o':
      return load_class(key, in, state_);
    case 'd':
      return load_dropped(key, body, state_);
    case 's':
      return load_series(key, in, by_id_);
    case 't':
      return load_totals(key, in, by_id_);
    case 'l':
      return load_loss(key, body, state_);
    case 'p':
      return load_producer(key, body, state_);
    case 'v':
      return load_score(key, in, state_);
    case 'x':
      return load_count(key, in, state_);
    default:
      return broken("state");
  }
}

State StateLoader::finish() {
  for (auto& [at, loss] : state_.losses) {
    if (at.series > kClassLosses && at.series - kClassLosses < state_.classes.size()) {
      loss.outbox_class = static_cast<OutboxClass>(at.series - kClassLosses);
      continue;
    }
    auto found = by_id_.find(at.series);
    loss.series = found != by_id_.end() ? found->second.series.text() : fmt::format("recovered-{}", at.series);  // as fsck names it
  }
  for (auto& [id, s] : by_id_) {
    std::string text = s.series.text();
    state_.series.emplace(std::move(text), std::move(s));
  }
  by_id_.clear();
  return std::move(state_);
}

Result<State> load_state(const Database& db) {
  StateLoader loader;
  auto it = db.iterate(kMeta);
  for (it->SeekToFirst(); it->Valid(); it->Next()) SKERRY_TRY(loader.add(view(it->key()), view(it->value())));
  if (!it->status().ok()) return db.error(it->status(), "read the state");
  return loader.finish();
}

}  // namespace skerry::storage::internal
