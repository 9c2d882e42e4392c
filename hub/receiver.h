// The hub's memory: what each node sent, once. A batch is applied if and only if it is contiguous with the class's watermark, in the
// WriteBatch that moves the watermark; so an effect happens once whatever the network repeats.
// Threads: any; one apply at a time per node inside.
// On failure: a full disk or a damaged store answers an Error and the watermark stays: the node will repeat.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
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
};

struct NodeInfo {
  std::string node;
  uint64_t epoch = 0;                    // the newest
  int64_t last_seen_ns = 0;
  uint64_t backlog_bytes = 0;            // as the node said in its last HELLO
  std::vector<std::string> models;       // "har/3 serving"
  std::string software;
  uint64_t records = 0;                  // applied over all epochs
  uint64_t duplicates = 0;               // entries recognised as already held
  std::vector<sync::Watermark> watermarks;  // of the newest epoch
};

struct DeltaInfo {
  std::string node, subject;             // subject "har/2"
  uint64_t epoch = 0, seq = 0;
  std::string payload;                   // learning::encode_delta
};

class Receiver {
 public:
  static Result<std::unique_ptr<Receiver>> open(const ReceiverOptions& options, const Clock& clock);
  virtual ~Receiver() = default;

  virtual Result<sync::HelloReply> hello(const sync::Hello& message) = 0;
  // Checks every payload before applying. Error: invalid, exhausted, unavailable; outcomes of the protocol are in the reply.
  virtual Result<sync::BatchReply> apply(const sync::Batch& message) = 0;

  virtual Result<std::vector<NodeInfo>> nodes() const = 0;
  // Every entry of a node and class over all epochs, in order, until `visit` returns false.
  virtual Status entries(const std::string& node, storage::OutboxClass outbox_class,
                         const std::function<bool(uint64_t epoch, const storage::OutboxItem&)>& visit) const = 0;
  virtual Result<std::vector<DeltaInfo>> deltas(const std::string& node) const = 0;
};

}  // namespace skerry::hub
