// What the server needs of OpenSSL: a context from PEM files, and the name of who has shown a certificate.
#pragma once

#include <openssl/x509.h>

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/http_server.h"

namespace skerry::http::internal {

// TLS 1.2 or later. Error: invalid, naming the file that cannot be used.
Result<std::unique_ptr<boost::asio::ssl::context>> tls_context(const TlsFiles& files);

// Of the subject; empty: none, or not one that can be compared. `certificate` may be null.
std::string common_name(const X509* certificate);

}  // namespace skerry::http::internal
