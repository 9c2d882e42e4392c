// Kinds of keys: how a value of a kind is shown, documented, checked and set. The tables of keys (keys.cpp, policy_keys.cpp, scenario_keys.cpp)
// are made of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/units.h"
#include "config/internal/keys.h"

namespace skerry::config {

using Wrong = std::optional<std::string>;
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// ---- values as TOML

inline std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}

inline std::string as_text(const std::string& text) { return text; }
inline std::string as_text(const std::filesystem::path& path) { return path.generic_string(); }

inline std::string show_number(double value) {
  std::string out = fmt::format("{}", value);
  return out.find_first_of(".e") == std::string::npos && std::isfinite(value) ? out + ".0" : out;
}

// Exactly, in the largest unit that divides it.
inline std::string show_bytes(uint64_t bytes) {
  static constexpr std::pair<const char*, int> kUnits[] = {{"GiB", 30}, {"MiB", 20}, {"KiB", 10}};
  for (const auto& [unit, shift] : kUnits) {
    if (bytes != 0 && bytes % (1ULL << shift) == 0) return fmt::format("{} {}", bytes >> shift, unit);
  }
  return fmt::format("{} B", bytes);
}

inline std::string show_duration(Duration duration) {
  static constexpr std::pair<const char*, int64_t> kUnits[] = {{"d", 86'400'000'000'000}, {"h", 3'600'000'000'000},
                                                               {"m", 60'000'000'000},     {"s", 1'000'000'000},
                                                               {"ms", 1'000'000},         {"us", 1000}};
  for (const auto& [unit, ns] : kUnits) {
    if (duration.count() != 0 && duration.count() % ns == 0)
      return fmt::format("{}{}", duration.count() / ns, unit);
  }
  return duration.count() == 0 ? "0s" : fmt::format("{}ns", duration.count());
}

inline Wrong expected(const char* what, const Value& value) {
  return fmt::format("expected {}, found {}", what, value.kind());
}

inline Wrong outside(const std::string& found, const std::string& range) {
  return fmt::format("{} is out of range: choose {}", found, range);
}

// ---- key types. `at` gives the member of the target that the key fills.

template <typename T, typename At>
Key<T> flag(std::string name, At at, std::string doc) {
  return {std::move(name), "true or false", std::move(doc),
          [at](const T& t) { return at(const_cast<T&>(t)) ? "true" : "false"; },
          [at](const Value& v, T& t) -> Wrong {
            const bool* b = v.as<bool>();
            if (b == nullptr) return expected("true or false", v);
            at(t) = *b;
            return {};
          }};
}

template <typename T, typename At>
Key<T> whole(std::string name, At at, int64_t least, int64_t most, std::string doc) {
  const std::string range = fmt::format("{} to {}", least, most);
  return {std::move(name), "whole number, " + range, std::move(doc),
          [at](const T& t) { return fmt::format("{}", at(const_cast<T&>(t))); },
          [at, least, most, range](const Value& v, T& t) -> Wrong {
            const int64_t* n = v.as<int64_t>();
            if (n == nullptr) return expected("a whole number", v);
            if (*n < least || *n > most) return outside(std::to_string(*n), range);
            at(t) = static_cast<std::decay_t<decltype(at(t))>>(*n);
            return {};
          }};
}

template <typename T, typename At>
Key<T> number(std::string name, At at, double least, double most, std::string doc) {
  const std::string range =
      most == kInfinity ? fmt::format("{} or more", least) : fmt::format("{} to {}", least, most);
  return {std::move(name), "number, " + range, std::move(doc),
          [at](const T& t) { return show_number(at(const_cast<T&>(t))); },
          [at, least, most, range](const Value& v, T& t) -> Wrong {
            double n = 0;
            if (const double* real = v.as<double>())
              n = *real;
            else if (const int64_t* integer = v.as<int64_t>())
              n = static_cast<double>(*integer);
            else
              return expected("a number", v);
            if (!(n >= least && n <= most) || !std::isfinite(n)) return outside(fmt::format("{}", n), range);
            at(t) = n;
            return {};
          }};
}

template <typename T, typename At>
Key<T> bytes(std::string name, At at, uint64_t least, uint64_t most, std::string doc) {
  const std::string range = fmt::format("{} to {}", show_bytes(least), show_bytes(most));
  return {std::move(name), "size, " + range, std::move(doc),
          [at](const T& t) { return quoted(show_bytes(at(const_cast<T&>(t)))); },
          [at, least, most, range](const Value& v, T& t) -> Wrong {
            uint64_t n = 0;
            if (const std::string* text = v.as<std::string>()) {
              Result<uint64_t> parsed = parse_bytes(*text);
              if (!parsed) return parsed.error().message;
              n = *parsed;
            } else if (const int64_t* integer = v.as<int64_t>(); integer != nullptr && *integer >= 0) {
              n = static_cast<uint64_t>(*integer);
            } else {
              return expected("a size like \"64 MiB\"", v);
            }
            if (n < least || n > most) return outside(show_bytes(n), range);
            at(t) = static_cast<std::decay_t<decltype(at(t))>>(n);
            return {};
          }};
}

template <typename T, typename At>
Key<T> duration(std::string name, At at, Duration least, Duration most, std::string doc) {
  const std::string range = fmt::format("{} to {}", show_duration(least), show_duration(most));
  return {std::move(name), "duration, " + range, std::move(doc),
          [at](const T& t) { return quoted(show_duration(at(const_cast<T&>(t)))); },
          [at, least, most, range](const Value& v, T& t) -> Wrong {
            const std::string* text = v.as<std::string>();
            if (text == nullptr) return expected("a duration like \"250ms\", \"30s\" or \"48h\"", v);
            Result<Duration> parsed = parse_duration(*text);
            if (!parsed) return parsed.error().message;
            if (*parsed < least || *parsed > most) return outside(show_duration(*parsed), range);
            at(t) = *parsed;
            return {};
          }};
}

