// Which policy sync follows: of the configuration, of a file that is watched, or one that was put over REST and is kept in the store. The last
// one that was put wins until it is taken back; a file that has a mistake changes nothing, and its mistakes are told.
// Threads: any.
// On failure: invalid with every mistake, as check-config shows them; the policy in use stays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "config/config.h"
#include "storage/store.h"
#include "sync/syncer.h"

namespace skerry::node {

class SyncPolicy {
 public:
  SyncPolicy(storage::Store& store, sync::Syncer& syncer, const config::Config& config, const Clock& clock);

  Status put(const std::string& toml);      // used from now on, and after a restart
  Status take_back();                       // of what was put: back to the file, or to the configuration
  // What it would decide now; nothing changes.
  Result<std::vector<sync::ClassDecision>> attempt(const std::string& toml) const;
  void look();                              // whether the file changed; cheap enough for every step

  std::string source() const;               // "config", "file", "rest"
  std::string problem() const;              // of the file; empty: none
  std::string text() const;                 // the policy in use, as TOML

 private:
  void use(sync::Policy policy, const char* source);  // with the mutex
  void fall_back();                                   // with the mutex
  bool read_file();                                   // with the mutex; false: there is none that is good

  storage::Store& store_;
  sync::Syncer& syncer_;
  const sync::Policy configured_;
  const std::filesystem::path file_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::string source_ = "config", problem_;
  SteadyTime look_at_{};
  std::filesystem::file_time_type changed_{};
  uintmax_t size_ = 0;
};

}  // namespace skerry::node
