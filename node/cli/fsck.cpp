// skerry fsck: a store on this machine, checked, repaired, exported, while no daemon runs.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>

#include "base/clock.h"
#include "base/units.h"
#include "node/cli/print.h"
#include "node/internal/csv_text.h"
#include "node/line_protocol.h"
#include "storage/fsck.h"

namespace skerry::cli {
namespace {

using nlohmann::json;
using namespace skerry::storage;

constexpr size_t kLinesMax = 50;  // of damage, for people
constexpr int kCannotRun = 2;

// Line protocol or CSV into a file that appears when it is complete, or to stdout.
class Export {
 public:
  Export(std::string to, bool csv) : to_(std::move(to)), csv_(csv) {}
  ~Export() {
    if (file_ && file_ != stdout) std::fclose(file_);
  }
  Status open() {
    file_ = to_ == "-" ? stdout : std::fopen(part().c_str(), "wb");
    return file_ ? Status() : Status(fail(Code::unavailable, "cannot write {}: name a file in a folder that you may write to", part()));
  }
  // CSV has one table: a column for every field of any series.
  Status begin(const std::vector<StreamInfo>& streams) {
    if (!csv_) return {};
    std::set<std::string> known;
    for (const StreamInfo& stream : streams) {
      for (const auto& field : stream.fields) {
        if (known.insert(field.first).second) columns_.push_back(field.first);
      }
    }
    std::string head = "series,time";
    for (const std::string& name : columns_) {
      head += ',';
      node::append_csv_text(head, name);
    }
    return write(head += '\n');
  }
  Status take(const Batch& batch) {
    std::string text;
    if (csv_) {
      append_rows(batch, text);
    } else {
      SKERRY_TRY(node::append_line_protocol(batch, text));
    }
    records += batch.rows();
    return write(text);
  }
  Status finish() {
    FILE* file = std::exchange(file_, nullptr);
    if (file == stdout) return std::fflush(file) == 0 ? Status() : full();
    const bool synced = std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0;
    if (std::fclose(file) != 0 || !synced || std::rename(part().c_str(), to_.c_str()) != 0) return full();
    return {};
  }
  uint64_t records = 0;

 private:
  void append_rows(const Batch& batch, std::string& out) const {
    std::string series;
    node::append_csv_text(series, batch.series.text());
    std::vector<const Column*> columns;
    for (const std::string& name : columns_) {
      auto found = std::find_if(batch.columns.begin(), batch.columns.end(), [&](const Column& c) { return c.name == name; });
      columns.push_back(found == batch.columns.end() ? nullptr : &*found);
    }
    for (size_t row = 0; row < batch.rows(); ++row) {
      out += series + ',' + format_time(batch.times[row]);
      for (const Column* column : columns) {
        out += ',';
        if (column != nullptr) node::append_csv_value(out, *column, row);
      }
      out += '\n';
    }
  }
  Status write(const std::string& text) { return std::fwrite(text.data(), 1, text.size(), file_) == text.size() ? Status() : full(); }
  std::string part() const { return to_ + ".part"; }
  Status full() const { return fail(Code::exhausted, "cannot write {}: free space, or export to another disk", to_); }

