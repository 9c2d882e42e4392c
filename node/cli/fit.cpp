// skerry fit: makes a base model, with the worker, and installs it.
#include <cstdio>

#include "node/cli/print.h"
#include "node/fit/fit.h"

namespace skerry::cli {
int fit(const Common& common, const FitOptions& options) {
  node::FitOptions fit;
  fit.model = options.model;
  fit.models = options.models;
  fit.recordings.path = options.recordings;
  fit.recordings.select = options.select;
  fit.recordings.stream = options.stream;
  fit.exclude = options.exclude;
  fit.pumps.machines = options.machines;
  fit.pumps.seed = options.seed;
  fit.seed = options.seed;
  if (options.rows > 0) fit.rows = options.rows;
  if (options.stride > 0) fit.stride = options.stride;
  if (options.epochs > 0) fit.epochs = options.epochs;
  if (options.sparsity > 0) fit.training.sparsity = options.sparsity;
  fit.progress = [](const std::string& line) { std::fprintf(stderr, "skerry fit: %s\n", line.c_str()); };
  auto fitted = node::fit(fit);
  if (!fitted.ok()) return failed(common, fitted.error());
  const auto& held_out = fitted->report.gate.holdout;
  nlohmann::json report = {{"package", fitted->package.string()},
                           {"train_windows", fitted->train_windows},
                           {"held_out_windows", held_out.examples},
                           {"held_out_correct", held_out.candidate_correct},
                           {"held_out_correct_fp32", fitted->report.candidate_fp32_holdout_correct},
                           {"seconds", fitted->report.seconds}};
  if (common.json) {
    print_json(report);
    return 0;
  }
  print_line(fmt::format("{}: trained on {} windows in {:.1f} s{}", fitted->package.string(), thousands(fitted->train_windows),
                         fitted->report.seconds,
                         held_out.examples == 0 ? ""
                                           : fmt::format("; int8 right on {:.1f} % of {} windows it has not seen",
                                                         100.0 * held_out.candidate_correct / held_out.examples, thousands(held_out.examples))));
  return 0;
}

}  // namespace skerry::cli