using Rule = Wrong (*)(const std::string&);

template <typename T, typename At>
Key<T> text(std::string name, At at, std::string type, Rule rule, std::string doc) {
  return {std::move(name), std::move(type), std::move(doc),
          [at](const T& t) { return quoted(as_text(at(const_cast<T&>(t)))); },
          [at, rule](const Value& v, T& t) -> Wrong {
            const auto* found = v.as<std::string>();
            if (found == nullptr) return expected("a text in quotes", v);
            if (Wrong wrong = rule(*found)) return wrong;
            at(t) = *found;
            return {};
          }};
}

template <typename T, typename At, typename Enum>
Key<T> choice(std::string name, At at, std::vector<std::pair<std::string, Enum>> choices, std::string doc) {
  std::vector<std::string> names;
  std::string listed;
  for (const auto& [choice_name, value] : choices) {
    names.push_back(choice_name);
    listed += (listed.empty() ? "\"" : ", \"") + choice_name + "\"";
  }
  return {std::move(name), "one of " + listed, std::move(doc),
          [at, choices](const T& t) {
            for (const auto& [choice_name, value] : choices) {
              if (at(const_cast<T&>(t)) == value) return quoted(choice_name);
            }
            return quoted("");
          },
          [at, choices, names, listed](const Value& v, T& t) -> Wrong {
            const std::string* found = v.as<std::string>();
            if (found == nullptr) return expected(("one of " + listed).c_str(), v);
            for (const auto& [choice_name, value] : choices) {
              if (choice_name != *found) continue;
              at(t) = value;
              return {};
            }
            const std::string near = nearest(*found, names);
            return fmt::format("'{}' is not a choice: write one of {}{}", found->substr(0, 64), listed,
                               near.empty() ? "" : ", perhaps \"" + near + "\"");
          }};
}

template <typename T, typename At>
Key<T> time(std::string name, At at, bool zero_is_empty, std::string doc) {
  return {std::move(name), "time, RFC 3339", std::move(doc),
          [at, zero_is_empty](const T& t) {
            const int64_t ns = at(const_cast<T&>(t));
            return quoted(zero_is_empty && ns == 0 ? "" : format_time(ns));
          },
          [at, zero_is_empty](const Value& v, T& t) -> Wrong {
            const std::string* found = v.as<std::string>();
            if (found == nullptr) return expected("a time in quotes like \"2026-11-23T08:04:16Z\"", v);
            if (zero_is_empty && found->empty()) {
              at(t) = 0;
              return {};
            }
            Result<int64_t> parsed = parse_time(*found);
            if (!parsed) return parsed.error().message;
            at(t) = *parsed;
            return {};
          }};
}

// A key whose value may be left out: `inner` is of the value itself. Shown as nothing when it is not there.
template <typename T, typename Value_, typename At>
Key<T> optional_key(Key<Value_> inner, At at) {
  Key<T> key{inner.name, inner.type, inner.doc, {}, {}};
  key.show = [inner, at](const T& t) {
    const auto& value = at(const_cast<T&>(t));
    return value ? inner.show(*value) : std::string();
  };
  key.set = [inner, at](const Value& v, T& t) -> Wrong {
    Value_ value{};
    if (Wrong wrong = inner.set(v, value)) return wrong;
    at(t) = value;
    return {};
  };
  return key;
}

// A list of choices, or one alone: links = ["lte", "5g-sa"].
template <typename T, typename At, typename Enum>
Key<T> choices(std::string name, At at, std::vector<std::pair<std::string, Enum>> known, std::string doc) {
  std::string listed;
  std::vector<std::string> names;
  for (const auto& [choice_name, value] : known) {
    listed += (listed.empty() ? "\"" : ", \"") + choice_name + "\"";
    names.push_back(choice_name);
  }
  return {std::move(name), "list of " + listed, std::move(doc),
          [at, known](const T& t) {
            std::string out;
            for (const Enum& chosen : at(const_cast<T&>(t))) {
              for (const auto& [choice_name, value] : known) {
                if (value == chosen) out += (out.empty() ? "" : ", ") + quoted(choice_name);
              }
            }
            return "[" + out + "]";
          },
          [at, known, names, listed](const Value& v, T& t) -> Wrong {
            std::vector<Value> items;
            if (const Array* array = v.as<Array>()) items = *array;
            else items.push_back(v);
            if (items.size() > 100) return "at most 100 of them are allowed";
            std::vector<Enum> out;
            for (const Value& item : items) {
              const std::string* text = item.as<std::string>();
              if (text == nullptr) return expected(("a list of " + listed).c_str(), item);
              const auto found = std::find(names.begin(), names.end(), *text);
              if (found == names.end()) {
                const std::string near = nearest(*text, names);
                return fmt::format("'{}' is not a choice: write some of {}{}", text->substr(0, 64), listed,
                                   near.empty() ? "" : ", perhaps \"" + near + "\"");
              }
              out.push_back(known[static_cast<size_t>(found - names.begin())].second);
            }
            at(t) = std::move(out);
            return {};
          }};
}

// The member of a target, as a function of it. Only for tables of keys.
#define AT(member) \
  [](auto& c) -> auto& { return c.member; }
// The target itself, for the inside of optional_key().
#define ITSELF [](auto& c) -> auto& { return c; }

Wrong plain_name(const std::string& name);  // letters, digits, '-', '_', '.'
Wrong printable(const std::string& name);
Wrong any_path(const std::string& path);

inline constexpr uint64_t KiB = 1 << 10, MiB = 1 << 20, GiB = 1ULL << 30;

}  // namespace skerry::config
