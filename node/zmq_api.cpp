#include "node/zmq_api.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>
#include <zmq.hpp>

#include "base/log.h"
#include "node/internal/infer_message.h"
#include "node/internal/rest.h"

namespace skerry::node {
namespace {

using Frames = std::vector<zmq::message_t>;

constexpr size_t kFramesMax = 20;        // routing id, delimiter, JSON, tensors
constexpr int kMessagesPerStep = 64;

std::string_view view(const zmq::message_t& frame) { return {static_cast<const char*>(frame.data()), frame.size()}; }

// What comes before a request's JSON, and goes back before its answer: the routing id, and the empty frame of a REQ socket.
struct Envelope {
  std::string peer;
  bool delimited = false;
};

struct Outgoing {
  Envelope envelope;
  std::string json;
  std::vector<std::string> raw;
};

// Answers of other threads wait here; the socket's thread is woken by a file descriptor.
class Mailbox {
 public:
  Mailbox() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { SKERRY_CHECK(fd_ >= 0, "eventfd: out of file descriptors"); }
  ~Mailbox() { ::close(fd_); }
  Mailbox(const Mailbox&) = delete;
  int fd() const { return fd_; }
  bool filled() const { return filled_; }
  void put(Outgoing message) {
    std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    filled_ = true;
    const uint64_t one = 1;
    [[maybe_unused]] auto ignored = ::write(fd_, &one, sizeof one);  // full: it is readable already
  }
  std::deque<Outgoing> take() {
    if (!filled_) return {};
    std::lock_guard lock(mutex_);
    filled_ = false;
    uint64_t count = 0;
    [[maybe_unused]] auto ignored = ::read(fd_, &count, sizeof count);
    return std::exchange(messages_, {});
  }

 private:
  const int fd_;
  std::atomic<bool> filled_{false};  // spares a look that costs a system call
  std::mutex mutex_;
  std::deque<Outgoing> messages_;
};

Outgoing refusal(Envelope envelope, const std::optional<std::string>& id, const Error& error) {
  nlohmann::json body = {{"error", error.message}, {"status", http::error_response(error).status}};
  if (id) body["id"] = *id;
  return {std::move(envelope), body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), {}};
}

}  // namespace

struct ZmqApi::Impl {
  Impl(const ZmqOptions& o, Node& n) : options(o), node(n), context(1), socket(context, zmq::socket_type::router), socket_fd(socket.get(zmq::sockopt::fd)) {}

  Status bind(const std::string& endpoint) {
    try {
      socket.bind(endpoint);
      endpoints += (endpoints.empty() ? "" : " ") + socket.get(zmq::sockopt::last_endpoint);
      return {};
    } catch (const zmq::error_t& e) {
      return fail(Code::unavailable, "cannot listen on {}: {}; is another instance running? choose another in [zeromq]", endpoint, e.what());
    }
  }

