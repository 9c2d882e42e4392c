#include "sync/budget.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace skerry::sync {
namespace {

using nlohmann::json;
namespace chr = std::chrono;

constexpr uint64_t kHttpHeaderBytes = 260;  // of a request or an answer as this uplink and the hub write them
constexpr uint64_t kSegmentBytes = 1400, kSegmentHeaderBytes = 52;  // TCP/IP with timestamps

chr::sys_days date_of(int64_t wall_ns) { return chr::floor<chr::days>(WallTime(Duration(wall_ns))); }
int64_t ns_of(chr::sys_days day) { return WallTime(day).time_since_epoch().count(); }

chr::sys_days reset_in(chr::year_month month, uint32_t reset_day) {
  const chr::year_month_day_last last = month / chr::last;
  return month / chr::day(std::min(reset_day, static_cast<unsigned>(last.day())));
}

}  // namespace

Period month_of(int64_t wall_ns, uint32_t reset_day) {
  const chr::sys_days today = date_of(wall_ns);
  const chr::year_month_day ymd(today);
  chr::year_month month = ymd.year() / ymd.month();
  if (today < reset_in(month, reset_day)) month -= chr::months(1);
  return {ns_of(reset_in(month, reset_day)), ns_of(reset_in(month + chr::months(1), reset_day))};
}

Period day_of(int64_t wall_ns) {
  const chr::sys_days today = date_of(wall_ns);
  return {ns_of(today), ns_of(today + chr::days(1))};
}

uint64_t wire_bytes(uint64_t body) {
  const uint64_t with_head = body + kHttpHeaderBytes;
  return with_head + kSegmentHeaderBytes * (1 + with_head / kSegmentBytes);
}

void Ledger::roll(BearerUse& use, int64_t wall_ns, uint32_t reset_day) {
  const int64_t month = month_of(wall_ns, reset_day).from_ns, day = day_of(wall_ns).from_ns;
  if (month > use.month_from_ns) {
    use.last_month_from_ns = use.month_from_ns;
    use.last_month_bytes = use.month_bytes;
    use.month_from_ns = month;
    use.month_bytes = 0;
  } else if (month < use.month_from_ns) {  // the clock was ahead: what was sent then was sent now
    if (use.last_month_from_ns == month) use.month_bytes += use.last_month_bytes;
    use.month_from_ns = month;
    use.last_month_from_ns = 0;
    use.last_month_bytes = 0;
  }
  if (day > use.day_from_ns) use.day_bytes = 0;
  use.day_from_ns = day;
}

void Ledger::charge(const std::string& bearer, const std::string& purpose, uint64_t sent, uint64_t received, double price_per_mb) {
  BearerUse& use = uses_[bearer];
  const uint64_t bytes = sent + received;
  use.month_bytes += bytes;
  use.day_bytes += bytes;
  use.cost += price_per_mb * static_cast<double>(bytes) / 1e6;
  PurposeBytes& purposes = use.purposes[purpose];
  purposes.sent += sent;
  purposes.received += received;
  ++purposes.exchanges;
  uint64_t& lease = leases_[bearer];
  lease -= std::min(lease, bytes);
}

BearerUse Ledger::use(const std::string& bearer) const {
  auto found = uses_.find(bearer);
  return found == uses_.end() ? BearerUse{} : found->second;
}

bool Ledger::must_write(const std::string& bearer, uint64_t bytes) const {
  auto found = leases_.find(bearer);
  return found == leases_.end() || found->second < bytes;
}

std::string Ledger::encode_with_lease(uint64_t lease) {
  Ledger ahead = *this;
  for (auto& [name, use] : ahead.uses_) {
    use.month_bytes += lease;
    use.day_bytes += lease;
    leases_[name] = lease;
  }
  return ahead.encode();
}

std::string Ledger::encode() const {
  json bearers = json::object();
  for (const auto& [name, use] : uses_) {
    json purposes = json::object();
    for (const auto& [purpose, bytes] : use.purposes) purposes[purpose] = {bytes.sent, bytes.received, bytes.exchanges};
    bearers[name] = {{"month", {use.month_from_ns, use.month_bytes}},
                     {"last_month", {use.last_month_from_ns, use.last_month_bytes}},
                     {"day", {use.day_from_ns, use.day_bytes}},
                     {"cost", use.cost},
                     {"purposes", purposes}};
  }
  return json{{"version", 1}, {"bearers", bearers}}.dump();
}

Result<Ledger> Ledger::decode(std::string_view note) {
  Ledger ledger;
  try {
    const json in = json::parse(note);
    if (in.at("version").get<int>() != 1) return fail(Code::corrupt, "the count of bytes per bearer is of an unknown version");
    for (const auto& [name, bearer] : in.at("bearers").items()) {
      BearerUse& use = ledger.uses_[name];
      use.month_from_ns = bearer.at("month").at(0).get<int64_t>();
      use.month_bytes = bearer.at("month").at(1).get<uint64_t>();
      use.last_month_from_ns = bearer.at("last_month").at(0).get<int64_t>();
      use.last_month_bytes = bearer.at("last_month").at(1).get<uint64_t>();
      use.day_from_ns = bearer.at("day").at(0).get<int64_t>();
      use.day_bytes = bearer.at("day").at(1).get<uint64_t>();
      use.cost = bearer.at("cost").get<double>();
      for (const auto& [purpose, bytes] : bearer.at("purposes").items()) {
        use.purposes[purpose] = {bytes.at(0).get<uint64_t>(), bytes.at(1).get<uint64_t>(), bytes.at(2).get<uint64_t>()};
      }
    }
  } catch (const std::exception& e) {
    return fail(Code::corrupt, "the count of bytes per bearer is damaged: {}", e.what());
  }
  return ledger;
}

}  // namespace skerry::sync
