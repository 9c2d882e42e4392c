#include "sync/internal/proofs.h"

#include <filesystem>

#include "base/file.h"

namespace skerry::sync::internal {
namespace {

constexpr uint64_t kTokenBytesMax = 256;

}  // namespace

Status prepare(boost::asio::ssl::context& context, const Proofs& proofs) {
  namespace ssl = boost::asio::ssl;
  boost::system::error_code error;
  auto failed = [&](const char* key, const std::string& path) {
    std::error_code ignored;
    return fail(Code::invalid, "sync.{}: {} cannot be used: {}; a readable PEM file is needed", key, path,
                std::filesystem::exists(path, ignored) ? error.message() : "it is not there");
  };
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  context.set_verify_mode(ssl::verify_peer, error);
  if (proofs.ca.empty()) {
    context.set_default_verify_paths(error);
  } else {
    SSL_CTX_set_cert_store(context.native_handle(), X509_STORE_new());  // none but this one
    context.load_verify_file(proofs.ca, error);
    if (error) return failed("ca_file", proofs.ca);
  }
  if (proofs.certificate.empty()) return {};
  context.use_certificate_chain_file(proofs.certificate, error);
  if (error) return failed("certificate_file", proofs.certificate);
  context.use_private_key_file(proofs.key, ssl::context::pem, error);
  if (error) return failed("key_file", proofs.key);
  return {};
}

Result<std::string> read_token(const Proofs& proofs) {
  if (proofs.token.empty()) return std::string();
  SKERRY_ASSIGN(std::string token, read_file(proofs.token, kTokenBytesMax));
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  for (unsigned char c : token) {
    if (c <= 0x20 || c >= 0x7f) token.clear();
  }
  if (token.empty()) return fail(Code::invalid, "sync.token_file: {} does not hold a token: one line without spaces is expected", proofs.token);
  return token;
}

std::string explained(const std::string& error) {
  if (error.find("certificate verify failed") != std::string::npos) {
    return "its certificate is not of an authority that this node trusts, or of another host: set sync.ca_file, or somebody is in between (" + error + ")";
  }
  if (error.find("certificate required") != std::string::npos || error.find("unknown ca") != std::string::npos || error.find("bad certificate") != std::string::npos) {
    return "it asks for a certificate of an authority of its own: set sync.certificate_file and key_file (" + error + ")";
  }
  if (error.find("SSL handshake") != std::string::npos) {  // all that cpprestsdk says
    return "no secure connection: its certificate is not of an authority that this node trusts (sync.ca_file), or of another host, or it wants one of "
           "this node's (sync.certificate_file)";
  }
  return error;
}

}  // namespace skerry::sync::internal
