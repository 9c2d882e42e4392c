#include "plugins/internal/npy.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <string>

namespace skerry::plugins {
namespace {

static_assert(std::endian::native == std::endian::little, "values are copied as they lie in the file");

size_t bytes_of(NpyType type) {
  switch (type) {
    case NpyType::int16:
      return 2;
    case NpyType::int32:
    case NpyType::float32:
      return 4;
    case NpyType::float64:
      return 8;
  }
  return 8;
}

template <typename T>
double load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

double load(NpyType type, const char* at) {
  switch (type) {
    case NpyType::int16:
      return load<int16_t>(at);
    case NpyType::int32:
      return load<int32_t>(at);
    case NpyType::float32:
      return load<float>(at);
    case NpyType::float64:
      return load<double>(at);
  }
  return 0;
}

// The header is a Python dictionary with exactly three keys; this reads that and nothing more.
class HeaderText {
 public:
  explicit HeaderText(std::string_view text) : text_(text) {}

  bool take(char c) {
    skip_space();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool take_word(std::string_view word) {
    skip_space();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  bool take_string(std::string& out) {
    skip_space();
    if (text_.empty() || (text_.front() != '\'' && text_.front() != '"')) return false;
    size_t end = text_.find(text_.front(), 1);
    if (end == std::string_view::npos || end > 64) return false;
    out = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return true;
  }
  bool take_number(uint64_t& out) {  // digits only: a minus sign is refused
    skip_space();
    auto [end, code] = std::from_chars(text_.data(), text_.data() + text_.size(), out);
    if (code != std::errc()) return false;
    text_.remove_prefix(static_cast<size_t>(end - text_.data()));
    return true;
  }

 private:
  void skip_space() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n')) text_.remove_prefix(1);
  }
  std::string_view text_;
};

struct HeaderFields {
  std::string descr;
  bool fortran_order = false;
  std::vector<uint64_t> shape;
};

bool read_shape(HeaderText& text, std::vector<uint64_t>& shape) {
  if (!text.take('(')) return false;
  while (!text.take(')')) {
    uint64_t n = 0;
    if (shape.size() >= 8 || !text.take_number(n)) return false;
    shape.push_back(n);
    if (!text.take(',')) return text.take(')');
  }
  return true;
}

bool read_fields(std::string_view dictionary, HeaderFields& out) {
  HeaderText text(dictionary);
  if (!text.take('{')) return false;
  unsigned seen = 0;
  while (!text.take('}')) {
    std::string key;
    unsigned bit = 0;
    if (!text.take_string(key) || !text.take(':')) return false;
    if (key == "descr") {
      bit = 1;
      if (!text.take_string(out.descr)) return false;
    } else if (key == "fortran_order") {
      bit = 2;
      out.fortran_order = text.take_word("True");
      if (!out.fortran_order && !text.take_word("False")) return false;
    } else if (key == "shape") {
      bit = 4;
      if (!read_shape(text, out.shape)) return false;
    }
    if (bit == 0 || (seen & bit) != 0) return false;
    seen |= bit;
    if (!text.take(',')) {
      if (!text.take('}')) return false;
      break;
    }
  }
  return seen == 7;
}

Result<NpyType> type_named(const std::string& descr) {
  if (descr == "<i2") return NpyType::int16;
  if (descr == "<i4") return NpyType::int32;
  if (descr == "<f4") return NpyType::float32;
  if (descr == "<f8") return NpyType::float64;
  return fail(Code::invalid,
              "the values are of type '{}': save them with .astype('<f4'); '<i2', '<i4', '<f4' and '<f8' are read",
              descr);
}

}  // namespace

Result<NpyHeader> parse_npy_header(std::string_view start, uint64_t file_bytes) {
  if (!start.starts_with("\x93NUMPY") || start.size() < 12) {
    return fail(Code::invalid, "it is not an .npy file: save it with numpy.save");
  }
  auto byte = [&](size_t at) { return static_cast<uint8_t>(start[at]); };
  const unsigned version = byte(6);
  if (version != 1 && version != 2) {
    return fail(Code::invalid, "it has .npy version {}: 1 and 2 are read, save it with numpy.save", version);
  }
  const size_t text_at = version == 1 ? 10 : 12;
  uint64_t text_bytes = byte(8) | byte(9) << 8;
  if (version == 2) text_bytes |= static_cast<uint64_t>(byte(10)) << 16 | static_cast<uint64_t>(byte(11)) << 24;
  if (text_at + text_bytes > start.size()) {
    return fail(Code::invalid,
                "its header claims {} bytes: the file is cut short, or the header larger than {} bytes", text_bytes,
                kNpyHeaderBytesMax);
  }
  HeaderFields fields;
  if (!read_fields(start.substr(text_at, text_bytes), fields)) {
    return fail(Code::invalid,
                "its header is damaged: expected descr, fortran_order and a shape of non-negative numbers");
  }
  NpyHeader header;
  SKERRY_ASSIGN(header.type, type_named(fields.descr));
  if (fields.shape.size() != 2) {
    return fail(Code::invalid, "it has {} dimensions: two are needed, rows and columns", fields.shape.size());
  }
  header.fortran_order = fields.fortran_order;
  header.rows = fields.shape[0];
  header.columns = fields.shape[1];
  header.data_offset = text_at + text_bytes;
  const uint64_t data_bytes = file_bytes - std::min(file_bytes, header.data_offset);
  uint64_t values = 0, needed = 0;
  if (__builtin_mul_overflow(header.rows, header.columns, &values) ||
      __builtin_mul_overflow(values, bytes_of(header.type), &needed) || needed != data_bytes || values == 0) {
    return fail(Code::invalid,
                "its header says {} x {} values, but {} bytes of data follow: the file is damaged or cut short, "
                "copy it again",
                header.rows, header.columns, data_bytes);
  }
  return header;
}

Result<NpyFile> NpyFile::open(const std::filesystem::path& path) {
  SKERRY_ASSIGN(InputFile file, InputFile::open(path));
  std::string start(std::min<uint64_t>(file.size(), kNpyHeaderBytesMax), '\0');
  SKERRY_ASSIGN(size_t got, file.read_at(0, start.data(), start.size()));
  start.resize(got);
  Result<NpyHeader> header = parse_npy_header(start, file.size());
  if (!header) return fail(header.error().code, "cannot use {}: {}", path.string(), header.error().message);
  return NpyFile(std::move(file), *header);
}

Result<std::vector<std::vector<double>>> NpyFile::read(uint64_t first, uint64_t count) const {
  if (first > header_.rows || count > header_.rows - first) {
    return fail(Code::invalid, "rows {} to {} of {}: it has {}", first, first + count, file_.path().string(),
                header_.rows);
  }
  const size_t item = bytes_of(header_.type);
  std::vector<std::vector<double>> out(header_.columns, std::vector<double>(count));
  auto cut_short = [&] {
    return fail(Code::corrupt, "{} has become shorter: copy it again", file_.path().string());
  };
  // In Fortran order a column is contiguous, in C order a row is: one read per column, or one for all.
  std::string buffer(item * count * (header_.fortran_order ? 1 : header_.columns), '\0');
  for (uint64_t c = 0; c < header_.columns; ++c) {
    if (header_.fortran_order || c == 0) {
      const uint64_t value = header_.fortran_order ? c * header_.rows + first : first * header_.columns;
      SKERRY_ASSIGN(size_t got, file_.read_at(header_.data_offset + value * item, buffer.data(), buffer.size()));
      if (got != buffer.size()) return cut_short();
    }
    for (uint64_t r = 0; r < count; ++r) {
      out[c][r] = load(header_.type, buffer.data() + item * (header_.fortran_order ? r : r * header_.columns + c));
    }
  }
  return out;
}

}  // namespace skerry::plugins
