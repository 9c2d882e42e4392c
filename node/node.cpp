#include "node/node.h"

#include <algorithm>
#include <variant>

#include "base/log.h"
#include "node/internal/operator.h"

namespace skerry::node {
namespace {

constexpr Duration kIdle = std::chrono::seconds(1);             // nothing is due: look again then
constexpr Duration kRefusedPause = std::chrono::milliseconds(500);  // a source whose records the store refuses
constexpr Duration kFailedPause = std::chrono::seconds(1);          // a source that can't be read just now
constexpr Duration kLabelPause = std::chrono::milliseconds(50);     // truths wait for the pipelines
constexpr Duration kSyncPoll = std::chrono::milliseconds(200);
constexpr Duration kBusPoll = std::chrono::milliseconds(200);
constexpr Duration kProgressPause = std::chrono::seconds(5);
constexpr size_t kTruthsPerStep = 16;

uint64_t text_hash(const std::string& text) {  // FNV-1a: the same everywhere, unlike std::hash
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

Result<std::unique_ptr<plugins::Source>> make_source(const config::SourceConfig& source) {
  struct Maker {
    Result<std::unique_ptr<plugins::Source>> operator()(const plugins::HostOptions& o) const { return plugins::make_host_source(o); }
    Result<std::unique_ptr<plugins::Source>> operator()(const plugins::ReplayOptions& o) const {
      return plugins::make_replay_source(o);
    }
    Result<std::unique_ptr<plugins::Source>> operator()(const plugins::PumpOptions& o) const { return plugins::make_pump_source(o); }
  };
  // An operator who is to label needs the truth.
  auto options = source.options;
  if (source.operator_share > 0) {
    if (auto* replay = std::get_if<plugins::ReplayOptions>(&options)) replay->labels = true;
    if (auto* pump = std::get_if<plugins::PumpOptions>(&options)) pump->labels = true;
  }
  return std::visit(Maker{}, options);
}

// Of a repair, which may take minutes: into the log now and then.
storage::Progress log_progress() {
  return [said = system_clock().steady()](const std::string& stage, uint64_t done, uint64_t total) mutable {
    if (system_clock().steady() < said + kProgressPause) return;
    said = system_clock().steady();
    log::info("storage", "repairing: {} {}{}", stage, done, total > 0 ? fmt::format(" of {}", total) : "");
  };
}

}  // namespace

struct Node::RunningSource {
  RunningSource(const config::SourceConfig& c, std::unique_ptr<plugins::Source> s, uint64_t seed)
      : name(c.name), source(std::move(s)), labeller(c.operator_share, seed ^ text_hash(c.name)) {}

