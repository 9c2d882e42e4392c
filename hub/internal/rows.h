// The hub's rows as bytes. What changes with every batch (a node, an epoch) is small and JSON, so that it can grow fields; entries are many
// and binary.
//   node   "n" NAME                                          JSON
//   epoch  "e" NAME 00 ORDINAL                               JSON; ORDINAL: 1 for the node's first epoch, so keys sort by time
//   entry  "d" NAME 00 CLASS ORDINAL SEQ                     version, kind, records, queued_ns, subject, payload; of kind lost the payload is
//                                                            the last seq and the reason; then CRC-32C of all before (version 2)
// ORDINAL and SEQ are big-endian. Persistent: never renumber.
// On failure: decode answers corrupt.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/receiver.h"

namespace skerry::hub::internal {

struct NodeRow {
  NodeInfo info;                      // without epoch and watermarks
  uint32_t current = 0;               // ordinal of the epoch of the last HELLO
  std::map<uint64_t, uint32_t> ordinals;  // epoch -> ordinal
};

struct EpochRow {
  uint64_t epoch = 0;
  std::map<storage::OutboxClass, uint64_t> watermarks;
  std::map<storage::OutboxClass, uint64_t> chains;  // sync::chain_after(); 0: not known
  bool ended = false;                 // by the node: nothing of it is taken any more
};

std::string node_key(std::string_view node);
std::string epoch_key(std::string_view node, uint32_t ordinal);
std::string entry_key(std::string_view node, storage::OutboxClass outbox_class, uint32_t ordinal, uint64_t seq);
// Ordinal and seq of an entry's key.
std::pair<uint32_t, uint64_t> entry_position(std::string_view key);

std::string encode_node(const NodeRow& row);
std::string encode_epoch(const EpochRow& row);
std::string encode_entry(const storage::OutboxItem& item);
Result<NodeRow> decode_node(std::string_view bytes);
Result<EpochRow> decode_epoch(std::string_view bytes);
Result<storage::OutboxItem> decode_entry(uint64_t seq, std::string_view bytes);

}  // namespace skerry::hub::internal
