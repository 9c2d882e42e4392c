#include <catch2/catch.hpp>

#include <cmath>

#include "node/simulate/tcp.h"

using namespace skerry;
using namespace skerry::simulate;
using namespace std::chrono_literals;

namespace {

double rate_of(uint64_t bytes, const TcpPath& path, uint64_t seed) {
  return static_cast<double>(bytes) / std::chrono::duration<double>(plain_upload(bytes, path, seed)).count();
}

}  // namespace

TEST_CASE("simulate: without losses a long upload goes at the rate of the line, a short one pays for the slow start") {
  const TcpPath path{.rate = 12'500'000, .rtt = 50ms};
  CHECK(rate_of(100'000'000, path, 1) == Approx(12.5e6).epsilon(0.05));
  // 14,600 bytes in the first window, then twice as many in each: 100 kB take three rounds after the connection.
  const double seconds = std::chrono::duration<double>(plain_upload(100'000, path, 1)).count();
  CHECK(seconds > 0.05 + 3 * 0.05);
  CHECK(seconds < 0.05 + 4 * 0.05 + 0.02);
}

TEST_CASE("simulate: with losses at random an upload goes at the rate that Mathis et al. give, whatever the line could carry") {
  for (const double loss : {0.001, 0.01}) {
    const TcpPath path{.rate = 125'000'000, .rtt = 50ms, .packet_loss = loss};
    const double expected = 1.31 * 1460 / 0.05 / std::sqrt(loss);
    double sum = 0;
    for (uint64_t seed = 1; seed <= 10; ++seed) sum += rate_of(400'000'000, path, seed);
    CHECK(sum / 10 == Approx(expected).epsilon(0.2));
  }
}

TEST_CASE("simulate: what is handed over piece by piece arrives in order, and no sooner than in one piece") {
  const TcpPath path{.rate = 625'000, .rtt = 60ms, .packet_loss = 0.02};
  TcpConnection connection(7);
  SteadyTime now{}, last{};
  for (int i = 0; i < 200; ++i) {
    const SteadyTime arrives = connection.send(now, 3000, path);
    CHECK((arrives >= last));
    CHECK((arrives >= now + 30ms));
    last = arrives;
    now += 5ms;
  }
  CHECK((last - SteadyTime{} > std::chrono::milliseconds(200 * 3000 / 625)));  // the line carries no more
}
