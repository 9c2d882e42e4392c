#include "node/simulate/internal/world.h"

#include <rocksdb/file_system.h>
#include <rocksdb/perf_level.h>

#include <algorithm>
#include <array>
#include <optional>

namespace skerry::simulate::internal {
namespace {

rocksdb::IOStatus no_space() { return rocksdb::IOStatus::NoSpace("the scenario's disk is full"); }

constexpr size_t kPieceBytes = 64 << 10;  // goes to the host at once: no power is cut here, and nobody reads a file that is being written

class DiskFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  DiskFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, std::shared_ptr<bool> full)
      : rocksdb::FSWritableFileOwnerWrapper(std::move(file)), full_(std::move(full)) {}
  ~DiskFile() override { pass_on({}, nullptr).PermitUncheckedError(); }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, rocksdb::IODebugContext* context) override {
    if (*full_) return no_space();
    held_.append(data.data(), data.size());
    return held_.size() < kPieceBytes ? rocksdb::IOStatus::OK() : pass_on(options, context);
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, const rocksdb::DataVerificationInfo&,
                           rocksdb::IODebugContext* context) override {
    return Append(data, options, context);
  }
  rocksdb::IOStatus Truncate(uint64_t size, const rocksdb::IOOptions& options, rocksdb::IODebugContext* context) override {
    auto status = pass_on(options, context);
    return status.ok() ? rocksdb::FSWritableFileOwnerWrapper::Truncate(size, options, context) : status;
  }
  rocksdb::IOStatus Close(const rocksdb::IOOptions& options, rocksdb::IODebugContext* context) override {
    auto status = pass_on(options, context);
    auto closed = rocksdb::FSWritableFileOwnerWrapper::Close(options, context);
    return status.ok() ? closed : status;
  }
  uint64_t GetFileSize(const rocksdb::IOOptions& options, rocksdb::IODebugContext* context) override {
    return rocksdb::FSWritableFileOwnerWrapper::GetFileSize(options, context) + held_.size();
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  rocksdb::IOStatus RangeSync(uint64_t, uint64_t, const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  bool IsSyncThreadSafe() const override { return true; }

 private:
  rocksdb::IOStatus pass_on(const rocksdb::IOOptions& options, rocksdb::IODebugContext* context) {
    if (held_.empty()) return {};
    auto status = rocksdb::FSWritableFileOwnerWrapper::Append(held_, options, context);
    held_.clear();
    return status;
  }

  std::shared_ptr<bool> full_;
  std::string held_;
};

class NoDirectorySync final : public rocksdb::FSDirectory {
 public:
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
};

class DiskFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit DiskFileSystem(std::shared_ptr<bool> full) : rocksdb::FileSystemWrapper(rocksdb::FileSystem::Default()), full_(std::move(full)) {}
  const char* Name() const override { return "SimulatedDisk"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options, std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* context) override {
    if (*full_) return no_space();
    auto status = target()->NewWritableFile(name, options, file, context);
    if (status.ok()) *file = std::make_unique<DiskFile>(std::move(*file), full_);
    return status;
  }
  rocksdb::IOStatus NewDirectory(const std::string&, const rocksdb::IOOptions&, std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext*) override {
    *directory = std::make_unique<NoDirectorySync>();
    return {};
  }

 private:
  std::shared_ptr<bool> full_;
};

constexpr Duration kConnectTimeout = std::chrono::seconds(3);
constexpr Duration kHubTime = std::chrono::milliseconds(2);

TcpPath path_of(const LinkShape& link) { return {link.rate, link.rtt, link.packet_loss}; }

}  // namespace

Disk::Disk() : full_(std::make_shared<bool>(false)), file_system_(std::make_shared<DiskFileSystem>(full_)) {}

