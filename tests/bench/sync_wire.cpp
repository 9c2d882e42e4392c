#include "tests/bench/sync_wire.h"

#include <zlib.h>

#include <nlohmann/json.hpp>

#include "node/line_protocol.h"
#include "storage/sample_block.h"
#include "sync/budget.h"
#include "sync/wire.h"
#include "tests/support/sensor_data.h"

namespace skerry::bench {
namespace {

constexpr size_t kBatchRows = 500;        // ten seconds at 50 Hz
constexpr size_t kSmokeRecordings = 4;
constexpr uint64_t kTcpIpBytes = 52;      // with timestamps
constexpr uint64_t kMqttHeadBytes = 4;    // fixed header with a length of two bytes, and the length of the topic
constexpr int kLevel = 9;                 // of a link that costs: what the policy chooses there

size_t gzip_bytes(const std::string& text) {
  z_stream stream{};
  if (::deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
  std::string out(::deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int code = ::deflate(&stream, Z_FINISH);
  const size_t bytes = stream.total_out;
  ::deflateEnd(&stream);
  return code == Z_STREAM_END ? bytes : 0;
}

Batch piece(const Batch& batch, size_t from, size_t rows) {
  Batch out{.series = {.name = "motion", .tags = {{"device", "phone-1"}}}, .times = {}, .columns = {}};
  const auto at = static_cast<std::ptrdiff_t>(from), end = static_cast<std::ptrdiff_t>(from + rows);
  out.times.assign(batch.times.begin() + at, batch.times.begin() + end);
  for (const Column& column : batch.columns) {
    const auto& values = std::get<0>(column.values);
    out.columns.push_back({column.name, std::vector<double>(values.begin() + at, values.begin() + end), {}});
  }
  return out;
}

// One record, one message, as gateways publish them; QoS 1 is answered by four bytes.
uint64_t mqtt_bytes(const Batch& batch) {
  const std::string topic = "site/motion/phone-1";
  uint64_t bytes = 0;
  for (size_t row = 0; row < batch.rows(); ++row) {
    nlohmann::json record = {{"time", batch.times[row]}};
    for (const Column& column : batch.columns) record[column.name] = std::get<0>(column.values)[row];
    bytes += record.dump().size() + topic.size() + kMqttHeadBytes + 2 + kTcpIpBytes + 4 + kTcpIpBytes;
  }
  return bytes;
}

struct Sums {
  uint64_t values = 0, ours = 0, lines = 0, json = 0;
};

Status add(Sums& sums, const Batch& batch, uint64_t seq) {
  sync::Batch message{.node = "phone-1", .epoch = 7, .outbox_class = storage::OutboxClass::telemetry, .entries = {}, .compression = kLevel};
  message.entries.push_back({.seq = seq, .subject = batch.series.text(), .payload = storage::encode_block(batch),
                             .records = static_cast<uint32_t>(batch.rows()), .queued_ns = batch.times.back()});
  const std::string answer = sync::encode(sync::BatchReply{sync::BatchOutcome::applied, seq, "", {seq, 1}});
  sums.ours += sync::wire_bytes(sync::encode(message).size()) + sync::wire_bytes(answer.size());
  std::string lines;
  SKERRY_TRY(node::append_line_protocol(batch, lines));
  sums.lines += sync::wire_bytes(gzip_bytes(lines)) + sync::wire_bytes(0);
  sums.json += mqtt_bytes(batch);
  sums.values += batch.rows() * batch.columns.size();
  return {};
}

}  // namespace

Result<std::vector<Figure>> sync_wire(Size size, const Places&) {
  std::vector<Figure> figures = {{"sync.bytes_per_value_lines", 0, "ratio", 0.5, Better::lower}, {"sync.bytes_per_value_json", 0, "ratio", 0.05, Better::lower}};
  const auto recordings = test::motionsense_batches(size == Size::smoke ? kSmokeRecordings : SIZE_MAX);
  if (recordings.empty()) {
    for (Figure& figure : figures) figure.skipped = "MotionSense is not there (set SKERRY_TEST_DATA)";
    return figures;
  }
  Sums sums;
  uint64_t seq = 0;
  for (const Batch& recording : recordings) {
    for (size_t from = 0; from + kBatchRows <= recording.rows(); from += kBatchRows) SKERRY_TRY(add(sums, piece(recording, from, kBatchRows), ++seq));
  }
  const auto per_value = [&](uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(sums.values); };
  figures[0].value = per_value(sums.ours) / per_value(sums.lines);
  figures[0].peer = Peer{fmt::format("{:.2f}B/value_gzip_lines_{:.2f}", per_value(sums.ours), per_value(sums.lines)), figures[0].value};
  figures[1].value = per_value(sums.ours) / per_value(sums.json);
  figures[1].peer = Peer{fmt::format("json_mqtt_{:.1f}B/value", per_value(sums.json)), figures[1].value};
  return figures;
}

}  // namespace skerry::bench
