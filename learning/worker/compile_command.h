// `skerry-worker compile`: a model file or a package into plan.bin and a report of what became of each layer.
// On failure: an Error that names the file or the operation; an existing plan.bin stays as it was.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace skerry::learning::worker {

extern const char* const kCompileHelp;

// `words`: what follows "compile". Answers what is to be printed.
Result<std::string> compile_command(const std::vector<std::string>& words);

}  // namespace skerry::learning::worker
