#include "hub/receiver.h"

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/log.h"
#include "hub/internal/rows.h"
#include "learning/delta.h"
#include "storage/record_format.h"
#include "storage/sample_block.h"

namespace skerry::hub {
namespace {

using internal::EpochRow;
using internal::NodeRow;
using storage::OutboxClass;

constexpr size_t kLossesKept = 256;  // of a node; `lost` counts all
constexpr size_t kDamageKept = 10'000, kScrubRows = 256;
constexpr size_t kStripes = 64;  // of locks: nodes side by side

Error store_error(const std::filesystem::path& path, const rocksdb::Status& status) {
  const std::string text = status.ToString();
  if (status.IsNoSpace() || text.find("No space left") != std::string::npos) {
    return fail(Code::exhausted, "the hub's disk is full: make space on the disk of {}", path.string());
  }
  if (status.IsBusy()) {  // RocksDB is at it itself, every few seconds
    return fail(Code::exhausted, "the hub's disk was full: writing in {} resumes some seconds after there is space", path.string());
  }
  if (status.IsCorruption()) return fail(Code::corrupt, "the hub's store {} is damaged: {}. Restore it from a backup", path.string(), text);
  return fail(Code::unavailable, "the hub's store {}: {}", path.string(), text);
}

rocksdb::Options database_options(rocksdb::Env* env) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.env = env;
  options.write_buffer_size = 16 << 20;
  options.max_total_wal_size = 64 << 20;
  options.compression = rocksdb::kZSTD;  // rows of one class repeat their subjects
  options.max_open_files = 512;
  options.keep_log_file_num = 2;  // RocksDB's own LOG, bounded
  options.max_log_file_size = 1 << 20;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.max_background_jobs = 2;
  options.max_bgerror_resume_count = 0;  // write() resumes; no thread of RocksDB's retries behind our back
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// Rows that were found damaged, until they came again. In memory: who looks again finds them again.
class Damage {
 public:
  void note(std::string_view key) {
    std::lock_guard lock(mutex_);
    if (keys_.size() < kDamageKept) keys_.emplace(key);
  }
  bool forget(const std::string& key) {
    std::lock_guard lock(mutex_);
    return keys_.erase(key) > 0;
  }
  std::vector<std::string> between(const std::string& from, const std::string& to) const {
    std::lock_guard lock(mutex_);
    return {keys_.lower_bound(from), keys_.upper_bound(to)};
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::string> keys_;
};

class RocksReceiver final : public Receiver {
 public:
  RocksReceiver(const ReceiverOptions& options, const Clock& clock) : options_(options), clock_(clock) {}

  Status start() {
    if (options_.in_memory) {
      env_.reset(rocksdb::NewMemEnv(rocksdb::Env::Default()));
    } else if (options_.file_system) {
      env_ = rocksdb::NewCompositeEnv(options_.file_system);
      if (auto made = env_->CreateDirIfMissing(options_.path.string()); !made.ok()) return store_error(options_.path, made);
    } else {
      std::error_code error;
      std::filesystem::create_directories(options_.path, error);
      if (error) return fail(Code::unavailable, "cannot make the hub's folder {}: {}", options_.path.string(), error.message());
    }
    rocksdb::DB* db = nullptr;
    rocksdb::Options database = database_options(env_ ? env_.get() : rocksdb::Env::Default());
    if (options_.in_memory) {  // written once, read at the end
      database.compression = rocksdb::kNoCompression;
      database.disable_auto_compactions = true;
      database.inplace_update_support = true;  // the rows that change with every batch do not pile up; nobody reads meanwhile
      database.allow_concurrent_memtable_write = false;
      database.level0_slowdown_writes_trigger = database.level0_stop_writes_trigger = 1 << 30;
    }
    const auto status = rocksdb::DB::Open(database, options_.path.string(), &db);
    if (!status.ok()) {
      if (status.ToString().find("lock") != std::string::npos) {
        return fail(Code::unavailable, "the hub's folder {} is in use by another skerry-hub: stop it, or give another --data", options_.path.string());
      }
      return store_error(options_.path, status);
    }
    db_.reset(db);
    return count_nodes();
  }

