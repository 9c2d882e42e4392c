#include "plugins/internal/recording_folder.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "plugins/internal/csv.h"

namespace skerry::plugins {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kMetaBytesMax = 1 << 20;
constexpr uint64_t kIndexBytesMax = 64 << 20;
constexpr size_t kRecordingsMax = 1'000'000;
constexpr double kPlaybackNsMax = 3e18;  // 95 years

Result<fs::path> find_array(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code code;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
    if (entry->path().extension() == ".npy") found.push_back(entry->path());
  }
  if (code) return fail(Code::not_found, "cannot list {}: {}", folder.string(), code.message());
  if (found.size() != 1) {
    return fail(Code::invalid, "{} has {} .npy files: exactly one is needed beside meta.json and index.csv",
                folder.string(), found.size());
  }
  return found.front();
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at <= text.size()) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string part = text.substr(at, end - at);
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    out.push_back(std::move(part));
    at = end + 1;
  }
  return out;
}

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

Result<uint64_t> count_in(const std::map<std::string, std::string>& cells, const std::string& name) {
  const std::string& text = cells.at(name);
  uint64_t value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) {
    return fail(Code::invalid, "{} is '{}': a whole number of rows, 0 or more, is needed", name,
                text.substr(0, 32));
  }
  return value;
}

// {} when the member is missing or anything but a list of texts.
std::vector<std::string> texts(const Json& meta, const char* name) {
  std::vector<std::string> out;
  if (!meta.contains(name) || !meta[name].is_array()) return out;
  for (const Json& item : meta[name]) {
    if (!item.is_string()) return {};
    out.push_back(item.get<std::string>());
  }
  return out;
}

}  // namespace

Result<RecordingFolder> RecordingFolder::open(const fs::path& folder,
                                              const std::map<std::string, std::string>& select) {
  SKERRY_ASSIGN(fs::path array_path, find_array(folder));
  SKERRY_ASSIGN(NpyFile array, NpyFile::open(array_path));
  RecordingFolder out(std::move(array));
  SKERRY_TRY(out.read_meta(folder / "meta.json"));
  SKERRY_TRY(out.read_index(folder / "index.csv", select));
  SKERRY_TRY(out.lay_out());
  return out;
}

Status RecordingFolder::read_meta(const fs::path& path) {
  SKERRY_ASSIGN(std::string text, read_file(path, kMetaBytesMax));
  const Json meta = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  auto wrong = [&](std::string_view why) { return fail(Code::invalid, "{}: {}", path.string(), why); };
  if (!meta.is_object()) return wrong("it is not a JSON object with columns, scale, rate_hz and labels");
  columns_ = texts(meta, "columns");
  const size_t width = array_.header().columns;
  if (columns_.size() != width || width > kBatchColumnsMax) {
    return wrong(fmt::format("columns must name the {} columns of the array, at most {}", width, kBatchColumnsMax));
  }
  std::set<std::string> seen;
  for (const std::string& name : columns_) {
    const bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20; });
    if (name.empty() || name.size() > kNameBytesMax || control || !seen.insert(name).second) {
      return wrong("columns must be different names, without control characters");
    }
  }
  if (!meta.contains("rate_hz") || !meta["rate_hz"].is_number())
    return wrong("rate_hz is missing: how many rows are a second?");
  rate_hz_ = meta["rate_hz"].get<double>();
  if (!(rate_hz_ >= 1e-3 && rate_hz_ <= 1e6)) return wrong("rate_hz must be between 0.001 and 1000000");
  scale_.assign(width, 1.0);
  if (meta.contains("scale")) {
    const Json& scale = meta["scale"];
    if (!scale.is_array() || scale.size() != width) return wrong("scale must have one number per column");
    for (size_t i = 0; i < width; ++i) {
      if (!scale[i].is_number() || !std::isfinite(scale[i].get<double>()))
        return wrong("scale must have one number per column");
      scale_[i] = scale[i].get<double>();
    }
  }
  labels_ = texts(meta, "labels");
  return {};
}

