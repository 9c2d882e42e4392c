// Random schedules of writing, sealing, reading, draining, power cuts, lost syncs and full disks, against a plain model of what a store
// should answer. Each schedule is small and has a seed of its own, so a failure is short to read.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "storage/aggregate.h"
#include "storage/sample_block.h"
#include "storage/store.h"
#include "tests/storage/make.h"
#include "tests/support/fault_fs.h"
#include "tests/support/sim_clock.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using namespace skerry::storage;
using skerry::test::FaultFs;
using skerry::test::SimClock;
using skerry::test::TempDir;

namespace {

constexpr int64_t kSecond = 1'000'000'000;

using Row = std::map<std::string, std::string>;  // field, value as text
using Rows = std::map<int64_t, Row>;             // by time

std::string text(const Column& column, size_t row) {
  if (const auto* strings = std::get_if<3>(&column.values)) return (*strings)[row];
  return fmt::format("{}", column.number(row));
}

void apply(const Batch& batch, TimeRange range, Rows& rows) {
  for (size_t i = 0; i < batch.rows(); ++i) {
    if (batch.times[i] < range.from_ns || batch.times[i] >= range.to_ns) continue;
    Row& row = rows[batch.times[i]];
    for (const Column& column : batch.columns) {
      if (column.has(i)) row[column.name] = text(column, i);
    }
  }
}

// What whole hours keep when their records are rolled up.
Rows by_hour(const Rows& rows) {
  struct Hour {
    uint64_t v = 0, n = 0;
    double v_min = 1e300, v_max = -1e300;
    int64_t n_min = INT64_MAX, n_max = INT64_MIN, n_sum = 0;
  };
  std::map<int64_t, Hour> hours;
  for (const auto& [time, row] : rows) {
    Hour& h = hours[bucket_start(time, std::chrono::hours(1))];
    if (row.contains("v")) {
      const double v = std::stod(row.at("v"));
      ++h.v, h.v_min = std::min(h.v_min, v), h.v_max = std::max(h.v_max, v);
    }
    if (row.contains("n")) {
      const int64_t n = std::stoll(row.at("n"));
      ++h.n, h.n_min = std::min(h.n_min, n), h.n_max = std::max(h.n_max, n), h.n_sum += n;
    }
  }
  Rows out;
  for (const auto& [time, h] : hours) {
    Row& row = out[time];
    if (h.v > 0) row = {{"count_v", fmt::format("{}", double(h.v))}, {"min_v", fmt::format("{}", h.v_min)}, {"max_v", fmt::format("{}", h.v_max)}};
    if (h.n == 0) continue;
    row["count_n"] = fmt::format("{}", double(h.n));
    row["min_n"] = fmt::format("{}", double(h.n_min));
    row["max_n"] = fmt::format("{}", double(h.n_max));
    row["sum_n"] = fmt::format("{}", double(h.n_sum));
  }
  return out;
}

class Buckets final : public RecordVisitor {
 public:
  Rows found;
  Status rows(const Batch& batch, size_t from, size_t to) override {
    for (size_t i = from; i < to; ++i) {
      Row& row = found[batch.times[i]];
      for (const Column& c : batch.columns) {
        if (c.has(i) && c.name != "sum_v") row[c.name] = text(c, i);
      }
      if (row["count_n"] == text({"", std::vector<int64_t>{0}, {}}, 0)) row.erase("count_n");
      if (row["count_n"].empty()) row.erase("count_n");
    }
    return {};
  }
};

// One commit to one series. `sure`: acknowledged and durable. Otherwise it may be there or not; `there` is what fits what was read last.
struct Written {
  Batch batch;
  bool sure = true;
  bool there = true;
};

class Schedule {
 public:
  explicit Schedule(uint64_t seed) : random_(seed) {
    options_.path = folder_ / "store";
    options_.file_system = disk_.file_system();
    options_.write_buffer_bytes = random_.chance(0.5) ? 64 << 10 : 256 << 10;
    StreamRule rolled{"rolled", Durability::batch, random_.chance(0.6)};
    rolled.quota_bytes = 4'000 + random_.below(60'000);
    rolled.on_full = OnFull::roll_up;
    rolled.drop_unsent = random_.chance(0.4);
    disk_.delay_faults(std::chrono::milliseconds(random_.chance(0.8) ? 0 : random_.below(20)));
    hub_gets_rolled_ = rolled.sync && !rolled.drop_unsent;
    options_.streams = {{"loose*", Durability::os, true}, rolled, {"*", Durability::batch, true}};
    if (random_.chance(0.5)) names_ = {"rolled", "rolled", "a", "loose"};
    base_ = clock_.now_ns() - 40 * 86'400 * kSecond;
    open();
  }

