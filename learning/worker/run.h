// A job from its folder to its result. Everything it writes appears in one rename, so it may die at any instant: started again it
// goes on from the last checkpoint and gives the same result.
// On failure: an Error; the folder stays as it is, without result/.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace skerry::learning::worker {

// Does nothing when the folder has its result already. Error: invalid (the job can't be done as it is), corrupt, exhausted (disk),
// not_found.
Status run_job(const std::filesystem::path& folder);

// That parent + delta gives the candidate's weights bit for bit. Answers what was compared, in words. Error: corrupt when not.
Result<std::string> check_job(const std::filesystem::path& folder);

}  // namespace skerry::learning::worker
