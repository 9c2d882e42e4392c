// What both HTTP clients show to a hub and ask of it.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <string>

#include "base/result.h"
#include "sync/options.h"

namespace skerry::sync::internal {

// TLS 1.2 or later; the hub's certificate must be of the authority given, or of one that the system trusts. Error: invalid, naming the file.
Status prepare(boost::asio::ssl::context& context, const Proofs& proofs);

// Empty: there is none. Error: invalid, not_found, naming the file.
Result<std::string> read_token(const Proofs& proofs);

// What a failed handshake means, as far as its error text tells.
std::string explained(const std::string& error);

}  // namespace skerry::sync::internal