  // Until something may have come. The socket's descriptor says so once (ZMQ_FD): only after receive() has found nothing may one wait for it.
  bool wait(Duration patience) const {
    pollfd both[] = {{socket_fd, POLLIN, 0}, {mailbox.fd(), POLLIN, 0}};
    return ::poll(both, 2, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(patience).count())) > 0;
  }

  // One message of a peer, all its frames taken off the socket. Empty: none is there.
  Frames receive() {
    Frames frames;
    for (bool more = true; more;) {
      zmq::message_t frame;
      if (!socket.recv(frame, zmq::recv_flags::dontwait)) break;
      more = frame.more();
      if (frames.size() <= kFramesMax) frames.push_back(std::move(frame));  // further ones are only read
    }
    return frames;
  }

  // Who asks in a loop asks again about as soon as the answer is there. To sleep until then and be woken takes longer than a small model does,
  // so after a message that came that soon the next one is awaited awake; a caller with pauses between its requests costs nothing more.
  Frames receive_soon() {
    Frames frames = receive();
    while (frames.empty() && prompt && !mailbox.filled() && std::chrono::steady_clock::now() < answered + options.spin) frames = receive();
    return frames;
  }

  void answer(Frames frames) {
    prompt = std::chrono::steady_clock::now() < answered + options.spin;
    messages += 1;
    handle(std::move(frames));
    answered = std::chrono::steady_clock::now();
  }

  void send(const Outgoing& out) {
    auto frame = [&](std::string_view bytes, bool more) {
      const auto flags = zmq::send_flags::dontwait | (more ? zmq::send_flags::sndmore : zmq::send_flags::none);
      return socket.send(zmq::buffer(bytes), flags).has_value();
    };
    if (!frame(out.envelope.peer, true)) return;
    if (out.envelope.delimited) frame("", true);
    frame(out.json, !out.raw.empty());
    for (size_t i = 0; i < out.raw.size(); ++i) frame(out.raw[i], i + 1 < out.raw.size());
  }

  void handle(Frames frames) {
    Envelope envelope{std::string(view(frames.front())), frames.size() > 1 && frames[1].size() == 0};
    const size_t head = envelope.delimited ? 2 : 1;
    if (frames.size() > kFramesMax || frames.size() <= head) {
      return send(refusal(std::move(envelope), std::nullopt,
                          fail(Code::invalid, "a message is a frame of JSON and at most {} of tensors", kFramesMax - 3)));
    }
    std::vector<std::string_view> tensors;
    for (size_t i = head + 1; i < frames.size(); ++i) tensors.push_back(view(frames[i]));
    std::optional<std::string> id;
    Status asked = ask(envelope, view(frames[head]), std::move(tensors), id);
    if (!asked.ok()) send(refusal(std::move(envelope), id, asked.error()));
  }

  Status ask(const Envelope& envelope, std::string_view text, std::vector<std::string_view> tensors, std::optional<std::string>& id) {
    Address address;
    std::shared_ptr<const inference::LoadedModel> model;
    auto find = [&](const Address& asked) -> Result<ModelSpecs> {
      address = asked;
      SKERRY_ASSIGN(model, node.engine().find(asked.model, asked.version));
      return ModelSpecs{model->package.info, model->inputs, model->outputs};
    };
    SKERRY_ASSIGN(InferRequest parsed, parse_addressed(text, RawTensors::in_frames(std::move(tensors)), find, id));
    auto request = std::make_shared<InferRequest>(std::move(parsed));
    inference::Job job{address.model, address.version, std::move(request->inputs), request->priority, request->timeout};
    const auto here = std::this_thread::get_id();
    node.scheduler().submit(std::move(job), inference::Scheduler::Caller::must_not_block,
                            [this, envelope, request, model, here](Result<inference::Answer> answer) {
                              Outgoing out = answer.ok() ? written(envelope, *request, *model, *answer)
                                                         : refusal(envelope, request->id, answer.error());
                              if (std::this_thread::get_id() == here) send(out);
                              else mailbox.put(std::move(out));
                            });
    return {};
  }

  static Outgoing written(const Envelope& envelope, const InferRequest& request, const inference::LoadedModel& model,
                          const inference::Answer& answer) {
    InferAnswer text = write_infer(answer, request, model.package.info);
    return {envelope, std::move(text.json), std::move(text.raw)};
  }

  const ZmqOptions options;
  Node& node;
  zmq::context_t context;
  zmq::socket_t socket;
  const int socket_fd;
  Mailbox mailbox;
  std::string endpoints;
  SteadyTime answered{};  // the last message, on the machine's own clock: it is about threads, not about data
  bool prompt = false;    // it had come soon after the one before
  std::atomic<uint64_t> messages{0};
};

ZmqApi::ZmqApi(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ZmqApi::~ZmqApi() = default;

Result<std::unique_ptr<ZmqApi>> ZmqApi::open(const ZmqOptions& options, const std::filesystem::path& data_dir, Node& node) try {
  if (options.ipc.empty() && options.tcp.empty()) return fail(Code::invalid, "[zeromq] is enabled without an endpoint: set ipc or tcp");
  auto impl = std::make_unique<Impl>(options, node);
  impl->socket.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(options.message_bytes_max));
  impl->socket.set(zmq::sockopt::rcvhwm, static_cast<int>(options.messages_max));
  impl->socket.set(zmq::sockopt::sndhwm, static_cast<int>(options.messages_max));
  impl->socket.set(zmq::sockopt::linger, 0);
  if (!options.ipc.empty()) SKERRY_TRY(impl->bind("ipc://" + (std::filesystem::absolute(data_dir) / options.ipc).string()));
  if (!options.tcp.empty()) SKERRY_TRY(impl->bind("tcp://" + options.tcp));
  return std::unique_ptr<ZmqApi>(new ZmqApi(std::move(impl)));
} catch (const zmq::error_t& e) {
  return fail(Code::unavailable, "ZeroMQ can't be set up: {}", e.what());
}

Duration ZmqApi::step(Duration patience) try {
  for (int i = 0; i < kMessagesPerStep; ++i) {
    for (const Outgoing& out : impl_->mailbox.take()) impl_->send(out);
    Frames frames = impl_->receive_soon();
    if (frames.empty()) {
      if (i > 0) return Duration::zero();
      if (!impl_->wait(patience)) return Duration::zero();
      continue;
    }
    impl_->answer(std::move(frames));
  }
  return Duration::zero();
} catch (const zmq::error_t& e) {
  log::warn("zeromq", "a message was dropped: {}", e.what());
  return std::chrono::milliseconds(10);
}

uint64_t ZmqApi::messages() const { return impl_->messages; }
const std::string& ZmqApi::endpoints() const { return impl_->endpoints; }

}  // namespace skerry::node