Status RecordingFolder::read_index(const fs::path& path, const std::map<std::string, std::string>& select) {
  SKERRY_ASSIGN(std::string text, read_file(path, kIndexBytesMax));
  size_t at = 0;
  CsvReader reader([&](char* out, size_t bytes) -> Result<size_t> {
    size_t n = std::min(bytes, text.size() - at);
    std::copy_n(text.data() + at, n, out);
    at += n;
    return n;
  });
  auto in_file = [&](const Error& error) {
    return fail(error.code, "{}:{}: {}", path.string(), reader.line(), error.message);
  };
  std::vector<std::string> header, cells;
  Result<bool> more = reader.next(header);
  if (!more) return in_file(more.error());
  auto known = [&](const std::string& name) {
    return std::find(header.begin(), header.end(), name) != header.end();
  };
  for (const char* name : {"offset", "length"}) {
    if (!known(name))
      return fail(Code::invalid, "{}: column '{}' is missing from its first line", path.string(), name);
  }
  for (const auto& [name, value] : select) {
    if (!known(name)) {
      return fail(Code::invalid, "cannot select by '{}': {} has {}", name, path.string(), join(header));
    }
  }
  while (true) {
    more = reader.next(cells);
    if (!more) return in_file(more.error());
    if (!*more) break;
    if (cells.size() != header.size()) {
      return in_file(fail(Code::invalid, "{} fields, but the first line names {}", cells.size(), header.size()));
    }
    std::map<std::string, std::string> row;
    for (size_t i = 0; i < header.size(); ++i) row[header[i]] = cells[i];
    Result<RecordingInfo> recording = make_recording(std::move(row));
    if (!recording) return in_file(recording.error());
    const bool selected = std::all_of(select.begin(), select.end(), [&](const auto& wanted) {
      const std::vector<std::string> values = split(wanted.second);
      return std::find(values.begin(), values.end(), recording->index.at(wanted.first)) != values.end();
    });
    if (!selected) continue;
    if (recordings_.size() >= kRecordingsMax) {
      return fail(Code::invalid, "{} lists more than {} recordings: split the folder", path.string(),
                  kRecordingsMax);
    }
    recordings_.push_back(std::move(recording).value());
  }
  if (recordings_.empty()) {
    return fail(Code::not_found, "no recording of {} is selected: check the values of select", path.string());
  }
  return {};
}

Result<RecordingInfo> RecordingFolder::make_recording(std::map<std::string, std::string> cells) const {
  RecordingInfo out;
  SKERRY_ASSIGN(out.offset, count_in(cells, "offset"));
  SKERRY_ASSIGN(out.length, count_in(cells, "length"));
  const uint64_t rows = array_.header().rows;
  if (out.length == 0 || out.offset > rows || out.length > rows - out.offset) {
    return fail(Code::invalid,
                "offset {} and length {} leave the array of {} rows: is this the index of another array?",
                out.offset, out.length, rows);
  }
  for (const auto& [name, value] : cells) {
    const bool known =
        std::find(kRecordingColumns.begin(), kRecordingColumns.end(), name) != kRecordingColumns.end();
    if (!known && !name.empty() && !value.empty()) out.tags[name] = value;
  }
  if (auto activity = cells.find("activity"); activity != cells.end() && !activity->second.empty()) {
    out.label = activity->second;
  } else if (auto label = cells.find("label"); label != cells.end()) {
    Result<uint64_t> number = count_in(cells, "label");
    out.label = number && *number < labels_.size() ? labels_[*number] : label->second;
  }
  out.index = std::move(cells);
  return out;
}

Status RecordingFolder::lay_out() {
  double total = 0;  // checked in floating point before any integer can overflow
  for (RecordingInfo& recording : recordings_) {
    recording.begin_ns = static_cast<int64_t>(total);
    total += static_cast<double>(recording.length) * 1e9 / rate_hz_ + static_cast<double>(kRecordingGapNs);
    if (!(total < kPlaybackNsMax))
      return fail(Code::invalid, "the recordings last for more than 95 years: check rate_hz in meta.json");
  }
  return {};
}

int64_t RecordingFolder::row_ns(uint64_t row) const {
  return std::llround(static_cast<double>(row) * 1e9 / rate_hz_);
}

int64_t RecordingFolder::end_ns() const {
  return recordings_.back().begin_ns + row_ns(recordings_.back().length - 1);
}

Result<std::vector<Column>> RecordingFolder::read(const RecordingInfo& recording, uint64_t first,
                                                  uint64_t count) const {
  SKERRY_ASSIGN(std::vector<std::vector<double>> values, array_.read(recording.offset + first, count));
  std::vector<Column> out(columns_.size());
  for (size_t c = 0; c < columns_.size(); ++c) {
    out[c].name = columns_[c];
    for (size_t r = 0; r < count; ++r) {
      double& value = values[c][r];
      value *= scale_[c];
      if (std::isfinite(value)) continue;
      if (out[c].present.empty()) out[c].present.assign(count, 1);
      out[c].present[r] = 0;
      value = 0;
    }
    out[c].values = std::move(values[c]);
  }
  return out;
}

}  // namespace skerry::plugins