class Cloud::Link final : public sync::Uplink {
 public:
  Link(Cloud& cloud, const sync::Options& options)
      : cloud_(cloud), options_(options), lanes_{TcpConnection(cloud.random_()), TcpConnection(cloud.random_())}, questions_(cloud.random_()) {}
  Result<sync::HelloReply> hello(const sync::Hello& message) override {
    if (sync::has_waiting(message) && cloud_.is_up(bearer_)) {
      lanes_[static_cast<size_t>(sync::Lane::bulk)].open(cloud_.clock_.steady(), path_of(cloud_.weather_.link));
    }
    return cloud_.exchange<sync::HelloReply>(options_, bearer_, sync::encode(message), traffic_, questions_, [&] { return cloud_.receiver_->hello(message); });
  }
  Result<sync::RangeReply> range(const sync::RangeAsk& message) override {
    return cloud_.exchange<sync::RangeReply>(options_, bearer_, sync::encode(message), traffic_, questions_, [&] { return cloud_.receiver_->range(message); });
  }
  // A connection for each lane: what becomes of the batch is settled now, and happens when its time comes. What one lane takes of the line the other
  // does not miss: alarms are small.
  uint64_t begin(uint64_t ticket, sync::Batch message, sync::Lane lane) override {
    ++cloud_.exchanges_;
    const SteadyTime now = cloud_.clock_.steady(), end = now + options_.request_timeout;
    const uint64_t bytes = sync::encode(message).size();
    Flying f{.ticket = ticket, .batch = std::move(message), .bytes = bytes, .arrives = {}, .answers = now + std::min(kConnectTimeout, options_.request_timeout), .reply = {}};
    const Weather& w = cloud_.weather_;
    if (cloud_.is_up(bearer_)) {
      f.sent = true;
      const bool lost = w.link.loss > 0 && cloud_.random_.chance(w.link.loss);
      const SteadyTime arrives = lanes_[static_cast<size_t>(lane)].send(now, sync::wire_bytes(bytes), path_of(w.link));
      const SteadyTime answers = arrives + kHubTime + w.hub_delay + w.link.rtt / 2;
      if (arrives < end && (!lost || cloud_.random_.chance(0.5))) f.arrives = arrives;
      f.unheard = lost || answers > end;
      f.answers = f.unheard ? end : answers;
    }
    flying_.push_back(std::move(f));
    return bytes;
  }
  std::vector<sync::Answer> answers(Duration at_most) override {
    std::vector<sync::Answer> all;
    const SteadyTime end = cloud_.clock_.steady() + at_most;
    while (!flying_.empty() && all.empty()) {
      auto next = std::min_element(flying_.begin(), flying_.end(), [](const Flying& a, const Flying& b) { return a.due() < b.due(); });
      if (next->due() > end) break;
      if (next->due() > cloud_.clock_.steady()) cloud_.clock_.advance(next->due() - cloud_.clock_.steady());
      if (next->arrives) {
        arrive(*next);
        continue;
      }
      all.push_back(land(*next));
      flying_.erase(next);
    }
    if (all.empty() && !flying_.empty() && end > cloud_.clock_.steady()) cloud_.clock_.advance(end - cloud_.clock_.steady());
    return all;
  }
  std::vector<sync::Answer> give_up() override {  // what is on the line arrives all the same, and is not heard of
    std::vector<sync::Answer> all;
    for (Flying& f : flying_) {
      if (f.arrives) arrive(f);
      all.push_back(sync::no_answer(f.ticket, fail(Code::unavailable, "given up"), {f.sent ? f.bytes : 0, 0}));
      traffic_.sent += f.sent ? f.bytes : 0;
    }
    flying_.clear();
    for (TcpConnection& lane : lanes_) lane.close();
    return all;
  }
  sync::Traffic traffic() const override { return traffic_; }
  void use(const sync::Route& route) override { bearer_ = route.bearer; }
  void link_changed() override {
    for (TcpConnection& lane : lanes_) lane.close();
    questions_.close();
  }

 private:
  struct Flying {
    uint64_t ticket = 0;
    sync::Batch batch;
    uint64_t bytes = 0;
    std::optional<SteadyTime> arrives;  // at the hub; none: never, or it has
    SteadyTime answers{};               // the node hears of it
    bool sent = false, unheard = false;
    std::optional<Result<sync::BatchReply>> reply;
    SteadyTime due() const { return arrives.value_or(answers); }
  };

