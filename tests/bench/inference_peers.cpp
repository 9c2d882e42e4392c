#include "tests/bench/inference_peers.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "inference/runtime.h"
#include "tests/bench/rounds.h"

namespace skerry::bench {
namespace {

namespace fs = std::filesystem;
constexpr int kAnswerLimitMs = 120'000;

// A node script that answers a line with a line.
class NodePeer final : public InferencePeer {
 public:
  ~NodePeer() override {
    ::close(to_);
    ::close(from_);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  static PeerResult start(const std::string& script, const fs::path& modules, const fs::path& file, const std::vector<int64_t>& shape) {
    if (!fs::is_directory(modules / "node_modules")) {
      return fail(Code::unavailable, "there is no {}: ./bench fetches it when npm and a network are there", (modules / "node_modules").string());
    }
    int in[2], out[2];
    if (::pipe(in) != 0 || ::pipe(out) != 0) return fail(Code::unavailable, "no pipe for node");
    auto peer = std::make_unique<NodePeer>();
    const std::string path = fs::absolute(fs::path(SKERRY_SOURCE_DIR) / "tests/bench/peers" / script).string(),
                      found = (fs::absolute(modules) / "node_modules").string();
    peer->pid_ = ::fork();
    if (peer->pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      for (int fd : {in[0], in[1], out[0], out[1]}) ::close(fd);
      ::setenv("NODE_PATH", found.c_str(), 1);
      ::execlp("node", "node", path.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    peer->to_ = in[1];
    peer->from_ = out[0];
    std::string dims;
    for (int64_t size : shape) dims += (dims.empty() ? "" : ",") + std::to_string(size);
    SKERRY_ASSIGN(std::string answer, peer->ask(fmt::format("load {} {}\n", fs::absolute(file).string(), dims)));
    if (answer != "ok") return fail(Code::unavailable, "{}", answer);
    return std::unique_ptr<InferencePeer>(std::move(peer));
  }

  Result<double> run(int64_t batch, int count) override {
    SKERRY_ASSIGN(std::string answer, ask(fmt::format("run {} {}\n", batch, count)));
    if (!answer.starts_with("us ")) return fail(Code::unavailable, "{}", answer);
    return std::strtod(answer.c_str() + 3, nullptr);
  }

 private:
  // Lines of others (a library that talks) are passed over.
  Result<std::string> ask(const std::string& line) {
    if (::write(to_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) return fail(Code::unavailable, "node has ended: is it installed?");
    for (;;) {
      SKERRY_ASSIGN(std::string answer, next_line());
      if (answer == "ok" || answer.starts_with("us ")) return answer;
      if (answer.starts_with("error ")) return fail(Code::unavailable, "{}", answer.substr(6, 200));
    }
  }
  Result<std::string> next_line() {
    for (;;) {
      if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return line;
      }
      struct pollfd ready {from_, POLLIN, 0};
      char bytes[4096];
      if (::poll(&ready, 1, kAnswerLimitMs) <= 0) return fail(Code::unavailable, "no answer within {} s", kAnswerLimitMs / 1000);
      const ssize_t got = ::read(from_, bytes, sizeof bytes);
      if (got <= 0) return fail(Code::unavailable, "node has ended: is it installed?");
      buffer_.append(bytes, static_cast<size_t>(got));
    }
  }

  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
  std::string buffer_;
};

Result<std::shared_ptr<inference::Session>> torch_session(const fs::path& file) {
  static const std::unique_ptr<inference::Runtime> runtime = inference::make_torch_runtime({});
  inference::Package package;
  package.folder = file.parent_path();
  package.info.int8_file = file.filename();
  package.info.engine = "onednn";
  return runtime->load(package);
}

class TorchPeer final : public InferencePeer {
 public:
  static PeerResult start(const fs::path& file, const std::vector<int64_t>& shape) {
    auto peer = std::make_unique<TorchPeer>();
    peer->shape_ = shape;
    SKERRY_ASSIGN(peer->session_, torch_session(file));
    return std::unique_ptr<InferencePeer>(std::move(peer));
  }

  Result<double> run(int64_t batch, int count) override {
    std::vector<int64_t> shape = shape_;
    shape.insert(shape.begin(), batch);
    int64_t size = 1;
    for (int64_t d : shape) size *= d;
    const std::vector<inference::Tensor> input = {inference::Tensor::fp32("x", shape, std::vector<float>(static_cast<size_t>(size), 0.5f))};
    std::vector<double> us;
    for (int i = 0; i < count; ++i) {
      const Stopwatch watch;
      SKERRY_TRY(session_->run(input));
      us.push_back(watch.seconds() * 1e6);
    }
    return median(us);
  }

 private:
  std::shared_ptr<inference::Session> session_;
  std::vector<int64_t> shape_;
};

}  // namespace

PeerResult onnxruntime_peer(const fs::path& modules, const fs::path& file, const std::vector<int64_t>& shape) {
  return NodePeer::start("onnxruntime.cjs", modules, file, shape);
}
PeerResult tflite_peer(const fs::path& modules, const fs::path& file, const std::vector<int64_t>& shape) {
  return NodePeer::start("tflite.cjs", modules, file, shape);
}
PeerResult torch_peer(const fs::path& file, const std::vector<int64_t>& shape) { return TorchPeer::start(file, shape); }

Result<std::vector<float>> torch_answers(const fs::path& file, const inference::graph::Array& samples) {
  SKERRY_ASSIGN(std::shared_ptr<inference::Session> session, torch_session(file));
  std::vector<float> out;
  const int64_t count = samples.shape[0];
  const auto each = static_cast<ptrdiff_t>(samples.data.size()) / count;
  constexpr int64_t kTogether = 50;
  for (int64_t at = 0; at < count; at += kTogether) {
    std::vector<int64_t> shape = samples.shape;
    shape[0] = std::min(kTogether, count - at);
    std::vector<float> part(samples.data.begin() + at * each, samples.data.begin() + (at + shape[0]) * each);
    SKERRY_ASSIGN(auto answers, session->run({inference::Tensor::fp32("x", shape, std::move(part))}));
    if (answers.size() != 1) return fail(Code::unavailable, "it gives {} tensors", answers.size());
    const std::vector<float> values = answers[0].floats();
    out.insert(out.end(), values.begin(), values.end());
  }
  return out;
}

}  // namespace skerry::bench