  void run() {
    for (uint64_t steps = 10 + random_.below(30); steps > 0; --steps) one();
    recover();
    if (random_.chance(0.5)) {
      const Status sealed = store_->seal();
      INFO((sealed.ok() ? "" : sealed.error().message));
      REQUIRE(sealed.ok());
    }
    check_all();
    drain(UINT64_MAX);
    check_hub();
    REQUIRE(store_->damaged() == 0);
  }

  uint64_t seals = 0, cuts = 0, outages = 0;
  uint64_t rolled() const {  // where nothing had to go: then every hour was compared
    uint64_t sum = 0, gone = 0;
    for (const Loss& loss : store_->losses()) (loss.reason == LossReason::rolled_up ? sum : gone) += loss.records;
    return gone == 0 ? sum : 0;
  }

 private:
  void open() {
    auto opened = Store::open(options_, clock_);
    INFO((opened.ok() ? "" : opened.error().message));
    REQUIRE(opened.ok());
    store_ = std::move(*opened);
  }

  void recover() {
    disk_.fail_syncs(0);
    disk_.lift_space();
    // Errors in the background are heard of a little later: when RocksDB's own threads, which know no simulated clock, come to them.
    for (int tries = 0; tries < 4 || (store_->trouble() && tries < 1000); ++tries) {
      clock_.advance(std::chrono::seconds(2));
      store_->step();
      if (tries >= 4) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    const auto trouble = store_->trouble();
    INFO((trouble ? trouble->message : ""));
    REQUIRE(!trouble);
  }

  void one() {
    const uint64_t what = random_.below(20);
    if (what < 8) {
      write();
    } else if (what < 11) {
      clock_.advance(std::chrono::milliseconds(random_.below(3000)));
      store_->step();
    } else if (what < 13) {
      if (store_->seal().ok()) ++seals;
    } else if (what < 15) {
      check(names_[random_.below(names_.size())], random_range());
    } else if (what < 17) {
      drain(1 + random_.below(30'000));
    } else if (what == 17) {
      power_cut();
    } else if (what == 18) {
      disk_.fail_syncs(1);
    } else {
      disk_.set_space_left(random_.below(60'000));
      write();
      (void)store_->seal();
      recover();
    }
  }

  // In order, late, or over what is there already; dense or sparse; with some of the fields.
  Batch make(const std::string& series) {
    Batch batch;
    batch.series.name = series;
    const bool rolled = series == "rolled";
    const int64_t step = !rolled && random_.chance(0.2) ? 3600 * kSecond : random_.chance(0.5) ? kSecond / 100 : kSecond;
    int64_t& newest = newest_[series];
    int64_t time = random_.chance(0.7) ? newest + step : newest - static_cast<int64_t>(random_.below(100)) * step;
    const size_t rows = random_.chance(0.3) ? 1 : 1 + random_.below(step > kSecond ? 24 : 400);
    for (size_t i = 0; i < rows; ++i) {
      // A record that came again after it was rolled up would count again.
      if (!rolled || used_.insert(time).second) batch.times.push_back(base_ + time);
      newest = std::max(newest, time);
      time += random_.chance(0.9) ? step : static_cast<int64_t>(random_.below(3)) * step;  // also the same time twice
    }
    if (batch.times.empty()) {
      used_.insert(++newest);
      batch.times.push_back(base_ + newest);
    }
    std::vector<double> v;
    std::vector<int64_t> n;
    std::vector<std::string> s;
    std::vector<uint8_t> present;
    for (size_t i = 0; i < batch.times.size(); ++i) {
      v.push_back(random_.chance(0.5) ? static_cast<double>(random_.below(1000)) / 8 : random_.uniform());
      n.push_back(static_cast<int64_t>(random_.below(1 << 20)));
      s.push_back(random_.chance(0.9) ? "on" : "off");
      present.push_back(random_.chance(0.8) ? 1 : 0);
    }
    batch.columns.push_back({"v", v, {}});
    if (random_.chance(0.6)) batch.columns.push_back({"n", n, present});
    if (random_.chance(0.3)) batch.columns.push_back({"s", s, {}});
    return batch;
  }

  void write() {
    Effect effect;
    std::set<std::string> series;
    for (uint64_t n = 1 + random_.below(2); n > 0; --n) series.insert(names_[random_.below(names_.size())]);
    for (const std::string& name : series) effect.batches.push_back(make(name));
    const bool loose = std::all_of(series.begin(), series.end(), [](const auto& s) { return s.starts_with("loose"); });
    const bool durable = !loose || loose_commits_ == kLooseMax;
    if (durable) effect.durability = Durability::batch;
    const auto receipt = store_->commit(effect);
    if (!receipt.ok() && receipt.error().code == Code::exhausted) return;  // refused: nothing of it is there
    for (const Batch& batch : effect.batches) written_[batch.series.name].push_back({batch, receipt.ok()});
    if (!receipt.ok()) {
      ++outages;
      recover();
      for (const std::string& name : series) settle(name);
    } else if (durable) {
      loose_commits_ = 0;  // what came before in the log is durable too
    } else {
      ++loose_commits_;
    }
  }

  TimeRange random_range() {
    const int64_t a = base_ + static_cast<int64_t>(random_.below(2000)) * kSecond, b = a + static_cast<int64_t>(random_.below(5000)) * kSecond;
    return random_.chance(0.3) ? TimeRange{} : TimeRange{a, b};
  }

  // Hours of which a quota took something at last.
  Rows whole_hours(Rows hours) const {
    for (const Loss& loss : store_->losses()) {
      if (loss.series != "rolled" || loss.reason != LossReason::quota) continue;
      std::erase_if(hours, [&](const auto& h) { return h.first < loss.range.to_ns && h.first + 3600 * kSecond > loss.range.from_ns; });
    }
    return hours;
  }

  Rows read_rolled() {
    AggregateQuery query;
    query.series = {"rolled", {}};
    query.bucket = std::chrono::hours(1);
    const auto streams = store_->streams();
    for (const StreamInfo& stream : *streams) {
      for (const auto& [name, type] : stream.fields) {
        if (stream.series == query.series && type != FieldType::string) query.fields.push_back(name);
      }
    }
    if (query.fields.empty()) return {};
    query.functions = *parse_aggregates("count,min,max,sum");
    Buckets buckets;
    const Status status = aggregate(*store_, query, buckets);
    INFO((status.ok() ? "" : status.error().message));
    REQUIRE(status.ok());
    auto records = store_->read(query.series, {}, 1 << 20);
    REQUIRE(records.ok());
    for (size_t i = 1; i < records->rows(); ++i) REQUIRE(records->times[i - 1] < records->times[i]);
    return whole_hours(buckets.found);
  }

  Rows read(const std::string& series, TimeRange range) {
    if (series == "rolled") return read_rolled();
    Rows rows;
    auto batch = store_->read({series, {}}, range, 1 << 20);
    if (!batch.ok() && batch.error().code == Code::not_found) return rows;
    INFO((batch.ok() ? "" : batch.error().message));
    REQUIRE(batch.ok());
    for (size_t i = 1; i < batch->rows(); ++i) REQUIRE(batch->times[i - 1] < batch->times[i]);
    apply(*batch, {}, rows);
    return rows;
  }

  Rows expected(const std::string& series, TimeRange range) {
    Rows rows;
    if (series == "rolled") range = {};
    for (const Written& w : written_[series]) {
      if (w.there) apply(w.batch, range, rows);
    }
    return series == "rolled" ? whole_hours(by_hour(rows)) : rows;
  }

  // What was in doubt - a commit whose sync failed, or that no rule protected from a power cut - is there as a whole or not at all. Of a
  // series that is rolled up it stays in doubt where no reading tells: a quota took its hours, or their sums fit without it too.
  void settle(const std::string& series) {
    auto& all = written_[series];
    const Rows found = read(series, {});
    std::optional<uint64_t> first;
    uint64_t sometimes_there = 0, sometimes_not = 0;  // a bit for each that is in doubt
    each_choice(all, [&](uint64_t choice) {
      Rows rows;
      for (const Written& w : all) {
        if (w.there) apply(w.batch, {}, rows);
      }
      if ((series == "rolled" ? whole_hours(by_hour(rows)) : rows) != found) return true;
      if (!first) first = choice;
      sometimes_not |= choice;
      sometimes_there |= ~choice;
      return series == "rolled";
    });
    INFO("series " << series << ": " << found.size() << " records fit no choice of doubtful commits");
    REQUIRE(first);
    take(*first, all);
    uint64_t bit = 1;
    for (Written& w : all) {
      if (w.sure) continue;
      w.sure = series != "rolled" || (sometimes_there & bit) == 0 || (sometimes_not & bit) == 0;
      bit <<= 1;
    }
    std::erase_if(all, [](const Written& w) { return w.sure && !w.there; });
  }

  // `choice` has a bit for each commit that is in doubt, set for one that is not there.
  static void take(uint64_t choice, std::vector<Written>& all) {
    for (Written& w : all) {
      if (w.sure) continue;
      w.there = (choice & 1) == 0;
      choice >>= 1;
    }
  }

  // Until `looks_on` says no.
  template <typename LooksOn>
  static void each_choice(std::vector<Written>& all, LooksOn looks_on) {
    const auto doubtful = std::count_if(all.begin(), all.end(), [](const Written& w) { return !w.sure; });
    for (uint64_t choice = 0; choice < uint64_t{1} << doubtful; ++choice) {
      take(choice, all);
      if (!looks_on(choice)) return;
    }
  }

  static std::string shown(const Row& row) {
    std::string out;
    for (const auto& [field, value] : row) out += fmt::format(" {}={}", field, value);
    return out;
  }

  static void same(const std::string& what, const Rows& found, const Rows& expected) {
    if (found == expected) return;
    std::string first;
    for (const auto& [time, row] : expected) {
      auto at = found.find(time);
      if (at != found.end() && at->second == row) continue;
      first = fmt::format("at {}:{} instead of{}", time, at == found.end() ? " nothing" : shown(at->second), shown(row));
      break;
    }
    FAIL(what << ": " << found.size() << " records instead of " << expected.size() << ", " << first);
  }

  void check(const std::string& series, TimeRange range) {
    same(series, read(series, range), expected(series, range));
  }

  void check_all() {
    for (const std::string& series : names_) {
      settle(series);
      same(series, read(series, {}), expected(series, {}));
    }
  }

  void power_cut() {
    ++cuts;
    disk_.fail_syncs(0);
    disk_.cut_power();
    store_.reset();
    disk_.restore_power();
    open();
    auto& loose = written_["loose"];
    for (size_t i = loose.size() - std::min<size_t>(loose.size(), loose_commits_); i < loose.size(); ++i) loose[i].sure = false;
    loose_commits_ = 0;
    check_all();
  }

  // The hub takes what the outbox offers and now and then acknowledges.
  void drain(uint64_t bytes) {
    auto items = store_->outbox_read(OutboxClass::telemetry, acked_ + 1, bytes);
    if (!items.ok()) return;  // refused while a sync is in doubt
    uint64_t seq = acked_;
    for (const OutboxItem& item : *items) {
      REQUIRE(item.seq == ++seq);
      REQUIRE(item.records > 0);
      if (item.kind == EntryKind::lost) {
        REQUIRE(!hub_gets_rolled_);
        REQUIRE(item.last_seq >= seq);
        for (; seq < item.last_seq; ++seq) hub_.emplace(seq, Batch{});
        hub_.emplace(seq, Batch{});
        continue;
      }
      auto batch = decode_block({item.subject, {}}, item.payload);
      REQUIRE(batch.ok());
      REQUIRE(batch->rows() == item.records);
      auto [at, fresh] = hub_.emplace(item.seq, *batch);
      if (fresh) continue;
      Rows before, now;  // a repeated entry says the same
      apply(at->second, {}, before);
      apply(*batch, {}, now);
      REQUIRE(at->second.series == batch->series);
      REQUIRE(before == now);
    }
    if (seq > acked_ && random_.chance(0.7)) {
      const uint64_t upto = acked_ + 1 + random_.below(seq - acked_);
      if (store_->outbox_acknowledge(OutboxClass::telemetry, upto).ok()) acked_ = upto;
    }
  }

  // In the order of the sequence, the hub's copy is the store's.
  void check_hub() {
    std::map<std::string, Rows> copy;
    uint64_t seq = 0;
    for (const auto& [number, batch] : hub_) {
      REQUIRE(number == ++seq);
      apply(batch, {}, copy[batch.series.name]);
    }
    for (const std::string& series : names_) {
      if (series != "rolled") same("the hub's " + series, copy[series], expected(series, {}));
    }
    check_hub_rolled(copy["rolled"]);
  }

  // The hub has every record in its own resolution: what it had not was not rolled up and did not go. What was in doubt is in both places
  // or in neither; where the store cannot tell any more, the hub has it as a whole or not at all. With drop_unsent it has a part of it.
  void check_hub_rolled(const Rows& copy) {
    auto& all = written_["rolled"];
    const Rows found = read("rolled", {});
    Rows rows;
    bool fits = false;
    each_choice(all, [&](uint64_t) {
      rows.clear();
      for (const Written& w : all) {
        if (w.there) apply(w.batch, {}, rows);
      }
      const bool whole = copy == rows || (!hub_gets_rolled_ && std::includes(rows.begin(), rows.end(), copy.begin(), copy.end()));
      fits = whole && whole_hours(by_hour(rows)) == found;
      return !fits;
    });
    if (!fits) same("the hub's rolled", copy, rows);
    REQUIRE(fits);
  }

  Random random_;
  TempDir folder_;
  SimClock clock_;
  FaultFs disk_;
  Options options_;
  std::unique_ptr<Store> store_;
  int64_t base_ = 0;
  std::vector<std::string> names_ = {"a", "b", "loose"};
  bool hub_gets_rolled_ = false;
  std::set<int64_t> used_;  // times of records that may be rolled up
  std::map<std::string, int64_t> newest_;
  std::map<std::string, std::vector<Written>> written_;
  static constexpr size_t kLooseMax = 3;
  size_t loose_commits_ = 0;  // since the last durable one
  std::map<uint64_t, Batch> hub_;
  uint64_t acked_ = 0;
};

struct Total {
  uint64_t seals = 0, cuts = 0, outages = 0, rolled = 0;
};

Total run_schedules(int count, uint64_t part) {
  Random seeds(Catch::rngSeed() + part);
  Total total;
  for (int i = 0; i < count; ++i) {
    const uint64_t seed = seeds();
    INFO("schedule with seed " << seed);
    Schedule schedule(seed);
    schedule.run();
    total.seals += schedule.seals;
    total.cuts += schedule.cuts;
    total.outages += schedule.outages;
    total.rolled += schedule.rolled();
  }
  return total;
}

// SKERRY_SCHEDULE_SEED: that schedule alone.
void run_part(uint64_t part) {
  if (const char* given = std::getenv("SKERRY_SCHEDULE_SEED")) return Schedule(std::strtoull(given, nullptr, 10)).run();
  const Total total = run_schedules(250, part);
  CHECK(total.seals > 0);
  CHECK(total.cuts > 0);
  CHECK(total.outages > 0);
  CHECK(total.rolled > 0);
}

}  // namespace

// Over two thousand random ones every acknowledged record is there once and the outbox never skips.
TEST_CASE("schedules: every acknowledged record is there once and the outbox never skips, 1 of 8") { run_part(1); }
TEST_CASE("schedules: every acknowledged record is there once and the outbox never skips, 2 of 8") { run_part(2); }
TEST_CASE("schedules: every acknowledged record is there once and the outbox never skips, 3 of 8") { run_part(3); }
TEST_CASE("schedules: every acknowledged record is there once and the outbox never skips, 4 of 8") { run_part(4); }
TEST_CASE("schedules: every acknowledged record is there once and the outbox never skips, 5 of 8") { run_part(5); }
TEST_CASE("schedules: every acknowledged record is there once and the outbox never skips, 6 of 8") { run_part(6); }
TEST_CASE("schedules: every acknowledged record is there once and the outbox never skips, 7 of 8") { run_part(7); }
TEST_CASE("schedules: every acknowledged record is there once and the outbox never skips, 8 of 8") { run_part(8); }
