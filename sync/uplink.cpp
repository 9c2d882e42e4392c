#include "sync/uplink.h"

namespace skerry::sync {

Answer no_answer(uint64_t ticket, Error error, Traffic traffic) { return {ticket, std::move(error), traffic}; }

}  // namespace skerry::sync
