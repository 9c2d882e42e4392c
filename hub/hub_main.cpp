// skerry-hub: the cloud side as one program. Thin: options, signals, threads; what it does is in receiver.h and api.h.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <optional>
#include <thread>

#include "base/http_server.h"
#include "base/log.h"
#include "base/units.h"
#include "hub/api.h"
#include "hub/receiver.h"
#include "sync/bundle.h"

namespace {

constexpr const char* kExamples = R"(
Nodes deliver to it with  sync.hub = "http://HOST:PORT"  in their config.

Examples:
  skerry-hub                                     listens on 127.0.0.1:8470, keeps everything in var/hub
  skerry-hub --new-token pump-7 >> tokens        a token for that node: its line goes into the file, the token to the node's sync.token_file
  skerry-hub --address 0.0.0.0 --certificate hub.pem --key hub.key --tokens tokens
                                                 for nodes on other machines: HTTPS, and each node proves its name
  skerry-hub --address 0.0.0.0 --certificate hub.pem --key hub.key --client-ca nodes.pem
                                                 the same with client certificates: common name = the node's name
  skerry-hub --models models                     also offers the packages in models/NAME/VERSION/
  curl http://127.0.0.1:8470/v1/nodes            who has delivered what
)";

// The token for a person's eyes, the line for the file.
int new_token(const std::string& name) {
  auto made = skerry::hub::make_token(name);
  if (!made.ok()) {
    std::fprintf(stderr, "skerry-hub: %s\n", made.error().message.c_str());
    return 1;
  }
  std::printf("%s\n", made->line.c_str());
  std::fprintf(stderr, "token of %s, shown this once: %s\n", name.c_str(), made->token.c_str());
  return 0;
}

int failed(const skerry::Error& error) {
  std::fprintf(stderr, "skerry-hub: %s\n", error.message.c_str());
  return 1;
}

// Waits for SIGINT or SIGTERM, or for the time to run out.
void wait_for_end(const sigset_t& signals, std::optional<skerry::Duration> time) {
  if (!time) {
    int signal = 0;
    sigwait(&signals, &signal);
    return;
  }
  const auto end = std::chrono::steady_clock::now() + *time;
  for (;;) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    const timespec wait{seconds.count(), std::chrono::nanoseconds(left - seconds).count()};
    if (sigtimedwait(&signals, nullptr, &wait) > 0) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace skerry;
  hub::ReceiverOptions receiver_options;
  hub::ApiOptions api_options;
  http::ServerOptions server_options;
  server_options.port = 8470;
  server_options.body_bytes_max = sync::kBundleBytesMax;  // the largest that is taken
  server_options.handler_threads = 4;
  std::string run_for, token_for;
  hub::AccessOptions access_options;
  http::TlsFiles tls;

  CLI::App app{"skerry-hub: receives what Skerry nodes send, each record once, and shows it."};
  app.footer(kExamples);
  app.add_option("--data", receiver_options.path, "folder of its store; made when missing")->capture_default_str();
  app.add_option("--port", server_options.port, "TCP port; 0 takes any free one")->capture_default_str();
  app.add_option("--address", server_options.address, "address to listen on; 0.0.0.0 for all")->capture_default_str();
  app.add_option("--models", api_options.models, "folder of model packages to offer, NAME/VERSION/");
  app.add_option("--name", receiver_options.name, "the hub's name towards nodes")->capture_default_str();
  app.add_option("--threads", server_options.handler_threads, "requests handled at the same time")->capture_default_str()->check(CLI::Range(1u, 256u));
  auto* certificate = app.add_option("--certificate", tls.certificate, "PEM file: serve HTTPS with it");
  auto* key = app.add_option("--key", tls.key, "PEM file of its key")->needs(certificate);
  certificate->needs(key);
  app.add_option("--client-ca", tls.client_ca, "PEM file of the authority of the nodes' certificates, which then are asked for")->needs(certificate);
  app.add_option("--tokens", access_options.tokens, "file of names and digests of tokens, which then are asked for; read again when it changes");
  app.add_option("--new-token", token_for, "print a new token of a node (or of *, an operator), and its line for --tokens; nothing is started");
  auto* bundle_key = app.add_option("--bundle-key", api_options.bundles.key, "PEM file: take bundles, and sign receipts with it (`skerry bundle keygen`)");
  auto* trusted = app.add_option("--bundle-trusted", api_options.bundles.trusted, "file of nodes' names and public keys, whose bundles are taken")->needs(bundle_key);
  bundle_key->needs(trusted);
  app.add_option("--for", run_for, "stop by itself after this time, e.g. 30s");
  CLI11_PARSE(app, argc, argv);

  if (!token_for.empty()) return new_token(token_for);
  api_options.bundles.models = api_options.models;
  api_options.bundles.name = receiver_options.name;
  if (!tls.certificate.empty()) server_options.tls = tls;
  access_options.certificates = !tls.client_ca.empty();

  std::optional<Duration> time;
  if (!run_for.empty()) {
    auto parsed = parse_duration(run_for);
    if (!parsed.ok()) return failed(fail(Code::invalid, "--for: {}", parsed.error().message));
    time = *parsed;
  }

  // Before any thread exists, so that the signals reach wait_for_end alone.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  auto receiver = hub::Receiver::open(receiver_options, system_clock());
  if (!receiver.ok()) return failed(receiver.error());
  auto access = hub::Access::open(access_options, system_clock());
  if (!access.ok()) return failed(access.error());
  hub::Api api(**receiver, api_options, system_clock(), access->get());
  auto server = http::Server::open(server_options, [&api](http::Request& request) { return api.handle(request); });
  if (!server.ok()) return failed(server.error());

  std::thread serving([&server] { (*server)->run(); });
  if ((*access)->everybody() && !server_options.address.starts_with("127.")) {
    log::warn("hub", "everybody who reaches {} may deliver and read: give --tokens or --client-ca", server_options.address);
  }
  std::printf("skerry-hub: listening on http%s://%s:%u\n", server_options.tls ? "s" : "", server_options.address.c_str(), static_cast<unsigned>((*server)->port()));
  std::fflush(stdout);

  wait_for_end(signals, time);
  (*server)->stop();
  serving.join();
  log::info("hub", "stopped");
  return 0;
}
