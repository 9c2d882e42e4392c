// `skerry-worker prune` and `skerry-worker distill`: a package made smaller, judged before and after as it would serve.
// On failure: as refine.h; a package is written whole or not at all.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace skerry::learning::worker {

// `words`: after the command's name. Answers what is to be printed: the report, or with --help the explanation. Error: invalid for words that
// are not understood.
Result<std::string> prune_command(const std::vector<std::string>& words);
Result<std::string> distill_command(const std::vector<std::string>& words);

}  // namespace skerry::learning::worker
