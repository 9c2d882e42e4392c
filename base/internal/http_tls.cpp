#include <utility>  // Boost 1.74's Asio needs std::exchange and does not include it

#include "base/internal/http_tls.h"

#include <boost/asio/ssl.hpp>

namespace skerry::http::internal {

namespace asio = boost::asio;

// A text with a NUL inside is no name: who compares it as C does would see another.
std::string common_name(const X509* certificate) {
  const X509_NAME* subject = certificate == nullptr ? nullptr : X509_get_subject_name(certificate);
  const int at = subject == nullptr ? -1 : X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return name.find('\0') == std::string::npos ? name : std::string();
}

Result<std::unique_ptr<asio::ssl::context>> tls_context(const TlsFiles& files) {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  boost::system::error_code error;
  auto failed = [&](const char* what, const std::filesystem::path& path) {
    std::error_code ignored;
    return fail(Code::invalid, "{} {} cannot be used: {}; a readable PEM file is needed", what, path.string(),
                std::filesystem::exists(path, ignored) ? error.message() : "it is not there");
  };
  context->use_certificate_chain_file(files.certificate.string(), error);
  if (error) return failed("the certificate", files.certificate);
  context->use_private_key_file(files.key.string(), asio::ssl::context::pem, error);
  if (error) return failed("the key", files.key);
  if (files.client_ca.empty()) return context;
  context->load_verify_file(files.client_ca.string(), error);
  if (error) return failed("the clients' authority", files.client_ca);
  context->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, error);
  return context;
}

}  // namespace skerry::http::internal
