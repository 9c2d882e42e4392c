// What the store keeps besides records: predictions (the ledger), labels, examples, model versions and the outbox.
// Numbers of enums are persistent or on the wire: never renumber.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/records.h"

namespace skerry::storage {

// Half-open range of record times: [from_ns, to_ns).
struct TimeRange {
  int64_t from_ns = INT64_MIN;
  int64_t to_ns = INT64_MAX;
  bool operator==(const TimeRange&) const = default;
};

// Strong ids: numbers that the store gives at commit. 0 is "none yet".
enum class PredictionId : uint64_t { none = 0 };
enum class ExampleId : uint64_t { none = 0 };
enum class LabelId : uint64_t { none = 0 };
inline uint64_t number(PredictionId id) { return static_cast<uint64_t>(id); }
inline uint64_t number(ExampleId id) { return static_cast<uint64_t>(id); }
inline uint64_t number(LabelId id) { return static_cast<uint64_t>(id); }

// What is promised when commit() returns: `batch` survives power loss; `interval` survives a crash of the process at once
// and power loss after at most the interval; `os` survives a crash of the process.
enum class Durability : uint8_t { batch = 1, interval = 2, os = 3 };
const char* to_string(Durability durability);

// Who wrote an effect and its number, from 1 on and increasing; numbers may be left out.
struct Producer {
  std::string id;  // 1 to 128 bytes
  uint64_t seq = 0;
};

// Outbox classes, most urgent first. Each has its own sequence, starting at 1, without holes.
enum class OutboxClass : uint8_t { alarm = 1, telemetry = 2, backlog = 3, label = 4, model = 5, diagnostics = 6 };
inline constexpr OutboxClass kOutboxClasses[] = {OutboxClass::alarm, OutboxClass::label,    OutboxClass::model,
                                                 OutboxClass::telemetry, OutboxClass::backlog, OutboxClass::diagnostics};
const char* to_string(OutboxClass outbox_class);

// What an outbox entry carries. Payload formats: samples -> sample_block.h; prediction, label -> record_format.h;
// model_delta -> learning/delta.h (opaque to storage and sync). `lost` is never queued: it is what reading the outbox gives in place of
// entries that are gone by rule, so that the sequence stays whole.
enum class EntryKind : uint8_t { samples = 1, prediction = 2, label = 3, model_delta = 4, model_event = 5, lost = 6 };
const char* to_string(EntryKind kind);

// Why records or outbox entries are gone. full: came while there was no room, and the rule drops what is new. expired: waited for the
// hub longer than their class allows. rolled_up: only minimum, maximum, mean and count of stretches are left.
enum class LossReason : uint8_t { retention = 1, quota = 2, full = 3, expired = 4, rolled_up = 5 };
const char* to_string(LossReason reason);

// One answer of a model about one window of one series (or about a request without a stream: series is empty).
struct Prediction {
  PredictionId id = PredictionId::none;  // given by commit()
  std::string model;
  uint32_t version = 0;
  std::string series;        // Series::text()
  TimeRange window;          // of the records that were seen
  uint32_t window_rows = 0;
  int64_t at_ns = 0;         // when it was answered
  std::vector<float> scores; // the model's outputs, e.g. logits per class
  int32_t top = -1;          // index of the largest score
  int32_t label = -1;        // class index once a label came; -1 until then
  uint8_t label_trust = 0;   // of who gave it
  bool operator==(const Prediction&) const = default;
};

// What a person or a system said about a window. Addressed by prediction, or by model, series and range.
struct Label {
  LabelId id = LabelId::none;  // given by commit()
  std::string model;
  PredictionId prediction = PredictionId::none;
  std::string series;
  TimeRange window;
  int32_t value = -1;   // class index of the model
  std::string source;   // who said so, e.g. "operator"
  uint8_t trust = 0;    // a label never takes the place of one of higher trust: it is kept and sent, and changes nothing
  int64_t at_ns = 0;
  bool operator==(const Label&) const = default;
};

enum class ExampleRole : uint8_t { train = 1, holdout = 2 };

// A labelled window with its data, in the stream's own units (not normalised): outlives the records it came from.
struct Example {
  ExampleId id = ExampleId::none;  // given by commit()
  std::string model;
  std::string series;
  TimeRange window;
  std::vector<float> data;  // row-major [channels, rows]
  uint32_t channels = 0;
  int32_t label = -1;
  ExampleRole role = ExampleRole::train;
  PredictionId prediction = PredictionId::none;
  int64_t at_ns = 0;  // when the label came
  uint8_t hardness = 0;  // of training examples the easy ones go first when room is needed; 0: the answer was right and sure
  bool operator==(const Example&) const = default;
};

enum class ModelState : uint8_t { candidate = 1, shadow = 2, canary = 3, serving = 4, retired = 5, rejected = 6 };
const char* to_string(ModelState state);

// A version's life on this node. Live accuracy is counted by the store as labels arrive (prequential, by version that answered).
struct ModelVersion {
  std::string model;
  uint32_t version = 0;
  uint32_t parent = 0;
  ModelState state = ModelState::candidate;
  bool pinned = false;        // the last good version: never removed
  std::string reason;         // why it is in this state, for people
  std::string digest;         // of its package's manifest
  std::string job;            // the job folder that made it; empty for an imported one
  int64_t created_ns = 0;
  int64_t changed_ns = 0;
  double holdout_accuracy = -1;  // of the int8 artefact on the gate's examples; -1 unknown
  bool operator==(const ModelVersion&) const = default;
};

struct LiveScore {
  uint64_t predictions = 0;
  uint64_t labelled = 0;
  uint64_t correct = 0;
  bool operator==(const LiveScore&) const = default;
};

struct ExampleCounts {
  uint64_t train = 0;
  uint64_t holdout = 0;
  uint64_t all() const { return train + holdout; }
};

struct OutboxEntry {  // to be queued as it is, e.g. a model delta
  OutboxClass outbox_class = OutboxClass::diagnostics;
  EntryKind kind = EntryKind::model_event;
  std::string subject;  // e.g. "har/7"
  std::string payload;
};

// An outbox entry read back, its payload resolved: samples are stored once and referred to by the outbox. Or, of kind `lost`, all
// entries from seq to last_seq, which are gone: without payload, with the reason and the number of their records (at most that many
// when the reader asked from within).
struct OutboxItem {
  uint64_t seq = 0;
  EntryKind kind = EntryKind::samples;
  std::string subject;   // samples: Series::text()
  std::string payload;
  uint32_t records = 1;  // of `lost`: UINT32_MAX when there were more
  int64_t queued_ns = 0;
  uint64_t last_seq = 0;                  // of `lost` only
  LossReason reason = LossReason::quota;  // of `lost` only
  uint64_t end_seq() const { return kind == EntryKind::lost ? last_seq : seq; }
};

struct OutboxStatus {
  OutboxClass outbox_class = OutboxClass::telemetry;
  uint64_t last_seq = 0;    // newest queued; 0 when none ever was
  uint64_t acked_seq = 0;   // the hub holds everything up to here
  uint64_t entries = 0;     // waiting
  uint64_t bytes = 0;       // waiting, as payload bytes
  int64_t oldest_ns = 0;    // queue time of the oldest waiting entry; 0 when empty
};

// Records of a series that are gone by rule, or entries of an outbox class that the hub never got. Neighbouring losses of one reason are one.
struct Loss {
  std::string series;    // empty: of a class of the outbox
  LossReason reason = LossReason::quota;
  TimeRange range;       // of the records; of outbox entries: when they were queued
  int64_t resolution_ns = 0;  // of rolled_up: what is left. A record that was rolled up twice is in both stretches
  uint64_t records = 0;
  uint64_t unsent = 0;   // of them, that the hub never got
  int64_t at_ns = 0;     // the last time that it grew
  std::optional<OutboxClass> outbox_class;  // whose entries; the records themselves may be there still
  uint64_t entries = 0;                     // of the class
  bool operator==(const Loss&) const = default;
};

// Where only minimum, maximum, sum, count... of stretches are left.
struct RolledUp {
  TimeRange range;
  int64_t resolution_ns = 0;  // length of a stretch
  bool operator==(const RolledUp&) const = default;
};

// What a stream rule holds, and may hold.
struct QuotaStatus {
  std::string rule;          // its name; "" for all streams together
  uint64_t bytes = 0;        // head and chunks
  uint64_t quota_bytes = 0;  // 0: none
  bool full = false;         // records are refused or dropped now
};

// How a flash device wears, since the store was opened.
struct Wear {
  uint64_t taken_bytes = 0;    // of records, as they came: 8 per time and number, 1 per boolean, strings as they are
  uint64_t written_bytes = 0;  // to files, for records and everything else
};

// Who this store is towards a hub. The epoch is drawn anew for each fresh store, and when the hub turns out to know more
// than the store does (an old disk image was restored): it fences the two histories from each other.
struct Identity {
  std::string node;
  uint64_t epoch = 0;
};

struct StreamInfo {
  Series series;
  std::vector<std::pair<std::string, FieldType>> fields;
  Durability durability = Durability::interval;
  uint64_t records = 0;               // ever written
  int64_t first_ns = 0, last_ns = 0;  // oldest and newest record time that is kept; 0, 0 when empty
  // Counted after a start, by and by:
  bool counted = false;
  uint64_t kept = 0;                       // records in head and chunks
  uint64_t head_bytes = 0, chunk_bytes = 0;
};

}  // namespace skerry::storage
