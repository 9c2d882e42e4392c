// The keys of a scenario of `skerry simulate`, and how they are read.
#include <algorithm>

#include "config/internal/key_types.h"
#include "config/internal/policy_reader.h"
#include "config/internal/reader.h"

namespace skerry::config {
namespace {

using namespace std::chrono_literals;
using simulate::Event;
using simulate::EventKind;
using simulate::Expect;
using simulate::ExpectClass;
using simulate::LinkShape;
using simulate::Load;
using simulate::Scenario;

constexpr size_t kLoadsMax = 64, kEventsMax = 1000;
constexpr auto kYears = 24h * 3660;

const std::vector<std::pair<std::string, EventKind>> kEvents = {
    {"outage", EventKind::outage},         {"radio", EventKind::radio},         {"lost_acks", EventKind::lost_acks},   {"slow_hub", EventKind::slow_hub},
    {"hub_errors", EventKind::hub_errors}, {"disk_full", EventKind::disk_full}, {"clock_jump", EventKind::clock_jump}, {"reboot", EventKind::reboot},
    {"revoke_window", EventKind::revoke_window}, {"battery", EventKind::battery}};

const std::vector<std::pair<std::string, sync::Technology>> kTechnologies = [] {
  std::vector<std::pair<std::string, sync::Technology>> out;
  for (int i = 1; i <= static_cast<int>(sync::Technology::satellite); ++i) {
    out.emplace_back(sync::to_string(static_cast<sync::Technology>(i)), static_cast<sync::Technology>(i));
  }
  return out;
}();

// "-2h" as well, for clocks that go back.
Key<Event> jump_key() {
  return {"jump", "duration, with '-' back in time", "clock_jump: how far the wall clock is set.", [](const Event& e) { return quoted(show_duration(e.jump)); },
          [](const Value& v, Event& e) -> Wrong {
            const std::string* text = v.as<std::string>();
            if (text == nullptr || text->empty()) return expected("a duration like \"2h\" or \"-2h\"", v);
            const bool back = text->front() == '-';
            auto parsed = parse_duration(std::string_view(*text).substr(back));
            if (!parsed.ok()) return parsed.error().message;
            if (*parsed > kYears) return "a clock is set at most ten years";
            e.jump = back ? -*parsed : *parsed;
            return {};
          }};
}

// clang-format off
template <typename T, typename At>
std::vector<Key<T>> link_keys(At at) {
  return {
    choice<T>("technology", [at](auto& t) -> auto& { return at(t).technology; }, kTechnologies, "Of the link."),
    bytes<T>("rate", [at](auto& t) -> auto& { return at(t).rate; }, 1, 64 * GiB, "Up, per second."),
    duration<T>("rtt", [at](auto& t) -> auto& { return at(t).rtt; }, 0s, 1h, "Round trip."),
    number<T>("loss", [at](auto& t) -> auto& { return at(t).loss; }, 0, 1, "Share of exchanges of which nothing is heard."),
    number<T>("packet_loss", [at](auto& t) -> auto& { return at(t).packet_loss; }, 0, 0.5, "Share of packets that are lost and sent again by TCP."),
    flag<T>("roaming", [at](auto& t) -> auto& { return at(t).roaming; }, "Abroad."),
  };
}

const Section<Scenario>& scenario_section() {
  static const Section<Scenario> section{"scenario", "What is simulated.", {
    text<Scenario>("name", AT(name), "text", printable, "In reports."),
    time<Scenario>("start", AT(start_ns), false, "Where the clock begins: budgets begin anew by it."),
    duration<Scenario>("length", AT(length), 1min, kYears, "How long; --days says otherwise."),
    text<Scenario>("trace", AT(trace), "a CSV file relative to this one, or \"driving\"", any_path, "How the link goes through time, in place of [link]. Empty: none."),
  }};
  return section;
}

const Section<LinkShape>& link_section() {
  static const Section<LinkShape> section{"link", "The uplink when nothing else is said.", link_keys<LinkShape>(ITSELF)};
  return section;
}

const Section<Load>& load_section() {
  static const Section<Load> section{"load", "What the node queues regularly.", {
    text<Load>("name", AT(name), "name", plain_name, "Of the stream, or of the entries."),
    choice<Load>("class", AT(outbox_class), class_names(), "telemetry: records; everything else: entries of random bytes."),
    duration<Load>("interval", AT(interval), 1ms, kYears, "Between two of them."),
    flag<Load>("random", AT(random), "The interval is a mean, they come at random (Poisson)."),
    whole<Load>("batch", AT(batch), 1, 100'000, "Records that are handed over together."),
    whole<Load>("fields", AT(fields), 1, 100, "Of a record."),
    bytes<Load>("bytes", AT(bytes), 1, 16 * MiB, "Of an entry."),
  }};
  return section;
}

const Section<Event>& event_section() {
  static const Section<Event> section = [] {
    Section<Event> s{"event", "What happens.", {
      choice<Event>("kind", AT(kind), kEvents, "What."),
      duration<Event>("at", AT(at), 0s, kYears, "After the begin."),
      duration<Event>("for", AT(length), 0s, kYears, "How long."),
      duration<Event>("every", AT(every), 0s, kYears, "Again and again; 0s: once."),
      number<Event>("chance", AT(chance), 0, 1, "That it happens, each time."),
      flag<Event>("visible", AT(visible), "outage: the system sees that the carrier is gone; else the link is silently dead."),
      text<Event>("bearer", AT(bearer), "name", any_path, "outage: of this bearer only."),
      duration<Event>("delay", AT(delay), 0s, 1h, "slow_hub: of each answer."),
      jump_key(),
      text<Event>("window", AT(window), "name", any_path, "revoke_window: which."),
      number<Event>("percent", AT(percent), 0, 100, "battery: its charge; there are no mains then."),
    }};
    for (auto& key : link_keys<Event>([](auto& e) -> auto& { return e.link; })) s.keys.push_back(std::move(key));
    return s;
  }();
  return section;
}

template <typename T, typename At>
Key<T> count_key(std::string name, At at, std::string doc) {
  return optional_key<T, uint64_t>(whole<uint64_t>(std::move(name), ITSELF, 0, int64_t{1} << 53, std::move(doc)), at);
}
template <typename T, typename At>
Key<T> size_key(std::string name, At at, std::string doc) {
  return optional_key<T, uint64_t>(bytes<uint64_t>(std::move(name), ITSELF, 0, 1024 * 1024 * GiB, std::move(doc)), at);
}

const Section<Expect>& expect_section() {
  static const Section<Expect> section{"expect", "What must hold at the end; else the exit code is 1.", {
    count_key<Expect>("lost_max", AT(lost_max), "Taken by the node, and neither there nor at the hub (0)."),
    count_key<Expect>("duplicates_max", AT(duplicates_max), "Taken twice by the hub (0)."),
    count_key<Expect>("refused_max", AT(refused_max), "Not taken by the node, as its disk was full or it was off."),
    optional_key<Expect, bool>(flag<bool>("budget_kept", ITSELF, "No bearer over its budget (true)."), AT(budget_kept)),
    size_key<Expect>("bytes_max", AT(bytes_max), "On the wire."),
    size_key<Expect>("backlog_max", AT(backlog_max), "That ever waits."),
    optional_key<Expect, double>(number<double>("cost_max", ITSELF, 0, 1e12, "At the policy's prices."), AT(cost_max)),
  }};
  return section;
}

const Section<ExpectClass>& expect_class_section() {
  auto freshness = [](const char* name, auto at, const char* doc) {
    return optional_key<ExpectClass, Duration>(duration<Duration>(name, ITSELF, 0s, kYears, doc), at);
  };
  static const Section<ExpectClass> section{"expect.class.alarm", "Of a class.", {
    freshness("freshness_p50_max", AT(freshness_p50_max), "From being queued to being at the hub."),
    freshness("freshness_p99_max", AT(freshness_p99_max), "The same, of the worst hundredth."),
    optional_key<ExpectClass, double>(number<double>("delivered_min", ITSELF, 0, 1, "Share at the hub at the end."), AT(delivered_min)),
  }};
  return section;
}
// clang-format on

void read_expect(Reader& reader, const Table& table, Expect& out) {
  Table plain;
  for (const Member& m : table) {
    if (m.key != "class") {
      plain.push_back(m);
      continue;
    }
    const Table* classes = m.value.front().as<Table>();
    if (classes == nullptr) {
      reader.complain(m.at, "'expect.class' holds tables: begin one with a line like [expect.class.alarm]");
      continue;
    }
    for (const Member& c : *classes) {
      const auto known = std::find_if(class_names().begin(), class_names().end(), [&](const auto& n) { return n.first == c.key; });
      const Table* keys = c.value.front().as<Table>();
      if (known == class_names().end() || keys == nullptr) reader.complain(c.at, fmt::format("'{}' is not a class", c.key.substr(0, 64)));
      else reader.fill(*keys, expect_class_section(), out.classes[known->second]);
    }
  }
  reader.fill(plain, expect_section(), out);
}

void read_part(Reader& reader, const Member& m, Scenario& out) {
  const Value& value = m.value.front();
  const Table* table = value.as<Table>();
  if (m.key == "load") {
    for (const Value* item : reader.array_of_tables("load", m.at, value, kLoadsMax)) reader.fill(*item->as<Table>(), load_section(), out.loads.emplace_back());
  } else if (m.key == "event") {
    for (const Value* item : reader.array_of_tables("event", m.at, value, kEventsMax)) {
      Event& event = out.events.emplace_back();
      reader.fill(*item->as<Table>(), event_section(), event);
      if (find(*item->as<Table>(), "kind") == nullptr) reader.complain(item->at, "event: 'kind' is missing: what happens, e.g. kind = \"outage\"");
      if (event.every > 0s && event.every <= event.length) reader.complain(item->at, "event: 'every' must be longer than 'for'");
    }
  } else if (table != nullptr && m.key == "scenario") {
    reader.fill(*table, scenario_section(), out);
  } else if (table != nullptr && m.key == "link") {
    reader.fill(*table, link_section(), out.link);
  } else if (table != nullptr && m.key == "expect") {
    read_expect(reader, *table, out.expect);
  } else {
    reader.complain(m.at, fmt::format("'{}' is not part of a scenario: [scenario], [link], [[load]], [[event]] and [expect] are", m.key.substr(0, 64)));
  }
}

}  // namespace

ParsedScenario parse_scenario(std::string_view toml, const std::filesystem::path& file) {
  ParsedScenario out;
  Reader reader(out.diagnostics, file);
  auto document = read_document(toml);
  if (const auto* syntax = std::get_if<SyntaxError>(&document)) {
    reader.complain(syntax->at, syntax->message);
    return out;
  }
  for (const Member& m : *std::get<Value>(document).as<Table>()) read_part(reader, m, out.scenario);
  if (out.diagnostics.empty() && out.scenario.loads.empty()) out.scenario.loads.emplace_back();
  const std::filesystem::path trace = out.scenario.trace;
  if (!trace.empty() && trace != "driving" && trace.is_relative()) out.scenario.trace = (file.parent_path() / trace).lexically_normal().string();
  return out;
}

}  // namespace skerry::config
