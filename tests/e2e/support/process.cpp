#include "tests/e2e/support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

namespace skerry::e2e {
namespace {

using Steady = std::chrono::steady_clock;

std::string read_from(const std::filesystem::path& path, uint64_t from) {
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(from));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

uint64_t size_of(const std::filesystem::path& path) {
  std::error_code missing;
  uint64_t size = std::filesystem::file_size(path, missing);
  return missing ? 0 : size;
}

uint64_t status_kib(pid_t pid, const std::string& field) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(field)) return std::strtoull(line.c_str() + field.size(), nullptr, 10);
  }
  return 0;
}

}  // namespace

std::string Exit::text() const { return signal != 0 ? fmt::format("signal {}", signal) : fmt::format("exit code {}", code); }

std::filesystem::path program_folder() {
  if (const char* given = std::getenv("SKERRY_BIN_DIR")) return given;
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
}

bool have_program(const std::string& program) {
  std::error_code ignored;
  return std::filesystem::exists(program_folder() / program, ignored);
}

Result<Process> Process::start(const std::string& program, const std::vector<std::string>& arguments, const std::filesystem::path& log) {
  std::filesystem::path path = program.find('/') == std::string::npos ? program_folder() / program : std::filesystem::path(program);
  if (::access(path.c_str(), X_OK) != 0) {
    return fail(Code::not_found, "there is no program {}: build it (ninja {}), or set SKERRY_BIN_DIR", path.string(), program);
  }
  Process process;
  process.name_ = path.filename().string();
  process.out_ = log / (process.name_ + ".out");
  process.err_ = log / (process.name_ + ".err");
  process.out_from_ = size_of(process.out_);
  process.err_from_ = size_of(process.err_);

  std::vector<std::string> words = {path.string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid < 0) return fail(Code::unavailable, "can't fork for {}: {}", process.name_, std::strerror(errno));
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    int out = ::open(process.out_.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644);
    int err = ::open(process.err_.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644);
    int in = ::open("/dev/null", O_RDONLY);
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(err, 2);
    for (int fd = 3; fd < 256; ++fd) ::close(fd);  // our sockets must not stay open in it
    ::execv(path.c_str(), argv.data());
    ::_exit(127);
  }
  process.pid_ = pid;
  return process;
}

Process::Process(Process&& other) noexcept { *this = std::move(other); }

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  kill9();
  name_ = std::move(other.name_);
  pid_ = std::exchange(other.pid_, -1);
  exit_ = std::exchange(other.exit_, std::nullopt);
  out_ = std::move(other.out_);
  err_ = std::move(other.err_);
  out_from_ = other.out_from_;
  err_from_ = other.err_from_;
  return *this;
}

Process::~Process() { kill9(); }

bool Process::running() { return pid_ > 0 && !wait(milliseconds(0)); }

std::optional<Exit> Process::wait(milliseconds limit) {
  if (pid_ <= 0) return exit_;
  const auto until = Steady::now() + limit;
  while (true) {
    int status = 0;
    pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_ || (ended < 0 && errno == ECHILD)) {
      exit_ = WIFSIGNALED(status) ? Exit{-1, WTERMSIG(status)} : Exit{WEXITSTATUS(status), 0};
      pid_ = -1;
      return exit_;
    }
    if (Steady::now() >= until) return std::nullopt;
    std::this_thread::sleep_for(milliseconds(5));
  }
}

void Process::kill9() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  wait(milliseconds(10'000));
}

std::optional<Exit> Process::terminate(milliseconds limit) {
  if (pid_ <= 0) return exit_;
  ::kill(pid_, SIGTERM);
  if (auto exit = wait(limit)) return exit;
  kill9();
  return std::nullopt;
}

Result<std::string> Process::wait_for_line(const std::string& part, milliseconds limit) {
  const auto until = Steady::now() + limit;
  while (true) {
    bool ended = !running();  // asked before reading: what it said last is then in the file
    std::istringstream lines(output());
    for (std::string line; std::getline(lines, line);) {
      if (line.find(part) != std::string::npos) return line;
    }
    if (ended) {
      return fail(Code::unavailable, "{} ended ({}) before it said \"{}\"; it said:\n{}", name_, exit_ ? exit_->text() : "?", part, tail());
    }
    if (Steady::now() >= until) {
      return fail(Code::unavailable, "{} did not say \"{}\" within {} ms; it said:\n{}", name_, part, limit.count(), tail());
    }
    std::this_thread::sleep_for(milliseconds(2));
  }
}

uint64_t Process::resident_bytes() const { return pid_ > 0 ? status_kib(pid_, "VmRSS:") * 1024 : 0; }
uint64_t Process::peak_resident_bytes() const { return pid_ > 0 ? status_kib(pid_, "VmHWM:") * 1024 : 0; }

std::string Process::output() const { return read_from(out_, out_from_) + read_from(err_, err_from_); }

std::string Process::tail(size_t lines) const {
  std::string text = output();
  size_t at = text.size();
  for (size_t n = 0; n <= lines && at != std::string::npos && at > 0; ++n) at = text.rfind('\n', at - 1);
  return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

Result<Finished> run_program(const std::string& program, const std::vector<std::string>& arguments, const std::filesystem::path& log,
                             milliseconds limit) {
  SKERRY_ASSIGN(Process process, Process::start(program, arguments, log));
  auto exit = process.wait(limit);
  if (!exit) {
    process.kill9();
    return fail(Code::unavailable, "{} did not end within {} ms; it said:\n{}", program, limit.count(), process.tail());
  }
  return Finished{*exit, process.output()};
}

}  // namespace skerry::e2e
