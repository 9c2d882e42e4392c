// Who made a bundle: Ed25519 signatures (RFC 8032) by keys in PEM files, and the files of those whose signatures count.
// Public keys are written as 64 lower-case hex digits. A file of trusted keys has lines of a name and such a key; '#' begins a remark; a name
// may have several keys, so that one can be replaced.
// Threads: any.
// On failure: not_found, unavailable (the file), invalid (what is in it, with the line), naming the file and the remedy.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace skerry::sync {

inline constexpr size_t kSignatureBytes = 64;

class SigningKey {
 public:
  static Result<SigningKey> make();
  static Result<SigningKey> read(const std::filesystem::path& pem);
  // For its owner's eyes only (mode 0600). Error: invalid when the file exists: a key is never overwritten.
  Status write(const std::filesystem::path& pem) const;
  const std::string& public_key() const { return public_key_; }
  Result<std::string> sign(std::string_view bytes) const;  // kSignatureBytes

 private:
  struct Impl;
  explicit SigningKey(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
  std::string public_key_;
};

bool valid_public_key(std::string_view text);
bool signature_holds(std::string_view public_key, std::string_view bytes, std::string_view signature);

class TrustedKeys {
 public:
  static Result<TrustedKeys> read(const std::filesystem::path& file);
  void add(std::string name, std::string public_key) { keys_.emplace_back(std::move(name), std::move(public_key)); }
  // The name that a key was given under, `name` first when it has it. Empty: nobody's.
  std::string owner(std::string_view public_key, std::string_view name = {}) const;

 private:
  std::vector<std::pair<std::string, std::string>> keys_;
};

}  // namespace skerry::sync
