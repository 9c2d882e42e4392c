// A hub that fails by order: the real hub::Receiver in memory, reached through the real bytes of the wire, with a request log. What it
// holds is compared as sets of records, each of which may be there only once.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "hub/receiver.h"
#include "sync/uplink.h"
#include "tests/support/fault_fs.h"

namespace rocksdb {
class Env;
class FileSystem;
}

namespace skerry::test {

// RocksDB's file system without the waiting: a sync does nothing. What was written survives the process, as in the page cache, so tests of
// kill -9 may use it, tests of power cuts not.
std::shared_ptr<rocksdb::FileSystem> hasty_file_system();

class FakeCloud {
 public:
  explicit FakeCloud(const Clock& clock);
  // The hub on a real disk in this folder, which power_cut() robs of what was not synced. The seed is that of the link's faults.
  FakeCloud(const Clock& clock, std::filesystem::path folder, uint64_t seed);
  ~FakeCloud();
  FakeCloud(const FakeCloud&) = delete;
  FakeCloud& operator=(const FakeCloud&) = delete;

  // For a Syncer to own; the cloud must outlive it.
  std::unique_ptr<sync::Uplink> uplink();
  hub::Receiver& receiver() { return *receiver_; }

  // --- the link
  void down() { up_ = false; }                 // nothing arrives, nothing is answered
  void up() { up_ = true; }
  void lose_next_ack(int n = 1) { lose_ack_ = n; }           // applied, the answer is lost
  void lose_next_request(int n = 1) { lose_request_ = n; }   // never arrives
  void duplicate_next(int n = 1) { duplicate_ = n; }         // arrives twice; the second answer is heard
  void corrupt_next_reply(int n = 1) { corrupt_reply_ = n; }      // one bit of the answer is wrong
  void corrupt_next_request(int n = 1) { corrupt_request_ = n; }  // one bit of the message is wrong
  void delay_next_request(int n = 1) { delay_ = n; }         // unanswered now; arrives just before the next exchange
  // Batches stay on their way until somebody waits for them. With `shuffle` they may then arrive in any order, and only some of them.
  enum class Way { instant, slow, shuffle };
  void way(Way way) { way_ = way; }
  size_t most_on_the_way() const { return most_on_the_way_; }

  // --- a hub that does not keep to the protocol
  enum class Lie { none, garbage, older_watermark, acknowledges_the_future, always_gap, refuses, server_error, holds_everything,
                   holds_more, acknowledges_what_it_lacks };
  void lie(Lie lie) { lie_ = lie; }
  void poison(const std::string& subject) { poison_ = subject; }  // refuses every batch with an entry of this subject

  // --- the hub's disk
  void restart();                              // kill -9 and start again
  void power_cut();                            // of a hub on a real disk
  void save();                                 // keeps a copy of its disk...
  void restore();                              // ...and goes back to it: what came since is lost
  void wipe();                                 // a new, empty disk
  void damage_row(uint64_t seq);               // one bit of the row of this entry, of a hub in memory; not noticed before it is read

  struct Request {
    bool hello = false;
    storage::OutboxClass outbox_class = storage::OutboxClass::telemetry;
    uint64_t epoch = 0, first = 0, last = 0;
    size_t bytes = 0;
    SteadyTime at{};
    bool arrived = false;
    std::string outcome;                       // "applied", "duplicate", ..., or why there was no answer
  };
  const std::vector<Request>& requests() const { return requests_; }
  std::vector<Request> batches() const;        // the requests that were not HELLOs

  // What the hub holds of all nodes, one text per record: "imu{a=b}@TIME", "prediction 7", "label 3", "model_delta har/2". Throws
  // std::logic_error when one is there twice or cannot be decoded. Records of different epochs count as one history.
  std::set<std::string> received_once() const;
  // (class, seq) of the newest epoch of a node.
  std::map<storage::OutboxClass, std::set<uint64_t>> sequences(const std::string& node) const;

 private:
  class Link;
  template <typename Reply, typename Message>
  Result<Reply> exchange(const Message& message, Request request, sync::Traffic* own = nullptr);
  Result<std::string> answer(const std::string& bytes, Request& request);
  Result<std::string> serve(const std::string& bytes, Request& request);
  std::string told(bool hello, std::string reply) const;
  void open();
  void copy(const std::string& from, const std::string& to);

  const Clock& clock_;
  const std::filesystem::path folder_;         // empty: in memory
  FaultFs disk_;
  std::unique_ptr<rocksdb::Env> memory_;
  std::unique_ptr<hub::Receiver> receiver_;
  Random random_{1};
  bool up_ = true;
  int lose_ack_ = 0, lose_request_ = 0, duplicate_ = 0, corrupt_reply_ = 0, corrupt_request_ = 0, delay_ = 0;
  Lie lie_ = Lie::none;
  std::string poison_;
  std::vector<std::pair<bool, std::string>> late_;  // delayed messages; true: HELLO
  std::vector<Request> requests_;
  sync::Traffic traffic_;
  Way way_ = Way::instant;
  size_t most_on_the_way_ = 0;
};

}  // namespace skerry::test
