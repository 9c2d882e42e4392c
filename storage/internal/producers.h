// The last number of every producer, so that a batch that is sent again counts once. At most kProducersMax are kept; the one that has
// written nothing for the longest goes first, and a batch of its that is repeated later counts again.
// Threads: as State, whose part it is.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/types.h"

namespace skerry::storage::internal {

inline constexpr size_t kProducersMax = 10'000;
inline constexpr size_t kProducerIdBytesMax = 128;

struct ProducerState {
  uint64_t seq = 0;
  uint64_t used = 0;  // larger than that of every producer that wrote before it
};

class Producers {
 public:
  uint64_t last_seq(const std::string& id) const;  // 0: unknown
  uint64_t last_use() const { return by_use_.empty() ? 0 : by_use_.rbegin()->first; }
  void set(const std::string& id, const ProducerState& state);
  void remove(const std::string& id);
  // Those who have to go when the ones in `coming` are set as well.
  std::vector<std::string> surplus(const std::map<std::string, uint64_t>& coming) const;
  size_t size() const { return by_id_.size(); }

 private:
  std::map<std::string, ProducerState> by_id_;
  std::map<uint64_t, std::string> by_use_;
};

std::string encode_producer(const ProducerState& state);
Result<ProducerState> decode_producer(std::string_view body);  // Error: corrupt

}  // namespace skerry::storage::internal