  Result<sync::HelloReply> hello(const sync::Hello& message) override {
    Stripe& stripe = stripe_of(message.node);
    std::lock_guard lock(stripe.mutex);
    stripe.known.reset();
    SKERRY_ASSIGN(std::optional<NodeRow> known, read_node(message.node));
    if (!known && nodes_ >= options_.nodes_max) {
      return fail(Code::exhausted, "this hub holds {} nodes and takes no more: raise nodes_max or correct the node's name", options_.nodes_max);
    }
    const bool first_time = !known;
    NodeRow node;
    if (known) node = *std::move(known);
    sync::HelloReply reply{.hub = options_.name, .watermarks = {}, .losses = {}, .takes_losses = true};
    EpochRow epoch{.epoch = message.epoch, .watermarks = {}, .chains = {}};
    auto ordinal = node.ordinals.find(message.epoch);
    if (ordinal == node.ordinals.end()) {
      if (node.ordinals.size() >= options_.epochs_per_node_max) {
        return fail(Code::exhausted, "node {} has had {} epochs: do two devices share its name?", message.node, node.ordinals.size());
      }
      node.current = static_cast<uint32_t>(node.ordinals.size()) + 1;
      node.ordinals[message.epoch] = node.current;
      for (const auto& p : message.positions) epoch.watermarks[p.outbox_class] = p.oldest() - 1;
      for (OutboxClass c : storage::kOutboxClasses) epoch.chains[c] = watermark(epoch, c) == 0 ? sync::kFirstChain : 0;
      reply.new_epoch = true;
    } else {
      node.current = ordinal->second;
      SKERRY_ASSIGN(epoch, read_epoch(message.node, node.current));
      reply.ended = epoch.ended;
      if (!options_.in_memory) scrub(stripe, message.node);
      reply.wanted = wanted(message, node.current);
      reply.losses = declare_losses(message, epoch, node.info);
    }
    node.info.node = message.node;
    node.info.last_seen_ns = clock_.now_ns();
    node.info.backlog_bytes = message.backlog_bytes;
    node.info.models = message.models;
    node.info.software = message.software;
    rocksdb::WriteBatch batch;
    put_rows(batch, message.node, node, epoch);
    SKERRY_TRY(write(batch));
    if (first_time) ++nodes_;
    for (OutboxClass c : storage::kOutboxClasses) reply.watermarks.push_back({c, watermark(epoch, c), {watermark(epoch, c), chain(epoch, c)}});
    return reply;
  }

  Result<sync::BatchReply> apply(const sync::Batch& message) override {
    SKERRY_TRY(check_shape(message));
    Stripe& stripe = stripe_of(message.node);
    std::lock_guard lock(stripe.mutex);
    SKERRY_ASSIGN(const bool is_known, recall(stripe, message));
    if (!is_known) return sync::BatchReply{sync::BatchOutcome::unknown_epoch, 0, "say HELLO first"};
    NodeRow& node = stripe.known->node;
    EpochRow& epoch = stripe.known->epoch;
    if (epoch.ended) return sync::BatchReply{sync::BatchOutcome::unknown_epoch, 0, "the node ended this epoch: say HELLO"};
    const uint32_t ordinal = stripe.known->ordinal;
    const uint64_t held = watermark(epoch, message.outbox_class);
    const uint64_t first = message.entries.front().seq, last = message.entries.back().end_seq();
    if (first > held + 1) return sync::BatchReply{sync::BatchOutcome::gap, held, "", {held, chain(epoch, message.outbox_class)}};

    rocksdb::WriteBatch batch;
    uint64_t& after = epoch.chains[message.outbox_class];
    for (const auto& item : message.entries) {
      if (item.end_seq() <= held) {
        const std::string key = internal::entry_key(message.node, message.outbox_class, ordinal, item.seq);
        if (damage_.forget(key)) {
          batch.Put(key, internal::encode_entry(item));
          log::info("hub", "{} {} of {} was damaged here and came again", storage::to_string(message.outbox_class), item.seq, message.node);
        } else {
          ++node.info.duplicates;
        }
        continue;
      }
      take(batch, message, ordinal, item, node.info);
      after = sync::chain_after(after, item);
    }
    node.info.last_seen_ns = clock_.now_ns();
    const bool news = last > held;
    if (news) epoch.watermarks[message.outbox_class] = last;
    put_rows(batch, message.node, node, epoch, ordinal);
    if (auto written = write(batch); !written.ok()) {
      stripe.known.reset();  // it says what was not written
      return written.error();
    }
    return sync::BatchReply{news ? sync::BatchOutcome::applied : sync::BatchOutcome::duplicate, std::max(held, last), "", {std::max(held, last), after}};
  }

