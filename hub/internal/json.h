// What the hub holds, as JSON for people and programs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "hub/receiver.h"

namespace skerry::hub::internal {

nlohmann::json to_json(const NodeInfo& node);

// With its content decoded. A samples entry gives at most cells_max values, oldest first, and says so by "truncated"; cells_max is
// lowered by what was given.
nlohmann::json to_json(uint64_t epoch, const storage::OutboxItem& item, size_t& cells_max);

std::string dump(const nlohmann::json& value);  // bytes that are not UTF-8 become U+FFFD

}  // namespace skerry::hub::internal
