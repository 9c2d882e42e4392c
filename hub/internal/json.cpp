#include "hub/internal/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "learning/delta.h"
#include "storage/record_format.h"
#include "storage/sample_block.h"

namespace skerry::hub::internal {
namespace {

using nlohmann::json;

json window(const storage::TimeRange& range) { return {{"from_ns", range.from_ns}, {"to_ns", range.to_ns}}; }

Status add_samples(json& out, const storage::OutboxItem& item, size_t& cells_max) {
  SKERRY_ASSIGN(Series series, Series::parse(item.subject));
  SKERRY_ASSIGN(Batch batch, storage::decode_block(series, item.payload));
  const size_t width = batch.columns.size() + 1;
  const size_t rows = std::min(batch.rows(), std::max<size_t>(cells_max / width, 1));
  cells_max -= std::min(cells_max, rows * width);
  out["series"] = item.subject;
  out["times"] = std::vector<int64_t>(batch.times.begin(), batch.times.begin() + static_cast<ptrdiff_t>(rows));
  json& columns = out["columns"] = json::object();
  for (const Column& column : batch.columns) {
    json values = json::array();
    for (size_t row = 0; row < rows; ++row) {
      if (!column.has(row)) {
        values.push_back(nullptr);
        continue;
      }
      switch (column.type()) {
        case FieldType::float64: values.push_back(std::get<0>(column.values)[row]); break;
        case FieldType::int64: values.push_back(std::get<1>(column.values)[row]); break;
        case FieldType::boolean: values.push_back(std::get<2>(column.values)[row] != 0); break;
        case FieldType::string: values.push_back(std::get<3>(column.values)[row]); break;
      }
    }
    columns[column.name] = std::move(values);
  }
  if (rows < batch.rows()) out["truncated"] = true;
  return {};
}

Status add_prediction(json& out, const storage::OutboxItem& item) {
  SKERRY_ASSIGN(storage::Prediction p, storage::decode_prediction(item.payload));
  out.update({{"id", storage::number(p.id)}, {"model", p.model}, {"version", p.version}, {"series", p.series}, {"window", window(p.window)},
              {"window_rows", p.window_rows}, {"at_ns", p.at_ns}, {"scores", p.scores}, {"top", p.top}, {"label", p.label}});
  return {};
}

Status add_label(json& out, const storage::OutboxItem& item) {
  SKERRY_ASSIGN(storage::Label l, storage::decode_label(item.payload));
  out.update({{"id", storage::number(l.id)}, {"model", l.model}, {"prediction", storage::number(l.prediction)}, {"series", l.series},
              {"window", window(l.window)}, {"value", l.value}, {"source", l.source}, {"trust", l.trust}, {"at_ns", l.at_ns}});
  return {};
}

Status add_delta(json& out, const storage::OutboxItem& item) {
  out["sha256"] = sha256_hex(item.payload);
  SKERRY_ASSIGN(learning::Delta d, learning::decode_delta(item.payload));
  out.update({{"model", d.model}, {"base_version", d.base_version}, {"version", d.version}, {"base_digest", d.base_digest}});
  return {};
}

}  // namespace

json to_json(const NodeInfo& node) {
  json watermarks = json::object(), losses = json::array(), dropped = json::object();
  for (const auto& [reason, d] : node.dropped) dropped[storage::to_string(reason)] = {{"entries", d.entries}, {"records", d.records}};
  for (const auto& w : node.watermarks) watermarks[storage::to_string(w.outbox_class)] = w.seq;
  for (const auto& l : node.losses) {
    losses.push_back({{"epoch", l.epoch}, {"class", storage::to_string(l.range.outbox_class)}, {"first_seq", l.range.first_seq},
                      {"last_seq", l.range.last_seq}, {"found_ns", l.found_ns}});
  }
  return {{"node", node.node}, {"epoch", node.epoch}, {"epochs", node.epochs}, {"last_seen_ns", node.last_seen_ns},
          {"last_seen", format_time(node.last_seen_ns)}, {"backlog_bytes", node.backlog_bytes}, {"models", node.models},
          {"software", node.software}, {"records", node.records}, {"entries", node.entries}, {"duplicates", node.duplicates},
          {"quarantined", node.quarantined}, {"lost", node.lost}, {"losses", losses}, {"dropped", dropped}, {"watermarks", watermarks}};
}

json to_json(uint64_t epoch, const storage::OutboxItem& item, size_t& cells_max) {
  json out = {{"epoch", epoch}, {"seq", item.seq}, {"kind", storage::to_string(item.kind)}, {"subject", item.subject},
              {"records", item.records}, {"queued_ns", item.queued_ns}, {"bytes", item.payload.size()}};
  Status status;
  switch (item.kind) {
    case storage::EntryKind::samples: status = add_samples(out, item, cells_max); break;
    case storage::EntryKind::prediction: status = add_prediction(out, item); break;
    case storage::EntryKind::label: status = add_label(out, item); break;
    case storage::EntryKind::model_delta: status = add_delta(out, item); break;
    case storage::EntryKind::model_event: out["text"] = item.payload.substr(0, 65536); break;
    case storage::EntryKind::lost: out.update({{"last_seq", item.last_seq}, {"reason", storage::to_string(item.reason)}}); break;
  }
  if (!status.ok()) out.update({{"quarantined", true}, {"error", status.error().message}});
  return out;
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace skerry::hub::internal
