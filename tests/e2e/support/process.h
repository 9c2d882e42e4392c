// A real program of ours as a child process: started, watched, killed. What it prints goes to files, so that a full pipe never
// blocks it and a failing test can show it.
// Threads: one owner at a time. Start it from a thread that outlives it: the child dies with the thread that made it.
// Owns: the child. The destructor kills it with -9.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace skerry::e2e {

using std::chrono::milliseconds;

struct Exit {
  int code = -1;       // exit code; -1 when a signal ended it
  int signal = 0;
  std::string text() const;  // "exit code 1", "signal 9"
};

class Process {
 public:
  // `program` is a name beside this program ("skerryd") or a path. `log` is the folder for NAME.out and NAME.err, which are
  // appended to when a program is started again. Error: not_found (naming what to build), unavailable.
  static Result<Process> start(const std::string& program, const std::vector<std::string>& arguments, const std::filesystem::path& log);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  // The first line of this run's output or error output that holds `part`. Error: unavailable (ended, or not within `limit`), with the end of
  // what it printed.
  Result<std::string> wait_for_line(const std::string& part, milliseconds limit);
  bool running();
  std::optional<Exit> wait(milliseconds limit);   // nullopt: still running
  void kill9();                                   // and reaps
  std::optional<Exit> terminate(milliseconds limit);  // SIGTERM, then waits; kills when it does not end, and answers nullopt
  uint64_t resident_bytes() const;                // 0 when it is gone
  uint64_t peak_resident_bytes() const;
  pid_t pid() const { return pid_; }
  std::string output() const;                     // of this run, both files
  std::string tail(size_t lines = 12) const;

 private:
  Process() = default;

  std::string name_;
  pid_t pid_ = -1;
  std::optional<Exit> exit_;
  std::filesystem::path out_, err_;
  uint64_t out_from_ = 0, err_from_ = 0;
};

struct Finished {
  Exit exit;
  std::string output;  // stdout and stderr
};

// Runs a program to its end. Error: as start(); unavailable when it takes longer than `limit` (it is killed).
Result<Finished> run_program(const std::string& program, const std::vector<std::string>& arguments, const std::filesystem::path& log,
                             milliseconds limit);

// $SKERRY_BIN_DIR, or the folder of this program.
std::filesystem::path program_folder();
bool have_program(const std::string& program);

}  // namespace skerry::e2e
