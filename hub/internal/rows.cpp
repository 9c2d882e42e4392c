#include "hub/internal/rows.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"

namespace skerry::hub::internal {
namespace {

using nlohmann::json;

constexpr char kEntryVersion = 2, kEntryWithoutChecksum = 1;
constexpr size_t kEntryHeaderBytes = 1 + 1 + 4 + 8 + 4, kChecksumBytes = 4;

template <typename T>
void put(std::string& out, T value, bool big_endian) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    const size_t shift = 8 * (big_endian ? sizeof(T) - 1 - i : i);
    out += static_cast<char>(static_cast<uint64_t>(value) >> shift);
  }
}

template <typename T>
T get(std::string_view in, size_t at, bool big_endian) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    const size_t shift = 8 * (big_endian ? sizeof(T) - 1 - i : i);
    value |= static_cast<uint64_t>(static_cast<uint8_t>(in[at + i])) << shift;
  }
  return static_cast<T>(value);
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// The elements of a JSON array, one after the other.
class List {
 public:
  explicit List(std::string& out) : out_(out) {}
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    if (!first_) out_ += ',';
    first_ = false;
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

 private:
  std::string& out_;
  bool first_ = true;
};

// Reads with `read`; whatever nlohmann throws means a damaged row.
template <typename T, typename Read>
Result<T> parse(const char* what, std::string_view bytes, Read read) {
  try {
    return read(json::parse(bytes));
  } catch (const std::exception& e) {
    return fail(Code::corrupt, "the hub's row of {} is damaged: {}", what, e.what());
  }
}

}  // namespace

std::string node_key(std::string_view node) { return std::string("n").append(node); }

std::string epoch_key(std::string_view node, uint32_t ordinal) {
  std::string key = std::string("e").append(node).append(1, '\0');
  put(key, ordinal, true);
  return key;
}

std::string entry_key(std::string_view node, storage::OutboxClass outbox_class, uint32_t ordinal, uint64_t seq) {
  std::string key = std::string("d").append(node).append(1, '\0');
  key += static_cast<char>(outbox_class);
  put(key, ordinal, true);
  put(key, seq, true);
  return key;
}

std::pair<uint32_t, uint64_t> entry_position(std::string_view key) {
  SKERRY_CHECK(key.size() > 12, "an entry's key has its node, class, ordinal and seq");
  return {get<uint32_t>(key, key.size() - 12, true), get<uint64_t>(key, key.size() - 8, true)};
}

// By hand: both are written with every batch, and a tree of JSON values costs more than a small batch.
std::string encode_node(const NodeRow& row) {
  const NodeInfo& i = row.info;
  std::string out = fmt::format(R"({{"node":{},"last_seen_ns":{},"backlog_bytes":{},"models":{},"software":{},"records":{},"entries":{},"duplicates":{},)"
                                R"("quarantined":{},"lost":{},"current":{},"losses":[)",
                                dump(i.node), i.last_seen_ns, i.backlog_bytes, i.models.empty() ? "[]" : dump(i.models), dump(i.software), i.records, i.entries,
                                i.duplicates, i.quarantined, i.lost, row.current);
  List losses(out);
  for (const LossRecord& l : i.losses) {
    losses.add("[{},{},{},{},{}]", l.epoch, static_cast<int>(l.range.outbox_class), l.range.first_seq, l.range.last_seq, l.found_ns);
  }
  out += R"(],"epochs":[)";
  List epochs(out);
  for (const auto& [epoch, ordinal] : row.ordinals) epochs.add("[{},{}]", epoch, ordinal);
  out += R"(],"dropped":[)";
  List dropped(out);
  for (const auto& [reason, d] : i.dropped) dropped.add("[{},{},{}]", static_cast<int>(reason), d.entries, d.records);
  return out += "]}";
}

