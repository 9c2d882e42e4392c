#include "plugins/internal/csv.h"

namespace skerry::plugins {

Result<int> CsvReader::peek() {
  if (at_ == buffer_.size()) {
    buffer_.resize(64 << 10);
    Result<size_t> got = read_(buffer_.data(), buffer_.size());
    buffer_.resize(got ? *got : 0);
    at_ = 0;
    if (!got) return got.error();
    if (buffer_.empty()) return -1;
  }
  return static_cast<unsigned char>(buffer_[at_]);
}

Result<int> CsvReader::get() {
  SKERRY_ASSIGN(int c, peek());
  if (c >= 0) ++at_;
  if (c == '\n') ++line_;
  return c;
}

Result<bool> CsvReader::next(std::vector<std::string>& fields) {
  if (!started_) {
    started_ = true;
    SKERRY_TRY(peek());
    if (buffer_.starts_with("\xEF\xBB\xBF")) at_ = 3;
  }
  SKERRY_ASSIGN(int c, get());
  while (c == '\n' || c == '\r') {
    SKERRY_ASSIGN(c, get());
  }
  if (c < 0) return false;

  row_line_ = line_;
  fields.clear();
  std::string field;
  size_t row_bytes = 0;
  bool quoted = false;
  // The first byte of a field decides whether it is quoted; a quote elsewhere is an ordinary character.
  bool at_start = true;
  while (true) {
    if (++row_bytes > kCsvRowBytesMax) {
      return fail(Code::invalid, "line {}: a row of more than {} bytes: is a quote missing its end?", row_line_,
                  kCsvRowBytesMax);
    }
    if (quoted) {
      if (c < 0) return fail(Code::invalid, "line {}: a quoted field never ends: close its quote", row_line_);
      if (c == '"') {
        SKERRY_ASSIGN(int following, peek());
        if (following == '"') {
          field += '"';
          SKERRY_TRY(get());
        } else {
          quoted = false;
        }
      } else {
        field += static_cast<char>(c);
      }
    } else if (at_start && c == '"') {
      quoted = true;
      at_start = false;
    } else if (c == ',' || c == '\n' || c < 0) {
      if (c != ',' && !field.empty() && field.back() == '\r') field.pop_back();
      fields.push_back(std::move(field));
      field.clear();
      if (c != ',') return true;
      at_start = true;
      if (fields.size() >= kCsvFieldsMax) {
        return fail(Code::invalid, "line {}: more than {} fields", row_line_, kCsvFieldsMax);
      }
    } else {
      field += static_cast<char>(c);
      at_start = false;
    }
    SKERRY_ASSIGN(c, get());
  }
}

}  // namespace skerry::plugins
