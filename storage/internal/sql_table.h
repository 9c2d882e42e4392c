// The series of one name as a SQLite virtual table: what a statement may ask of it, and a cursor that pulls records.
// Threads: one, the statement's.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "storage/sql.h"
#include "storage/store.h"

namespace skerry::storage::internal {

struct SqlColumn {
  std::string sql_name;  // as statements write it
  std::string name;      // of the tag or field
  bool tag = false;
};

// What the tables of a statement tell it.
struct SqlRun {
  SqlCounters counters;
  std::optional<Error> failure;  // of the store
  bool declaring = false;        // a table of ours, which SQLite takes for a CREATE TABLE
};

struct SqlTable {
  const Store& store;
  SqlRun& run;
  std::vector<StreamInfo> streams;  // of the one name
  std::vector<SqlColumn> columns;   // behind `time`

  SqlTable(const Store& s, SqlRun& r, std::vector<StreamInfo> of_one_name);
  std::string declaration() const;
};

// `name`, or with a number behind it where it is `taken` in upper or lower case. Adds it there, in lower case.
std::string free_name(const std::string& name, std::set<std::string>& taken);

// Makes `table` known to the connection as `name`; the connection owns it then.
Status add_table(sqlite3* db, const std::string& name, std::unique_ptr<SqlTable> table);

}  // namespace skerry::storage::internal
