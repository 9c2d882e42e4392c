// Which rules and transfer windows apply to a class on a bearer. Pure.
#pragma once

#include <optional>
#include <string>

#include "sync/policy.h"

namespace skerry::sync::internal {

// What the rules say together; the name of the rule that said whether to send.
struct Said {
  RuleThen then;
  std::string send_rule;
};

// The backlog of a class, as rules see it.
struct Waiting {
  uint64_t bytes = 0;
  Duration age{0};  // of the oldest entry
};

// The windows that are open now for a class: the cheapest. `next_open`: when one opens, if none is.
struct OpenWindow {
  const TransferWindow* window = nullptr;
  std::optional<Duration> next_open;
  std::optional<Duration> closes_in;
  std::string revoked;  // name of one that would be open now
};

OpenWindow open_window(const Policy& policy, const Situation& situation, storage::OutboxClass outbox_class);
bool within(const DayTimes& times, int64_t wall_ns);
Said ask_rules(const Policy& policy, const Situation& situation, size_t bearer, storage::OutboxClass outbox_class, const Waiting& waiting,
               bool in_window);

// As the bearer's owner says, else as the link says, else nobody knows.
Technology technology_of(const BearerPolicy& bearer, const LinkFacts& link);
std::optional<bool> metered_of(const BearerPolicy& bearer, const LinkFacts& link);

}  // namespace skerry::sync::internal
