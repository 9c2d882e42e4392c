#include "tests/support/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>

#include "base/check.h"

namespace skerry::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
using Certificate = std::unique_ptr<X509, void (*)(X509*)>;

constexpr long kSeconds = 24 * 3600;

Key make_key() {
  Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  SKERRY_CHECK(key != nullptr, "no key could be made");
  return key;
}

// The clock of the machine may be set back a little between making and checking.
Certificate unsigned_certificate(long serial, const std::string& name, EVP_PKEY* key) {
  Certificate made(X509_new(), X509_free);
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -kSeconds);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), kSeconds);
  X509_set_pubkey(made.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.data()),
                             static_cast<int>(name.size()), -1, 0);
  return made;
}

void extend(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  SKERRY_CHECK(extension != nullptr, "an extension cannot be made of {}", value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

template <typename Write>
void write(const std::filesystem::path& path, Write write_to) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  SKERRY_CHECK(file != nullptr, "{} cannot be written", path.string());
  const bool written = write_to(file) == 1;
  std::fclose(file);
  SKERRY_CHECK(written, "{} cannot be written", path.string());
}

}  // namespace

struct Authority::Impl {
  std::filesystem::path folder;
  std::string name;
  Key key = make_key();
  Certificate certificate{nullptr, X509_free};
  long serial = 1;
};

Authority::Authority(std::filesystem::path folder, const std::string& name) : impl_(new Impl{std::move(folder), name}) {
  impl_->certificate = unsigned_certificate(impl_->serial, name, impl_->key.get());
  X509_set_issuer_name(impl_->certificate.get(), X509_get_subject_name(impl_->certificate.get()));
  extend(impl_->certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  X509_sign(impl_->certificate.get(), impl_->key.get(), EVP_sha256());
  write(certificate(), [&](std::FILE* file) { return PEM_write_X509(file, impl_->certificate.get()); });
}

Authority::~Authority() = default;

std::filesystem::path Authority::certificate() const { return impl_->folder / (impl_->name + ".pem"); }

CertificateFiles Authority::issue(const std::string& name, const std::string& address) {
  const Key key = make_key();
  const Certificate made = unsigned_certificate(++impl_->serial, name, key.get());
  X509_set_issuer_name(made.get(), X509_get_subject_name(impl_->certificate.get()));
  extend(made.get(), NID_subject_alt_name, "IP:" + address + ",DNS:localhost");
  X509_sign(made.get(), impl_->key.get(), EVP_sha256());
  const CertificateFiles files{impl_->folder / (name + ".pem"), impl_->folder / (name + ".key")};
  write(files.certificate, [&](std::FILE* file) { return PEM_write_X509(file, made.get()); });
  write(files.key, [&](std::FILE* file) { return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  return files;
}

}  // namespace skerry::test
