// The simulated pump as a source: conditions in turn, truths when they are over.
#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>

#include "base/units.h"
#include "plugins/internal/playback.h"
#include "plugins/internal/pump_model.h"
#include "plugins/source.h"

namespace skerry::plugins {
namespace {

constexpr double kSeverityMin = 0.45;  // of a drawn fault; 1 is the most
constexpr size_t kBatchesPerPollMax = 64;

Result<Condition> condition_named(const std::string& name) {
  for (size_t i = 0; i < kPumpConditions.size(); ++i) {
    if (kPumpConditions[i] == name) return static_cast<Condition>(i);
  }
  return fail(Code::invalid,
              "'{}' is not a condition of the pump: normal, imbalance, misalignment, bearing and cavitation are",
              name);
}

// The next condition: the script's, or drawn so that each comes once before any comes again, and never twice in a
// row.
class Schedule {
 public:
  Schedule(std::vector<Condition> script, uint64_t seed) : script_(std::move(script)), random_(seed) {}

  Condition condition() {
    if (!script_.empty()) return script_[turn_++ % script_.size()];
    if (bag_.empty()) {
      for (size_t i = 0; i < kPumpConditions.size(); ++i) bag_.push_back(static_cast<Condition>(i));
      std::shuffle(bag_.begin(), bag_.end(), random_);
      if (last_ == bag_.front()) std::swap(bag_.front(), bag_.back());
    }
    last_ = bag_.front();
    bag_.pop_front();
    return *last_;
  }
  double severity() { return random_.uniform(kSeverityMin, 1.0); }

 private:
  const std::vector<Condition> script_;
  Random random_;
  size_t turn_ = 0;
  std::deque<Condition> bag_;
  std::optional<Condition> last_;
};

uint64_t seed_of(const PumpOptions& options, uint64_t purpose) {
  // The machine's own draw already mixes name and seed; from its digits come independent seeds for its signals and
  // its fate.
  uint64_t h = 0xcbf29ce484222325;
  for (unsigned char c : options.machine) h = (h ^ c) * 0x100000001b3;
  return Random(h ^ (options.seed * 0x9e3779b97f4a7c15) ^ (purpose << 56))();
}

class PumpSource final : public Source {
 public:
  PumpSource(const PumpOptions& options, std::vector<Condition> script)
      : options_(options),
        series_{"pump", {{"machine", options.machine}}},
        schedule_(std::move(script), seed_of(options, 1)),
        model_(draw_machine(options.machine, options.seed), options.rate_hz, seed_of(options, 2),
               options.drift_per_hour),
        playback_(options.speed) {}

  std::string name() const override { return "simulate " + options_.machine; }

  Result<Poll> poll(WallTime now) override {
    Poll out;
    if (!begin_ns_) begin_ns_ = options_.start_ns != 0 ? options_.start_ns : now.time_since_epoch().count();
    const int64_t due = playback_.due_ns(now);
    const size_t rows = batch_rows();
    for (size_t given = 0; given == 0 || (!playback_.unpaced() && given + rows <= kRowsPerPollMax); given += rows) {
      const int64_t complete_ns = offset_ns(record_ + rows - 1);
      if (complete_ns > due) {
        out.next = playback_.until(complete_ns, due);
        return out;
      }
      if (out.batches.size() == kBatchesPerPollMax) break;
      out.batches.push_back(make_batch(rows, out.truths));
    }
    return out;
  }

 private:
  size_t batch_rows() const {
    const double rows = std::chrono::duration<double>(options_.batch).count() * options_.rate_hz;
    const size_t paced = static_cast<size_t>(std::clamp(std::round(rows), 1.0, double{kRowsPerFastBatch}));
    return playback_.unpaced() ? kRowsPerFastBatch : paced;
  }
  int64_t offset_ns(uint64_t record) const {
    return std::llround(static_cast<double>(record) * 1e9 / options_.rate_hz);
  }

  Batch make_batch(size_t rows, std::vector<Truth>& truths) {
    Batch batch{series_};
    batch.times.resize(rows);
    std::array<std::vector<double>, 3> axes;
    for (auto& axis : axes) axis.resize(rows);
    for (size_t i = 0; i < rows; ++i, ++record_) {
      const int64_t offset = offset_ns(record_);
      batch.times[i] = *begin_ns_ + offset;
      if (offset >= state_end_ns_) next_state(batch.times[i], offset, truths);
      const std::array<double, 3> sample = model_.next();
      for (size_t axis = 0; axis < 3; ++axis) axes[axis][i] = sample[axis];
    }
    static const char* const kNames[] = {"ax", "ay", "az"};  // g
    for (size_t axis = 0; axis < 3; ++axis) batch.columns.push_back({kNames[axis], std::move(axes[axis])});
    return batch;
  }

  void next_state(int64_t time_ns, int64_t offset, std::vector<Truth>& truths) {
    if (options_.labels && record_ > 0) truths.push_back({series_.text(), state_begin_ns_, time_ns, label_});
    const Condition condition = schedule_.condition();
    model_.set_condition(condition, schedule_.severity());
    label_ = kPumpConditions[static_cast<size_t>(condition)];
    state_begin_ns_ = time_ns;
    state_end_ns_ = (offset / options_.state_length.count() + 1) * options_.state_length.count();
  }

  const PumpOptions options_;
  const Series series_;
  Schedule schedule_;
  PumpModel model_;
  Playback playback_;
  std::optional<int64_t> begin_ns_;
  uint64_t record_ = 0;  // the next one
  std::string label_;
  int64_t state_begin_ns_ = 0;  // wall
  int64_t state_end_ns_ = 0;    // since the beginning
};

}  // namespace

Result<std::unique_ptr<Source>> make_pump_source(const PumpOptions& options) {
  if (options.machine.empty() || options.machine.size() > kNameBytesMax) {
    return fail(Code::invalid, "the pump needs a machine name of 1 to {} bytes", kNameBytesMax);
  }
  if (!(options.rate_hz >= 100 && options.rate_hz <= 10'000)) {
    return fail(Code::invalid, "pump rate_hz is {}: choose between 100 and 10000", options.rate_hz);
  }
  if (!(options.speed >= 0 && options.speed <= 1e6)) {
    return fail(Code::invalid,
                "pump speed {} is out of range: 1 is real time, 0 as fast as possible, at most 1000000",
                options.speed);
  }
  if (options.state_length < std::chrono::milliseconds(100) ||
      options.state_length > std::chrono::hours(24 * 365)) {
    return fail(Code::invalid, "pump state_length is {}: choose between 100ms and a year",
                format_duration(options.state_length));
  }
  if (options.batch < std::chrono::milliseconds(1) || !(std::abs(options.drift_per_hour) <= 10)) {
    return fail(Code::invalid, "the pump's batch must be at least 1ms, its drift_per_hour at most 10");
  }
  std::vector<Condition> script;
  for (const std::string& name : options.script) {
    SKERRY_ASSIGN(Condition condition, condition_named(name));
    script.push_back(condition);
  }
  return std::unique_ptr<Source>(std::make_unique<PumpSource>(options, std::move(script)));
}

}  // namespace skerry::plugins
