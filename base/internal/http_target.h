// The target of a request (RFC 9112, 3.2) taken apart: path and query, percent signs decoded.
#pragma once

#include <string_view>

#include "base/http_server.h"

namespace skerry::http::internal {

// Sets path and query of `request`. False: the target is no path, or a percent sign in it is none.
bool parse_target(std::string_view target, Request& request);

}  // namespace skerry::http::internal
