// One node, wired but without threads: the store, the engine, pipelines, learning, sync and sources behind one door. The daemon (daemon.h) gives
// each step its loop; scenario tests call the steps themselves on a simulated clock.
// Threads: each step_* from one thread of its own; everything else from any.
// On failure: what a source brought while the store refuses commits (full disk) is kept and offered again; the source is not asked for
// more meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "config/config.h"
#include "inference/engine.h"
#include "inference/pipeline.h"
#include "inference/scheduler.h"
#include "learning/labels.h"
#include "learning/learner.h"
#include "learning/models.h"
#include "plugins/source.h"
#include "storage/recovery.h"
#include "storage/store.h"
#include "node/sync_policy.h"
#include "sync/bus_watch.h"
#include "sync/device_probe.h"
#include "sync/downloads.h"
#include "sync/link_watch.h"
#include "sync/syncer.h"

namespace skerry::node {

// What a test replaces. Null: the real one.
struct Seams {
  const Clock* clock = nullptr;
  std::unique_ptr<sync::Uplink> uplink;
  std::unique_ptr<inference::Runtime> runtime;
  std::unique_ptr<learning::WorkerLauncher> worker;
  std::unique_ptr<learning::LoadProbe> probe;
  uint64_t seed = 0;  // of jitter and of the operator's choices; 0: from the system
};

struct NodeStatus {
  uint64_t records = 0;               // acknowledged since start
  uint64_t predictions = 0;           // since start
  uint64_t labels = 0;                // predictions labelled since start
  struct Model {
    std::string name;
    uint32_t version = 0;             // serving
    storage::LiveScore score;
  };
  std::vector<Model> models;
  std::vector<storage::OutboxStatus> outbox;
  uint64_t outbox_bytes = 0;
  sync::SyncStatus sync;
  learning::LearnerStatus learning;
  uint64_t disk_bytes = 0, damaged = 0, source_errors = 0;
  uint64_t sources = 0, sources_finished = 0;
  std::optional<storage::Recovery> recovery;  // the last repair at a start
  std::string trouble;                // why ingest is refused just now; empty: it is not
};

class Node {
 public:
  // Opens the store, loads what serves. Never waits for a network.
  static Result<std::unique_ptr<Node>> open(const config::Config& config, Seams seams = {});
  ~Node();

  // All batches become durable together or none does. Returns the number of records.
  Result<uint64_t> ingest(std::vector<Batch> batches);
  // The same of a producer that numbers what it sends: what was taken already is not taken again.
  Result<storage::Receipt> ingest(std::vector<Batch> batches, std::optional<storage::Producer> producer);
  Result<learning::LabelOutcome> label(const learning::LabelRequest& request);
  learning::Labels& labels() { return *labels_; }
  NodeStatus status() const;
  // Called after each ingest, so that loops need not poll. Set before the first one.
  void on_ingest(std::function<void()> listener) { ingested_ = std::move(listener); }

  // Of requests that had to wait for a busy model: by any number of threads. Without these, whoever asks and may block answers them.
  Duration step_inference() { return scheduler_->run_once(); }
  Duration step_deadlines() { return scheduler_->expire(); }
  Duration step_sources();
  Duration step_pipelines();
  Duration step_store();
  Duration step_learning();
  Duration step_sync();
  Duration step_bus();                        // apart from the others: a bus that floods delays none of them

  storage::Store& store() { return *store_; }
  inference::Engine& engine() { return *engine_; }
  inference::Scheduler& scheduler() { return *scheduler_; }
  const storage::Store& store() const { return *store_; }
  const inference::Engine& engine() const { return *engine_; }
  const inference::Scheduler& scheduler() const { return *scheduler_; }
  learning::Models& models() { return *models_; }
  learning::Learner& learner() { return *learner_; }
  const learning::Models& models() const { return *models_; }
  const learning::Learner& learner() const { return *learner_; }
  sync::Syncer& syncer() { return *syncer_; }
  SyncPolicy& sync_policy() { return *sync_policy_; }
  const config::Config& config() const { return config_; }
  const Clock& clock() const { return *clock_; }

 private:
  struct RunningSource;
  Node(const config::Config& config, const Clock& clock);
  void watch_links();
  sync::LinkFacts link_facts(const sync::BearerPolicy& bearer) const;
  sync::DownloadOptions downloads();
  sync::Environment environment(std::function<std::vector<std::string>()> describe);
  Duration step_source(RunningSource& source);
  Result<bool> deliver(RunningSource& source);

  const config::Config config_;
  const Clock* clock_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<inference::Engine> engine_;
  std::unique_ptr<inference::Scheduler> scheduler_;
  std::unique_ptr<inference::Pipelines> pipelines_;
  std::unique_ptr<learning::Labels> labels_;
  std::unique_ptr<learning::Models> models_;
  std::unique_ptr<learning::Learner> learner_;
  std::unique_ptr<sync::LinkWatch> links_;   // null where the kernel gives none, and in tests
  std::unique_ptr<sync::BusWatch> bus_;      // null in tests
  std::unique_ptr<sync::DeviceProbe> device_;
  std::unique_ptr<sync::Downloads> downloads_;
  std::unique_ptr<sync::Syncer> syncer_;
  std::unique_ptr<SyncPolicy> sync_policy_;
  std::vector<std::unique_ptr<RunningSource>> sources_;
  std::function<void()> ingested_;
  std::atomic<uint64_t> records_{0}, labels_applied_{0}, source_errors_{0}, sources_finished_{0};
  std::atomic<uint64_t> ingests_{0};          // commits of records so far
  std::atomic<uint64_t> ingests_passed_{0};   // the pipelines had nothing left to do about these
};

}  // namespace skerry::node