  Result<sync::RangeReply> range(const sync::RangeAsk& message) override {
    if (message.ends_epoch) SKERRY_TRY(end_epoch(message));
    SKERRY_ASSIGN(std::optional<NodeRow> node, read_node(message.node));
    if (!node || !node->ordinals.contains(message.epoch)) return fail(Code::not_found, "this hub knows no epoch {} of node '{}'", message.epoch, message.node);
    if (message.digest != 0) return in_any_epoch(message, *node);
    sync::RangeReply reply{0, sync::kFirstChain};
    for (const auto& [epoch, ordinal] : node->ordinals) {
      if (message.all_epochs || epoch == message.epoch) SKERRY_TRY(add_range(message, ordinal, reply));
    }
    reply.count = std::min(reply.count, sync::kRangeMax);
    return reply;
  }

  Result<std::vector<NodeInfo>> nodes() const override {
    std::vector<NodeInfo> all;
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek("n"); it->Valid() && it->key().starts_with("n"); it->Next()) {
      auto node = internal::decode_node(it->value().ToStringView());
      if (!node.ok()) {
        log::error("hub", "skipped: {}", node.error().message);
        continue;
      }
      auto epoch = read_epoch(node->info.node, node->current);
      if (epoch.ok()) {
        node->info.epoch = epoch->epoch;
        for (OutboxClass c : storage::kOutboxClasses) node->info.watermarks.push_back({c, watermark(*epoch, c)});
      }
      all.push_back(std::move(node->info));
    }
    if (!it->status().ok()) return store_error(options_.path, it->status());
    return all;
  }

  Status entries(const std::string& node, OutboxClass outbox_class, const std::function<bool(uint64_t, const storage::OutboxItem&)>& visit,
                 EntryPosition after) const override {
    SKERRY_ASSIGN(std::optional<NodeRow> row, read_node(node));
    if (!row) return fail(Code::not_found, "no node '{}' has ever reached this hub: see /v1/nodes", node);
    std::map<uint32_t, uint64_t> epochs;
    for (const auto& [epoch, ordinal] : row->ordinals) epochs[ordinal] = epoch;
    uint32_t from = 0;
    if (after.epoch != 0) {
      auto found = row->ordinals.find(after.epoch);
      if (found == row->ordinals.end()) return fail(Code::not_found, "node '{}' has no epoch {}", node, after.epoch);
      from = found->second;
    }
    const std::string prefix = internal::entry_key(node, outbox_class, 0, 0).substr(0, node.size() + 3);
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek(internal::entry_key(node, outbox_class, from, after.epoch == 0 ? 0 : after.seq + 1)); it->Valid() && it->key().starts_with(prefix); it->Next()) {
      const auto [ordinal, seq] = internal::entry_position(it->key().ToStringView());
      auto item = internal::decode_entry(seq, it->value().ToStringView());
      if (!item.ok()) {
        damage_.note(it->key().ToStringView());
        log::error("hub", "skipped: {}", item.error().message);
        continue;
      }
      if (!visit(epochs[ordinal], *item)) return {};
    }
    if (!it->status().ok()) return store_error(options_.path, it->status());
    return {};
  }

  Result<std::vector<DeltaInfo>> deltas(const std::string& node) const override {
    std::vector<DeltaInfo> all;
    SKERRY_TRY(entries(node, OutboxClass::model, [&](uint64_t epoch, const storage::OutboxItem& item) {
      if (item.kind == storage::EntryKind::model_delta) all.push_back({node, item.subject, epoch, item.seq, item.payload});
      return true;
    }, {}));
    return all;
  }

