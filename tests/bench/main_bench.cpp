// skerry-bench: measures the figures that the project promises. Exit 0 only when every target holds, 1 when one is short, 2 when one
// could not be measured.
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "tests/bench/accuracy.h"
#include "tests/bench/figure.h"
#include "tests/bench/inference_latency.h"
#include "tests/bench/learning.h"
#include "tests/bench/loop.h"
#include "tests/bench/serving.h"
#include "tests/bench/storage_codec.h"
#include "tests/bench/storage_device.h"
#include "tests/bench/storage_ingest.h"
#include "tests/bench/storage_peer_size.h"
#include "tests/bench/storage_query.h"
#include "tests/bench/storage_range.h"
#include "tests/bench/storage_sealed.h"
#include "tests/bench/sync_real.h"
#include "tests/bench/sync_simulated.h"
#include "tests/bench/sync_wire.h"
#include "tests/e2e/support/process.h"
#include "tests/support/real_data.h"

namespace {

namespace fs = std::filesystem;
using namespace skerry;
using namespace skerry::bench;

constexpr const char* kUsage =
    "skerry-bench AREA [--json FILE] [--quick] [--only WORD]\n"
    "  main         accuracy, exactly-once, time to ready, swaps under load, latency while training\n"
    "  learning     what a node learns and forgets, wrong labels, a year of rounds, latency and memory while it trains\n"
    "  storage      bytes per value and speed of the columnar chunks, aggregates, ingest, ranges, start, flash wear; beside InfluxDB where it is there\n"
    "  inference    int8 plans beside ONNX Runtime, TensorFlow Lite and LibTorch; requests over HTTP and ZeroMQ beside fastify + onnxruntime-node;\n"
    "               memory, start, 1,000 swaps\n"
    "  sync         bytes on the wire beside line protocol and JSON, the policy on a drive, a simulated month, draining, fault schedules,\n"
    "               the same with the real programs, a start with 10 GB waiting\n"
    "  --json FILE  writes the figures as JSON too\n"
    "  --quick      a tiny version of each, to see that they run: timings are not judged\n"
    "  --only WORD  the measurements whose name has WORD in it\n";

struct Measurement {
  std::string name;
  std::function<Result<std::vector<Figure>>(Size, const Places&)> measure;
};

Result<std::vector<Figure>> accuracy(Size size, const Places& places) {
  std::vector<Figure> figures = {{"main.base_int8", 0, "%", 92, Better::higher},
                                 {"main.base_int8_loss", 0, "points", 0.5, Better::lower},
                                 {"main.personalised_own", 0, "%", 98.5, Better::higher},
                                 {"main.personalised_others_loss", 0, "points", 1, Better::lower}};
  AccuracyOptions options;
  options.data = test::real_data("motionsense");
  if (options.data.empty()) {
    for (Figure& figure : figures) figure.skipped = "MotionSense is not there (set SKERRY_TEST_DATA)";
    return figures;
  }
  options.scratch = places.work / "accuracy";
  options.worker = e2e::program_folder() / "skerry-worker";
  options.progress = [](const std::string& line) { std::cout << "# " << line << std::endl; };
  if (size == Size::smoke) {
    options.personalised_max = 1;
    options.epochs = 1;
  }
  fs::create_directories(options.scratch);
  SKERRY_ASSIGN(Accuracy measured, measure_accuracy(options));
  figures[0].value = measured.base_int8;
  figures[1].value = measured.base_fp32 - measured.base_int8;
  figures[2].value = measured.own_after;
  figures[2].peer = Peer{"base", measured.own_after / measured.own_before};
  figures[3].value = measured.others_before - measured.others_after;
  for (Figure& figure : figures) figure.judged = size == Size::full;
  return figures;
}

std::vector<Measurement> measurements_of(const std::string& area) {
  if (area == "inference") {
    return {{"latency", inference_latency}, {"accuracy", inference_accuracy}, {"serving", serving_requests}, {"footprint", serving_footprint},
            {"swaps", serving_swaps}};
  }
  if (area == "learning") {
    return {{"people", learning_people}, {"year", learning_year}, {"poison", learning_poison}, {"occupancy", learning_occupancy},
            {"latency", learning_latency}, {"preempt", learning_preempt}, {"rounds", learning_rounds},
            {"kills", learning_kills}};
  }
  if (area == "storage") {
    return {{"chunk_sizes", chunk_sizes},         {"peer_sizes", peer_sizes},   {"sealed_sizes", sealed_sizes}, {"chunk_speed", chunk_speed},
            {"aggregate_speed", aggregate_speed}, {"ingest_http", ingest_http}, {"ingest_columns", ingest_columns},
            {"durable_batches", durable_batches}, {"range_24h", range_24h},     {"open", open_large},
            {"device_bytes", device_bytes},       {"roll_up", roll_up_speed}};
  }
  if (area == "sync") {
    return {{"wire", sync_wire}, {"policy", sync_policy}, {"month", sync_month}, {"drain", sync_drain}, {"schedules", sync_schedules},
            {"real", sync_real}, {"backlog", sync_backlog}};
  }
  return {{"accuracy", accuracy}, {"ready", time_to_ready}, {"swaps", swaps_under_load}, {"training", latency_while_training}, {"once", exactly_once}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--open-store") == 0) return open_store_and_report(argv[2]);  // a child of the figure "open"
  std::string area, only;
  fs::path json;
  Size size = Size::full;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json" && i + 1 < argc) json = argv[++i];
    else if (word == "--only" && i + 1 < argc) only = argv[++i];
    else if (word == "--quick") size = Size::smoke;
    else if (area.empty() && (word == "main" || word == "storage" || word == "inference" || word == "learning" || word == "sync")) area = word;
    else {
      std::fputs(kUsage, word == "--help" ? stdout : stderr);
      return word == "--help" ? 0 : 2;
    }
  }
  if (area.empty()) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  const std::vector<Measurement> all = measurements_of(area);
  if (std::none_of(all.begin(), all.end(), [&](const Measurement& m) { return m.name.find(only) != std::string::npos; })) {
    std::string names;
    for (const Measurement& m : all) names += " " + m.name;
    std::fprintf(stderr, "skerry-bench: nothing in %s has '%s' in its name: choose one of%s\n", area.c_str(), only.c_str(), names.c_str());
    return 2;
  }
  std::string pattern = (fs::temp_directory_path() / "skerry-bench-XXXXXX").string();
  const Places places{::mkdtemp(pattern.data()), e2e::program_folder() / "../cache"};

  std::vector<Figure> figures;
  int exit_code = 0;
  for (const Measurement& measurement : all) {
    if (measurement.name.find(only) == std::string::npos) continue;
    auto measured = measurement.measure(size, places);
    if (!measured.ok()) {
      std::cout << area << "." << measurement.name << " not measured: " << measured.error().message << std::endl;
      exit_code = 2;
      continue;
    }
    for (Figure& figure : measured.value()) {
      std::cout << figure.line() << std::endl;
      if (!figure.holds() && exit_code == 0) exit_code = 1;
      figures.push_back(std::move(figure));
    }
  }
  std::error_code ignored;
  if (exit_code == 0) fs::remove_all(places.work, ignored);
  else std::cout << "# what the programs wrote is in " << places.work.string() << "\n";
  if (!json.empty()) {
    std::ofstream out(json);
    out << to_json(figures);
    if (!out.flush()) {
      std::fprintf(stderr, "skerry-bench: can't write %s\n", json.c_str());
      return 2;
    }
  }
  return exit_code;
}
