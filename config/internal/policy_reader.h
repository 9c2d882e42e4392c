// The policy's part of [sync]: preset, turn, batch_time, and the tables class, bearer, window and rule.
#pragma once

#include <string>
#include <vector>

#include "config/internal/keys.h"
#include "config/internal/reader.h"
#include "sync/options.h"

namespace skerry::config {

const Section<sync::Policy>& policy_section();
const Section<sync::ClassPolicy>& class_section();
const Section<sync::BearerPolicy>& bearer_section();
const Section<sync::TransferWindow>& window_section();
const Section<sync::RuleWhen>& when_section();
const Section<sync::RuleThen>& then_section();
const std::vector<std::pair<std::string, storage::OutboxClass>>& class_names();

const std::vector<std::string>& policy_key_names();
bool is_policy_key(const std::string& key);
// From the keys of [sync] that are the policy's; others are left alone.
void read_policy(Reader& reader, const Table& sync, sync::Policy& out);

// The TOML of a preset; null when there is none of that name.
const char* preset_text(const std::string& name);
const std::vector<std::string>& preset_names();

}  // namespace skerry::config
