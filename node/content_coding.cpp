#include "node/internal/content_coding.h"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <limits>

namespace skerry::node {
namespace {

constexpr int kGzipOnly = 16;  // of windowBits: neither zlib's own header nor a guess
constexpr int kPackLevel = 4;  // a gateway's processor is dearer than the last percent
constexpr uint64_t kUsualRatio = 4;

class Inflater {
 public:
  explicit Inflater(int window_bits) : ready_(::inflateInit2(&stream_, window_bits) == Z_OK) {}
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

// RFC 1950, 2.2: the method is 8, and the two first bytes are a multiple of 31.
bool has_zlib_header(std::string_view packed) {
  if (packed.size() < 2) return false;
  const auto first = static_cast<unsigned char>(packed[0]), second = static_cast<unsigned char>(packed[1]);
  return (first & 0x0f) == 8 && (first * 256 + second) % 31 == 0;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// "gzip;q=0.5": its weight, 1 when it has none.
double weight_of(std::string_view parameters) {
  const std::string_view q = trimmed(parameters);
  if (q.size() < 3 || (q[0] != 'q' && q[0] != 'Q') || q[1] != '=') return 1;
  return std::strtod(std::string(q.substr(2, 8)).c_str(), nullptr);
}

Result<std::string> inflate_all(std::string_view packed, Coding coding, uint64_t bytes_max) {
  const char* const name = to_string(coding);
  constexpr uint64_t kPieceMax = std::numeric_limits<uInt>::max();  // zlib counts in 32 bits
  if (packed.size() > kPieceMax || bytes_max >= kPieceMax) {
    return fail(Code::exhausted, "{} bodies of 4 GiB and more are not unpacked", name);
  }
  const bool gzip = coding == Coding::gzip;
  Inflater inflater(gzip ? MAX_WBITS + kGzipOnly : has_zlib_header(packed) ? MAX_WBITS : -MAX_WBITS);
  if (!inflater.ready()) return fail(Code::unavailable, "no memory to unpack the {} body: try again later", name);
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
    if (filled > bytes_max) return fail(Code::exhausted, "the {} body unpacks to more than {} bytes", name, bytes_max);
    if (code == Z_STREAM_END) {
      if (stream.avail_in == 0) break;
      if (!gzip) return fail(Code::invalid, "the deflate body has {} bytes behind its end", stream.avail_in);
      ::inflateReset(&stream);  // another member, or what is no gzip
    } else if (code == Z_MEM_ERROR) {
      return fail(Code::unavailable, "no memory to unpack the {} body: try again later", name);
    } else if (code == Z_BUF_ERROR || (code == Z_OK && stream.avail_in == 0 && stream.avail_out > 0)) {
      return fail(Code::invalid, "the {} body is cut off after {} bytes: send it whole", name, packed.size());
    } else if (code != Z_OK) {
      return fail(Code::invalid, "the body is not {}, or damaged ({}): send it as it is, or packed as RFC {} says", name,
                  stream.msg ? stream.msg : "no reason given", gzip ? "1952" : "1950");
    }
  }
  out.resize(filled);
  return out;
}

}  // namespace

const char* to_string(Coding coding) {
  return coding == Coding::gzip ? "gzip" : coding == Coding::deflate ? "deflate" : "identity";
}

std::optional<Coding> content_coding(std::string_view header) {
  header = trimmed(header);
  if (header.empty()) return Coding::identity;
  for (Coding coding : {Coding::identity, Coding::gzip, Coding::deflate}) {
    if (same_word(header, to_string(coding))) return coding;
  }
  return std::nullopt;
}

Coding accepted_coding(std::string_view header) {
  Coding best = Coding::identity;
  double best_weight = 0;
  while (!header.empty()) {
    std::string_view item = header.substr(0, header.find(','));
    header.remove_prefix(std::min(header.size(), item.size() + 1));
    const size_t semicolon = item.find(';');
    const std::string_view name = trimmed(item.substr(0, semicolon));
    const double weight = semicolon == std::string_view::npos ? 1 : weight_of(item.substr(semicolon + 1));
    for (Coding coding : {Coding::gzip, Coding::deflate}) {
      if (weight <= best_weight || !same_word(name, to_string(coding))) continue;
      best = coding;
      best_weight = weight;
    }
  }
  return best;
}

Result<std::string> unpack(std::string_view packed, Coding coding, uint64_t bytes_max) {
  if (coding == Coding::identity) return std::string(packed);
  return inflate_all(packed, coding, bytes_max);
}

Result<std::string> gunzip(std::string_view packed, uint64_t bytes_max) { return inflate_all(packed, Coding::gzip, bytes_max); }

Result<std::string> pack(std::string_view plain, Coding coding) {
  if (coding == Coding::identity) return std::string(plain);
  z_stream stream{};
  if (::deflateInit2(&stream, kPackLevel, Z_DEFLATED, coding == Coding::gzip ? MAX_WBITS + kGzipOnly : MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return fail(Code::unavailable, "no memory to pack the answer: try again later");
  }
  std::string out(::deflateBound(&stream, static_cast<uLong>(plain.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int code = ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (code != Z_STREAM_END) return fail(Code::internal, "an answer of {} bytes can't be packed", plain.size());
  return out;
}

}  // namespace skerry::node
