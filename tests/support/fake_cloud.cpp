#include "tests/support/fake_cloud.h"

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "storage/record_format.h"
#include "storage/sample_block.h"

namespace skerry::test {
namespace {

constexpr const char* kDisk = "/hub";
constexpr const char* kCopy = "/copy";

bool take(int& n) {
  if (n == 0) return false;
  --n;
  return true;
}

void must(const rocksdb::Status& status) {
  if (!status.ok()) throw std::logic_error(status.ToString());
}

template <typename T>
T must(Result<T> result) {
  if (!result.ok()) throw std::logic_error(result.error().message);
  return std::move(result).value();
}

std::vector<std::string> identities(const storage::OutboxItem& item) {
  switch (item.kind) {
    case storage::EntryKind::samples: {
      std::vector<std::string> all;
      if (item.records == 0) return {};  // damaged, or a dead letter
      const Batch batch = must(storage::decode_block(must(Series::parse(item.subject)), item.payload));
      for (int64_t time : batch.times) all.push_back(item.subject + "@" + std::to_string(time));
      return all;
    }
    case storage::EntryKind::prediction:
      return {"prediction " + std::to_string(storage::number(must(storage::decode_prediction(item.payload)).id))};
    case storage::EntryKind::label: return {"label " + std::to_string(storage::number(must(storage::decode_label(item.payload)).id))};
    case storage::EntryKind::model_delta:
    case storage::EntryKind::model_event: break;
    case storage::EntryKind::lost: return {};
  }
  return {std::string(storage::to_string(item.kind)) + " " + item.subject};
}

}  // namespace

namespace {

class HastyFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;
  rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  rocksdb::IOStatus RangeSync(uint64_t, uint64_t, const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
  bool IsSyncThreadSafe() const override { return true; }
};

class HastyDirectory final : public rocksdb::FSDirectory {
 public:
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return {}; }
};

class HastyFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "HastyFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* context) override {
    auto status = target()->NewWritableFile(name, options, file, context);
    if (status.ok()) *file = std::make_unique<HastyFile>(std::move(*file));
    return status;
  }
  rocksdb::IOStatus NewDirectory(const std::string&, const rocksdb::IOOptions&, std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext*) override {
    *directory = std::make_unique<HastyDirectory>();
    return {};
  }
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> hasty_file_system() { return std::make_shared<HastyFileSystem>(rocksdb::FileSystem::Default()); }

class FakeCloud::Link final : public sync::Uplink {
 public:
  explicit Link(FakeCloud& cloud) : cloud_(cloud) {}
  Result<sync::HelloReply> hello(const sync::Hello& message) override {
    return cloud_.exchange<sync::HelloReply>(message, {.hello = true, .epoch = message.epoch});
  }
  Result<sync::RangeReply> range(const sync::RangeAsk& message) override {
    if (!cloud_.up_) return fail(Code::unavailable, "the link is down");
    SKERRY_ASSIGN(const sync::RangeAsk asked, sync::decode_range_ask(sync::encode(message)));
    SKERRY_ASSIGN(const sync::RangeReply reply, cloud_.receiver_->range(asked));
    return sync::decode_range_reply(sync::encode(reply));
  }
  uint64_t begin(uint64_t ticket, sync::Batch message, sync::Lane) override {
    const uint64_t bytes = sync::encode(message).size();
    waiting_.emplace_back(ticket, std::move(message));
    cloud_.most_on_the_way_ = std::max(cloud_.most_on_the_way_, waiting_.size());
    if (cloud_.way_ == Way::instant) arrive();
    return bytes;
  }
  std::vector<sync::Answer> answers(Duration at_most) override {
    if (answers_.empty() && at_most > Duration::zero()) {
      if (cloud_.way_ == Way::shuffle) {
        for (size_t i = waiting_.size(); i > 1; --i) std::swap(waiting_[i - 1], waiting_[cloud_.random_.below(i)]);
      }
      size_t n = cloud_.way_ == Way::shuffle && !waiting_.empty() ? 1 + cloud_.random_.below(waiting_.size()) : waiting_.size();
      for (; n > 0; --n) arrive();
    }
    return std::exchange(answers_, {});
  }
  std::vector<sync::Answer> give_up() override {
    // Where the order is anybody's, some of what is given up is still on its way and arrives.
    for (const auto& [ticket, batch] : waiting_) {
      if (cloud_.way_ == Way::shuffle && cloud_.random_.chance(0.3)) cloud_.late_.emplace_back(false, sync::encode(batch));
      answers_.push_back(sync::no_answer(ticket, fail(Code::unavailable, "given up")));
    }
    waiting_.clear();
    return std::exchange(answers_, {});
  }
  sync::Traffic traffic() const override { return cloud_.traffic_; }

 private:
  void arrive() {  // the first that waits
    const auto [ticket, message] = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    sync::Traffic own;
    auto reply = cloud_.exchange<sync::BatchReply>(message, {.outbox_class = message.outbox_class, .epoch = message.epoch, .first = message.entries.front().seq,
                                                             .last = message.entries.back().end_seq()}, &own);
    answers_.push_back({ticket, std::move(reply), own});
  }