  void arrive(Flying& f) {
    const Duration late = std::max(Duration::zero(), cloud_.clock_.steady() - *f.arrives);
    f.arrives.reset();
    if (cloud_.weather_.hub_errors) {
      f.reply = fail(Code::unavailable, "the hub answers 503");
      return;
    }
    f.reply = cloud_.receiver_->apply(f.batch);
    if (f.reply->ok() && (*f.reply)->outcome == sync::BatchOutcome::applied && cloud_.applied) cloud_.applied(f.batch, late);
    if (cloud_.weather_.lose_acks) f.reply = fail(Code::unavailable, "no answer from the hub: it was lost on its way");
  }

  sync::Answer land(Flying& f) {
    sync::Answer answer = sync::no_answer(f.ticket, fail(Code::unavailable, "no answer from the hub: the link is down"), {f.sent ? f.bytes : 0, 0});
    if (f.sent && f.unheard) answer.reply = fail(Code::unavailable, "no answer from the hub in time");
    else if (f.reply) answer.reply = *std::move(f.reply);
    if (answer.reply.ok()) answer.traffic.received = sync::encode(*answer.reply).size();
    traffic_.sent += answer.traffic.sent;
    traffic_.received += answer.traffic.received;
    return answer;
  }

  Cloud& cloud_;
  std::vector<Flying> flying_;
  const sync::Options options_;
  std::array<TcpConnection, 2> lanes_;
  TcpConnection questions_;             // HELLO and the like go over a connection of their own
  std::string bearer_ = "default";
  sync::Traffic traffic_;
};

Status Cloud::start() {
  rocksdb::SetPerfLevel(rocksdb::kDisable);  // of this thread: counters that nobody reads
  SKERRY_ASSIGN(receiver_, hub::Receiver::open({.path = "/hub", .name = "simulated", .in_memory = true}, clock_));
  return {};
}

std::unique_ptr<sync::Uplink> Cloud::uplink(const sync::Options& options) { return std::make_unique<Link>(*this, options); }

// The bytes on their way there and back: how long they take, and whether they arrive.
template <typename Reply, typename Serve>
Result<Reply> Cloud::exchange(const sync::Options& options, const std::string& bearer, const std::string& bytes, sync::Traffic& traffic,
                              TcpConnection& connection, Serve serve) {
  ++exchanges_;
  if (!is_up(bearer)) {
    connection.close();
    clock_.advance(std::min(kConnectTimeout, options.request_timeout));
    return fail(Code::unavailable, "no answer from the hub: the link is down");
  }
  const Duration there = connection.send(clock_.steady(), sync::wire_bytes(bytes.size()), path_of(weather_.link)) - clock_.steady();
  const Duration whole = there + kHubTime + weather_.hub_delay + weather_.link.rtt / 2;
  traffic.sent += bytes.size();
  if (weather_.link.loss > 0 && random_.chance(weather_.link.loss)) {
    connection.close();
    clock_.advance(options.request_timeout);
    if (random_.chance(0.5)) (void)serve();
    return fail(Code::unavailable, "no answer from the hub within {}s", std::chrono::duration_cast<std::chrono::seconds>(options.request_timeout).count());
  }
  if (whole > options.request_timeout) {
    connection.close();
    clock_.advance(options.request_timeout);
    if (there < options.request_timeout) (void)serve();  // it arrived, and nobody waited for the answer
    return fail(Code::unavailable, "no answer from the hub in time");
  }
  clock_.advance(whole);
  if (weather_.hub_errors) return fail(Code::unavailable, "the hub answers 503");
  auto reply = serve();
  if (weather_.lose_acks) return fail(Code::unavailable, "no answer from the hub: it was lost on its way");
  if (reply.ok()) traffic.received += sync::encode(*reply).size();
  return reply;
}

bool Cloud::is_up(const std::string& bearer) const {
  const auto own = weather_.down.find(bearer);
  return weather_.up && (own == weather_.down.end() || !own->second);
}

Result<hub::NodeInfo> Cloud::node() const {
  SKERRY_ASSIGN(const auto nodes, receiver_->nodes());
  if (nodes.empty()) return hub::NodeInfo{};
  return nodes.front();
}

}  // namespace skerry::simulate::internal
