// What the store knows about itself - series, outbox classes, next ids, counts - against the rows that were seen.
#include <algorithm>

#include "base/random.h"
#include "storage/internal/row_check.h"

namespace skerry::storage::internal {
namespace {

constexpr uint64_t kIdMargin = 1 << 20;  // above the newest id that is left, when the counters are lost: an id is never given twice

}  // namespace

Status RowCheck::meta_row(std::string_view key, std::string_view value) {
  const auto taken = loader_.add(key, value);
  if (taken.ok()) {
    state_rows_.emplace(key);
    return sink_.keep(kMeta, key, value);
  }
  if (taken.error().code == Code::invalid) return taken;  // of a newer program: hands off
  return bad_row(kMeta, key, value, DamageKind::state, taken.error().message);
}

void RowCheck::wrong_state(const std::string& place, const std::string& why, const std::string& series) {
  found({DamageKind::state, kFamilyNames[kMeta], place, series, {}, why});
}

Status RowCheck::check_identity() {
  if (state_.epoch != 0) return {};
  wrong_state("identity", "lost: a new epoch begins");
  uint64_t epoch = 0;
  while (epoch == 0) epoch = system_seed();
  return sink_.put(kMeta, key::identity(), encode_identity(epoch));
}

Status RowCheck::check_counters() {
  const bool there = state_rows_.contains(key::counters());
  Counters right = state_.counters;
  const auto raise = [&](uint64_t& next, uint64_t newest) {
    if (next <= newest) next = newest + 1 + (there ? 0 : kIdMargin);
  };
  raise(right.prediction, newest_.prediction);
  raise(right.label, newest_.label);
  raise(right.example, newest_.example);
  raise(right.block, newest_.block);
  const Counters& is = state_.counters;
  if (right.prediction == is.prediction && right.label == is.label && right.example == is.example && right.block == is.block) return {};
  wrong_state("counters", there ? "there are rows with higher numbers than were given" : "lost");
  return sink_.put(kMeta, key::counters(), encode_counters(right));
}

Status RowCheck::check_series() {
  uint32_t newest = 0;
  if (!seen_.empty()) newest = seen_.rbegin()->first;
  if (!series_by_id_.empty()) newest = std::max(newest, series_by_id_.rbegin()->first);
  for (uint32_t id = 1; id <= newest; ++id) {  // without gaps: the next id is one more than there are series
    const SeriesSeen& seen = seen_[id];
    auto known = series_by_id_.find(id);
    SeriesState fresh;
    SeriesState& s = known == series_by_id_.end() ? fresh : *known->second;
    bool changed = false;
    if (known == series_by_id_.end()) {
      s.id = id;
      auto named = Series::parse(seen.name);
      const bool free = named.ok() && !seen.name.empty() && !state_.series.contains(named->text());
      s.series = free ? *named : Series{fmt::format("recovered-{}", id), {}};
      state_.series[s.series.text()].id = id;
      wrong_state(fmt::format("series {}", id), fmt::format("its name and fields are lost: it is {} now", s.series.text()), s.series.text());
      changed = true;
    }
    for (const auto& field : seen.fields) {
      if (s.field(field.first) >= 0) continue;
      if (!changed) wrong_state(fmt::format("series {}", id), "it has records with fields that it does not know", s.series.text());
      s.fields.push_back(field);
      changed = true;
    }
    if (changed) SKERRY_TRY(sink_.put(kMeta, key::series(id), encode_series(s)));
    SKERRY_TRY(check_totals(s, seen));
    report_.streams.push_back({s.series.text(), seen.records, seen.blocks, seen.chunks, seen.bytes, seen.records ? seen.first_ns : 0,
                               seen.records ? seen.last_ns : 0});
  }
  return {};
}

Status RowCheck::check_totals(SeriesState& s, const SeriesSeen& seen) {
  const bool there = state_rows_.contains(key::series_totals(s.id));
  const bool wrong = seen.records > 0 && (s.span_max_ns < seen.span_max_ns || s.first_ns > seen.first_ns || s.last_ns < seen.last_ns);
  if (!there) {
    wrong_state(fmt::format("totals of series {}", s.id), "lost", s.series.text());
  } else if (wrong) {
    wrong_state(fmt::format("totals of series {}", s.id), "they do not cover its records", s.series.text());
  } else if (!records_lost_) {
    return {};
  }
  s.records = seen.records;
  s.first_ns = seen.records ? seen.first_ns : 0;
  s.last_ns = seen.records ? seen.last_ns : 0;
  s.span_max_ns = seen.span_max_ns;
  return sink_.put(kMeta, key::series_totals(s.id), encode_totals(s));
}

Status RowCheck::check_classes() {
  for (OutboxClass c : kOutboxClasses) {
    ClassState s = state_.of(c);
    const ClassSeen& seen = classes_[static_cast<size_t>(c)];
    const bool there = state_rows_.contains(key::outbox_class(c));
    const std::string name = fmt::format("outbox class {}", to_string(c));
    bool changed = false;
    if (seen.any && !there) {
      wrong_state(name, "lost: what is left counts as not acknowledged");
      const Dropped& dropped = state_.dropped_of(c);
      const uint64_t first = dropped.stretches.empty() ? seen.first_seq : std::min(seen.first_seq, dropped.stretches.front().first_seq);
      s.trimmed_seq = s.acked_seq = first - 1;
      s.acked_bytes = seen.bytes_before_first;
      changed = true;
    }
    if (seen.any && s.last_seq < seen.last_seq) {
      if (there) wrong_state(name, fmt::format("it knows {} entries, but there is number {}", s.last_seq, seen.last_seq));
      s.last_seq = seen.last_seq;
      s.queued_bytes = std::max(s.queued_bytes, seen.bytes_end);
      changed = true;
    }
    if (s.acked_seq > s.last_seq || s.trimmed_seq > s.acked_seq) {
      wrong_state(name, "more was acknowledged than queued");
      s.acked_seq = std::min(s.acked_seq, s.last_seq);
      s.trimmed_seq = std::min(s.trimmed_seq, s.acked_seq);
      changed = true;
    }
    if (state_.dropped_of(c).upto_seq > s.last_seq) {
      wrong_state(name, "more was dropped than queued: that it was dropped is forgotten");
      SKERRY_TRY(sink_.put(kMeta, key::outbox_dropped(c), encode_dropped({})));
    }
    if (changed) s.acked_bytes = std::min(s.acked_bytes, s.queued_bytes);
    if (changed) SKERRY_TRY(sink_.put(kMeta, key::outbox_class(c), encode_class(s)));
  }
  return {};
}

Status RowCheck::check_counts() {
  for (const auto& [k, score] : scores_) {
    if (state_.scores.contains(k)) continue;
    wrong_state(fmt::format("live score of {}/{}", k.first, k.second), "lost: counted anew from the predictions that are left");
    SKERRY_TRY(sink_.put(kMeta, key::score(k.first, k.second), encode_score(score)));
  }
  std::map<ExampleClass, uint64_t> counts = state_.examples;
  for (const auto& [k, count] : examples_) counts.try_emplace(k, 0);
  for (const auto& [k, count] : counts) {
    auto seen = examples_.find(k);
    const uint64_t right = seen == examples_.end() ? 0 : seen->second;
    if (count == right) continue;
    const auto& [model, role, label] = k;
    wrong_state(fmt::format("number of examples of {}, class {}", model, label), fmt::format("{} are there, {} were counted", right, count));
    SKERRY_TRY(sink_.put(kMeta, key::example_count(model, role, label), encode_count(right)));
  }
  return {};
}

}  // namespace skerry::storage::internal
