// How the commands print: results as JSON or text, errors with their remedy, numbers and tables for people.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "node/cli/commands.h"

namespace skerry::cli {

int failed(const Common& common, const Error& error);       // prints, returns 1
void print_json(const nlohmann::json& value);
void print_line(const std::string& text);                   // to stdout, flushed
// First row: headings. Columns of numbers are not aligned specially.
void print_table(const std::vector<std::vector<std::string>>& rows);
std::string thousands(uint64_t number);                     // "1,234,567"
std::string text(const nlohmann::json& value);              // strings as they are, null as "-"
std::string accuracy_text(const nlohmann::json& live);      // "93.1 % of 320 labelled", "no labels yet"

}  // namespace skerry::cli
