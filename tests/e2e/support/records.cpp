#include "tests/e2e/support/records.h"

#include <cmath>

#include "base/clock.h"
#include "hub/receiver.h"
#include "storage/record_format.h"
#include "storage/sample_block.h"
#include "storage/store.h"

namespace skerry::e2e {
namespace {

std::string escape(const std::string& text, const char* specials) {
  std::string escaped;
  for (char c : text) {
    if (std::string_view(specials).find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string value_text(const Column& column, size_t row) {
  switch (column.type()) {
    case FieldType::float64: return fmt::format("{}", std::get<0>(column.values)[row]);  // shortest that reads back the same
    case FieldType::int64: return fmt::format("{}i", std::get<1>(column.values)[row]);
    case FieldType::boolean: return std::get<2>(column.values)[row] != 0 ? "true" : "false";
    case FieldType::string: return '"' + escape(std::get<3>(column.values)[row], "\"\\") + '"';
  }
  return "?";
}

// "a=1,b=2i" in the order of the field names.
std::string fields_text(const Batch& batch, size_t row) {
  std::map<std::string, std::string> fields;
  for (const Column& column : batch.columns) {
    if (column.has(row)) fields[escape(column.name, ",= ")] = value_text(column, row);
  }
  std::string text;
  for (const auto& [name, value] : fields) text += (text.empty() ? "" : ",") + name + "=" + value;
  return text;
}

}  // namespace

std::string to_line_protocol(const Batch& batch) {
  std::string head = escape(batch.series.name, ", ");
  for (const auto& [key, value] : batch.series.tags) head += "," + escape(key, ",= ") + "=" + escape(value, ",= ");
  std::string lines;
  for (size_t row = 0; row < batch.rows(); ++row) lines += fmt::format("{} {} {}\n", head, fields_text(batch, row), batch.times[row]);
  return lines;
}

Batch slice(const Batch& batch, size_t from, size_t to) {
  Batch part;
  part.series = batch.series;
  part.times.assign(batch.times.begin() + static_cast<ptrdiff_t>(from), batch.times.begin() + static_cast<ptrdiff_t>(to));
  for (const Column& column : batch.columns) {
    Column piece;
    piece.name = column.name;
    std::visit(
        [&](const auto& values) {
          using Values = std::decay_t<decltype(values)>;
          piece.values = Values(values.begin() + static_cast<ptrdiff_t>(from), values.begin() + static_cast<ptrdiff_t>(to));
        },
        column.values);
    if (!column.present.empty()) {
      piece.present.assign(column.present.begin() + static_cast<ptrdiff_t>(from), column.present.begin() + static_cast<ptrdiff_t>(to));
    }
    part.columns.push_back(std::move(piece));
  }
  return part;
}

void RecordSet::add(const Batch& batch) {
  const std::string series = batch.series.text();
  for (size_t row = 0; row < batch.rows(); ++row) ++counts_[fmt::format("{} {} {}", series, batch.times[row], fields_text(batch, row))];
  records_ += batch.rows();
}

void RecordSet::add(const RecordSet& other) {
  for (const auto& [text, count] : other.counts_) counts_[text] += count;
  records_ += other.records_;
}

std::string Difference::text() const {
  return fmt::format("{} missing, {} twice, {} foreign{}", missing, twice, foreign, example.empty() ? "" : " (" + example + ")");
}

Difference compare(const RecordSet& acknowledged, const RecordSet& unknown, const RecordSet& held) {
  Difference difference;
  auto note = [&](uint64_t& count, const char* what, const std::string& record) {
    ++count;
    if (difference.example.empty()) difference.example = fmt::format("{}: {}", what, record);
  };
  for (const auto& [record, sent] : acknowledged.counts()) {
    if (!held.counts().contains(record)) note(difference.missing, "missing", record);
  }
  for (const auto& [record, count] : held.counts()) {
    if (!acknowledged.counts().contains(record) && !unknown.counts().contains(record)) note(difference.foreign, "foreign", record);
    if (count > 1) note(difference.twice, "twice", record);
  }
  return difference;
}

Result<Held> read_node_store(const std::filesystem::path& path, const std::string& node) {
  storage::Options options;
  options.path = path;
  options.node = node;
  SKERRY_ASSIGN(auto store, storage::Store::open(options, system_clock()));
  Held held;
  SKERRY_ASSIGN(auto streams, store->streams());
  for (const storage::StreamInfo& stream : streams) {
    SKERRY_ASSIGN(Batch all, store->read(stream.series, {}, SIZE_MAX));
    held.records.add(all);
    held.series[stream.series.text()] = std::move(all);
  }
  SKERRY_ASSIGN(auto predictions, store->predictions("", "", {}, SIZE_MAX));
  for (storage::Prediction& prediction : predictions) {
    uint64_t id = number(prediction.id);
    if (!held.predictions.emplace(id, std::move(prediction)).second) ++held.repeated;
  }
  SKERRY_ASSIGN(auto labels, store->labels("", SIZE_MAX));
  for (storage::Label& label : labels) {
    uint64_t id = number(label.id);
    if (!held.labels.emplace(id, std::move(label)).second) ++held.repeated;
  }
  return held;
}

Result<Held> read_hub_store(const std::filesystem::path& path, const std::string& node) {
  hub::ReceiverOptions options;
  options.path = path;
  SKERRY_ASSIGN(auto receiver, hub::Receiver::open(options, system_clock()));
  Held held;
  Status damaged;
  for (storage::OutboxClass outbox_class : storage::kOutboxClasses) {
    SKERRY_TRY(receiver->entries(node, outbox_class, [&](uint64_t, const storage::OutboxItem& item) {
      auto take = [&](const auto& decoded) {
        if (!decoded.ok()) damaged = decoded.error();
        return decoded.ok();
      };
      if (item.kind == storage::EntryKind::samples) {
        auto series = Series::parse(item.subject);
        if (!take(series)) return false;
        auto batch = storage::decode_block(series.value(), item.payload);
        if (!take(batch)) return false;
        held.records.add(batch.value());
      } else if (item.kind == storage::EntryKind::prediction) {
        auto prediction = storage::decode_prediction(item.payload);
        if (!take(prediction)) return false;
        uint64_t id = number(prediction.value().id);
        if (!held.predictions.emplace(id, std::move(prediction).value()).second) ++held.repeated;
      } else if (item.kind == storage::EntryKind::label) {
        auto label = storage::decode_label(item.payload);
        if (!take(label)) return false;
        uint64_t id = number(label.value().id);
        if (!held.labels.emplace(id, std::move(label).value()).second) ++held.repeated;
      }
      return true;
    }));
  }
  if (!damaged.ok()) return damaged.error();
  SKERRY_ASSIGN(auto deltas, receiver->deltas(node));
  for (const hub::DeltaInfo& delta : deltas) held.deltas.push_back(delta.subject);
  SKERRY_ASSIGN(auto nodes, receiver->nodes());
  for (const hub::NodeInfo& info : nodes) {
    if (info.node == node) held.duplicates_refused = info.duplicates;
  }
  return held;
}

}  // namespace skerry::e2e
