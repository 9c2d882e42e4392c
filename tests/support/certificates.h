// Certificates for tests of TLS: an authority and what it signs, on P-256, as PEM files, valid for a day.
// Threads: any.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace skerry::test {

struct CertificateFiles {
  std::filesystem::path certificate, key;
};

class Authority {
 public:
  // Writes NAME.pem into `folder`. Fails the test when that cannot be done.
  Authority(std::filesystem::path folder, const std::string& name);
  ~Authority();
  Authority(const Authority&) = delete;

  std::filesystem::path certificate() const;
  // NAME.pem and NAME.key: for servers at 127.0.0.1 and localhost and for clients of that name. `address`: another than 127.0.0.1.
  CertificateFiles issue(const std::string& name, const std::string& address = "127.0.0.1");

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skerry::test
