// Unpacks a body that came as gzip (RFC 1952), of one member or several.
// Threads: pure functions.
// On failure: exhausted when it would unpack to more than bytes_max, before more than that is held; invalid when it is damaged, cut off,
// empty, or followed by something else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace skerry::node {

Result<std::string> gunzip(std::string_view packed, uint64_t bytes_max);

}  // namespace skerry::node
