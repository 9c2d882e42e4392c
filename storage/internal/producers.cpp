#include "storage/internal/producers.h"

#include "storage/internal/coding.h"

namespace skerry::storage::internal {

uint64_t Producers::last_seq(const std::string& id) const {
  auto found = by_id_.find(id);
  return found == by_id_.end() ? 0 : found->second.seq;
}

void Producers::set(const std::string& id, const ProducerState& state) {
  remove(id);
  by_id_[id] = state;
  by_use_[state.used] = id;
}

void Producers::remove(const std::string& id) {
  auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  by_use_.erase(found->second.used);
  by_id_.erase(found);
}

std::vector<std::string> Producers::surplus(const std::map<std::string, uint64_t>& coming) const {
  size_t count = by_id_.size();
  for (const auto& [id, seq] : coming) count += by_id_.count(id) == 0;
  std::vector<std::string> out;
  for (auto at = by_use_.begin(); at != by_use_.end() && count - out.size() > kProducersMax; ++at) {
    if (coming.count(at->second) == 0) out.push_back(at->second);
  }
  return out;
}

std::string encode_producer(const ProducerState& state) {
  Writer out;
  out.fixed64(state.seq);
  out.fixed64(state.used);
  return seal('p', 1, out.bytes());
}

Result<ProducerState> decode_producer(std::string_view body) {
  Reader in(body);
  ProducerState state;
  state.seq = in.fixed64();
  state.used = in.fixed64();
  if (!in.done() || state.seq == 0) {
    return fail(Code::corrupt, "the store's producer row is damaged: restore the folder from a copy, or move it away");
  }
  return state;
}

}  // namespace skerry::storage::internal
