// Fills structs from tables by the keys that are known, and collects what is wrong, with its place.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/internal/document.h"
#include "config/internal/keys.h"

namespace skerry::config {

inline std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

template <typename T>
std::vector<std::string> names_of(const Section<T>& section) {
  std::vector<std::string> out;
  for (const Key<T>& key : section.keys) out.push_back(key.name);
  return out;
}

inline const Value* find(const Table& table, const std::string& key) {
  for (const Member& m : table) {
    if (m.key == key) return &m.value.front();
  }
  return nullptr;
}

class Reader {
 public:
  Reader(std::vector<Diagnostic>& out, const std::filesystem::path& file) : diagnostics_(out), name_(file.string()) {}

  void complain(Place at, std::string message) {
    if (diagnostics_.size() < kDiagnosticsMax) diagnostics_.push_back({name_, at.line, at.column, std::move(message)});
  }

  // Sets what is known; `elsewhere` says where a key that is unknown here belongs, as the end of a sentence.
  template <typename T, typename Elsewhere>
  void fill(const Table& table, const Section<T>& section, T& target, Elsewhere elsewhere) {
    for (const Member& m : table) {
      auto key = std::find_if(section.keys.begin(), section.keys.end(), [&](const Key<T>& k) { return k.name == m.key; });
      if (key == section.keys.end()) {
        unknown_key(m, section.name, names_of(section), elsewhere(m.key));
        continue;
      }
      places_[section.name + "." + m.key] = m.value.front().at;
      if (std::optional<std::string> wrong = key->set(m.value.front(), target)) {
        complain(m.value.front().at, fmt::format("{}.{}: {}", section.name, m.key, *wrong));
      }
    }
  }
  template <typename T>
  void fill(const Table& table, const Section<T>& section, T& target) {
    fill(table, section, target, [](const std::string&) { return std::string(); });
  }

  void unknown_key(const Member& m, const std::string& table, const std::vector<std::string>& known, const std::string& elsewhere) {
    const std::string near = nearest(m.key, known);
    const std::string remedy = !near.empty() ? fmt::format(": did you mean '{}'?", near) : !elsewhere.empty() ? elsewhere : ": known are " + listed(known);
    complain(m.at, fmt::format("unknown key '{}' in [{}]{}", m.key.substr(0, 64), table, remedy));
  }

  // The tables of [[name]]; complains about a wrong shape.
  std::vector<const Value*> array_of_tables(const std::string& name, Place at, const Value& value, size_t count_max) {
    std::vector<const Value*> out;
    const Array* array = value.as<Array>();
    if (array == nullptr) {
      complain(at, fmt::format("there may be several: write [[{}]] with double brackets", name));
      return out;
    }
    if (array->size() > count_max) complain(at, fmt::format("{} times [[{}]]: at most {} are allowed", array->size(), name, count_max));
    for (const Value& item : *array) {
      if (item.as<Table>() == nullptr)
        complain(item.at, fmt::format("expected [[{}]] tables, found {}", name, item.kind()));
      else if (out.size() < count_max)
        out.push_back(&item);
    }
    return out;
  }

 protected:
  std::map<std::string, Place> places_;  // "sync.backoff_min" -> its value

 private:
  static constexpr size_t kDiagnosticsMax = 1000;  // a hostile file must not fill the screen for ever
  std::vector<Diagnostic>& diagnostics_;
  const std::string name_;
};

}  // namespace skerry::config