 private:
  static uint64_t watermark(const EpochRow& epoch, OutboxClass outbox_class) {
    auto found = epoch.watermarks.find(outbox_class);
    return found == epoch.watermarks.end() ? 0 : found->second;
  }

  static uint64_t chain(const EpochRow& epoch, OutboxClass outbox_class) {
    auto found = epoch.chains.find(outbox_class);
    return found == epoch.chains.end() ? 0 : found->second;
  }

  // One entry that is news.
  void take(rocksdb::WriteBatch& batch, const sync::Batch& message, uint32_t ordinal, const storage::OutboxItem& item, NodeInfo& info) {
    if (auto readable = check_payload(item); !readable.ok()) {
      ++info.quarantined;
      log::warn("hub", "quarantined from {}: {}", message.node, readable.error().message);
    }
    batch.Put(internal::entry_key(message.node, message.outbox_class, ordinal, item.seq), internal::encode_entry(item));
    if (item.kind == storage::EntryKind::lost) {
      NodeInfo::Dropped& dropped = info.dropped[item.reason];
      dropped.entries += item.last_seq - item.seq + 1;
      dropped.records += item.records;
      return;
    }
    ++info.entries;
    info.records += item.records;
  }

  // The rows of the node that delivered last, as they are in the store: decoding them costs more than a small batch.
  struct Known {
    std::string name;
    uint64_t epoch_number = 0;
    uint32_t ordinal = 0;
    NodeRow node;
    EpochRow epoch;
  };
  struct Stripe {
    std::mutex mutex;
    std::optional<Known> known;
    std::string scrubbed;            // up to this key, of the node that said HELLO last
  };
  Stripe& stripe_of(const std::string& node) { return stripes_[std::hash<std::string>{}(node) % kStripes]; }

  Status add_range(const sync::RangeAsk& message, uint32_t ordinal, sync::RangeReply& reply) const {
    const std::string end = internal::entry_key(message.node, message.outbox_class, ordinal, message.last_seq);
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek(internal::entry_key(message.node, message.outbox_class, ordinal, message.first_seq)); it->Valid() && it->key().ToStringView() <= end; it->Next()) {
      auto item = internal::decode_entry(internal::entry_position(it->key().ToStringView()).second, it->value().ToStringView());
      if (!item.ok()) {  // as if it were not there
        damage_.note(it->key().ToStringView());
        continue;
      }
      ++reply.count;
      reply.digest = sync::digest_after(reply.digest, *item);
    }
    if (!it->status().ok()) return store_error(options_.path, it->status());
    return {};
  }

  Result<sync::RangeReply> in_any_epoch(const sync::RangeAsk& message, const NodeRow& node) const {
    for (const auto& [epoch, ordinal] : node.ordinals) {
      std::string bytes;
      const auto status = db_->Get({}, internal::entry_key(message.node, message.outbox_class, ordinal, message.first_seq), &bytes);
      if (status.IsNotFound()) continue;
      if (!status.ok()) return store_error(options_.path, status);
      auto item = internal::decode_entry(message.first_seq, bytes);
      if (item.ok() && sync::digest_after(sync::kFirstChain, *item) == message.digest) return sync::RangeReply{1, message.digest};
    }
    return sync::RangeReply{0, sync::kFirstChain};
  }

  Status end_epoch(const sync::RangeAsk& message) {
    Stripe& stripe = stripe_of(message.node);
    std::lock_guard lock(stripe.mutex);
    stripe.known.reset();
    SKERRY_ASSIGN(std::optional<NodeRow> node, read_node(message.node));
    if (!node || !node->ordinals.contains(message.epoch)) return {};
    const uint32_t ordinal = node->ordinals.at(message.epoch);
    SKERRY_ASSIGN(EpochRow epoch, read_epoch(message.node, ordinal));
    if (epoch.ended) return {};
    epoch.ended = true;
    rocksdb::WriteBatch batch;
    batch.Put(internal::epoch_key(message.node, ordinal), internal::encode_epoch(epoch));
    return write(batch);
  }

