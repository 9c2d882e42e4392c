// Result<T>: a value or an Error whose code tells the caller what to do next. Shaped like std::expected.
// Third-party exceptions are turned into Errors in the adapter .cpp that called the library.
#pragma once

#include <fmt/core.h>

#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/check.h"

namespace skerry {

// What the caller should do. One code per reaction, never one per cause: the message names the thing and the remedy.
enum class Code {
  invalid,      // the request is wrong: change it
  not_found,    // name something that exists
  corrupt,      // stored or received bytes are damaged: quarantine, go on
  unavailable,  // try again later
  exhausted,    // a quota, the disk or a queue is full: make space
  cancelled,    // somebody asked to stop
  internal,     // a bug or a broken dependency: report it
};

const char* to_string(Code code);

struct Error {
  Code code = Code::internal;
  std::string message;
};

template <typename... Args>
[[nodiscard]] Error fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...)};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  template <typename U, typename = std::enable_if_t<std::is_convertible_v<U&&, T> && !std::is_same_v<std::decay_t<U>, T> &&
                                                    !std::is_same_v<std::decay_t<U>, Error> &&
                                                    !std::is_same_v<std::decay_t<U>, Result>>>
  Result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    SKERRY_CHECK(ok(), "value() of a failed Result: {}", std::get<1>(state_).message);
    return std::get<0>(state_);
  }
  const T& value() const& {
    SKERRY_CHECK(ok(), "value() of a failed Result: {}", std::get<1>(state_).message);
    return std::get<0>(state_);
  }
  // By value, so that `for (auto& x : f().value())` walks over something that lives.
  T value() && { return std::move(value()); }
  T value_or(T other) const { return ok() ? std::get<0>(state_) : std::move(other); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    SKERRY_CHECK(!ok(), "error() of a successful Result");
    return std::get<1>(state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const {
    SKERRY_CHECK(!ok_, "error() of a successful Result");
    return error_;
  }

 private:
  Error error_;
  bool ok_ = true;
};

using Status = Result<void>;

}  // namespace skerry

#define SKERRY_CONCAT_(a, b) a##b
#define SKERRY_CONCAT(a, b) SKERRY_CONCAT_(a, b)

// SKERRY_TRY(expr): returns the Error of a failed Result from the enclosing function.
#define SKERRY_TRY(expr)                                   \
  do {                                                     \
    if (auto try_result_ = (expr); !try_result_.ok()) {    \
      return try_result_.error();                          \
    }                                                      \
  } while (false)

// SKERRY_ASSIGN(auto x, expr): the value of a Result, or returns its Error from the enclosing function.
#define SKERRY_ASSIGN(decl, expr) SKERRY_ASSIGN_(SKERRY_CONCAT(assign_result_, __LINE__), decl, expr)
#define SKERRY_ASSIGN_(tmp, decl, expr) \
  auto tmp = (expr);                    \
  if (!tmp.ok()) return tmp.error();    \
  decl = std::move(tmp).value()