  FakeCloud& cloud_;
  std::vector<std::pair<uint64_t, sync::Batch>> waiting_;
  std::vector<sync::Answer> answers_;
};

FakeCloud::FakeCloud(const Clock& clock) : clock_(clock), memory_(rocksdb::NewMemEnv(rocksdb::Env::Default())) { open(); }
FakeCloud::FakeCloud(const Clock& clock, std::filesystem::path folder, uint64_t seed) : clock_(clock), folder_(std::move(folder)), random_(seed) { open(); }
FakeCloud::~FakeCloud() = default;

std::unique_ptr<sync::Uplink> FakeCloud::uplink() { return std::make_unique<Link>(*this); }

void FakeCloud::open() {
  receiver_ = folder_.empty() ? must(hub::Receiver::open({.path = kDisk, .name = "fake", .file_system = memory_->GetFileSystem()}, clock_))
                              : must(hub::Receiver::open({.path = folder_, .name = "fake", .file_system = disk_.file_system()}, clock_));
}

void FakeCloud::power_cut() {
  disk_.cut_power();
  receiver_.reset();
  disk_.restore_power();
  open();
}

void FakeCloud::restart() {
  receiver_.reset();
  open();
}

void FakeCloud::copy(const std::string& from, const std::string& to) {
  must(memory_->CreateDirIfMissing(to));
  std::vector<std::string> names;
  must(memory_->GetChildren(to, &names));
  for (const auto& name : names) {
    if (name != "LOCK") must(memory_->DeleteFile(to + "/" + name));
  }
  names.clear();
  must(memory_->GetChildren(from, &names));
  for (const auto& name : names) {
    if (name == "LOCK") continue;
    std::string content;
    must(rocksdb::ReadFileToString(memory_.get(), from + "/" + name, &content));
    must(rocksdb::WriteStringToFile(memory_.get(), content, to + "/" + name));
  }
}

void FakeCloud::save() {
  receiver_.reset();
  copy(kDisk, kCopy);
  open();
}

void FakeCloud::restore() {
  receiver_.reset();
  copy(kCopy, kDisk);
  open();
}

void FakeCloud::damage_row(uint64_t seq) {
  receiver_.reset();
  rocksdb::Options options;
  options.env = memory_.get();
  rocksdb::DB* opened = nullptr;
  must(rocksdb::DB::Open(options, kDisk, &opened));
  std::unique_ptr<rocksdb::DB> db(opened);
  std::string suffix;
  for (int shift = 56; shift >= 0; shift -= 8) suffix += static_cast<char>(seq >> shift);
  std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}));
  int rows = 0;
  for (it->Seek("d"); it->Valid() && it->key().starts_with("d"); it->Next()) {
    if (!it->key().ends_with(suffix)) continue;
    std::string row = it->value().ToString();
    row[row.size() / 2] ^= 4;
    must(db->Put({}, it->key(), row));
    ++rows;
  }
  if (rows != 1) throw std::logic_error("not one row of this entry");
  it.reset();
  db.reset();
  open();
}

void FakeCloud::wipe() {
  receiver_.reset();
  memory_.reset(rocksdb::NewMemEnv(rocksdb::Env::Default()));
  open();
}

template <typename Reply, typename Message>
Result<Reply> FakeCloud::exchange(const Message& message, Request request, sync::Traffic* own) {
  const sync::Traffic before = traffic_;
  const std::string bytes = sync::encode(message);
  request.bytes = bytes.size();
  request.at = clock_.steady();
  for (const auto& [hello, late] : std::exchange(late_, {})) {
    Request ignored{.hello = hello};
    (void)serve(late, ignored);
  }
  auto reply = answer(bytes, request);
  if (!reply.ok()) request.outcome = reply.error().message;
  requests_.push_back(std::move(request));
  if (reply.ok()) traffic_.received += reply->size();
  if (own != nullptr) *own = {traffic_.sent - before.sent, traffic_.received - before.received};
  if (!reply.ok()) return reply.error();
  auto decoded = [&] {
    if constexpr (std::is_same_v<Reply, sync::HelloReply>) {
      return sync::decode_hello_reply(*reply);
    } else {
      return sync::decode_batch_reply(*reply);
    }
  }();
  if (!decoded.ok()) return fail(Code::corrupt, "{}", decoded.error().message);
  return decoded;
}

