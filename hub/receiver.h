// The hub's memory: what each node sent, once. A batch is applied if and only if it is contiguous with the class's watermark, in the
// WriteBatch that moves the watermark; so an effect happens once whatever the network repeats.
//
// What the hub lost it gets again, as far as the node says in its HELLO that it can go back. Beyond that the loss is declared: the watermark moves
// to what the node still has, and the range between is kept as a loss. A new epoch starts where the node's outbox starts.
// What a node lost by its own rules comes as an entry of kind `lost`: it moves the watermark and is counted by reason.
// A payload that cannot be decoded is kept as it is and counted (quarantined): refusing it would block its class for ever.
//
// Threads: any; one apply at a time per node inside.
// On failure: a full disk or a damaged store answers an Error and the watermark stays: the node will repeat.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "sync/wire.h"

namespace rocksdb {
class FileSystem;
}

namespace skerry::hub {

struct ReceiverOptions {
  std::filesystem::path path = "var/hub";
  std::string name = "hub";
  std::shared_ptr<rocksdb::FileSystem> file_system;  // tests inject faults here; null: the real one
  bool in_memory = false;                            // nothing is kept: for simulations
  uint32_t nodes_max = 10'000;                       // a stranger who invents names fills no disk
  uint32_t epochs_per_node_max = 1'000;
};

struct LossRecord {                      // acknowledged once, held no longer
  uint64_t epoch = 0;
  sync::Loss range;
  int64_t found_ns = 0;
};

struct NodeInfo {
  std::string node;
  uint64_t epoch = 0;                    // the newest
  uint32_t epochs = 0;                   // so far
  int64_t last_seen_ns = 0;
  uint64_t backlog_bytes = 0;            // as the node said in its last HELLO
  std::vector<std::string> models;       // "har/3 serving"
  std::string software;
  uint64_t records = 0;                  // applied over all epochs
  uint64_t entries = 0;                  // the same, as outbox entries
  uint64_t duplicates = 0;               // entries recognised as already held
  uint64_t quarantined = 0;              // entries held, but not readable
  uint64_t lost = 0;                     // entries in all losses
  struct Dropped {
    uint64_t entries = 0, records = 0;
  };
  std::map<storage::LossReason, Dropped> dropped;  // by the nodes' own rules, before they were sent
  std::vector<LossRecord> losses;        // the newest of them, oldest first
  std::vector<sync::Watermark> watermarks;  // of the newest epoch
};

struct DeltaInfo {
  std::string node, subject;             // subject "har/2"
  uint64_t epoch = 0, seq = 0;
  std::string payload;                   // learning::encode_delta
};

struct EntryPosition {                   // before the first: zeros
  uint64_t epoch = 0, seq = 0;
};

class Receiver {
 public:
  static Result<std::unique_ptr<Receiver>> open(const ReceiverOptions& options, const Clock& clock);
  virtual ~Receiver() = default;

  // Error: exhausted (nodes_max, disk), unavailable.
  virtual Result<sync::HelloReply> hello(const sync::Hello& message) = 0;
  // Checks every payload before applying. Error: invalid, exhausted, unavailable; outcomes of the protocol are in the reply.
  virtual Result<sync::BatchReply> apply(const sync::Batch& message) = 0;

  // A question may end its epoch: no batch of that is taken any more. Error: not_found for an unknown node or epoch.
  virtual Result<sync::RangeReply> range(const sync::RangeAsk& message) = 0;

  virtual Result<std::vector<NodeInfo>> nodes() const = 0;
  // Every entry of a node and class over all epochs, in the order in which epochs began, until `visit` returns false; those after `after`
  // when given. Error: not_found for an unknown node or epoch.
  virtual Status entries(const std::string& node, storage::OutboxClass outbox_class,
                         const std::function<bool(uint64_t epoch, const storage::OutboxItem&)>& visit,
                         EntryPosition after = {}) const = 0;
  virtual Result<std::vector<DeltaInfo>> deltas(const std::string& node) const = 0;
};

// Whether the payload is what its kind says. Error: corrupt or invalid, naming the entry.
Status check_payload(const storage::OutboxItem& item);

}  // namespace skerry::hub