  // Looks at some rows of a node, further on with every HELLO: damage is found while the node still has what was there.
  void scrub(Stripe& stripe, const std::string& node) const {
    const std::string prefix = internal::entry_key(node, OutboxClass::alarm, 0, 0).substr(0, node.size() + 2);
    if (!std::string_view(stripe.scrubbed).starts_with(prefix)) stripe.scrubbed = prefix;
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    size_t rows = 0;
    for (it->Seek(stripe.scrubbed); it->Valid() && it->key().starts_with(prefix) && rows < kScrubRows; it->Next(), ++rows) {
      if (!internal::decode_entry(internal::entry_position(it->key().ToStringView()).second, it->value().ToStringView()).ok()) damage_.note(it->key().ToStringView());
    }
    stripe.scrubbed = it->Valid() && it->key().starts_with(prefix) ? it->key().ToString() : prefix;
  }

  // Of what is damaged: all that the node can still send.
  std::vector<sync::Loss> wanted(const sync::Hello& message, uint32_t ordinal) const {
    std::vector<sync::Loss> ranges;
    for (const auto& p : message.positions) {
      const std::string from = internal::entry_key(message.node, p.outbox_class, ordinal, p.oldest());
      for (const std::string& key : damage_.between(from, internal::entry_key(message.node, p.outbox_class, ordinal, UINT64_MAX))) {
        const uint64_t seq = internal::entry_position(key).second;
        const bool next = !ranges.empty() && ranges.back().outbox_class == p.outbox_class && ranges.back().last_seq + 1 == seq;
        if (next) ranges.back().last_seq = seq;
        else if (ranges.size() < sync::kWantedMax) ranges.push_back({p.outbox_class, seq, seq});
      }
    }
    return ranges;
  }

  // False: node or epoch are not known here.
  Result<bool> recall(Stripe& stripe, const sync::Batch& message) const {
    if (stripe.known && stripe.known->name == message.node && stripe.known->epoch_number == message.epoch) return true;
    stripe.known.reset();
    SKERRY_ASSIGN(std::optional<NodeRow> node, read_node(message.node));
    if (!node || !node->ordinals.contains(message.epoch)) return false;
    const uint32_t ordinal = node->ordinals.at(message.epoch);
    SKERRY_ASSIGN(EpochRow epoch, read_epoch(message.node, ordinal));
    stripe.known = Known{message.node, message.epoch, ordinal, *std::move(node), std::move(epoch)};
    return true;
  }

  // The decoder of the wire promises this; other callers are held to it too.
  static Status check_shape(const sync::Batch& message) {
    if (!sync::valid_node_name(message.node)) return fail(Code::invalid, "a batch of a node without a valid name");
    if (message.entries.empty()) return fail(Code::invalid, "a batch without entries");
    uint64_t expected = std::max<uint64_t>(message.entries.front().seq, 1);
    for (const auto& item : message.entries) {
      if (item.seq != expected || item.end_seq() < item.seq) return fail(Code::invalid, "entries of a batch are consecutive and start at 1 or later");
      expected = item.end_seq() + 1;
    }
    return {};
  }

  // The node no longer has what the hub no longer has: say so, and go on from what there is.
  std::vector<sync::Loss> declare_losses(const sync::Hello& message, EpochRow& epoch, NodeInfo& info) const {
    std::vector<sync::Loss> losses;
    for (const auto& p : message.positions) {
      uint64_t& held = epoch.watermarks[p.outbox_class];
      if (held + 1 >= p.oldest()) continue;
      const sync::Loss loss{p.outbox_class, held + 1, p.oldest() - 1};
      log::error("hub", "LOST: {} {} to {} of {} were acknowledged and are not here any more: restore a backup of this hub beside it to get them back",
                 storage::to_string(p.outbox_class), loss.first_seq, loss.last_seq, message.node);
      info.lost += loss.last_seq - held;
      info.losses.push_back({message.epoch, loss, clock_.now_ns()});
      if (info.losses.size() > kLossesKept) info.losses.erase(info.losses.begin());
      held = p.oldest() - 1;
      epoch.chains[p.outbox_class] = 0;
      losses.push_back(loss);
    }
    return losses;
  }

