// The worker seam: starts `skerry-worker run FOLDER` at SCHED_IDLE with a raised OOM score, and watches it. It may be killed at
// any instant: the job folder resumes.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "learning/options.h"

namespace skerry::learning {

struct WorkerExit {
  bool ok = false;
  std::string reason;   // exit code or signal, last line of its stderr
};

class WorkerLauncher {
 public:
  virtual ~WorkerLauncher() = default;
  virtual Status start(const std::filesystem::path& job_folder) = 0;  // Error: unavailable
  virtual std::optional<WorkerExit> poll() = 0;                       // nullopt while it runs; reaps
  virtual void kill() = 0;                                            // at once; nothing to do when none runs
  // Stopped where it is, keeping its memory (SIGSTOP), and going on from there. Nothing to do when none runs.
  virtual void pause() = 0;
  virtual void resume() = 0;
  virtual uint64_t memory_bytes() const = 0;                          // resident, of the running worker
};

// background: SCHED_IDLE, as the daemon wants it. foreground: somebody waits for it, e.g. `skerry fit`.
enum class WorkerPriority { background, foreground };

// An empty path: skerry-worker beside this program.
std::unique_ptr<WorkerLauncher> make_worker_launcher(std::filesystem::path worker,
                                                     WorkerPriority priority = WorkerPriority::background);

}  // namespace skerry::learning
