// Who may do what at a hub that is open to more than its own machine: a node delivers under its own name only, and only an operator reads.
// Somebody proves a name by a token (RFC 6750), by a client certificate whose common name it is, or by both when both are asked for.
// Threads: any. The file of tokens is read again when it has changed: a name that is taken out is shut out within a second.
// On failure: a file that cannot be used leaves the tokens as they were, and the log says so.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/http_server.h"

namespace skerry::hub {

inline constexpr const char* kOperator = "*";  // the name that may read everything, and deliver nothing

struct AccessOptions {
  std::filesystem::path tokens;   // lines of NAME and the SHA-256 of its token in hex; '#' begins a remark; empty: none are asked for
  bool certificates = false;      // the server has verified a client certificate
};

class Access {
 public:
  // Error: not_found, invalid (naming the line).
  static Result<std::unique_ptr<Access>> open(const AccessOptions& options, const Clock& clock);
  virtual ~Access() = default;

  // The name that a request proves; kOperator for everybody where nothing is asked for. Error: invalid, in words for the 401.
  virtual Result<std::string> who(const http::Request& request) = 0;
  virtual bool everybody() const = 0;   // nothing is asked for
};

// A fresh token of 256 bits, and the line for the file of tokens.
struct NewToken {
  std::string token, line;
};
Result<NewToken> make_token(const std::string& name);

}  // namespace skerry::hub
