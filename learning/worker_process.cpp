#include "learning/worker_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/file.h"

namespace skerry::learning {
namespace {

constexpr size_t kLogBytesMax = 64 << 10;
constexpr int kNice = 19;
constexpr rlim_t kFileBytesMax = rlim_t{1} << 30;  // of one file: a worker that writes without end fails, and says so
constexpr char kOomScore[] = "900";  // of 1000: among the first to go when memory runs out

// Between fork and exec of a program with threads: only calls that are safe there.
[[noreturn]] void become_worker(char* const* argv, int stderr_fd, pid_t parent, WorkerPriority priority) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);  // it died before the line above
  ::setpgid(0, 0);                          // a Ctrl-C at the daemon's terminal is the daemon's affair
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGXFSZ, SIG_IGN);  // the write fails instead, with a reason
  const struct rlimit file_bytes {kFileBytesMax, kFileBytesMax};
  ::setrlimit(RLIMIT_FSIZE, &file_bytes);
  int null = ::open("/dev/null", O_RDWR);
  if (null >= 0) {
    ::dup2(null, 0);
    ::dup2(null, 1);
  }
  ::dup2(stderr_fd, 2);
  ::syscall(SYS_close_range, 3u, ~0u, 0u);  // sockets and files of the daemon are not the worker's
  if (priority == WorkerPriority::background) {
    struct sched_param idle {};
    ::sched_setscheduler(0, SCHED_IDLE, &idle);
    ::setpriority(PRIO_PROCESS, 0, kNice);  // counted as "nice" in /proc/stat: the load probe leaves it out
  }
  int oom = ::open("/proc/self/oom_score_adj", O_WRONLY);
  if (oom >= 0) {
    [[maybe_unused]] ssize_t written = ::write(oom, kOomScore, sizeof(kOomScore) - 1);
    ::close(oom);
  }
  ::execv(argv[0], argv);
  ::_exit(127);
}

class WorkerProcess final : public WorkerLauncher {
 public:
  WorkerProcess(std::filesystem::path worker, WorkerPriority priority) : worker_(std::move(worker)), priority_(priority) {}
  ~WorkerProcess() override { kill(); }

  Status start(const std::filesystem::path& job_folder) override {
    if (pid_ > 0) return fail(Code::unavailable, "a worker runs already");
    if (::access(worker_.c_str(), X_OK) != 0) {
      return fail(Code::unavailable, "cannot start the worker {}: {}; set learning.worker", worker_.string(), std::strerror(errno));
    }
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Code::unavailable, "cannot make a pipe for the worker: {}", std::strerror(errno));
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    std::string program = worker_.string(), verb = "run", folder = job_folder.string();
    char* argv[] = {program.data(), verb.data(), folder.data(), nullptr};
    pid_t parent = ::getpid();
    pid_t pid = ::fork();
    if (pid == 0) become_worker(argv, ends[1], parent, priority_);
    int number = errno;
    ::close(ends[1]);
    if (pid < 0) {
      ::close(ends[0]);
      return fail(Code::unavailable, "cannot start the worker: {}", std::strerror(number));
    }
    pid_ = pid;
    stderr_fd_ = ends[0];
    log_.clear();
    log_file_ = job_folder / "worker.log";
    return {};
  }

  std::optional<WorkerExit> poll() override {
    if (pid_ <= 0) return WorkerExit{false, "no worker was started"};
    drain();
    int status = 0;
    pid_t done = ::waitpid(pid_, &status, WNOHANG);
    if (done == 0 || (done < 0 && errno == EINTR)) return std::nullopt;
    drain();
    forget();
    return describe(done, status);
  }

  void kill() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    drain();
    forget();
  }

  void pause() override { signal_group(SIGSTOP); }
  void resume() override { signal_group(SIGCONT); }

  uint64_t memory_bytes() const override {
    if (pid_ <= 0) return 0;
    Result<std::string> text = read_file("/proc/" + std::to_string(pid_) + "/statm", 4096);
    unsigned long total = 0, resident = 0;
    if (!text.ok() || std::sscanf(text->c_str(), "%lu %lu", &total, &resident) != 2) return 0;
    return static_cast<uint64_t>(resident) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  }

 private:
  // It leads a group of its own, but for the instant before it made it.
  void signal_group(int number) {
    if (pid_ > 0 && ::kill(-pid_, number) != 0) ::kill(pid_, number);
  }

  // Reads on when the log is full, so that a talkative worker doesn't hang; keeps the end, where the reason is.
  void drain() {
    std::array<char, 4096> buffer;
    ssize_t n = 0;
    while (stderr_fd_ >= 0 && (n = ::read(stderr_fd_, buffer.data(), buffer.size())) > 0) {
      log_.append(buffer.data(), static_cast<size_t>(n));
      if (log_.size() > kLogBytesMax) log_.erase(0, log_.size() - kLogBytesMax / 2);
    }
  }

  void forget() {
    ::close(stderr_fd_);
    stderr_fd_ = -1;
    pid_ = -1;
    if (!log_.empty()) (void)write_file_atomic(log_file_, log_);  // for people; a full disk must not hide the exit
  }

  WorkerExit describe(pid_t done, int status) const {
    if (done < 0) return {false, "the worker was lost"};
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {true, "done"};
    std::string end = WIFSIGNALED(status) ? fmt::format("killed by signal {}", WTERMSIG(status))
                                          : fmt::format("exit code {}", WEXITSTATUS(status));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) end += " (the program could not be executed)";
    size_t last = log_.find_last_not_of('\n');
    if (last == std::string::npos) return {false, end};
    size_t begin = log_.rfind('\n', last);
    begin = begin == std::string::npos ? 0 : begin + 1;
    constexpr size_t kLineMax = 500;
    return {false, end + ": " + log_.substr(begin, std::min(last + 1 - begin, kLineMax))};
  }

  const std::filesystem::path worker_;
  const WorkerPriority priority_;
  pid_t pid_ = -1;
  int stderr_fd_ = -1;
  std::string log_;
  std::filesystem::path log_file_;
};

}  // namespace

std::unique_ptr<WorkerLauncher> make_worker_launcher(std::filesystem::path worker, WorkerPriority priority) {
  if (worker.empty()) {
    std::error_code error;
    worker = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "skerry-worker";
  }
  return std::make_unique<WorkerProcess>(std::move(worker), priority);
}

}  // namespace skerry::learning