// The link: what becomes of the bytes on their way there and back.
Result<std::string> FakeCloud::answer(const std::string& bytes, Request& request) {
  const Error silence = fail(Code::unavailable, "no answer");
  if (!up_) return fail(Code::unavailable, "the link is down");
  traffic_.sent += bytes.size();
  if (take(lose_request_)) return silence;
  if (take(delay_)) {
    late_.emplace_back(request.hello, bytes);
    return silence;
  }
  std::string message = bytes;
  if (take(corrupt_request_)) message[random_.below(message.size())] ^= static_cast<char>(1 << random_.below(8));
  request.arrived = true;
  if (lie_ == Lie::acknowledges_what_it_lacks && !request.hello) return sync::encode(sync::BatchReply{sync::BatchOutcome::applied, request.last, "", {}});
  if (take(duplicate_)) (void)serve(message, request);
  auto reply = serve(message, request);
  if (take(lose_ack_)) return silence;
  if (!reply.ok()) return reply;
  std::string heard = told(request.hello, *reply);
  if (lie_ == Lie::server_error) return fail(Code::unavailable, "the hub answers 500: out of order");
  if (take(corrupt_reply_)) heard[random_.below(heard.size())] ^= static_cast<char>(1 << random_.below(8));
  return heard;
}

// The hub, honest.
Result<std::string> FakeCloud::serve(const std::string& bytes, Request& request) {
  auto refused = [](const Error& error) { return fail(Code::invalid, "the hub refuses with 400: {}", error.message); };
  if (request.hello) {
    auto hello = sync::decode_hello(bytes);
    if (!hello.ok()) return refused(hello.error());
    SKERRY_ASSIGN(auto reply, receiver_->hello(*hello));
    request.outcome = "hello";
    return sync::encode(reply);
  }
  auto batch = sync::decode_batch(bytes);
  if (!batch.ok()) return refused(batch.error());
  for (const auto& item : batch->entries) {
    if (!poison_.empty() && item.subject == poison_) return sync::encode(sync::BatchReply{sync::BatchOutcome::refused, 0, "poisoned"});
  }
  SKERRY_ASSIGN(auto reply, receiver_->apply(*batch));
  request.outcome = to_string(reply.outcome);
  return sync::encode(reply);
}

// What a hub says that does not keep to the protocol.
std::string FakeCloud::told(bool hello, std::string reply) const {
  using sync::BatchOutcome;
  sync::HelloReply greeting;
  sync::BatchReply answer;
  if (hello) {
    greeting = must(sync::decode_hello_reply(reply));
  } else {
    answer = must(sync::decode_batch_reply(reply));
  }
  switch (lie_) {
    case Lie::none:
    case Lie::server_error: return reply;
    case Lie::garbage: return "<html><body>Please log in to the hotel's network</body></html>";
    case Lie::older_watermark:
      for (auto& w : greeting.watermarks) w.seq /= 2;
      answer.watermark /= 2;
      break;
    case Lie::acknowledges_the_future: answer = {BatchOutcome::applied, answer.watermark + 1'000'000, ""}; break;
    case Lie::always_gap: answer = {BatchOutcome::gap, 0, ""}; break;
    case Lie::refuses: answer = {BatchOutcome::refused, answer.watermark, "not today"}; break;
    case Lie::acknowledges_what_it_lacks: break;  // said in answer()
    case Lie::holds_more:
      for (auto& w : greeting.watermarks) w = {w.outbox_class, w.seq + 7, {}};
      break;
    case Lie::holds_everything:
      for (auto& w : greeting.watermarks) w = {w.outbox_class, 1'000'000'000, {}};  // a hub that knows of no chains
      break;
  }
  return hello ? sync::encode(greeting) : sync::encode(answer);
}

std::vector<FakeCloud::Request> FakeCloud::batches() const {
  std::vector<Request> found;
  std::copy_if(requests_.begin(), requests_.end(), std::back_inserter(found), [](const Request& r) { return !r.hello; });
  return found;
}

std::set<std::string> FakeCloud::received_once() const {
  std::set<std::string> all;
  std::map<std::string, std::string> where;
  for (const hub::NodeInfo& node : must(receiver_->nodes())) {
    for (storage::OutboxClass c : storage::kOutboxClasses) {
      const Status status = receiver_->entries(node.node, c, [&](uint64_t epoch, const storage::OutboxItem& item) {
        const std::string here = fmt::format("{} {} of epoch {}, queued at {}", storage::to_string(c), item.seq, epoch, item.queued_ns);
        for (std::string& id : identities(item)) {
          if (!all.insert(id).second) throw std::logic_error("the hub holds '" + id + "' twice: " + where[id] + ", and " + here);
          where[id] = here;
        }
        return true;
      });
      if (!status.ok()) throw std::logic_error(status.error().message);
    }
  }
  return all;
}

std::map<storage::OutboxClass, std::set<uint64_t>> FakeCloud::sequences(const std::string& node) const {
  std::map<storage::OutboxClass, std::set<uint64_t>> all;
  uint64_t newest = 0;
  for (const hub::NodeInfo& info : must(receiver_->nodes())) {
    if (info.node == node) newest = info.epoch;
  }
  for (storage::OutboxClass c : storage::kOutboxClasses) {
    const Status status = receiver_->entries(node, c, [&](uint64_t epoch, const storage::OutboxItem& item) {
      for (uint64_t seq = item.seq; epoch == newest && seq <= item.end_seq(); ++seq) all[c].insert(seq);
      return true;
    });
    if (!status.ok()) throw std::logic_error(status.error().message);
  }
  return all;
}

}  // namespace skerry::test