  const std::string to_;
  const bool csv_;
  std::vector<std::string> columns_;
  FILE* file_ = nullptr;
};

json time_or_null(int64_t ns) { return ns == INT64_MIN || ns == INT64_MAX ? json(nullptr) : json(format_time(ns)); }

json to_json(const FsckReport& r, const Export* exported) {
  json out = {{"clean", r.clean()},   {"repaired", r.repaired}, {"tables", r.tables}, {"table_bytes", r.table_bytes},
              {"rows", r.rows},       {"damage_count", r.damage_count},   {"outbox_holes", r.outbox_holes},
              {"notes", r.notes},     {"streams", json::array()}, {"damage", json::array()}};
  out["quarantine"] = r.quarantine.empty() ? json(nullptr) : json(r.quarantine.string());
  for (const auto& [kind, count] : r.damage_by_kind) out["damage_by_kind"][storage::to_string(kind)] = count;
  for (const FsckStream& s : r.streams) {
    out["streams"].push_back({{"series", s.series}, {"records", s.records}, {"blocks", s.blocks}, {"chunks", s.chunks}, {"bytes", s.bytes},
                              {"first", s.records ? json(format_time(s.first_ns)) : json(nullptr)},
                              {"last", s.records ? json(format_time(s.last_ns)) : json(nullptr)}});
  }
  for (const FsckDamage& d : r.damage) {
    out["damage"].push_back({{"kind", storage::to_string(d.kind)}, {"family", d.family}, {"place", d.place},
                             {"series", d.series.empty() ? json(nullptr) : json(d.series)}, {"from", time_or_null(d.range.from_ns)},
                             {"to", time_or_null(d.range.to_ns)}, {"reason", d.reason}});
  }
  if (exported) out["exported"] = exported->records;
  return out;
}

std::string text_of(const FsckDamage& d) {
  std::string out = fmt::format("  {}: {} {}", storage::to_string(d.kind), d.family, d.place);
  if (!d.series.empty()) {
    out += fmt::format(" [{}", d.series);
    if (d.range.from_ns != INT64_MIN) out += " from " + format_time(d.range.from_ns);
    if (d.range.to_ns != INT64_MAX) out += " to " + format_time(d.range.to_ns);
    out += "]";
  }
  return out + ": " + d.reason;
}

void print_report(const FsckReport& r, const std::string& folder) {
  std::vector<std::vector<std::string>> table(1, {"series", "records", "blocks", "chunks", "bytes", "first", "last"});
  for (const FsckStream& s : r.streams) {
    table.push_back({s.series, thousands(s.records), thousands(s.blocks), thousands(s.chunks), format_bytes(s.bytes),
                     s.records ? format_time(s.first_ns) : "-", s.records ? format_time(s.last_ns) : "-"});
  }
  print_table(table);
  std::string rows;
  for (const auto& [family, count] : r.rows) rows += fmt::format("{}{} {}", rows.empty() ? "" : ", ", thousands(count), family);
  print_line(fmt::format("{} tables of {}; rows: {}", thousands(r.tables), format_bytes(r.table_bytes), rows));
  for (size_t i = 0; i < r.damage.size() && i < kLinesMax; ++i) print_line(text_of(r.damage[i]));
  if (r.damage_count > kLinesMax) print_line(fmt::format("  ... and {} more (--json has them)", thousands(r.damage_count - kLinesMax)));
  for (const std::string& note : r.notes) print_line("note: " + note);
  if (r.clean()) {
    print_line("clean");
  } else if (r.repaired) {
    print_line(fmt::format("{} damaged things repaired{}", thousands(r.damage_count),
                           r.quarantine.empty() ? "" : "; what was damaged is in " + r.quarantine.string()));
  } else {
    print_line(fmt::format("{} damaged things: mend them with `skerry fsck --repair {}`", thousands(r.damage_count), folder));
  }
}

void show_progress(const std::string& stage, uint64_t done, uint64_t total) {
  if (!::isatty(STDERR_FILENO)) return;
  const std::string text = total ? fmt::format("{} of {}", thousands(done), thousands(total)) : done ? thousands(done) : "";
  std::fprintf(stderr, "\r\033[K%s %s", stage.c_str(), text.c_str());
}

}  // namespace

int fsck(const Common& common, const FsckOptions& o) {
  storage::Options store;
  store.path = o.folder;
  storage::FsckRequest request;
  request.repair = o.repair;
  request.export_series = o.series;
  request.progress = show_progress;
  std::unique_ptr<Export> exported;
  if (!o.export_to.empty()) {
    exported = std::make_unique<Export>(o.export_to, o.format == "csv");
    if (auto opened = exported->open(); !opened.ok()) return failed(common, opened.error()), kCannotRun;
    request.export_begin = [&](const std::vector<StreamInfo>& streams) { return exported->begin(streams); };
    request.export_to = [&](const Batch& batch) { return exported->take(batch); };
  }
  auto report = storage::fsck(store, request);
  if (::isatty(STDERR_FILENO)) std::fputs("\r\033[K", stderr);
  if (!report.ok()) return failed(common, report.error()), kCannotRun;
  if (exported) {
    if (auto done = exported->finish(); !done.ok()) return failed(common, done.error()), kCannotRun;
  }
  const bool stdout_taken = o.export_to == "-";
  if (stdout_taken) {
    std::fprintf(stderr, "%s records; the store is %s\n", thousands(exported->records).c_str(), report->clean() ? "clean" : "damaged");
  } else if (common.json) {
    print_json(to_json(*report, exported.get()));
  } else {
    print_report(*report, o.folder);
    if (exported) print_line(fmt::format("{} records in {}", thousands(exported->records), o.export_to));
  }
  return report->clean() || report->repaired ? 0 : 1;
}

}  // namespace skerry::cli
