#include "node/simulate/internal/world.h"

#include <rocksdb/file_system.h>

#include <algorithm>

namespace skerry::simulate::internal {
namespace {

rocksdb::IOStatus no_space() { return rocksdb::IOStatus::NoSpace("the scenario's disk is full"); }

class DiskFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  DiskFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, std::shared_ptr<bool> full)
      : rocksdb::FSWritableFileOwnerWrapper(std::move(file)), full_(std::move(full)) {}
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, rocksdb::IODebugContext* context) override {
    return *full_ ? no_space() : rocksdb::FSWritableFileOwnerWrapper::Append(data, options, context);
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, const rocksdb::DataVerificationInfo& info,
                           rocksdb::IODebugContext* context) override {
    return *full_ ? no_space() : rocksdb::FSWritableFileOwnerWrapper::Append(data, options, info, context);
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  rocksdb::IOStatus RangeSync(uint64_t, uint64_t, const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  bool IsSyncThreadSafe() const override { return true; }

 private:
  std::shared_ptr<bool> full_;
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

Duration seconds(double s) { return Duration(static_cast<int64_t>(s * 1e9)); }

}  // namespace

Disk::Disk() : full_(std::make_shared<bool>(false)), file_system_(std::make_shared<DiskFileSystem>(full_)) {}

class Cloud::Link final : public sync::Uplink {
 public:
  Link(Cloud& cloud, const sync::Options& options) : cloud_(cloud), options_(options) {}
  Result<sync::HelloReply> hello(const sync::Hello& message) override {
    return cloud_.exchange<sync::HelloReply>(options_, bearer_, sync::encode(message), traffic_, [&] { return cloud_.receiver_->hello(message); });
  }
  Result<sync::BatchReply> send(const sync::Batch& message) override {
    return cloud_.exchange<sync::BatchReply>(options_, bearer_, sync::encode(message), traffic_, [&] {
      auto reply = cloud_.receiver_->apply(message);
      if (reply.ok() && reply->outcome == sync::BatchOutcome::applied && cloud_.applied) cloud_.applied(message, *reply);
      return reply;
    });
  }
  sync::Traffic traffic() const override { return traffic_; }
  void use(const sync::Route& route) override { bearer_ = route.bearer; }

 private:
  Cloud& cloud_;
  const sync::Options options_;
  std::string bearer_ = "default";
  sync::Traffic traffic_;
};

Status Cloud::start() {
  SKERRY_ASSIGN(receiver_, hub::Receiver::open({.path = "/hub", .name = "simulated", .in_memory = true}, clock_));
  return {};
}

std::unique_ptr<sync::Uplink> Cloud::uplink(const sync::Options& options) { return std::make_unique<Link>(*this, options); }

// The bytes on their way there and back: how long they take, and whether they arrive.
template <typename Reply, typename Serve>
Result<Reply> Cloud::exchange(const sync::Options& options, const std::string& bearer, const std::string& bytes, sync::Traffic& traffic, Serve serve) {
  ++exchanges_;
  const auto own = weather_.down.find(bearer);
  if (!weather_.up || (own != weather_.down.end() && own->second)) {
    clock_.advance(std::min(kConnectTimeout, options.request_timeout));
    return fail(Code::unavailable, "no answer from the hub: the link is down");
  }
  const double upload = static_cast<double>(sync::wire_bytes(bytes.size())) / static_cast<double>(weather_.link.rate);
  const Duration whole = weather_.link.rtt + seconds(upload) + kHubTime + weather_.hub_delay;
  traffic.sent += bytes.size();
  if (weather_.link.loss > 0 && random_.chance(weather_.link.loss)) {
    clock_.advance(options.request_timeout);
    if (random_.chance(0.5)) (void)serve();
    return fail(Code::unavailable, "no answer from the hub within {}s", std::chrono::duration_cast<std::chrono::seconds>(options.request_timeout).count());
  }
  if (whole > options.request_timeout) {
    clock_.advance(options.request_timeout);
    if (seconds(upload) + weather_.link.rtt / 2 < options.request_timeout) (void)serve();  // it arrived, and nobody waited for the answer
    return fail(Code::unavailable, "no answer from the hub in time");
  }
  clock_.advance(whole);
  if (weather_.hub_errors) return fail(Code::unavailable, "the hub answers 503");
  auto reply = serve();
  if (weather_.lose_acks) return fail(Code::unavailable, "no answer from the hub: it was lost on its way");
  if (reply.ok()) traffic.received += sync::encode(*reply).size();
  return reply;
}

Result<hub::NodeInfo> Cloud::node() const {
  SKERRY_ASSIGN(const auto nodes, receiver_->nodes());
  if (nodes.empty()) return hub::NodeInfo{};
  return nodes.front();
}

}  // namespace skerry::simulate::internal