  const std::string name;
  std::unique_ptr<plugins::Source> source;
  Operator labeller;
  SteadyTime due{};
  plugins::Poll held;         // polled and not yet accepted by the store
  bool holding = false;
  bool finished = false;
  bool failing = false;       // the last poll or delivery failed: said once, until it works again
};

Node::Node(const config::Config& config, const Clock& clock) : config_(config), clock_(&clock) {}
Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::open(const config::Config& config, Seams seams) {
  const Clock& clock = seams.clock ? *seams.clock : system_clock();
  uint64_t seed = seams.seed ? seams.seed : system_seed();
  std::unique_ptr<Node> node(new Node(config, clock));

  storage::Options storage = config.storage;
  storage.node = config.node.name;
  SKERRY_ASSIGN(node->store_, config.node.repair_store ? storage::open_recovered(storage, clock, log_progress())
                                                       : storage::Store::open(storage, clock));

  if (!seams.runtime) seams.runtime = inference::make_plan_runtime(inference::make_torch_runtime(config.inference.torch_runtime));
  node->engine_ = std::make_unique<inference::Engine>(config.inference, std::move(seams.runtime), clock);
  storage::Store& store = *node->store_;
  inference::Engine& engine = *node->engine_;
  node->scheduler_ = std::make_unique<inference::Scheduler>(engine, config.inference.queue, clock);
  node->pipelines_ = std::make_unique<inference::Pipelines>(engine, store, clock);
  node->labels_ = std::make_unique<learning::Labels>(store, engine, config.learning, clock);
  node->models_ = std::make_unique<learning::Models>(store, engine, clock);
  SKERRY_TRY(node->models_->start());

  if (!seams.worker) seams.worker = learning::make_worker_launcher(config.learning.worker);
  if (!seams.probe) seams.probe = learning::make_load_probe();
  node->learner_ = std::make_unique<learning::Learner>(store, engine, *node->models_, config.learning, std::move(seams.worker),
                                                       std::move(seams.probe), clock);

  if (!seams.uplink) {
    seams.uplink = sync::make_http_uplink(config.sync);
    node->watch_links();
  }
  auto describe = [&engine] {
    std::vector<std::string> lines;
    for (const auto& model : engine.loaded()) {
      const auto& info = model->package.info;
      if (engine.serving(info.name) == info.version) lines.push_back(fmt::format("{}/{} serving", info.name, info.version));
    }
    return lines;
  };
  node->downloads_ = std::make_unique<sync::Downloads>(node->downloads());
  node->syncer_ = std::make_unique<sync::Syncer>(store, std::move(seams.uplink), config.sync, clock, seed,
                                                node->environment(describe));
  node->sync_policy_ = std::make_unique<SyncPolicy>(store, *node->syncer_, config, clock);

  for (const config::SourceConfig& c : config.sources) {
    auto source = make_source(c);
    if (!source.ok()) return fail(source.error().code, "source '{}': {}", c.name, source.error().message);
    node->sources_.push_back(std::make_unique<RunningSource>(c, std::move(source).value(), seed));
  }
  return node;
}

void Node::watch_links() {
  device_ = std::make_unique<sync::DeviceProbe>(*clock_);
  bus_ = sync::BusWatch::make(*clock_);
  auto links = sync::LinkWatch::open(*clock_);
  if (links.ok()) links_ = *std::move(links);
  else log::warn("sync", "{}: the policy knows only what it measures itself", links.error().message);
}

sync::Environment Node::environment(std::function<std::vector<std::string>()> describe) {
  sync::Environment out{.describe = std::move(describe), .link = {}, .device = {}};
  if (links_) out.link = [this](const sync::BearerPolicy& bearer) { return link_facts(bearer); };
  if (device_) out.device = [this] { return device_->facts(); };
  out.downloads = downloads_.get();
  return out;
}

// New versions of the models that are here. A number that the node has used itself is taken: the hub's base models need numbers of their own.
sync::DownloadOptions Node::downloads() {
  sync::DownloadOptions out{.folder = config_.node.data_dir / "incoming", .package_bytes_max = config_.inference.package_bytes_max, .wanted = {}, .install = {}};
  out.wanted = [this](const sync::Offer& offer) {
    auto versions = store_->versions(offer.model);
    return versions.ok() && !versions->empty() &&
           std::none_of(versions->begin(), versions->end(), [&](const storage::ModelVersion& v) { return v.version == offer.version; });
  };
  out.install = [this](const std::filesystem::path& folder) -> Status {
    auto imported = models_->import(folder);
    return imported.ok() ? Status() : imported.error();
  };
  return out;
}

// The owner's word on a bearer stands above what NetworkManager guesses; what kind of link it is, the link itself knows best.
sync::LinkFacts Node::link_facts(const sync::BearerPolicy& bearer) const {
  sync::LinkFacts facts = links_->facts(bearer);
  bus_->add_to(facts);
  if (bearer.metered) {
    facts.metered = bearer.metered;
    facts.metered_from = "policy";
  }
  if (facts.technology == sync::Technology::unknown && bearer.technology) {
    facts.technology = *bearer.technology;
    facts.technology_from = "policy";
  }
  return facts;
}

Result<uint64_t> Node::ingest(std::vector<Batch> batches) {
  SKERRY_ASSIGN(const storage::Receipt receipt, ingest(std::move(batches), std::nullopt));
  return receipt.records;
}

Result<storage::Receipt> Node::ingest(std::vector<Batch> batches, std::optional<storage::Producer> producer) {
  if (batches.empty() && !producer) return storage::Receipt{};
  storage::Effect effect;
  effect.batches = std::move(batches);
  effect.producer = std::move(producer);
  SKERRY_ASSIGN(storage::Receipt receipt, store_->commit(effect));
  if (receipt.duplicate || effect.batches.empty()) return receipt;
  records_ += receipt.records;
  ingests_ += 1;
  if (ingested_) ingested_();
  return receipt;
}

Result<learning::LabelOutcome> Node::label(const learning::LabelRequest& request) {
  SKERRY_ASSIGN(learning::LabelOutcome outcome, labels_->apply(request));
  labels_applied_ += outcome.predictions;
  return outcome;
}

NodeStatus Node::status() const {
  NodeStatus status;
  status.records = records_;
  status.predictions = pipelines_->windows();
  status.labels = labels_applied_;
  for (const auto& model : engine_->loaded()) {
    const auto& info = model->package.info;
    if (engine_->serving(info.name) != info.version) continue;
    status.models.push_back({info.name, info.version, store_->live_score(info.name, info.version)});
  }
  status.outbox = store_->outbox_status();
  for (const auto& outbox : status.outbox) status.outbox_bytes += outbox.bytes;
  status.sync = syncer_->status();
  status.learning = learner_->status();
  status.disk_bytes = store_->disk_bytes();
  status.damaged = store_->damaged();
  status.recovery = storage::last_recovery(*store_);
  status.source_errors = source_errors_;
  status.sources = sources_.size();
  status.sources_finished = sources_finished_;
  if (auto trouble = store_->trouble()) status.trouble = trouble->message;
  return status;
}

Duration Node::step_sources() {
  Duration next = kIdle;
  for (auto& source : sources_) next = std::min(next, step_source(*source));
  return next;
}

Duration Node::step_source(RunningSource& source) {
  SteadyTime now = clock_->steady();
  if (!source.finished && now >= source.due) {
    if (!source.holding) {
      auto poll = source.source->poll(clock_->now());
      if (!poll.ok()) {
        source_errors_ += 1;
        if (!source.failing) log::warn("source", "'{}' can't be read, it is tried again: {}", source.name, poll.error().message);
        source.failing = true;
        source.due = now + kFailedPause;
        return kFailedPause;
      }
      source.held = std::move(poll).value();
      source.holding = true;
    }
    auto delivered = deliver(source);
    if (!delivered.ok()) {
      source.due = now + kRefusedPause;
    } else {
      source.due = now + source.held.next;
      source.finished = source.held.finished;
      if (source.finished) {
        source.labeller.finish();
        sources_finished_ += 1;
        log::info("source", "'{}' has come to its end", source.name);
      }
      source.held = {};
    }
  }
  uint64_t before = source.labeller.given();
  bool more = source.labeller.step(*labels_, *engine_, ingests_passed_, kTruthsPerStep);
  labels_applied_ += source.labeller.given() - before;
  if (more) return Duration::zero();
  Duration wait = source.finished ? kIdle : std::max(Duration::zero(), source.due - clock_->steady());
  return source.labeller.waiting() > 0 ? std::min(wait, kLabelPause) : wait;
}

// Hands over what was polled. Error: the store refuses for now, and it stays held.
Result<bool> Node::deliver(RunningSource& source) {
  auto ingested = ingest(source.held.batches);
  if (!ingested.ok()) {
    source_errors_ += 1;
    bool later = ingested.error().code == Code::exhausted || ingested.error().code == Code::unavailable;
    if (!source.failing) {
      log::warn("source", "records of '{}' are refused{}: {}", source.name, later ? ", they are kept and offered again" : "",
                ingested.error().message);
    }
    source.failing = true;
    if (later) return ingested.error();
    source.holding = false;  // what is wrong with them will not pass: the next ones may be better
    return false;
  }
  source.failing = false;
  source.holding = false;
  source.labeller.take(source.held.batches, source.held.truths, ingests_);
  return true;
}

Duration Node::step_pipelines() {
  uint64_t before = ingests_;
  Duration next = pipelines_->step();
  if (next > Duration::zero() && !store_->trouble()) ingests_passed_ = before;
  return next;
}

Duration Node::step_store() { return store_->step(); }
Duration Node::step_learning() { return learner_->step(); }
// Predictions and labels are queued without a word to the syncer: it looks often.
Duration Node::step_sync() {
  sync_policy_->look();
  if (links_) links_->look();
  return std::min<Duration>(syncer_->step(), kSyncPoll);
}

Duration Node::step_bus() {
  if (bus_) bus_->look();
  return kBusPoll;
}

}  // namespace skerry::node
