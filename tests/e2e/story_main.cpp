// skerry-story: tells and checks the story with the real programs; `./run demo` is this. Exit 0 when every check held.
#include <stdlib.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>

#include "tests/e2e/story.h"

namespace {

constexpr const char* kUsage =
    "skerry-story [--data DIR] [--cache DIR] [--keep DIR] [--quiet] [--seed N] [--user N]\n"
    "  --data DIR   MotionSense (motionsense_A_i16.npy, index.csv, meta.json); without it a simulated pump\n"
    "  --cache DIR  keeps the fitted base model for the next run\n"
    "  --keep DIR   keeps everything that the programs wrote, in an empty or new folder\n"
    "  --quiet      prints failed checks and the summary only\n"
    "  --seed N     of the pump\n"
    "  --user N     of MotionSense: whom the base has never seen (not 1, 2, 3, 5, 6, 7)\n";

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  skerry::e2e::StoryOptions options;
  fs::path keep;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool more = i + 1 < argc;
    if (word == "--data" && more) options.data = argv[++i];
    else if (word == "--cache" && more) options.cache = argv[++i];
    else if (word == "--keep" && more) keep = argv[++i];
    else if (word == "--seed" && more) options.seed = std::strtoull(argv[++i], nullptr, 10);
    else if (word == "--user" && more) options.user = std::atoi(argv[++i]);
    else if (word == "--quiet") options.quiet = true;
    else {
      std::fputs(kUsage, word == "--help" ? stdout : stderr);
      return word == "--help" ? 0 : 2;
    }
  }
  if (!options.data.empty() && !fs::exists(options.data / "index.csv")) {
    std::fprintf(stderr, "skerry-story: %s has no index.csv: give the MotionSense folder, or leave --data out for the simulated pump\n",
                 options.data.c_str());
    return 2;
  }
  std::string pattern = (fs::temp_directory_path() / "skerry-story-XXXXXX").string();
  options.work = keep.empty() ? fs::path(::mkdtemp(pattern.data())) : fs::absolute(keep);
  std::error_code error;
  fs::create_directories(options.work, error);
  if (error || !fs::is_empty(options.work, error)) {
    std::fprintf(stderr, "skerry-story: %s is not an empty folder: give another one to --keep\n", options.work.c_str());
    return 2;
  }
  options.cache = options.cache.empty() ? options.work / "cache" : fs::absolute(options.cache);
  if (!options.data.empty()) options.data = fs::absolute(options.data);

  auto outcome = skerry::e2e::tell_story(options);
  if (keep.empty()) fs::remove_all(options.work, error);
  else std::printf("\nEverything that was written is in %s\n", options.work.c_str());
  if (!outcome.ok()) {
    std::printf("\nThe story broke off: %s\n", outcome.error().message.c_str());
    return 1;
  }
  size_t held = 0;
  for (const auto& check : outcome.value().checks) held += check.ok ? 1 : 0;
  std::printf("\n%zu of %zu checks held, in %.0f s.\n", held, outcome.value().checks.size(), outcome.value().seconds);
  return outcome.value().passed() ? 0 : 1;
}
