#include "learning/decisions.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace skerry::learning {
namespace {

constexpr const char* kNextNote = "decisions/next";

std::string note_name(uint64_t number) { return fmt::format("decisions/{}", number); }

std::string encode(const Decision& d) {
  // A reason may quote what came from outside: bytes that are no UTF-8 are replaced.
  return nlohmann::json{{"at", d.at_ns}, {"model", d.model}, {"version", d.version}, {"step", d.step}, {"outcome", d.outcome}, {"reason", d.reason}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<Decision> decode(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    return Decision{json.at("at"), json.at("model"), json.at("version"), json.at("step"), json.at("outcome"), json.at("reason")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

DecisionLog::DecisionLog(storage::Store& store, const Clock& clock) : store_(store), clock_(clock) {
  Result<std::optional<std::string>> next = store.note(kNextNote);
  uint64_t number = 1;
  if (next.ok() && next->has_value()) std::from_chars((*next)->data(), (*next)->data() + (*next)->size(), number);
  next_ = number;
}

void DecisionLog::add(storage::Effect& effect, Decision decision) {
  decision.at_ns = clock_.now_ns();
  const uint64_t number = next_++;  // when the effect is refused, the number stays unused
  effect.notes.emplace_back(note_name(number), encode(decision));
  effect.notes.emplace_back(kNextNote, std::to_string(number + 1));
  if (number > kDecisionsKept) effect.notes.emplace_back(note_name(number - kDecisionsKept), "");
}

Status DecisionLog::write(Decision decision) {
  storage::Effect effect;
  effect.durability = storage::Durability::interval;
  add(effect, std::move(decision));
  SKERRY_TRY(store_.commit(effect));
  return {};
}

std::vector<Decision> DecisionLog::newest(const std::string& model, size_t count_max) const {
  std::vector<Decision> out;
  const uint64_t end = next_;
  for (uint64_t number = end; number > 1 && end - number < kDecisionsKept && out.size() < count_max; --number) {
    Result<std::optional<std::string>> note = store_.note(note_name(number - 1));
    if (!note.ok() || !note->has_value()) continue;
    std::optional<Decision> decision = decode(**note);
    if (decision && (model.empty() || decision->model == model)) out.push_back(std::move(*decision));
  }
  return out;
}

}  // namespace skerry::learning
