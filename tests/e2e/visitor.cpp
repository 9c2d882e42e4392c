#include "tests/e2e/visitor.h"

#include <algorithm>
#include <cmath>

#include "tests/e2e/support/gateway.h"

namespace skerry::e2e {
namespace {
using Steady = std::chrono::steady_clock;
constexpr size_t kBodiesMax = 600;  // a JSON body of a window is some 10 kB
}  // namespace

double Visit::percentile(double p) const {
  if (latencies_ms.empty()) return 0;
  std::vector<double> sorted = latencies_ms;
  size_t at = std::min(sorted.size() - 1, static_cast<size_t>(std::ceil(p * static_cast<double>(sorted.size()))));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(at), sorted.end());
  return sorted[at];
}

Visitor::Visitor(std::string url, std::string model, const learning::ExampleSet& set, double per_second)
    : url_(std::move(url)), model_(std::move(model)), per_second_(per_second) {
  const size_t step = 1 + set.windows.size() / kBodiesMax;
  for (size_t i = 0; i < set.windows.size(); i += step) {
    bodies_.push_back(infer_body({1, set.channels, set.rows}, set.windows[i].data));
    labels_.push_back(set.windows[i].label);
  }
  thread_ = std::thread([this] { run(); });
}

void Visitor::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

Visit Visitor::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(visit_, {});
}

void Visitor::run() {
  auto client = http::Client::open(url_, {.timeout = milliseconds(10'000)});
  if (!client.ok() || bodies_.empty()) return;
  auto due = Steady::now();
  for (size_t i = 0; !stop_; i = (i + 1) % bodies_.size()) {
    if (per_second_ > 0) {
      due += std::chrono::nanoseconds(static_cast<int64_t>(1e9 / per_second_));
      std::this_thread::sleep_until(due);
    } else {
      due = Steady::now();
    }
    auto answer = infer(*client.value(), model_, bodies_[i]);
    double ms = std::chrono::duration<double, std::milli>(Steady::now() - due).count();
    std::lock_guard lock(mutex_);
    ++visit_.requests;
    visit_.latencies_ms.push_back(ms);
    if (!answer.ok()) {
      if (visit_.failures++ == 0) visit_.first_failure = answer.error().message;
      continue;
    }
    VersionScore& score = visit_.versions[answer.value().version];
    ++score.asked;
    score.correct += answer.value().top == labels_[i] ? 1 : 0;
  }
}

}  // namespace skerry::e2e