Result<NodeRow> decode_node(std::string_view bytes) {
  return parse<NodeRow>("a node", bytes, [](const json& in) {
    NodeRow row;
    NodeInfo& i = row.info;
    i.node = in.at("node").get<std::string>();
    i.last_seen_ns = in.at("last_seen_ns").get<int64_t>();
    i.backlog_bytes = in.at("backlog_bytes").get<uint64_t>();
    i.models = in.at("models").get<std::vector<std::string>>();
    i.software = in.at("software").get<std::string>();
    i.records = in.at("records").get<uint64_t>();
    i.entries = in.at("entries").get<uint64_t>();
    i.duplicates = in.at("duplicates").get<uint64_t>();
    i.quarantined = in.at("quarantined").get<uint64_t>();
    i.lost = in.at("lost").get<uint64_t>();
    for (const json& l : in.at("losses")) {
      i.losses.push_back({l.at(0).get<uint64_t>(),
                          {static_cast<storage::OutboxClass>(l.at(1).get<int>()), l.at(2).get<uint64_t>(), l.at(3).get<uint64_t>()},
                          l.at(4).get<int64_t>()});
    }
    for (const json& d : in.value("dropped", json::array())) {
      i.dropped[static_cast<storage::LossReason>(d.at(0).get<int>())] = {d.at(1).get<uint64_t>(), d.at(2).get<uint64_t>()};
    }
    row.current = in.at("current").get<uint32_t>();
    for (const json& e : in.at("epochs")) row.ordinals[e.at(0).get<uint64_t>()] = e.at(1).get<uint32_t>();
    i.epochs = static_cast<uint32_t>(row.ordinals.size());
    return row;
  });
}

std::string encode_epoch(const EpochRow& row) {
  std::string out = fmt::format(R"({{"epoch":{},{}"watermarks":[)", row.epoch, row.ended ? R"("ended":true,)" : "");
  List watermarks(out);
  for (const auto& [outbox_class, seq] : row.watermarks) watermarks.add("[{},{}]", static_cast<int>(outbox_class), seq);
  out += R"(],"chains":[)";
  List chains(out);
  for (const auto& [outbox_class, chain] : row.chains) chains.add("[{},{}]", static_cast<int>(outbox_class), chain);
  return out += "]}";
}

Result<EpochRow> decode_epoch(std::string_view bytes) {
  return parse<EpochRow>("an epoch", bytes, [](const json& in) {
    EpochRow row{in.at("epoch").get<uint64_t>(), {}, {}, in.value("ended", false)};
    for (const json& c : in.value("chains", json::array())) row.chains[static_cast<storage::OutboxClass>(c.at(0).get<int>())] = c.at(1).get<uint64_t>();
    for (const json& w : in.at("watermarks")) {
      row.watermarks[static_cast<storage::OutboxClass>(w.at(0).get<int>())] = w.at(1).get<uint64_t>();
    }
    return row;
  });
}

std::string encode_entry(const storage::OutboxItem& item) {
  std::string out;
  out.reserve(kEntryHeaderBytes + item.subject.size() + item.payload.size() + kChecksumBytes);
  out += kEntryVersion;
  out += static_cast<char>(item.kind);
  put(out, item.records, false);
  put(out, item.queued_ns, false);
  put(out, static_cast<uint32_t>(item.subject.size()), false);
  out.append(item.subject);
  if (item.kind == storage::EntryKind::lost) {
    put(out, item.last_seq, false);
    out += static_cast<char>(item.reason);
  } else {
    out += item.payload;
  }
  put(out, crc32c(out), false);
  return out;
}

Result<storage::OutboxItem> decode_entry(uint64_t seq, std::string_view bytes) {
  const Error damaged = fail(Code::corrupt, "the hub's row of entry {} is damaged", seq);
  if (bytes.empty() || (bytes[0] != kEntryVersion && bytes[0] != kEntryWithoutChecksum)) return damaged;
  if (bytes[0] == kEntryVersion) {
    if (bytes.size() < kEntryHeaderBytes + kChecksumBytes) return damaged;
    const std::string_view covered = bytes.substr(0, bytes.size() - kChecksumBytes);
    if (crc32c(covered) != get<uint32_t>(bytes, covered.size(), false)) return damaged;
    bytes = covered;
  }
  if (bytes.size() < kEntryHeaderBytes) return damaged;
  const uint32_t subject_bytes = get<uint32_t>(bytes, 14, false);
  if (subject_bytes > bytes.size() - kEntryHeaderBytes) return damaged;
  storage::OutboxItem item;
  item.seq = seq;
  item.kind = static_cast<storage::EntryKind>(bytes[1]);
  item.records = get<uint32_t>(bytes, 2, false);
  item.queued_ns = get<int64_t>(bytes, 6, false);
  item.subject = bytes.substr(kEntryHeaderBytes, subject_bytes);
  item.payload = bytes.substr(kEntryHeaderBytes + subject_bytes);
  if (item.kind == storage::EntryKind::lost) {
    if (item.payload.size() != 9) return damaged;
    item.last_seq = get<uint64_t>(item.payload, 0, false);
    item.reason = static_cast<storage::LossReason>(item.payload[8]);
    item.payload.clear();
  }
  return item;
}

}  // namespace skerry::hub::internal
