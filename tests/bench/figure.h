// One measured figure against its target, and how a table of them is printed:
//   NAME VALUE UNIT [ratio PEER VALUE] target T ok|short
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace skerry::bench {

enum class Better { lower, higher };

struct Peer {               // what the value is compared with
  std::string name;
  double ratio = 0;         // value / the peer's value
};

struct Figure {
  std::string name;         // "swap_failures"
  double value = 0;
  std::string unit;         // "requests"
  double target = 0;
  Better better = Better::lower;
  std::optional<Peer> peer;
  std::string skipped;      // why it could not be measured; empty: it was
  bool judged = true;       // false in a smoke run: the numbers of a tiny version mean nothing

  bool holds() const;       // skipped figures hold
  std::string line() const;
};

std::string to_json(const std::vector<Figure>& figures);

}  // namespace skerry::bench
