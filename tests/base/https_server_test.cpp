// The HTTP server behind TLS: the same requests, and who is let in.
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "base/http_server.h"
#include "tests/support/certificates.h"
#include "tests/support/temp_dir.h"

using namespace skerry;
using Catch::Matchers::Contains;

namespace {

namespace asio = boost::asio;

class Serving {
 public:
  explicit Serving(const http::TlsFiles& tls) {
    auto server = http::Server::open({.tls = tls}, [](http::Request& r) {
      http::Response response{.body = fmt::format("{} bytes from '{}'", r.body.size(), r.peer)};
      if (r.path == "/large") response.body = std::string(3 << 20, 'x');
      return response;
    });
    REQUIRE(server.ok());
    server_ = std::move(*server);
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Serving() {
    server_->stop();
    thread_.join();
  }
  uint16_t port() const { return server_->port(); }

 private:
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
};

struct Visit {
  std::filesystem::path trusts;
  std::optional<test::CertificateFiles> shows;
};

// All that is answered to a request that closes the connection; what went wrong, when something did.
std::string ask(uint16_t port, const Visit& visit, const std::string& target, const std::string& body = "") try {
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tls_client);
  context.load_verify_file(visit.trusts.string());
  context.set_verify_mode(asio::ssl::verify_peer);
  if (visit.shows) {
    context.use_certificate_chain_file(visit.shows->certificate.string());
    context.use_private_key_file(visit.shows->key.string(), asio::ssl::context::pem);
  }
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  stream.set_verify_callback(asio::ssl::rfc2818_verification("127.0.0.1"));
  stream.next_layer().connect({asio::ip::address_v4::loopback(), port});
  stream.handshake(asio::ssl::stream_base::client);
  asio::write(stream, asio::buffer(fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", target, body.size(), body)));
  std::string answer;
  boost::system::error_code error;
  asio::read(stream, asio::dynamic_buffer(answer), error);
  return error == asio::error::eof ? answer : answer + "\nended: " + error.message();
} catch (const std::exception& e) {
  return fmt::format("failed: {}", e.what());
}

}  // namespace

TEST_CASE("https: requests and large answers go through, and the end is the server's own") {
  test::TempDir folder;
  test::Authority authority(folder.path(), "authority");
  const auto own = authority.issue("hub");
  Serving serving({own.certificate, own.key, {}});
  CHECK_THAT(ask(serving.port(), {authority.certificate(), {}}, "/", std::string(2 << 20, 'y')), Contains("200 OK") && Contains("2097152 bytes from ''"));
  const std::string large = ask(serving.port(), {authority.certificate(), {}}, "/large");
  CHECK(large.size() > (3 << 20));
  CHECK_THAT(large.substr(large.size() - 40), Catch::Matchers::EndsWith("xxxx"));
}

TEST_CASE("https: a client sees that the certificate is of somebody else, or of another machine") {
  test::TempDir folder;
  test::Authority authority(folder.path(), "authority"), stranger(folder.path(), "stranger");
  const auto own = authority.issue("hub");
  Serving serving({own.certificate, own.key, {}});
  CHECK_THAT(ask(serving.port(), {stranger.certificate(), {}}, "/"), Contains("certificate verify failed"));
  const auto elsewhere = authority.issue("elsewhere", "10.1.2.3");
  Serving wrong({elsewhere.certificate, elsewhere.key, {}});
  CHECK_THAT(ask(wrong.port(), {authority.certificate(), {}}, "/"), Contains("certificate verify failed"));
}

TEST_CASE("https: with an authority for clients nobody else is let in, and the name of who is let in is known") {
  test::TempDir folder;
  test::Authority authority(folder.path(), "authority"), stranger(folder.path(), "stranger");
  const auto own = authority.issue("hub"), pump = authority.issue("pump-1"), other = stranger.issue("pump-2");
  Serving serving({own.certificate, own.key, authority.certificate()});
  CHECK_THAT(ask(serving.port(), {authority.certificate(), pump}, "/"), Contains("from 'pump-1'"));
  CHECK_THAT(ask(serving.port(), {authority.certificate(), {}}, "/"), !Contains("200 OK"));
  CHECK_THAT(ask(serving.port(), {authority.certificate(), other}, "/"), !Contains("200 OK"));
  CHECK_THAT(ask(serving.port(), {authority.certificate(), pump}, "/"), Contains("from 'pump-1'"));  // nobody was harmed
}

TEST_CASE("https: who speaks plain HTTP, or nothing that is TLS, is turned away and harms nobody") {
  test::TempDir folder;
  test::Authority authority(folder.path(), "authority");
  const auto own = authority.issue("hub");
  Serving serving({own.certificate, own.key, {}});
  asio::io_context io;
  for (const std::string& words : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(70'000, '\x16')}) {
    asio::ip::tcp::socket socket(io);
    boost::system::error_code error;
    socket.connect({asio::ip::address_v4::loopback(), serving.port()});
    asio::write(socket, asio::buffer(words), error);
    std::string answer;
    asio::read(socket, asio::dynamic_buffer(answer), error);
    CHECK_THAT(answer, !Contains("200"));
  }
  CHECK_THAT(ask(serving.port(), {authority.certificate(), {}}, "/"), Contains("200 OK"));
}

TEST_CASE("https: a file that cannot be used is named") {
  test::TempDir folder;
  test::Authority authority(folder.path(), "authority");
  const auto own = authority.issue("hub"), other = authority.issue("other");
  std::ofstream(folder / "junk.pem") << "junk";
  auto open = [&](const http::TlsFiles& tls) {
    auto server = http::Server::open({.tls = tls}, [](http::Request&) { return http::Response{}; });
    return server.ok() ? std::string() : server.error().message;
  };
  CHECK_THAT(open({folder / "none.pem", own.key, {}}), Contains("none.pem"));
  CHECK_THAT(open({own.certificate, other.key, {}}), Contains("other.key"));
  CHECK_THAT(open({own.certificate, own.key, folder / "junk.pem"}), Contains("junk.pem"));
}
