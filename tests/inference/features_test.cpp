#include "inference/features.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "base/random.h"
#include "inference/alarms.h"
#include "inference/windows.h"
#include "tests/inference/pipeline_fixture.h"

namespace skerry::inference {
namespace {

using Kind = FeatureSpec::Kind;

WindowSpec spec_of(uint32_t rows, std::vector<FeatureSpec> features) {
  WindowSpec spec = test::small_info().window;  // x and y, 100 Hz
  spec.rows = rows;
  spec.features = std::move(features);
  spec.mean.assign(spec.features.size(), 0);
  spec.deviation.assign(spec.features.size(), 1);
  return spec;
}

// x a sine of 10 Hz and height 2 on 5, y zero.
std::vector<float> sine(uint32_t rows) {
  std::vector<float> window(2 * rows);
  for (uint32_t i = 0; i < rows; ++i) window[i] = 5 + 2 * std::sin(2 * std::numbers::pi_v<float> * 10 * static_cast<float>(i) / 100);
  return window;
}

}  // namespace

TEST_CASE("features: numbers of a window are what their names say") {
  WindowSpec spec = spec_of(4, {{Kind::mean, {"x"}}, {Kind::deviation, {"x"}}, {Kind::min, {"x"}}, {Kind::max, {"x"}}, {Kind::rms, {"x"}}, {Kind::max, {"x", "y"}}});
  CHECK(input_shape(spec) == std::array<int64_t, 2>{6, 1});
  const std::vector<float> window = {1, -3, 3, 3, 0, 4, 4, 0};
  const auto out = model_input(spec, window.data(), 1);
  REQUIRE(out.size() == 6);
  CHECK(out[0] == 1.0f);
  CHECK(out[1] == Approx(std::sqrt((0 + 16 + 4 + 4) / 4.0)));
  CHECK(out[2] == -3.0f);
  CHECK(out[3] == 3.0f);
  CHECK(out[4] == Approx(std::sqrt((1 + 9 + 9 + 9) / 4.0)));
  CHECK(out[5] == 5.0f);  // of the vectors' lengths 1, 5, 5, 3
}

TEST_CASE("features: rows keep their time, and are normalised by their own mean and deviation") {
  WindowSpec spec = spec_of(2, {{Kind::rows, {"x"}}, {Kind::rows, {"x", "y"}}});
  spec.mean = {1, 5};
  spec.deviation = {2, 10};
  CHECK(input_shape(spec) == std::array<int64_t, 2>{2, 2});
  const std::vector<float> two = {3, 0, 4, 5, /* the second window */ 6, 1, 8, 0};
  CHECK(model_input(spec, two.data(), 2) == std::vector<float>{1, -0.5f, 0, 0, 2.5f, 0, 0.5f, -0.4f});
}

TEST_CASE("features: the bands of a signal add up to its variance, and a sine lies in its own") {
  for (uint32_t rows : {100u, 128u, 1000u}) {
    WindowSpec spec = spec_of(rows, {{Kind::band, {"x"}, 0, 5}, {Kind::band, {"x"}, 5, 15}, {Kind::band, {"x"}, 15, 51}, {Kind::deviation, {"x"}}});
    const std::vector<float> window = sine(rows);
    const auto out = model_input(spec, window.data(), 1);
    CHECK(out[0] + out[1] + out[2] == Approx(out[3] * out[3]).epsilon(1e-4));
    CHECK(out[1] > 0.9f * out[3] * out[3]);
    Random random(Catch::rngSeed());
    std::vector<float> noise(2 * rows);
    for (float& value : noise) value = static_cast<float>(random.normal());
    const auto of_noise = model_input(spec, noise.data(), 1);
    CHECK(of_noise[0] + of_noise[1] + of_noise[2] == Approx(of_noise[3] * of_noise[3]).epsilon(1e-4));
  }
}

TEST_CASE("features: without any, the model sees the fields, normalised in place as ever") {
  WindowSpec spec = test::small_info().window;
  spec.mean = {1, 2};
  spec.deviation = {2, 4};
  std::vector<float> window = {1, 3, 5, 7, 2, 6, 10, 14};
  const auto seen = model_input(spec, window.data(), 1);
  normalise(spec, window.data(), 1);
  CHECK(seen == window);
  CHECK(seen == std::vector<float>{0, 1, 2, 3, 0, 1, 2, 3});
}

TEST_CASE("features: an engine takes raw windows and the model sees the features") {
  skerry::test::TempDir dir;
  skerry::test::SimClock clock;
  PackageInfo info = test::small_info();
  info.window.features = {{Kind::max, {"x"}}, {Kind::max, {"y"}}};
  test::make_package(dir / "models" / "toy" / "1", info, "linear 1");
  Engine engine(Options{.models = dir / "models"}, std::make_unique<test::FakeRuntime>(), clock);
  REQUIRE(engine.load("toy", 1).ok());
  auto answer = engine.infer("toy", 1, {Tensor::fp32("input", {1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})});
  REQUIRE(answer.ok());
  CHECK(answer->outputs[0].floats()[0] == 6.0f);  // the mean of 4 and 8
}

TEST_CASE("model.toml: features, windows by time, streams and alarms come back, and mistakes are named with their line") {
  PackageInfo info = test::small_info();
  info.window.by = WindowSpec::By::time;
  info.window.features = {{Kind::rms, {"x", "y"}}, {Kind::band, {"y"}, 0.5, 12.25}};
  info.predictions_stream = true;
  info.alarms = {{.label = "high", .on = 0.75, .off = 0.5, .windows = 3, .softmax = false}, {.label = "low"}};
  auto again = parse_package_info(to_toml(info), "model.toml");
  REQUIRE(again.ok());
  CHECK(again->window.by == WindowSpec::By::time);
  CHECK(again->window.features == info.window.features);
  CHECK(again->predictions_stream);
  CHECK(again->alarms == info.alarms);
  CHECK(to_toml(*again) == to_toml(info));

  auto mistake = [](PackageInfo wrong) {
    auto parsed = parse_package_info(to_toml(wrong), "model.toml");
    REQUIRE_FALSE(parsed.ok());
    return parsed.error().message;
  };
  using Catch::Matchers::Contains;
  PackageInfo wrong = info;
  wrong.window.features.push_back({Kind::rows, {"x"}});
  CHECK_THAT(mistake(wrong), Contains("don't go together") && Contains("'window.mean' has 2 values for 3 features"));
  (wrong = info).window.features[0].of = {"z"};
  CHECK_THAT(mistake(wrong), Contains("'z' is none of 'window.fields'"));
  (wrong = info).window.features[1].to_hz = 0.1;
  CHECK_THAT(mistake(wrong), Contains("to_hz"));
  (wrong = info).alarms[0].label = "higher";
  CHECK_THAT(mistake(wrong), Contains("'higher' is none of 'labels'"));
  (wrong = info).alarms[0].off = 0.8;
  CHECK_THAT(mistake(wrong), Contains("alarm.off"));
  (wrong = info).alarms[1].label = "high";
  CHECK_THAT(mistake(wrong), Contains("already"));
}

TEST_CASE("windows by time: points lie on the grid between the records that surround them") {
  WindowSpec spec = test::small_info().window;
  const int64_t p = spec.period.count();
  Batch batch{{"imu", {}}, {0, p + p / 2, 2 * p, 4 * p, 5 * p}, {}};
  std::vector<double> x, y;
  for (int64_t t : batch.times) {
    x.push_back(static_cast<double>(t) / static_cast<double>(p));
    y.push_back(-x.back());
  }
  batch.columns = {{"x", x, {}}, {"y", y, {}}};
  auto cut = cut_windows_by_time(spec, batch, INT64_MIN);
  REQUIRE(cut.ok());
  REQUIRE(cut->windows.size() == 2);
  CHECK(cut->windows[0].range == storage::TimeRange{0, 3 * p + 1});
  CHECK(cut->windows[0].data == std::vector<float>{0, 1, 2, 3, 0, -1, -2, -3});
  CHECK(cut->windows[1].data == std::vector<float>{2, 3, 4, 5, -2, -3, -4, -5});
  CHECK(cut->next_ns == 4 * p);

  batch.columns[0].present = {1, 1, 0, 1, 1};  // a row without a value is a break: 2 p to 4 p, then too short
  cut = cut_windows_by_time(spec, batch, INT64_MIN);
  CHECK(cut->windows.empty());
  batch.columns[0].present.clear();
  batch.times[3] = 9 * p;  // a gap of seven periods
  batch.times[4] = 12 * p;
  cut = cut_windows_by_time(spec, batch, INT64_MIN);
  REQUIRE(cut->windows.size() == 1);
  CHECK(cut->windows[0].range.from_ns == 9 * p);
  for (int64_t hostile : {INT64_MIN, INT64_MAX}) {
    batch.times = {INT64_MIN, INT64_MIN + 1, 0, INT64_MAX - 1, INT64_MAX};
    CHECK(cut_windows_by_time(spec, batch, hostile)->windows.empty());
  }
}

TEST_CASE("alarms: the softmax of scores is judged where the package says so, and states come back from their note") {
  PackageInfo info = test::small_info();
  info.alarms = {{.label = "high", .on = 0.9, .off = 0.5, .windows = 1}};
  AlarmStates states;
  CHECK(judge(info, {0, 0, 2}, states).empty());  // 0.79
  auto raised = judge(info, {0, 0, 1000}, states);
  REQUIRE(raised.size() == 1);
  CHECK(raised[0].raised);
  CHECK(raised[0].score == Approx(1.0));
  CHECK(judge(info, {0, 0, 1}, states).empty());  // 0.58: between the two
  auto back = read_alarm_note(alarm_note(states));
  REQUIRE(back.ok());
  CHECK(*back == states);
  CHECK(judge(info, {1, 0, 0}, *back).front().raised == false);
  for (const char* damaged : {"", "{", "[]1", "{\"high\":7}", "{\"high\":{\"raised\":1,\"windows\":0}}"}) CHECK_FALSE(read_alarm_note(damaged).ok());
}

}  // namespace skerry::inference
