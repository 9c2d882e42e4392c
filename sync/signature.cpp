#include "sync/signature.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "base/name_list.h"
#include "sync/wire.h"

namespace skerry::sync {
namespace {

constexpr uint64_t kPemBytesMax = 64 << 10;
constexpr size_t kPublicBytes = 32;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;
using Memory = std::unique_ptr<BIO, decltype(&BIO_free)>;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Result<std::string> public_part(const EVP_PKEY* key) {
  std::array<unsigned char, kPublicBytes> raw;
  size_t size = raw.size();
  if (EVP_PKEY_id(key) != EVP_PKEY_ED25519 || EVP_PKEY_get_raw_public_key(key, raw.data(), &size) != 1 || size != raw.size()) {
    return fail(Code::invalid, "not an Ed25519 key");
  }
  std::string hex;
  for (unsigned char b : raw) hex += fmt::format("{:02x}", b);
  return hex;
}

}  // namespace

struct SigningKey::Impl {
  Key key{nullptr, EVP_PKEY_free};
};

SigningKey::SigningKey(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Result<SigningKey> SigningKey::make() {
  auto impl = std::make_shared<Impl>();
  impl->key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!impl->key) return fail(Code::internal, "OpenSSL made no Ed25519 key");
  SigningKey made(impl);
  SKERRY_ASSIGN(made.public_key_, public_part(impl->key.get()));
  return made;
}

Result<SigningKey> SigningKey::read(const std::filesystem::path& pem) {
  SKERRY_ASSIGN(std::string text, read_file(pem, kPemBytesMax));
  const Memory memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  auto impl = std::make_shared<Impl>();
  // No passphrase is asked for: a daemon has nobody to ask.
  impl->key.reset(PEM_read_bio_PrivateKey(memory.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  OPENSSL_cleanse(text.data(), text.size());
  const Error other = fail(Code::invalid, "{} is not the PEM file of an Ed25519 key: make one with `skerry bundle keygen FILE`", pem.string());
  if (!impl->key) return other;
  SigningKey key(impl);
  auto known = public_part(impl->key.get());
  if (!known.ok()) return other;
  key.public_key_ = *known;
  return key;
}

Status SigningKey::write(const std::filesystem::path& pem) const {
  const Memory memory(BIO_new(BIO_s_mem()), BIO_free);
  char* text = nullptr;
  if (!memory || PEM_write_bio_PrivateKey(memory.get(), impl_->key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return fail(Code::internal, "OpenSSL did not write the key");
  }
  const long size = BIO_get_mem_data(memory.get(), &text);
  const int fd = ::open(pem.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 && errno == EEXIST) return fail(Code::invalid, "{} exists already: a key is not overwritten; name another file", pem.string());
  if (fd < 0) return fail(Code::unavailable, "cannot create {}: {}", pem.string(), std::strerror(errno));
  const bool written = ::write(fd, text, static_cast<size_t>(size)) == size && ::fsync(fd) == 0;
  const int number = errno;
  ::close(fd);
  if (written) return {};
  ::unlink(pem.c_str());
  return fail(number == ENOSPC ? Code::exhausted : Code::unavailable, "cannot write {}: {}", pem.string(), std::strerror(number));
}

Result<std::string> SigningKey::sign(std::string_view bytes) const {
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string signature(kSignatureBytes, '\0');
  size_t size = signature.size();
  if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, impl_->key.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes_of(bytes), bytes.size()) != 1 ||
      size != kSignatureBytes) {
    return fail(Code::internal, "OpenSSL did not sign");
  }
  return signature;
}

bool valid_public_key(std::string_view text) { return valid_digits(text); }

bool signature_holds(std::string_view public_key, std::string_view bytes, std::string_view signature) {
  if (!valid_public_key(public_key) || signature.size() != kSignatureBytes) return false;
  std::array<unsigned char, kPublicBytes> raw;
  auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  for (size_t i = 0; i < raw.size(); ++i) raw[i] = static_cast<unsigned char>(digit(public_key[2 * i]) << 4 | digit(public_key[2 * i + 1]));
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw.data(), raw.size()), EVP_PKEY_free);
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  return key && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(bytes), bytes.size()) == 1;
}

Result<TrustedKeys> TrustedKeys::read(const std::filesystem::path& file) {
  SKERRY_ASSIGN(const std::vector<NamedDigits> list, read_name_list(file, valid_node_name, "`skerry bundle keygen`"));
  TrustedKeys trusted;
  for (const NamedDigits& entry : list) trusted.add(entry.name, entry.digits);
  return trusted;
}

std::string TrustedKeys::owner(std::string_view public_key, std::string_view name) const {
  const std::pair<std::string, std::string>* found = nullptr;
  for (const auto& known : keys_) {
    if (known.second != public_key) continue;
    if (known.first == name) return known.first;
    if (found == nullptr) found = &known;
  }
  return found ? found->first : std::string();
}

}  // namespace skerry::sync
