// The keys of a policy, and how they are read. One line per key.
#include <algorithm>

#include "config/internal/key_types.h"
#include "config/internal/policy_reader.h"

namespace skerry::config {
namespace {

using namespace std::chrono_literals;
using storage::OutboxClass;
using sync::Technology;

using P = sync::Policy;
using L = sync::ClassPolicy;
using B = sync::BearerPolicy;
using W = sync::TransferWindow;
using H = sync::RuleWhen;
using T = sync::RuleThen;

constexpr size_t kBearersMax = 16, kWindowsMax = 64, kRulesMax = 256;
constexpr auto kYear = 24h * 366;

const std::vector<std::pair<std::string, Technology>> kTechnologies = [] {
  std::vector<std::pair<std::string, Technology>> out;
  for (Technology t : {Technology::ethernet, Technology::wifi, Technology::legacy, Technology::lte_m, Technology::lte, Technology::nr_nsa, Technology::nr_sa,
                       Technology::satellite}) {
    out.emplace_back(sync::to_string(t), t);
  }
  return out;
}();

const std::vector<std::pair<std::string, sync::Send>> kSends = {{"now", sync::Send::now}, {"wait", sync::Send::wait}, {"never", sync::Send::never}};
const std::vector<std::pair<std::string, uint32_t>> kDays = {{"sun", 0}, {"mon", 1}, {"tue", 2}, {"wed", 3}, {"thu", 4}, {"fri", 5}, {"sat", 6}};

std::optional<uint32_t> minutes(const std::string& text) {  // "22:30"; "24:00" is the end of the day
  if (text.size() != 5 || text[2] != ':') return {};
  for (size_t i : {0, 1, 3, 4}) {
    if (text[i] < '0' || text[i] > '9') return {};
  }
  const auto hours = static_cast<uint32_t>((text[0] - '0') * 10 + text[1] - '0'), mins = static_cast<uint32_t>((text[3] - '0') * 10 + text[4] - '0');
  if (hours > 24 || mins > 59 || (hours == 24 && mins > 0)) return {};
  return (hours * 60 + mins) % (24 * 60);
}

template <typename Target, typename At>
Key<Target> day_times(std::string name, At at, std::string doc) {
  return {std::move(name), "times of the day in UTC, e.g. \"22:00-06:00\"", std::move(doc),
          [at](const Target& t) {
            const sync::DayTimes& times = at(const_cast<Target&>(t));
            return fmt::format("\"{:02}:{:02}-{:02}:{:02}\"", times.from_minute / 60, times.from_minute % 60, times.to_minute / 60, times.to_minute % 60);
          },
          [at](const Value& v, Target& t) -> Wrong {
            const std::string* text = v.as<std::string>();
            if (text == nullptr) return expected("times of the day like \"22:00-06:00\"", v);
            const auto from = text->size() == 11 ? minutes(text->substr(0, 5)) : std::nullopt;
            const auto to = text->size() == 11 && (*text)[5] == '-' ? minutes(text->substr(6)) : std::nullopt;
            if (!from || !to) return fmt::format("'{}' are no times of the day: write e.g. \"22:00-06:00\"", text->substr(0, 64));
            at(t) = sync::DayTimes{*from, *to};
            return {};
          }};
}

// A number without a limit is left out when shown.
template <typename Target, typename At>
Key<Target> limit(std::string name, At at, double least, double most, std::string doc) {
  Key<Target> key = number<Target>(std::move(name), at, least, most, std::move(doc));
  key.show = [at, show = key.show](const Target& t) { return std::isfinite(at(const_cast<Target&>(t))) ? show(t) : std::string(); };
  return key;
}

template <typename Target, typename At>
Key<Target> names(std::string name, At at, std::string doc) {
  return {std::move(name), "list of names", std::move(doc),
          [at](const Target& t) {
            std::string out;
            for (const std::string& one : at(const_cast<Target&>(t))) out += (out.empty() ? "" : ", ") + quoted(one);
            return "[" + out + "]";
          },
          [at](const Value& v, Target& t) -> Wrong {
            std::vector<Value> items;
            if (const Array* array = v.as<Array>()) items = *array;
            else items.push_back(v);
            if (items.size() > 100) return "at most 100 of them are allowed";
            std::vector<std::string> out;
            for (const Value& item : items) {
              const std::string* text = item.as<std::string>();
              if (text == nullptr) return expected("a list of names in quotes", item);
              if (Wrong wrong = plain_name(*text)) return wrong;
              out.push_back(*text);
            }
            at(t) = std::move(out);
            return {};
          }};
}

template <typename Target, typename At>
Key<Target> maybe_flag(std::string name, At at, std::string doc) {
  return optional_key<Target, bool>(flag<bool>(std::move(name), ITSELF, std::move(doc)), at);
}
template <typename Target, typename At>
Key<Target> maybe_bytes(std::string name, At at, std::string doc) {
  return optional_key<Target, uint64_t>(bytes<uint64_t>(std::move(name), ITSELF, 1, 1024 * GiB, std::move(doc)), at);
}
template <typename Target, typename At>
Key<Target> maybe_number(std::string name, At at, double least, double most, std::string doc) {
  return optional_key<Target, double>(number<double>(std::move(name), ITSELF, least, most, std::move(doc)), at);
}
template <typename Target, typename At>
Key<Target> maybe_duration(std::string name, At at, std::string doc) {
  return optional_key<Target, Duration>(duration<Duration>(std::move(name), ITSELF, 0s, kYear, std::move(doc)), at);
}

Wrong known_preset(const std::string& name) {
  if (name.empty() || preset_text(name) != nullptr) return {};
  const std::string near = nearest(name, preset_names());
  return fmt::format("there is no preset '{}': write one of {}{}", name.substr(0, 64), listed(preset_names()), near.empty() ? "" : ", perhaps \"" + near + "\"");
}

Wrong device_name(const std::string& name) {
  if (name.size() > 15) return "a network device's name has at most 15 letters";
  return name.empty() ? Wrong() : plain_name(name);
}

void read_classes(Reader& reader, const Value& value, P& out) {
  const Table* table = value.as<Table>();
  if (table == nullptr) return reader.complain(value.at, "'sync.class' holds tables: begin one with a line like [sync.class.telemetry]");
  for (const Member& m : *table) {
    const auto known = std::find_if(class_names().begin(), class_names().end(), [&](const auto& c) { return c.first == m.key; });
    const Table* keys = m.value.front().as<Table>();
    if (known == class_names().end() || keys == nullptr) {
      reader.complain(m.at, fmt::format("'{}' is not a class: write [sync.class.NAME] with alarm, label, model, telemetry, backlog or diagnostics", m.key.substr(0, 64)));
      continue;
    }
    reader.fill(*keys, class_section(), of(out, known->second));
  }
}

// The list in the file is the whole list; each begins as the preset's of that name, or as its first.
void read_bearers(Reader& reader, Place at, const Value& value, P& out) {
  const std::vector<B> before = out.bearers;
  std::vector<B> bearers;
  for (const Value* item : reader.array_of_tables("sync.bearer", at, value, kBearersMax)) {
    B bearer;
    reader.fill(*item->as<Table>(), bearer_section(), bearer);  // for its name; said once
    const auto same = std::find_if(before.begin(), before.end(), [&](const B& b) { return b.name == bearer.name; });
    B start = same != before.end() ? *same : before.front();
    start.name = bearer.name;
    std::vector<Diagnostic> said_already;
    Reader(said_already, "").fill(*item->as<Table>(), bearer_section(), start);
    if (std::any_of(bearers.begin(), bearers.end(), [&](const B& b) { return b.name == start.name; })) {
      reader.complain(item->at, fmt::format("two bearers are named '{}': give each its own name", start.name));
    }
    bearers.push_back(std::move(start));
  }
  if (!bearers.empty()) out.bearers = std::move(bearers);
}

void read_windows(Reader& reader, Place at, const Value& value, P& out) {
  out.windows.clear();
  for (const Value* item : reader.array_of_tables("sync.window", at, value, kWindowsMax)) {
    const Table& table = *item->as<Table>();
    W window;
    reader.fill(table, window_section(), window);
    if (window.name.empty()) reader.complain(item->at, "sync.window: 'name' is missing: it is how the window is revoked, and named in reasons");
    if (find(table, "times") == nullptr) reader.complain(item->at, "sync.window: 'times' is missing: when it is open, e.g. times = \"01:00-05:00\"");
    out.windows.push_back(std::move(window));
  }
}

// Rules of the file come before those of the preset.
void read_rules(Reader& reader, Place at, const Value& value, P& out) {
  std::vector<sync::Rule> rules;
  for (const Value* item : reader.array_of_tables("sync.rule", at, value, kRulesMax)) {
    sync::Rule rule;
    rule.name = fmt::format("{}", rules.size() + 1);
    bool says = false;
    for (const Member& m : *item->as<Table>()) {
      const Value& v = m.value.front();
      const Table* table = v.as<Table>();
      if (m.key == "name" && v.as<std::string>() != nullptr && !printable(*v.as<std::string>())) {
        rule.name = *v.as<std::string>();
      } else if (m.key == "when" && table != nullptr) {
        reader.fill(*table, when_section(), rule.when);
      } else if (m.key == "then" && table != nullptr) {
        reader.fill(*table, then_section(), rule.then);
        says = !table->empty();
      } else {
        reader.complain(m.at, "a rule has name = \"...\", when = { ... } and then = { ... }");
      }
    }
    if (!says) reader.complain(item->at, "sync.rule: 'then' is missing: what the rule decides, e.g. then = { send = \"wait\" }");
    rules.push_back(std::move(rule));
  }
  rules.insert(rules.end(), out.rules.begin(), out.rules.end());
  out.rules = std::move(rules);
}

void check_bearer_names(Reader& reader, Place at, const P& policy) {
  for (const sync::Rule& rule : policy.rules) {
    for (const std::string& name : rule.when.bearers) {
      const bool known = std::any_of(policy.bearers.begin(), policy.bearers.end(), [&](const B& b) { return b.name == name; });
      if (!known) reader.complain(at, fmt::format("rule '{}' is about a bearer '{}' that does not exist: add a [[sync.bearer]] of that name", rule.name, name));
    }
  }
}

}  // namespace

const std::vector<std::pair<std::string, OutboxClass>>& class_names() {
  static const std::vector<std::pair<std::string, OutboxClass>> all = {{"alarm", OutboxClass::alarm},         {"label", OutboxClass::label},
                                                                       {"model", OutboxClass::model},         {"telemetry", OutboxClass::telemetry},
                                                                       {"backlog", OutboxClass::backlog},     {"diagnostics", OutboxClass::diagnostics}};
  return all;
}

// clang-format off
const Section<P>& policy_section() {
  static const Section<P> section{"sync", "The policy of sync: what goes when, over what. Everything below may also stand in a file of its own (policy_file), be tried with `skerry sync try FILE`, and be changed while the node runs.", {
    text<P>("preset", AT(preset), "one of " + listed(preset_names()), known_preset, "Where the policy begins; what is written here comes before it. Empty: everything goes as soon as there is a link. `skerry sync preset NAME` prints one."),
    duration<P>("turn", AT(turn), 1s, kYear, "A class of which nothing went for so long goes next, behind alarms only: nothing starves."),
    duration<P>("batch_time", AT(batch_time), 10ms, 1h, "A batch is what the link carries in this time."),
  }};
  return section;
}

const Section<L>& class_section() {
  static const Section<L> section{"sync.class.telemetry", "A class: alarm, label, model, telemetry, backlog or diagnostics.", {
    duration<L>("deadline", AT(deadline), 0s, kYear, "An entry should be home by then; 0s: none. It waits for company no longer than half of it."),
    duration<L>("linger", AT(linger), 0s, kYear, "Little that waits does so for this long, or until a batch is full or the radio is awake anyway."),
    duration<L>("patience", AT(patience), 0s, kYear, "After waiting this long neither price, metered, constrained nor windows_only hold it back, but budgets and their pace; 0s: they always do."),
    limit<L>("price_max", AT(price_max), 0, 1e9, "Per MB. Left out: no limit."),
    flag<L>("metered", AT(metered), "Whether it may go over a metered link."),
    flag<L>("constrained", AT(constrained), "Whether it may go over a constrained link."),
    flag<L>("windows_only", AT(windows_only), "Only in a transfer window."),
    flag<L>("paced", AT(paced), "Whether the monthly budget is given out to it evenly."),
    number<L>("battery_min", AT(battery_min), 0, 100, "Percent, when not on mains."),
    limit<L>("temperature_max", AT(temperature_max), -50, 200, "Of the device, degrees Celsius. Left out: no limit."),
  }};
  return section;
}

const Section<B>& bearer_section() {
  static const Section<B> section{"sync.bearer", "A way to the hub, most wanted first. Without any there is one, wherever the routes lead.", {
    text<B>("name", AT(name), "name", plain_name, "In rules, reasons and metrics."),
    text<B>("device", AT(device), "network device", device_name, "Its sockets are bound to it; empty: wherever the routes lead."),
    choices<B>("classes", AT(classes), class_names(), "That may use it; none named: all. A network slice is a bearer of its own, for its classes."),
    whole<B>("mark", AT(mark), 0, 0xffffffffLL, "SO_MARK of its sockets, for `ip rule`; 0: none."),
    whole<B>("dscp", AT(dscp), 0, 63, "Of its packets; a hint that networks may ignore."),
    optional_key<B, Technology>(choice<Technology>("technology", ITSELF, kTechnologies, "What it is, when nobody can find out."), AT(technology)),
    maybe_flag<B>("metered", AT(metered), "Whether it is metered, whatever the system thinks."),
    number<B>("price_per_mb", AT(price_per_mb), 0, 1e9, "In any currency."),
    number<B>("roaming_factor", AT(roaming_factor), 0, 1e6, "Times the price while roaming."),
    bytes<B>("monthly", AT(monthly_bytes), 0, 1024 * 1024 * GiB, "Budget with headers, both ways; 0 B: none."),
    bytes<B>("daily", AT(daily_bytes), 0, 1024 * 1024 * GiB, "Budget of a day; 0 B: none."),
    whole<B>("reset_day", AT(reset_day), 1, 31, "Of the month, when the monthly budget begins anew, at midnight UTC."),
    flag<B>("pace", AT(pace), "Give the monthly budget out evenly."),
    number<B>("pace_slack", AT(pace_slack), 0, 1, "Share of the month that may be spent ahead, by alarm, label and telemetry."),
    number<B>("alarm_reserve", AT(alarm_reserve), 0, 0.9, "Share of each budget that only alarms may use."),
    duration<B>("tail", AT(tail), 0s, 1h, "The radio stays awake this long after an exchange: what goes then is nearly free."),
    duration<B>("settle", AT(settle), 0s, 1h, "After a change of the link all but alarms wait this long."),
    duration<B>("probe_interval", AT(probe_interval), 0s, kYear, "Says hello when nothing is sent; 0s: as sync.probe_interval."),
  }};
  return section;
}

const Section<W>& window_section() {
  static const Section<W> section{"sync.window", "A time in which the network is cheap, until it is revoked (`skerry sync revoke NAME`).", {
    text<W>("name", AT(name), "name", plain_name, "Of the window."),
    day_times<W>("times", AT(times), "When it is open; over midnight when the end is before the beginning."),
    choices<W>("days", AT(days), kDays, "On which it begins; none named: every day."),
    choices<W>("classes", AT(classes), class_names(), "That it is for; none named: all."),
    number<W>("price_per_mb", AT(price_per_mb), 0, 1e9, "Instead of the bearer's."),
    bytes<W>("rate_max", AT(rate_max), 0, 64 * GiB, "Per second; 0 B: none."),
  }};
  return section;
}

const Section<H>& when_section() {
  static const Section<H> section{"sync.rule.when", "All that is given must hold; what is not known of a link matches nothing.", {
    choices<H>("class", AT(classes), class_names(), "What is to be sent."),
    choices<H>("link", AT(links), kTechnologies, "Technology of the bearer."),
    names<H>("bearer", AT(bearers), "By name."),
    maybe_flag<H>("metered", AT(metered), "The link is metered."),
    maybe_flag<H>("constrained", AT(constrained), "The link is constrained."),
    maybe_flag<H>("roaming", AT(roaming), "The modem roams."),
    maybe_flag<H>("in_window", AT(in_window), "A transfer window is open for the class."),
    maybe_flag<H>("on_mains", AT(on_mains), "The device has mains."),
    maybe_bytes<H>("goodput_below", AT(goodput_below), "Measured, per second."),
    maybe_bytes<H>("goodput_above", AT(goodput_above), "Measured, per second."),
    maybe_bytes<H>("backlog_above", AT(backlog_above), "Of the class."),
    maybe_number<H>("rsrp_below", AT(rsrp_below), -200, 0, "dBm."),
    maybe_number<H>("snr_below", AT(snr_below), -50, 100, "dB."),
    maybe_number<H>("battery_below", AT(battery_below), 0, 100, "Percent."),
    maybe_number<H>("temperature_above", AT(temperature_above), -50, 200, "Degrees Celsius."),
    maybe_number<H>("budget_left_below", AT(budget_left_below), 0, 1, "Share of the monthly budget."),
    maybe_duration<H>("rtt_above", AT(rtt_above), "Measured."),
    maybe_duration<H>("older_than", AT(older_than), "The oldest entry of the class."),
    maybe_duration<H>("outage_above", AT(outage_above), "Length of the last outage."),
    optional_key<H, sync::DayTimes>(day_times<sync::DayTimes>("times", ITSELF, "Time of the day."), AT(times)),
  }};
  return section;
}

const Section<T>& then_section() {
  static const Section<T> section{"sync.rule.then", "The first rule that matches and says something of a matter decides that matter.", {
    optional_key<T, sync::Send>(choice<sync::Send>("send", ITSELF, kSends,
              "now: nothing but budgets and caps holds it; wait: as long as the rule matches; never: not over this bearer."), AT(send)),
    maybe_bytes<T>("rate_max", AT(rate_max), "Of the class, per second."),
    maybe_bytes<T>("batch_max", AT(batch_max), "Before compression."),
    maybe_duration<T>("linger", AT(linger), "Instead of the class's."),
    optional_key<T, int>(whole<int>("compression", ITSELF, 1, 19, "Level of zstd."), AT(compression)),
  }};
  return section;
}
// clang-format on

const std::vector<std::string>& policy_key_names() {
  static const std::vector<std::string> all = {"preset", "turn", "batch_time", "class", "bearer", "window", "rule"};
  return all;
}

bool is_policy_key(const std::string& key) {
  return std::find(policy_key_names().begin(), policy_key_names().end(), key) != policy_key_names().end();
}

void read_policy(Reader& reader, const Table& table, P& out) {
  Table plain;
  for (const Member& m : table) {
    if (m.key == "preset" || m.key == "turn" || m.key == "batch_time") plain.push_back(m);
  }
  if (const Value* name = find(table, "preset"); name != nullptr && name->as<std::string>() != nullptr) {
    if (const char* text = preset_text(*name->as<std::string>())) out = parse_policy(text, *name->as<std::string>()).policy;
  }
  reader.fill(plain, policy_section(), out);
  for (const Member& m : table) {
    const Value& value = m.value.front();
    if (m.key == "class") read_classes(reader, value, out);
    if (m.key == "bearer") read_bearers(reader, m.at, value, out);
    if (m.key == "window") read_windows(reader, m.at, value, out);
    if (m.key == "rule") read_rules(reader, m.at, value, out);
  }
  if (const auto rule = std::find_if(table.begin(), table.end(), [](const Member& m) { return m.key == "rule"; }); rule != table.end()) {
    check_bearer_names(reader, rule->at, out);
  }
}

}  // namespace skerry::config
