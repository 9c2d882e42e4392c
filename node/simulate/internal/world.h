// What surrounds the simulated node: a clock that is moved, a disk that fills up, a link and a hub behind it. All of it obeys the scenario's events.
// Threads: one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "hub/receiver.h"
#include "node/simulate/simulate.h"
#include "node/simulate/tcp.h"
#include "sync/environment.h"
#include "sync/uplink.h"

namespace rocksdb {
class FileSystem;
}

namespace skerry::simulate::internal {

class SteppedClock final : public Clock {
 public:
  explicit SteppedClock(int64_t start_ns) : wall_(start_ns) {}
  WallTime now() const override { return WallTime(Duration(wall_)); }
  SteadyTime steady() const override { return SteadyTime(Duration(steady_)); }
  void advance(Duration by) {
    wall_ += by.count();
    steady_ += by.count();
  }
  void jump(Duration by) { wall_ += by.count(); }

 private:
  int64_t wall_, steady_ = 1'000'000'000;
};

// A disk in the host's file system whose syncs cost nothing and that is full on demand.
class Disk {
 public:
  Disk();
  std::shared_ptr<rocksdb::FileSystem> file_system() const { return file_system_; }
  void set_full(bool full) { *full_ = full; }

 private:
  std::shared_ptr<bool> full_;
  std::shared_ptr<rocksdb::FileSystem> file_system_;
};

// What is true of the links just now.
struct Weather {
  LinkShape link;
  bool up = true, seen_down = false;             // of the trace, or by an outage
  std::map<std::string, bool> down;              // outages of single bearers
  bool lose_acks = false, hub_errors = false;
  Duration hub_delay{0};
  std::optional<double> battery;
  SteadyTime changed{};
};

class Cloud {
 public:
  Cloud(SteppedClock& clock, const Weather& weather, uint64_t seed) : clock_(clock), weather_(weather), random_(seed) {}
  Status start();
  std::unique_ptr<sync::Uplink> uplink(const sync::Options& options);  // the cloud outlives it
  // Called with each batch that the hub applied, and how long ago it did.
  std::function<void(const sync::Batch&, Duration late)> applied;
  Result<hub::NodeInfo> node() const;
  uint64_t exchanges() const { return exchanges_; }

 private:
  class Link;
  bool is_up(const std::string& bearer) const;
  template <typename Reply, typename Serve>
  Result<Reply> exchange(const sync::Options& options, const std::string& bearer, const std::string& bytes, sync::Traffic& traffic, TcpConnection& connection,
                         Serve serve);

  SteppedClock& clock_;
  const Weather& weather_;
  Random random_;
  std::unique_ptr<hub::Receiver> receiver_;
  uint64_t exchanges_ = 0;
};

}  // namespace skerry::simulate::internal
