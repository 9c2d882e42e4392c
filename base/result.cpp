#include "base/result.h"

namespace skerry {

const char* to_string(Code code) {
  switch (code) {
    case Code::invalid: return "invalid";
    case Code::not_found: return "not found";
    case Code::corrupt: return "corrupt";
    case Code::unavailable: return "unavailable";
    case Code::exhausted: return "exhausted";
    case Code::cancelled: return "cancelled";
    case Code::internal: return "internal";
  }
  return "unknown";
}

}  // namespace skerry