  Status count_nodes() {
    std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
    for (it->Seek("n"); it->Valid() && it->key().starts_with("n"); it->Next()) ++nodes_;
    if (!it->status().ok()) return store_error(options_.path, it->status());
    return {};
  }

  Result<std::optional<NodeRow>> read_node(const std::string& node) const {
    std::string bytes;
    const auto status = db_->Get({}, internal::node_key(node), &bytes);
    if (status.IsNotFound()) return std::optional<NodeRow>{};
    if (!status.ok()) return store_error(options_.path, status);
    SKERRY_ASSIGN(NodeRow row, internal::decode_node(bytes));
    return std::optional<NodeRow>(std::move(row));
  }

  Result<EpochRow> read_epoch(const std::string& node, uint32_t ordinal) const {
    std::string bytes;
    const auto status = db_->Get({}, internal::epoch_key(node, ordinal), &bytes);
    if (!status.ok()) return store_error(options_.path, status);
    return internal::decode_epoch(bytes);
  }

  static void put_rows(rocksdb::WriteBatch& batch, const std::string& name, const NodeRow& node, const EpochRow& epoch, uint32_t ordinal = 0) {
    batch.Put(internal::node_key(name), internal::encode_node(node));
    batch.Put(internal::epoch_key(name, ordinal == 0 ? node.current : ordinal), internal::encode_epoch(epoch));
  }

  // Durable when it returns: the node deletes what the hub acknowledges.
  Status write(rocksdb::WriteBatch& batch) {
    if (stopped_.load()) {  // RocksDB refuses writes after a failed one until told that the cause is gone
      auto status = db_->Resume();
      if (status.ok()) status = db_->Flush({});  // the log ends in a torn write: nothing may depend on it
      if (!status.ok()) return store_error(options_.path, status);
      stopped_ = false;
    }
    rocksdb::WriteOptions durable;
    durable.sync = !options_.in_memory;
    durable.disableWAL = options_.in_memory;
    const auto status = db_->Write(durable, &batch);
    if (status.ok()) return {};
    stopped_ = true;
    return store_error(options_.path, status);
  }

  const ReceiverOptions options_;
  const Clock& clock_;
  std::unique_ptr<rocksdb::Env> env_;  // outlives db_
  std::unique_ptr<rocksdb::DB> db_;
  mutable Damage damage_;
  std::array<Stripe, kStripes> stripes_;
  std::atomic<uint32_t> nodes_{0};
  std::atomic<bool> stopped_{false};
};

}  // namespace

Status check_payload(const storage::OutboxItem& item) {
  auto named = [&](const Error& error) {
    return fail(error.code, "{} {}: {}", storage::to_string(item.kind), item.seq, error.message);
  };
  switch (item.kind) {
    case storage::EntryKind::samples: {
      auto series = Series::parse(item.subject);
      if (!series.ok()) return named(series.error());
      auto block = storage::decode_block(*series, item.payload);
      if (!block.ok()) return named(block.error());
      return {};
    }
    case storage::EntryKind::prediction:
      if (auto p = storage::decode_prediction(item.payload); !p.ok()) return named(p.error());
      return {};
    case storage::EntryKind::label:
      if (auto l = storage::decode_label(item.payload); !l.ok()) return named(l.error());
      return {};
    case storage::EntryKind::model_delta:
      if (auto d = learning::decode_delta(item.payload); !d.ok()) return named(d.error());
      return {};
    case storage::EntryKind::model_event:
    case storage::EntryKind::lost: return {};
  }
  return named(fail(Code::invalid, "an unknown kind"));
}

Result<std::unique_ptr<Receiver>> Receiver::open(const ReceiverOptions& options, const Clock& clock) {
  if (!sync::valid_node_name(options.name)) {
    return fail(Code::invalid, "'{}' is no name for a hub: 1 to 64 letters, digits, '.', '_' or '-'", options.name);
  }
  auto receiver = std::make_unique<RocksReceiver>(options, clock);
  SKERRY_TRY(receiver->start());
  return std::unique_ptr<Receiver>(std::move(receiver));
}

}  // namespace skerry::hub
