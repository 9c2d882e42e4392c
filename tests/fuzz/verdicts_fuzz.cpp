// labels.json of a job folder: what is accepted has a verdict per window and survives the way back. The first two bytes say how many windows.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "learning/worker/label_check.h"

using namespace skerry;
using namespace skerry::learning::worker;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t train = data[0], holdout = data[1];
  const auto verdicts = parse_verdicts({reinterpret_cast<const char*>(data) + 2, size - 2}, train, holdout);
  if (!verdicts.ok()) return 0;
  if (verdicts->train.size() != train || verdicts->holdout.size() != holdout || !count(*verdicts).consistent()) std::abort();
  const auto again = parse_verdicts(to_json(*verdicts), train, holdout);
  if (!again.ok() || again->train != verdicts->train || again->holdout != verdicts->holdout) std::abort();
  return 0;
}
