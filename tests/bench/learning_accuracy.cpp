#include "tests/bench/accuracy.h"
#include "tests/bench/learning.h"
#include "tests/bench/learning_people.h"
#include "tests/e2e/support/process.h"
#include "tests/support/real_data.h"

namespace skerry::bench {

Result<std::vector<Figure>> learning_people(Size size, const Places& places) {
  std::vector<Figure> figures = {{"learning.people_own", 0, "%", 99.0, Better::higher},
                                 {"learning.people_others_loss", 0, "points", 0, Better::lower},
                                 {"learning.people_delta_ratio", 0, "of dense fp32", 1.0 / 150, Better::lower},
                                 {"learning.people_worker_memory", 0, "MB", 400, Better::lower}};
  AccuracyOptions options;
  options.data = test::real_data("motionsense");
  if (options.data.empty()) {
    for (Figure& figure : figures) figure.skipped = "MotionSense is not there (set SKERRY_TEST_DATA)";
    return figures;
  }
  options.scratch = places.work / "people";
  options.worker = e2e::program_folder() / "skerry-worker";
  options.progress = note;
  if (size == Size::smoke) {
    options.personalised_max = 1;
    options.epochs = 1;
  }
  std::filesystem::create_directories(options.scratch);
  SKERRY_ASSIGN(const Accuracy measured, measure_accuracy(options));
  note(fmt::format("own {:.2f} -> {:.2f} %, others {:.2f} -> {:.2f} %, deltas of {:.0f} bytes for {} parameters, {:.1f} s a job", measured.own_before,
                   measured.own_after, measured.others_before, measured.others_after, measured.delta_bytes, measured.parameters,
                   measured.finetune_seconds));
  figures[0].value = measured.own_after;
  figures[0].peer = Peer{"base", measured.own_after / measured.own_before};
  figures[1].value = measured.others_before - measured.others_after;
  figures[2].value = measured.delta_bytes / (4.0 * static_cast<double>(measured.parameters));
  figures[3].value = static_cast<double>(measured.peak_memory_bytes) / 1e6;
  for (Figure& figure : figures) figure.judged = size == Size::full;
  return figures;
}

}  // namespace skerry::bench
