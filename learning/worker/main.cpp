// skerry-worker: does one job folder and ends. Started by skerryd at the lowest priority, or by hand.
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "base/result.h"
#include "learning/worker/compile_command.h"
#include "learning/worker/refine_command.h"
#include "learning/worker/run.h"

namespace {

using skerry::Code;

constexpr const char* kHelp = R"(skerry-worker - trains, quantizes and judges one model, as a job folder says

  skerry-worker run FOLDER     do the job in FOLDER; its result appears as FOLDER/result
  skerry-worker check FOLDER   verify that parent + delta gives the candidate bit for bit
  skerry-worker compile SOURCE an int8 plan from a package, .onnx, .tflite or .pt; compile --help explains
  skerry-worker prune PACKAGE  a package with fewer channels or weights; prune --help explains
  skerry-worker distill TEACHER STUDENT  a small model that answers as a large one; distill --help explains
  skerry-worker --version

A job folder is written by skerryd, and can be read and repeated by hand:
  job.toml, target.toml        what to do: fit a base model, or finetune from parent/
  train.examples, holdout.examples, calibration.examples
  parent/                      the model package to start from (finetune)
and by the worker:
  progress.json, checkpoint.pt while it runs; kill it at any time and run it again, it goes on from there
  result/                      report.json, package/ (a sealed model package), delta.bin (what changed)

Exit codes: 0 done, 2 the job or the command is wrong, 3 damaged files, 4 out of memory, 5 disk full, 6 could not read or
write now, 7 training failed (the last line on stderr says why).
)";

int exit_code(Code code) {
  switch (code) {
    case Code::invalid:
    case Code::not_found: return 2;
    case Code::corrupt: return 3;
    case Code::exhausted: return 5;
    case Code::unavailable: return 6;
    case Code::cancelled:
    case Code::internal: return 7;
  }
  return 7;
}

int report(const skerry::Error& error) {
  std::fprintf(stderr, "skerry-worker: %s\n", error.message.c_str());
  return exit_code(error.code);
}

int work(const std::string& verb, const std::filesystem::path& folder) {
  if (verb == "run") {
    skerry::Status status = skerry::learning::worker::run_job(folder);
    return status.ok() ? 0 : report(status.error());
  }
  skerry::Result<std::string> checked = skerry::learning::worker::check_job(folder);
  if (!checked.ok()) return report(checked.error());
  std::printf("%s\n", checked->c_str());
  return 0;
}

using Verb = skerry::Result<std::string> (*)(const std::vector<std::string>& words);

// The commands that take words of their own.
Verb verb_of(const std::string& name) {
  if (name == "compile") return skerry::learning::worker::compile_command;
  if (name == "prune") return skerry::learning::worker::prune_command;
  if (name == "distill") return skerry::learning::worker::distill_command;
  return nullptr;
}

int run_verb(Verb verb, const std::vector<std::string>& words) {
  skerry::Result<std::string> report_text = verb(words);
  if (!report_text.ok()) return report(report_text.error());
  std::fputs(report_text->c_str(), stdout);
  return 0;
}

// The thread pools read these when they are loaded, before main(). Threads that spin while they wait would burn the time that a
// lowest-priority process is not even given; on a busy machine a job was seen to crawl. So they are set, and the program starts anew.
void settle_thread_pools(char** argv) {
  if (::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::setenv("OPENBLAS_NUM_THREADS", "1", 0);
  ::execv("/proc/self/exe", argv);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 1 && (words[0] == "--help" || words[0] == "-h")) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (words.size() == 1 && words[0] == "--version") {
    std::printf("skerry-worker %s\n", SKERRY_VERSION);
    return 0;
  }
  const Verb verb = words.empty() ? nullptr : verb_of(words[0]);
  if (verb == nullptr && (words.size() != 2 || (words[0] != "run" && words[0] != "check"))) {
    std::fputs("skerry-worker: say 'run FOLDER', 'check FOLDER', 'compile SOURCE', 'prune PACKAGE' or 'distill TEACHER STUDENT'; --help explains\n", stderr);
    return 2;
  }
  if (words[0] == "compile" && words.size() == 2 && words[1] == "--help") {
    std::fputs(skerry::learning::worker::kCompileHelp, stdout);
    return 0;
  }
  settle_thread_pools(argv);
  // What a training step frees the next one wants again: given back to the system each time, it costs half of the time in the kernel, where a
  // lowest-priority process holds its core.
  ::mallopt(M_MMAP_THRESHOLD, 256 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 512 << 20);
  try {
    return verb ? run_verb(verb, {words.begin() + 1, words.end()}) : work(words[0], words[1]);
  } catch (const std::bad_alloc&) {
    std::fputs("skerry-worker: out of memory; raise learning.job_memory, or keep fewer examples\n", stderr);
    return 4;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "skerry-worker: %s\n", error.what());
    return 7;
  }
}
