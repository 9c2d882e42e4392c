// Records: head, index and chunks; and what all checks share. Outbox, ledger, labels, examples: row_check_rest.cpp; state: state_check.cpp.
#include "storage/internal/row_check.h"

#include <algorithm>
#include <tuple>

#include "base/clock.h"
#include "storage/chunk.h"
#include "storage/internal/columns.h"
#include "storage/internal/rolled.h"
#include "storage/internal/validate.h"
#include "storage/sample_block.h"

namespace skerry::storage::internal {
namespace {

constexpr uint64_t kProgressRows = 4096;
constexpr size_t kRunKeyBytes = 20;

template <typename Run>
bool take_apart(std::string_view key, Run& out) {
  Reader in(key);
  out.series = __builtin_bswap32(in.fixed32());
  out.first_ns = in.key_time();
  out.number = in.key64();
  return in.done() && out.series >= 1 && out.series <= kSeriesMax;
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (char c : bytes.substr(0, 64)) out += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return bytes.size() > 64 ? out + "..." : out;
}

}  // namespace

void WaitingBlocks::ready() {
  std::sort(wanted_.begin(), wanted_.end());
  wanted_.erase(std::unique(wanted_.begin(), wanted_.end()), wanted_.end());
  records_.assign(wanted_.size(), 0);
}

void WaitingBlocks::found(uint64_t number, uint32_t records) {
  auto at = std::lower_bound(wanted_.begin(), wanted_.end(), number);
  if (at != wanted_.end() && *at == number) records_[static_cast<size_t>(at - wanted_.begin())] += records;
}

uint64_t WaitingBlocks::records(uint64_t number) const {
  auto at = std::lower_bound(wanted_.begin(), wanted_.end(), number);
  return at != wanted_.end() && *at == number ? records_[static_cast<size_t>(at - wanted_.begin())] : 0;
}

Status RowCheck::run() {
  // The order of Family: a family that is new to the store needs a check here.
  static_assert(kFamilyCount == 9);
  SKERRY_TRY(each(kMeta, &RowCheck::meta_row));
  state_ = loader_.finish();
  for (auto& [text, s] : state_.series) series_by_id_[s.id] = &s;
  report_tables();
  SKERRY_TRY(store_.each(kOutbox, [&](std::string_view key, std::string_view value) { return waiting_row(key, value); }));
  waiting_.ready();
  SKERRY_TRY(each(kHead, &RowCheck::head_row));
  SKERRY_TRY(each(kIndex, &RowCheck::index_row));
  SKERRY_TRY(each(kChunks, &RowCheck::chunk_row));
  SKERRY_TRY(each(kLedger, &RowCheck::ledger_row));
  SKERRY_TRY(each(kLabels, &RowCheck::label_row));
  SKERRY_TRY(each(kExamples, &RowCheck::example_row));
  SKERRY_TRY(each(kModels, &RowCheck::model_row));
  SKERRY_TRY(each(kOutbox, &RowCheck::outbox_row));
  SKERRY_TRY(end_outbox());
  SKERRY_TRY(check_identity());
  SKERRY_TRY(check_counters());
  SKERRY_TRY(check_series());
  SKERRY_TRY(check_classes());
  return check_counts();
}

Status RowCheck::each(Family f, Status (RowCheck::*row)(std::string_view, std::string_view)) {
  const std::string stage = fmt::format("checking rows of {}", kFamilyNames[f]);
  uint64_t& rows = report_.rows[kFamilyNames[f]];
  return store_.each(f, [&](std::string_view key, std::string_view value) {
    if (++rows % kProgressRows == 0 && request_.progress) request_.progress(stage, rows, 0);
    return (this->*row)(key, value);
  });
}

void RowCheck::found(FsckDamage damage) {
  ++report_.damage_count;
  ++report_.damage_by_kind[damage.kind];
  if (report_.damage.size() < kFsckDamageMax) report_.damage.push_back(std::move(damage));
}

Status RowCheck::bad_row(Family f, std::string_view key, std::string_view value, DamageKind kind, const std::string& why, FsckDamage where) {
  where.kind = kind;
  where.family = kFamilyNames[f];
  where.place = describe(f, key);
  where.reason = why;
  if (where.series.empty()) affected(f, key, where);
  if (f == kHead || f == kIndex || f == kChunks) records_lost_ = true;
  const std::string text = fmt::format("{} {}: {}", where.family, where.place, why);
  found(std::move(where));
  return sink_.drop(f, key, value, text);
}

std::string RowCheck::name_of(uint32_t series) const {
  auto known = series_by_id_.find(series);
  return known == series_by_id_.end() ? fmt::format("series {}", series) : known->second->series.text();
}

std::string RowCheck::describe(Family f, std::string_view key) const {
  Reader in(key);
  std::string text;
  if (f == kHead || f == kIndex || f == kChunks) {
    if (f == kChunks) text = fmt::format("generation {}, ", in.key64());
    const uint32_t series = __builtin_bswap32(in.fixed32());
    const int64_t first_ns = in.key_time();
    text += fmt::format("{} at {}, block {}", name_of(series), format_time(first_ns), in.key64());
  } else if (f == kOutbox) {
    const uint8_t c = in.u8();
    text = fmt::format("{} {}", c >= 1 && c <= 6 ? to_string(static_cast<OutboxClass>(c)) : "class ?", in.key64());
  } else if (f == kLabels) {
    text = fmt::format("label {}", in.key64());
  } else if ((f == kLedger || f == kExamples) && key.size() == 9 && (key[0] == 'p' || key[0] == 'e')) {
    in.u8();
    text = fmt::format("{} {}", f == kLedger ? "prediction" : "example", in.key64());
  } else {
    return hex(key);
  }
  return in.done() ? text : hex(key);
}

void RowCheck::affected(Family f, std::string_view key, FsckDamage& out) const {
  if (f != kHead && f != kIndex && f != kChunks) return;
  Reader in(key);
  if (f == kChunks) in.key64();
  const uint32_t series = __builtin_bswap32(in.fixed32());
  const int64_t first_ns = in.key_time();
  in.key64();
  if (!in.done()) return;
  out.series = name_of(series);
  out.range.from_ns = first_ns;
}

void RowCheck::report_tables() {
  if (store_.manifest_damage()) {
    found({DamageKind::manifest, "", "MANIFEST", "", {}, *store_.manifest_damage()});
    report_.notes.push_back("the list of tables was lost and is built anew from the tables that are there: rows that had been removed may be "
                            "there again, and a table that is missing cannot be noticed");
  }
  for (const SalvageTable& table : store_.tables()) {
    ++report_.tables;
    report_.table_bytes += table.bytes;
    if (table.damage.empty()) continue;
    const std::string family = table.family_known ? kFamilyNames[table.family] : "";
    if (table.family == kHead || table.family == kIndex || table.family == kChunks || !table.family_known) records_lost_ = true;
    if (table.gaps.empty()) found({DamageKind::table, family, table.name, "", {}, table.damage + " (all its rows can be read)"});
    for (const Gap& gap : table.gaps) {
      FsckDamage damage{DamageKind::table, family, table.name, "", {}, ""};
      const std::string from = gap.after.empty() ? table.smallest : gap.after, to = gap.to_end ? table.largest : gap.before;
      damage.reason = fmt::format("{}; lost between {} and {}", gap.reason, from.empty() ? "its beginning" : describe(table.family, from),
                                  to.empty() ? "its end" : describe(table.family, to));
      FsckDamage end;
      affected(table.family, from, damage);
      affected(table.family, to, end);
      const auto series = state_.series.find(damage.series);
      const size_t prefix = table.family == kChunks ? sizeof(uint64_t) + sizeof(uint32_t) : 0;  // other series lie between generations
      if (from.compare(0, prefix, to, 0, prefix) != 0 || damage.series != end.series || gap.to_end || series == state_.series.end()) {  // of several series, or nobody knows to where
        damage.series.clear();
        damage.range = {};
      } else {  // a block that begins before the end of the gap may reach over it
        const uint64_t room = static_cast<uint64_t>(INT64_MAX) - static_cast<uint64_t>(end.range.from_ns);
        damage.range.to_ns = end.range.from_ns + static_cast<int64_t>(std::min({series->second.span_max_ns, room, static_cast<uint64_t>(kWeekNs)}));
      }
      found(std::move(damage));
    }
  }
}

SeriesSeen& RowCheck::seen(const Run& run, const Batch& batch, size_t bytes) {
  SeriesSeen& s = seen_[run.series];
  s.records += batch.rows();
  s.bytes += bytes;
  s.first_ns = std::min(s.first_ns, batch.times.front());
  s.last_ns = std::max(s.last_ns, batch.times.back());
  s.span_max_ns = std::max(s.span_max_ns, static_cast<uint64_t>(batch.times.back()) - static_cast<uint64_t>(batch.times.front()));
  FieldList fields;
  if (resolution_of(batch).value_or(-1) > 0) {
    fields = rolled_fields(batch);
  } else {
    for (const Column& column : batch.columns) fields.emplace_back(column.name, column.type());
  }
  for (const auto& field : fields) {
    const bool known = std::any_of(s.fields.begin(), s.fields.end(), [&](const auto& f) { return f.first == field.first; });
    if (!known && s.fields.size() < kFieldsPerSeriesMax) s.fields.push_back(field);
  }
  newest_.block = std::max(newest_.block, run.number);
  return s;
}

Status RowCheck::head_row(std::string_view key, std::string_view value) {
  Run run;
  if (!take_apart(key, run)) return bad_row(kHead, key, value, DamageKind::row, "its key is none of the store's");
  auto batch = decode_block({}, value);
  if (!batch.ok()) return bad_row(kHead, key, value, DamageKind::row, batch.error().message);
  if (batch->rows() == 0 || batch->times.front() != run.first_ns) {
    return bad_row(kHead, key, value, DamageKind::row, "the block and its key do not belong together");
  }
  ++seen(run, *batch, value.size()).blocks;
  waiting_.found(run.number, static_cast<uint32_t>(batch->rows()));
  return sink_.keep(kHead, key, value);
}

Status RowCheck::index_row(std::string_view key, std::string_view value) {
  Run run;
  if (!take_apart(key, run)) return bad_row(kIndex, key, value, DamageKind::row, "its key is none of the store's");
  auto row = decode_sealed_row(value);
  auto header = row.ok() ? read_chunk_header(row->header, row->chunk_bytes) : Result<ChunkHeader>(row.error());
  if (!header.ok()) return bad_row(kIndex, key, value, DamageKind::row, header.error().message);
  FsckDamage where;
  where.series = name_of(run.series);
  where.range = {run.first_ns, header->last_ns == INT64_MAX ? INT64_MAX : header->last_ns + 1};
  const std::string chunk_key = key::chunk(row->generation, key);
  SKERRY_ASSIGN(const auto bytes, store_.get(kChunks, chunk_key));
  if (!bytes) return bad_row(kIndex, key, value, DamageKind::chunk_lost, fmt::format("its chunk of {} records is lost", header->rows), where);
  auto batch = decode_chunk(*bytes);
  std::string why = batch.ok() ? "" : batch.error().message;
  if (batch.ok() && (batch->rows() != row->blocks.back().end_row || batch->times.front() != run.first_ns || bytes->size() != row->chunk_bytes ||
                     chunk_header_bytes(*bytes) != row->header)) {
    why = "the chunk and the row about it do not belong together";
  }
  if (!why.empty()) {
    lost_chunks_.insert(chunk_key);
    return bad_row(kIndex, key, value, DamageKind::row, "its chunk is damaged: " + why, where);
  }
  ++seen(run, *batch, bytes->size() + value.size()).chunks;
  uint32_t before = 0;
  for (const BlockPart& part : row->blocks) {
    newest_.block = std::max(newest_.block, part.number);
    waiting_.found(part.number, part.end_row - before);
    before = part.end_row;
  }
  return sink_.keep(kIndex, key, value);
}

Status RowCheck::chunk_row(std::string_view key, std::string_view value) {
  if (key.size() != kRunKeyBytes + sizeof(uint64_t)) {
    return bad_row(kChunks, key, value, DamageKind::row, "its key is none of the store's");
  }
  if (lost_chunks_.contains(std::string(key))) {  // counted with its row in the index
    return sink_.drop(kChunks, key, value, fmt::format("chunks {}: damaged", describe(kChunks, key)));
  }
  const std::string_view index_key = key.substr(sizeof(uint64_t));
  SKERRY_ASSIGN(const auto index, store_.get(kIndex, index_key));
  if (!index) return index_anew(key, value);
  const auto row = decode_sealed_row(*index);
  if (!row.ok()) return index_anew(key, value);
  if (key::chunk(row->generation, index_key) == key) return sink_.keep(kChunks, key, value);
  SKERRY_ASSIGN(const auto newer, store_.get(kChunks, key::chunk(row->generation, index_key)));
  if (!newer || lost_chunks_.contains(key::chunk(row->generation, index_key))) return index_anew(key, value);
  return bad_row(kChunks, key, value, DamageKind::index_lost, "another chunk has its place in the index");
}

Status RowCheck::find_places() {
  if (places_) return {};
  places_.emplace();
  SKERRY_TRY(store_.each(kOutbox, [&](std::string_view, std::string_view value) -> Status {
    Run run;
    auto row = decode_row(value);
    if (!row.ok() || row->refers != Refers::block || !take_apart(row->data, run)) return {};
    if (row->span_ns > static_cast<uint64_t>(INT64_MAX) - static_cast<uint64_t>(std::max<int64_t>(run.first_ns, 0))) return {};
    places_->push_back({run.series, run.first_ns, run.first_ns + static_cast<int64_t>(row->span_ns), run.number, row->records});
    return {};
  }));
  std::sort(places_->begin(), places_->end(),
            [](const auto& a, const auto& b) { return std::tie(a.series, a.first_ns) < std::tie(b.series, b.first_ns); });
  return {};
}

// Which blocks a chunk was made of is lost with its row, but for those that the outbox waits for: they are found by their times. What lies
// between them counts as the block that the chunk begins with.
std::vector<BlockPart> RowCheck::parts_of(const Run& run, const std::vector<int64_t>& times) {
  std::vector<BlockPart> parts;
  const auto end_at = [&](size_t row, uint64_t number) {
    if (row > (parts.empty() ? 0 : parts.back().end_row)) parts.push_back({number, static_cast<uint32_t>(row)});
  };
  const int64_t week = span_start(run.first_ns, kWeekNs);
  auto place = std::lower_bound(places_->begin(), places_->end(), std::make_pair(run.series, week),
                                [](const WaitingPlace& p, const auto& to) { return std::tie(p.series, p.first_ns) < std::tie(to.first, to.second); });
  for (; place != places_->end() && place->series == run.series && place->first_ns <= times.back(); ++place) {
    const auto from = static_cast<size_t>(std::lower_bound(times.begin(), times.end(), place->first_ns) - times.begin());
    const auto to = static_cast<size_t>(std::upper_bound(times.begin(), times.end(), place->last_ns) - times.begin());
    const bool inside = place->first_ns >= times.front() && place->last_ns <= times.back();
    const bool fits = to > from && (inside ? to - from == place->records : to - from < place->records);
    if (!fits || from < (parts.empty() ? 0 : parts.back().end_row)) continue;  // a late block: it is in a chunk of its own
    end_at(from, run.number);
    end_at(to, place->number);
    waiting_.found(place->number, static_cast<uint32_t>(to - from));
  }
  end_at(times.size(), run.number);
  return parts;
}

Status RowCheck::index_anew(std::string_view key, std::string_view value) {
  Run run;
  Reader generation(key);
  const uint64_t number = generation.key64();
  const std::string_view index_key = key.substr(sizeof(uint64_t));
  auto batch = decode_chunk(value);
  if (!batch.ok()) return bad_row(kChunks, key, value, DamageKind::row, batch.error().message);
  if (!take_apart(index_key, run) || batch->rows() == 0 || batch->times.front() != run.first_ns) {
    return bad_row(kChunks, key, value, DamageKind::row, "the chunk and its key do not belong together");
  }
  SealedRow row;
  row.generation = number;
  row.chunk_bytes = value.size();
  SKERRY_TRY(find_places());
  row.blocks = parts_of(run, batch->times);
  row.header = chunk_header_bytes(value);
  const std::string encoded = encode_row(row);
  ++seen(run, *batch, value.size() + encoded.size()).chunks;
  records_lost_ = true;
  FsckDamage where{DamageKind::index_lost, kFamilyNames[kChunks], describe(kChunks, key), name_of(run.series), {}, "the index has no row about it"};
  where.range = {run.first_ns, batch->times.back() == INT64_MAX ? INT64_MAX : batch->times.back() + 1};
  found(std::move(where));
  SKERRY_TRY(sink_.keep(kChunks, key, value));
  return sink_.put(kIndex, index_key, encoded);
}

}  // namespace skerry::storage::internal
