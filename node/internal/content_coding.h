// How bodies are packed on their way (RFC 9110, 8.4): gzip (RFC 1952, of one member or several) and deflate (RFC 1950, and the bare RFC 1951
// that some clients mean by it).
// Threads: pure functions.
// On failure: exhausted when it would unpack to more than bytes_max, before more than that is held; invalid when it is damaged, cut off,
// empty, or followed by something else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace skerry::node {

enum class Coding : uint8_t { identity, gzip, deflate };

std::optional<Coding> content_coding(std::string_view header);  // of Content-Encoding; none: not a known one
Coding accepted_coding(std::string_view header);                // the one of Accept-Encoding that is liked best
const char* to_string(Coding coding);

Result<std::string> unpack(std::string_view packed, Coding coding, uint64_t bytes_max);
Result<std::string> gunzip(std::string_view packed, uint64_t bytes_max);
Result<std::string> pack(std::string_view plain, Coding coding);  // Error: unavailable (no memory)

}  // namespace skerry::node
