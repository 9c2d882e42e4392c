#include "hub/access.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <map>
#include <mutex>

#include "base/file.h"
#include "base/log.h"
#include "base/name_list.h"
#include "sync/wire.h"

namespace skerry::hub {
namespace {

constexpr size_t kTokenBytesMax = 256;
constexpr auto kLookEvery = std::chrono::seconds(1);

bool valid_name(std::string_view name) { return name == kOperator || sync::valid_node_name(name); }

using Tokens = std::map<std::string, std::string>;  // digest -> name

Result<Tokens> read_tokens(const std::filesystem::path& path) {
  SKERRY_ASSIGN(const std::vector<NamedDigits> list, read_name_list(path, valid_name, "`skerry-hub --new-token NAME`"));
  Tokens tokens;
  for (const NamedDigits& entry : list) {
    if (!tokens.emplace(entry.digits, entry.name).second) return fail(Code::invalid, "{}, line {}: this token is there already", path.string(), entry.line);
  }
  return tokens;
}

class FileAccess final : public Access {
 public:
  FileAccess(const AccessOptions& options, const Clock& clock) : options_(options), clock_(clock) {}

  Status begin() {
    if (options_.tokens.empty()) return {};
    SKERRY_ASSIGN(tokens_, read_tokens(options_.tokens));
    seen_ = changed_at();
    looked_ = clock_.steady();
    return {};
  }

  bool everybody() const override { return options_.tokens.empty() && !options_.certificates; }

  Result<std::string> who(const http::Request& request) override {
    if (everybody()) return std::string(kOperator);
    std::string name;
    if (options_.certificates) {
      name = request.peer;
      if (!valid_name(name)) return fail(Code::invalid, "the common name of the client certificate is not the name of a node");
    }
    if (options_.tokens.empty()) return name;
    SKERRY_ASSIGN(const std::string proved, by_token(request));
    if (options_.certificates && proved != name) {
      return fail(Code::invalid, "the token is of another name than the client certificate of {}", name);
    }
    return proved;
  }

 private:
  // Digests are compared, so how long it takes says nothing of a token.
  Result<std::string> by_token(const http::Request& request) {
    const std::string given = request.header("authorization");
    constexpr std::string_view kScheme = "Bearer ";
    if (!given.starts_with(kScheme) || given.size() > kScheme.size() + kTokenBytesMax) {
      return fail(Code::invalid, "this hub asks for a token: on a node, set sync.token_file");
    }
    const std::string digest = sha256_hex(std::string_view(given).substr(kScheme.size()));
    std::lock_guard lock(mutex_);
    look_again();
    auto found = tokens_.find(digest);
    if (found == tokens_.end()) return fail(Code::invalid, "the token is unknown here: was it withdrawn?");
    return found->second;
  }

  void look_again() {
    if (clock_.steady() < looked_ + kLookEvery) return;
    looked_ = clock_.steady();
    const auto now = changed_at();
    if (now == seen_) return;
    seen_ = now;
    auto read = read_tokens(options_.tokens);
    if (read.ok()) tokens_ = *std::move(read);
    else log::error("hub", "the tokens stay as they were: {}", read.error().message);
  }

  std::filesystem::file_time_type changed_at() const {
    std::error_code ignored;
    return std::filesystem::last_write_time(options_.tokens, ignored);
  }

  const AccessOptions options_;
  const Clock& clock_;
  std::mutex mutex_;
  Tokens tokens_;
  std::filesystem::file_time_type seen_{};
  SteadyTime looked_{};
};

}  // namespace

Result<std::unique_ptr<Access>> Access::open(const AccessOptions& options, const Clock& clock) {
  auto access = std::make_unique<FileAccess>(options, clock);
  SKERRY_TRY(access->begin());
  return std::unique_ptr<Access>(std::move(access));
}

Result<NewToken> make_token(const std::string& name) {
  if (!valid_name(name)) return fail(Code::invalid, "'{}' is not the name of a node, nor * for an operator", name);
  unsigned char bytes[32];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return fail(Code::internal, "no randomness for a token");
  NewToken made;
  for (unsigned char b : bytes) made.token += fmt::format("{:02x}", b);
  OPENSSL_cleanse(bytes, sizeof bytes);
  made.line = fmt::format("{} {}", name, sha256_hex(made.token));
  return made;
}

}  // namespace skerry::hub
