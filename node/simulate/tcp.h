// A TCP connection as rounds of one window each: slow start from ten segments (RFC 6928), the window halved after a round with a loss and one segment
// more after one without (RFC 5681), what was lost sent again a round trip later, out of the next window (RFC 6675), a fresh start after idling (RFC 5681,
// 4.1). With a loss p its rate is that of Mathis, Semke, Mahdavi & Ott (1997), 1.31 * segment / (rtt * sqrt(p)) for losses at random. Queues do not
// overflow. Whoever sends over a simulated link, a node or the plain upload that it is compared with, sends through this.
// Threads: one.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/random.h"

namespace skerry::simulate {

struct TcpPath {
  uint64_t rate = 0;                 // bytes per second on the wire
  Duration rtt{0};
  double packet_loss = 0;            // share of segments that do not arrive
};

class TcpConnection {
 public:
  explicit TcpConnection(uint64_t seed) : random_(seed) {}
  // Of bytes handed over at `now`, behind what was handed over before: when the other side has the last of them. Opens the connection.
  SteadyTime send(SteadyTime now, uint64_t bytes, const TcpPath& path);
  void open(SteadyTime now, const TcpPath& path);  // ahead of what will be sent
  void close() { open_ = false; }

 private:
  void begin_round(SteadyTime at, const TcpPath& path);
  void end_round(const TcpPath& path);
  void lose(uint64_t segments, const TcpPath& path);

  Random random_;
  bool open_ = false;
  double window_ = 0, threshold_ = 0;     // segments
  uint64_t left_ = 0;                // of the window, in this round
  uint64_t again_ = 0;               // lost in this round
  SteadyTime round_{}, free_{};      // the round began; the next segment may leave
  SteadyTime arrived_{};             // all so far, in order
};

// How long a plain HTTP upload takes until its answer is there: connection, request, and 2 ms at the server.
Duration plain_upload(uint64_t bytes, const TcpPath& path, uint64_t seed);

}  // namespace skerry::simulate
