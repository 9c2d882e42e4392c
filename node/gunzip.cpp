#include "node/internal/gunzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

namespace skerry::node {
namespace {

constexpr int kGzipOnly = 16;  // of windowBits: neither zlib's own header nor a guess
constexpr uint64_t kUsualRatio = 4;

class Inflater {
 public:
  Inflater() : ready_(::inflateInit2(&stream_, MAX_WBITS + kGzipOnly) == Z_OK) {}
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() {
    if (ready_) ::inflateEnd(&stream_);
  }
  bool ready() const { return ready_; }
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
  bool ready_;
};

// Room for more output, one byte beyond the limit at most: that byte tells a body that is too large.
void grow(std::string& out, uint64_t bytes_max) {
  out.resize(static_cast<size_t>(std::min<uint64_t>(bytes_max + 1, std::max<uint64_t>(2 * out.size(), 4096))));
}

}  // namespace

Result<std::string> gunzip(std::string_view packed, uint64_t bytes_max) {
  constexpr uint64_t kPieceMax = std::numeric_limits<uInt>::max();  // zlib counts in 32 bits
  if (packed.size() > kPieceMax || bytes_max >= kPieceMax) {
    return fail(Code::exhausted, "gzip bodies of 4 GiB and more are not unpacked");
  }
  Inflater inflater;
  if (!inflater.ready()) return fail(Code::unavailable, "no memory to unpack the gzip body: try again later");
  z_stream& stream = inflater.stream();
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out(static_cast<size_t>(std::min<uint64_t>(bytes_max + 1, kUsualRatio * packed.size() + 64)), '\0');
  size_t filled = 0;
  for (;;) {
    if (filled == out.size()) grow(out, bytes_max);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + filled);
    stream.avail_out = static_cast<uInt>(out.size() - filled);
    const int code = ::inflate(&stream, Z_NO_FLUSH);
    filled = out.size() - stream.avail_out;
    if (filled > bytes_max) return fail(Code::exhausted, "the gzip body unpacks to more than {} bytes", bytes_max);
    if (code == Z_STREAM_END) {
      if (stream.avail_in == 0) break;
      ::inflateReset(&stream);  // another member, or what is no gzip
    } else if (code == Z_MEM_ERROR) {
      return fail(Code::unavailable, "no memory to unpack the gzip body: try again later");
    } else if (code == Z_BUF_ERROR || (code == Z_OK && stream.avail_in == 0 && stream.avail_out > 0)) {
      return fail(Code::invalid, "the gzip body is cut off after {} bytes: send it whole", packed.size());
    } else if (code != Z_OK) {
      return fail(Code::invalid, "the body is not gzip, or damaged ({}): send the lines as they are, or packed as RFC 1952 says",
                  stream.msg ? stream.msg : "no reason given");
    }
  }
  out.resize(filled);
  return out;
}

}  // namespace skerry::node
