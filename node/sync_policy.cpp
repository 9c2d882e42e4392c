#include "node/sync_policy.h"

#include "base/file.h"
#include "base/log.h"

namespace skerry::node {
namespace {

constexpr const char* kNote = "sync/policy";
constexpr Duration kLookEvery = std::chrono::seconds(2);
constexpr size_t kTextBytesMax = 256 << 10;

Result<sync::Policy> parse(const std::string& toml, const std::string& name) {
  if (toml.size() > kTextBytesMax) return fail(Code::invalid, "a policy of {} bytes: at most {} are accepted", toml.size(), kTextBytesMax);
  config::ParsedPolicy parsed = config::parse_policy(toml, name);
  if (parsed.diagnostics.empty()) return std::move(parsed.policy);
  std::string message;
  for (const auto& d : parsed.diagnostics) message += (message.empty() ? "" : "\n") + d.text();
  return Error{Code::invalid, std::move(message)};
}

}  // namespace

SyncPolicy::SyncPolicy(storage::Store& store, sync::Syncer& syncer, const config::Config& config, const Clock& clock)
    : store_(store), syncer_(syncer), configured_(config.sync.policy), file_(config.sync.policy_file), clock_(clock) {
  std::lock_guard lock(mutex_);
  if (auto kept = store.note(kNote); kept.ok() && kept->has_value()) {
    auto policy = parse(**kept, "the policy that was put");
    if (policy.ok()) {
      use(*std::move(policy), "rest");
      return;
    }
    log::error("sync", "the policy that was put over REST is not good any more and not used: {}", policy.error().message);
  }
  fall_back();
}

Status SyncPolicy::put(const std::string& toml) {
  SKERRY_ASSIGN(sync::Policy policy, parse(toml, "policy.toml"));
  storage::Effect effect;
  effect.notes.emplace_back(kNote, toml);
  std::lock_guard lock(mutex_);
  SKERRY_TRY(store_.commit(effect));
  use(std::move(policy), "rest");
  return {};
}

Status SyncPolicy::take_back() {
  storage::Effect effect;
  effect.notes.emplace_back(kNote, "");
  std::lock_guard lock(mutex_);
  SKERRY_TRY(store_.commit(effect));
  fall_back();
  return {};
}

Result<std::vector<sync::ClassDecision>> SyncPolicy::attempt(const std::string& toml) const {
  SKERRY_ASSIGN(sync::Policy policy, parse(toml, "policy.toml"));
  return syncer_.explain(&policy);
}

void SyncPolicy::look() {
  std::lock_guard lock(mutex_);
  if (file_.empty() || source_ == "rest" || clock_.steady() < look_at_) return;
  look_at_ = clock_.steady() + kLookEvery;
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(file_, error);
  const auto size = error ? 0 : std::filesystem::file_size(file_, error);
  if (!error && (changed != changed_ || size != size_)) (void)read_file();
}

bool SyncPolicy::read_file() {
  std::error_code error;
  changed_ = std::filesystem::last_write_time(file_, error);
  if (!error) size_ = std::filesystem::file_size(file_, error);
  auto text = skerry::read_file(file_, kTextBytesMax);
  Result<sync::Policy> policy = text.ok() ? parse(*text, file_.string()) : Result<sync::Policy>(text.error());
  problem_ = policy.ok() ? "" : policy.error().message;
  if (!policy.ok()) log::error("sync", "the policy in use stays, as the file is not good: {}", problem_);
  if (policy.ok()) use(*std::move(policy), "file");
  return policy.ok();
}

void SyncPolicy::fall_back() {
  if (file_.empty() || !read_file()) use(configured_, "config");
}

void SyncPolicy::use(sync::Policy policy, const char* source) {
  log::info("sync", "the policy is that of {}{}", source, policy.preset.empty() ? "" : ", based on " + policy.preset);
  syncer_.set_policy(std::move(policy));
  source_ = source;
}

std::string SyncPolicy::source() const {
  std::lock_guard lock(mutex_);
  return source_;
}

std::string SyncPolicy::problem() const {
  std::lock_guard lock(mutex_);
  return problem_;
}

std::string SyncPolicy::text() const { return config::show_policy(syncer_.policy()); }

}  // namespace skerry::node
