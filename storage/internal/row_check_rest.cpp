// The outbox, the ledger, labels, examples and model versions.
#include <algorithm>

#include "storage/internal/row_check.h"
#include "storage/internal/validate.h"
#include "storage/record_format.h"
#include "storage/sample_block.h"

namespace skerry::storage::internal {
namespace {

constexpr uint64_t kSeqLeapMax = 1 << 20;  // a number that far above the newest known is none that the store gave

}  // namespace

Status RowCheck::label_row(std::string_view key, std::string_view value) {
  auto label = decode_label(value);
  if (!label.ok()) return bad_row(kLabels, key, value, DamageKind::row, label.error().message);
  if (key::label(label->id) != key) return bad_row(kLabels, key, value, DamageKind::row, "the label and its key do not belong together");
  newest_.label = std::max(newest_.label, number(label->id));
  return sink_.keep(kLabels, key, value);
}

Status RowCheck::model_row(std::string_view key, std::string_view value) {
  auto version = decode_model_version(value);
  if (!version.ok()) return bad_row(kModels, key, value, DamageKind::row, version.error().message);
  if (key::version(version->model, version->version) != key) {
    return bad_row(kModels, key, value, DamageKind::row, "the version and its key do not belong together");
  }
  return sink_.keep(kModels, key, value);
}

Status RowCheck::missing_reference(Family f, const std::string& key, std::string_view value) {
  SKERRY_ASSIGN(const auto there, store_.get(f, key));
  if (there && *there == value) return {};
  found({DamageKind::reference, kFamilyNames[f], describe(f, key), "", {}, "a row that helps to find another is missing"});
  return sink_.put(f, key, value);
}

Status RowCheck::prediction_row(std::string_view key, std::string_view value) {
  auto p = decode_prediction(value);
  if (!p.ok()) return bad_row(kLedger, key, value, DamageKind::row, p.error().message);
  if (key::prediction(p->id) != key) return bad_row(kLedger, key, value, DamageKind::row, "the prediction and its key do not belong together");
  newest_.prediction = std::max(newest_.prediction, number(p->id));
  LiveScore& score = scores_[{p->model, p->version}];
  ++score.predictions;
  score.labelled += p->label >= 0;
  score.correct += p->label >= 0 && p->label == p->top;
  SKERRY_TRY(sink_.keep(kLedger, key, value));
  return missing_reference(kLedger, key::prediction_by_window(key::hash(p->series), p->window.from_ns, p->id), "");
}

Status RowCheck::ledger_row(std::string_view key, std::string_view value) {
  if (!key.empty() && key[0] == 'p') return prediction_row(key, value);
  Reader in(key);
  const uint8_t letter = in.u8();
  in.key64();
  in.key_time();
  const PredictionId id{in.key64()};
  if (letter != 'w' || !in.done()) return bad_row(kLedger, key, value, DamageKind::row, "its key is none of the store's");
  SKERRY_ASSIGN(const auto bytes, store_.get(kLedger, key::prediction(id)));
  const auto p = bytes ? decode_prediction(*bytes) : Result<Prediction>(fail(Code::not_found, "prediction {} is lost", number(id)));
  const bool fits = p.ok() && key::prediction_by_window(key::hash(p->series), p->window.from_ns, p->id) == key && value.empty();
  if (fits) return sink_.keep(kLedger, key, value);
  return bad_row(kLedger, key, value, DamageKind::reference, p.ok() ? "it does not fit its prediction" : p.error().message);
}

Status RowCheck::example_itself(std::string_view key, std::string_view value) {
  auto e = decode_example(value);
  if (!e.ok()) return bad_row(kExamples, key, value, DamageKind::row, e.error().message);
  if (key::example(e->id) != key) return bad_row(kExamples, key, value, DamageKind::row, "the example and its key do not belong together");
  newest_.example = std::max(newest_.example, number(e->id));
  ++examples_[{e->model, e->role, e->label}];
  SKERRY_TRY(sink_.keep(kExamples, key, value));
  Writer row;
  row.u8(static_cast<uint8_t>(e->role));
  row.signed32(e->label);
  SKERRY_TRY(missing_reference(kExamples, key::example_of_model(e->model, e->id), row.bytes()));
  SKERRY_TRY(missing_reference(kExamples, key::example_of_class(e->model, e->role, e->label, e->id), key::hardness_row(*e)));
  SKERRY_ASSIGN(const auto by_window, store_.get(kExamples, key::example_by_window(*e)));
  if (by_window) return {};  // should two have the same window, it names the later one
  return missing_reference(kExamples, key::example_by_window(*e), key::build(key::u64(number(e->id))));
}

Status RowCheck::example_row(std::string_view key, std::string_view value) {
  if (!key.empty() && key[0] == 'e') return example_itself(key, value);
  const char letter = key.empty() ? '\0' : key[0];
  if (key.size() < 1 + sizeof(uint64_t) || (letter != 'm' && letter != 'w' && letter != 'q')) {
    return bad_row(kExamples, key, value, DamageKind::row, "its key is none of the store's");
  }
  const ExampleId id{Reader(letter == 'w' ? value : key.substr(key.size() - sizeof(uint64_t))).key64()};
  SKERRY_ASSIGN(const auto bytes, store_.get(kExamples, key::example(id)));
  const auto e = bytes ? decode_example(*bytes) : Result<Example>(fail(Code::not_found, "example {} is lost", number(id)));
  if (!e.ok()) return bad_row(kExamples, key, value, DamageKind::reference, e.error().message);
  const std::string right = letter == 'm'   ? key::example_of_model(e->model, e->id)
                            : letter == 'w' ? key::example_by_window(*e)
                                            : key::example_of_class(e->model, e->role, e->label, e->id);
  if (right != key || (letter == 'q' && value != key::hardness_row(*e))) return bad_row(kExamples, key, value, DamageKind::reference, "it does not fit its example");
  return sink_.keep(kExamples, key, value);
}

Status RowCheck::waiting_row(std::string_view, std::string_view value) {
  auto row = decode_row(value);
  if (!row.ok() || row->refers != Refers::block) return {};
  Reader key(row->data);
  const uint32_t series = __builtin_bswap32(key.fixed32());
  key.key_time();
  const uint64_t number = key.key64();
  if (!key.done()) return {};
  waiting_.want(number);
  if (series >= 1 && series <= kSeriesMax && !series_by_id_.contains(series)) seen_[series].name = row->subject;
  return {};
}

Result<std::string> RowCheck::why_unsent(const OutboxRow& row) const {
  if (row.refers == Refers::payload) return std::string();
  if (row.refers == Refers::prediction) {
    SKERRY_ASSIGN(const auto bytes, store_.get(kLedger, row.data));
    if (!bytes) return std::string("its prediction is lost");
    const auto p = decode_prediction(*bytes);
    return p.ok() ? std::string() : p.error().message;
  }
  Reader key(row.data);
  const uint32_t series = __builtin_bswap32(key.fixed32());
  const int64_t first_ns = key.key_time();
  const uint64_t number = key.key64();
  if (!key.done() || !Series::parse(row.subject).ok()) return std::string("it refers to nothing that can be");
  const uint64_t left = waiting_.records(number);
  if (left >= row.records) return std::string();
  const uint64_t room = static_cast<uint64_t>(INT64_MAX) - static_cast<uint64_t>(first_ns);
  const int64_t last_ns = first_ns + static_cast<int64_t>(std::min<uint64_t>(row.span_ns, room));
  if (loss_within(state_.losses, series, first_ns, last_ns) != nullptr) return std::string();  // by rule: the outbox tells it as lost
  return fmt::format("{} of the {} records of its block are left", left, row.records);
}

// Numbers [from, to) get entries that carry an empty block, as the store offers what it cannot read: the sequence has no holes.
Status RowCheck::fill_outbox(OutboxClass c, uint64_t from, uint64_t to, const OutboxRow& like, DamageKind kind, const std::string& why) {
  if (from >= to) return {};
  const std::string name = to_string(c);
  found({kind, kFamilyNames[kOutbox], to - from == 1 ? fmt::format("{} {}", name, from) : fmt::format("{} {} to {}", name, from, to - 1),
         like.kind == EntryKind::samples && kind == DamageKind::outbox_hole ? like.subject : "", {}, why});
  report_.outbox_holes += to - from;
  OutboxRow row = like;
  row.kind = EntryKind::samples;
  row.refers = Refers::payload;
  row.records = 0;
  row.span_ns = 0;
  row.data = encode_block({});
  if (like.kind != EntryKind::samples || like.subject.empty()) row.subject = "damaged";
  for (uint64_t seq = from; seq < to; ++seq) {
    SKERRY_TRY(sink_.put(kOutbox, key::outbox(c, seq), encode_row(row)));
  }
  return {};
}

Status RowCheck::outbox_row(std::string_view key, std::string_view value) {
  Reader in(key);
  const uint8_t number = in.u8();
  const uint64_t seq = in.key64();
  if (!in.done() || number < 1 || number >= classes_.size() || seq == 0) {
    return bad_row(kOutbox, key, value, DamageKind::row, "its key is none of the store's");
  }
  const auto c = static_cast<OutboxClass>(number);
  const bool known = state_rows_.contains(key::outbox_class(c));
  const ClassState& state = state_.of(c);
  ClassSeen& seen = classes_[number];
  const uint64_t gone = std::max(state.trimmed_seq, state_.dropped_of(c).upto_seq);  // up to here no row has to be
  if (known && seq <= state.trimmed_seq) return bad_row(kOutbox, key, value, DamageKind::row, "it was acknowledged and removed");
  if (known && state_.dropped_of(c).find(seq) != nullptr) return bad_row(kOutbox, key, value, DamageKind::row, "it was dropped by rule and removed");
  auto row = decode_row(value);
  if (!row.ok()) return bad_row(kOutbox, key, value, DamageKind::row, row.error().message);  // its number is filled later
  const uint64_t newest = known ? std::max(state.last_seq, seen.last_seq) : seen.any ? seen.last_seq : seq;
  if (seq > newest && seq - newest > kSeqLeapMax) return bad_row(kOutbox, key, value, DamageKind::row, "its number is far from all others");

  // Acknowledged entries that wait for their grace to end may lie before what was dropped.
  uint64_t expected = seen.any ? seen.last_seq + 1 : known ? state.trimmed_seq + 1 : seq;
  if (known && expected <= gone) expected = std::min(seq, gone + 1);
  OutboxRow filler;
  filler.queued_ns = row->queued_ns;
  filler.bytes_before = seen.any ? seen.bytes_end : row->bytes_before;
  SKERRY_TRY(fill_outbox(c, expected, seq, filler, DamageKind::outbox_hole, "lost"));
  if (!seen.any) {
    seen.first_seq = expected;
    seen.bytes_before_first = row->bytes_before;
  }
  seen.any = true;
  seen.last_seq = seq;
  seen.bytes_end = row->bytes_before + row->bytes;
  SKERRY_ASSIGN(const std::string why, why_unsent(*row));
  if (why.empty()) return sink_.keep(kOutbox, key, value);
  SKERRY_TRY(sink_.drop(kOutbox, key, value, fmt::format("outbox {}: {}", describe(kOutbox, key), why)));
  return fill_outbox(c, seq, seq + 1, *row, DamageKind::outbox_hole, why);
}

Status RowCheck::end_outbox() {
  for (OutboxClass c : kOutboxClasses) {
    const ClassState& state = state_.of(c);
    ClassSeen& seen = classes_[static_cast<size_t>(c)];
    if (!state_rows_.contains(key::outbox_class(c))) continue;
    const uint64_t last = std::max({seen.any ? seen.last_seq : 0, state.trimmed_seq, state_.dropped_of(c).upto_seq});
    if (last >= state.last_seq) continue;
    OutboxRow filler;
    filler.bytes_before = std::max(seen.any ? seen.bytes_end : state.acked_bytes, state_.dropped_of(c).upto_bytes);
    SKERRY_TRY(fill_outbox(c, last + 1, state.last_seq + 1, filler, DamageKind::outbox_hole, "lost"));
    seen.bytes_end = std::max(seen.bytes_end, state.queued_bytes);
    seen.last_seq = state.last_seq;
  }
  return {};
}

}  // namespace skerry::storage::internal
