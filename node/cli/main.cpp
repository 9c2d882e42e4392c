// skerry: the command line for people. Only parsing here; what the commands do is in the files beside.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "node/cli/commands.h"

namespace {

using namespace skerry;
using namespace skerry::cli;

// Options of all commands; CLI11 writes into them while parsing.
struct Arguments {
  Common common;
  StatusOptions status;
  std::string status_for;
  QueryOptions query;
  std::vector<std::string> query_tags;
  SqlOptions sql;
  PredictionsOptions predictions;
  LabelOptions label;
  ModelsOptions models;
  SyncOptions sync;
  BundleOptions bundle;
  std::string learning_action = "why";
  ReplayOptions replay;
  std::vector<std::string> select, tags;
  FitOptions fit;
  std::vector<std::string> fit_select, fit_exclude;
  bool pump = false;
  CheckConfigOptions check;
  SimulateOptions simulate;
  FsckOptions fsck;
};

// A command with what every command has.
CLI::App* command(CLI::App& app, Arguments& a, const std::string& name, const std::string& what, const std::string& example) {
  CLI::App* sub = app.add_subcommand(name, what);
  sub->footer("Example: " + example);
  sub->add_flag("--json", a.common.json, "print JSON");
  sub->add_option("--url", a.common.url, "address of the node (default: $SKERRY_URL or http://127.0.0.1:8471)");
  return sub;
}

void add_range(CLI::App* sub, std::string& from, std::string& to) {
  sub->add_option("--from", from, "first time, e.g. 2026-11-23T08:00:00Z or nanoseconds");
  sub->add_option("--to", to, "end of the time, not included");
}

void add_reading(CLI::App& app, Arguments& a) {
  auto* status = command(app, a, "status", "how the node is", "skerry status --watch --for 30s");
  status->add_flag("--watch", a.status.watch, "one live line; a line each second when not on a terminal");
  status->add_option("--for", a.status_for, "end the watching after this time, e.g. 30s");

  auto* query = command(app, a, "query", "records of a series, as they are or by buckets of time",
                        "skerry query 'imu{device=pump-3}' --from 2026-11-23T08:00:00Z --bucket 1m --aggregate mean,max,p99\n         "
                        "skerry query imu --tag site=north --limit all --format lines > imu.lp");
  query->add_option("series", a.query.series, "as `skerry streams` shows it; with --tag or --all its name")->required();
  query->add_option("--tag", a.query_tags, "every series of that name whose tag is so, e.g. site=north")->allow_extra_args(false);
  query->add_flag("--all", a.query.all, "every series of that name");
  add_range(query, a.query.from, a.query.to);
  query->add_flag("--last", a.query.last, "the newest record");
  query->add_option("--bucket", a.query.bucket, "length of a bucket, e.g. 10s, 1m, 1h (the whole range); with --aggregate");
  query->add_option("--aggregate", a.query.aggregate, "count,min,max,mean,sum,first,last,stddev,p50,p99.9");
  query->add_option("--limit", a.query.limit, "records at most (1000), or all");
  query->add_option("--fields", a.query.fields, "some fields only, e.g. ax,ay");
  auto* format = query->add_option("--format", a.query.format, "json, csv or lines (InfluxDB line protocol), written as it comes (a table)")
                     ->check(CLI::IsMember({"json", "csv", "lines"}));
  query->add_flag_callback("--csv", [&a] { a.query.format = "csv"; }, "as --format csv")->excludes(format);

  auto* sql = command(app, a, "sql", "ask in SQL: a table per name of a series, with time (ns), its tags and its fields as columns",
                      "skerry sql \"select device, avg(ax) from imu where time >= time_ns('2026-11-23T08:00:00Z') group by device\"\n         "
                      "skerry sql \"select time_text(bucket(time, '1m')) as minute, max(ax) from imu where device = 'pump-3' group by 1\" --format csv");
  sql->add_option("statement", a.sql.statement, "one SELECT")->required();
  sql->add_option("--limit", a.sql.limit, "rows at most (10000)");
  sql->add_option("--format", a.sql.format, "json or csv, written as it comes (a table)")->check(CLI::IsMember({"json", "csv"}));

  command(app, a, "streams", "the series that the node holds", "skerry streams");

  auto* predictions = command(app, a, "predictions", "what models answered, newest first", "skerry predictions --model pump --limit 10");
  predictions->add_option("id", a.predictions.id, "this one only");
  predictions->add_option("--model", a.predictions.model);
  predictions->add_option("--series", a.predictions.series);
  add_range(predictions, a.predictions.from, a.predictions.to);
  predictions->add_option("--limit", a.predictions.limit, "at most (100)");
}

void add_teaching(CLI::App& app, Arguments& a) {
  auto* label = command(app, a, "label", "say what is true of a prediction, or of a stretch of a series",
                        "skerry label bearing --prediction 12\n         skerry label normal --series 'pump{machine=pump-1}' --from "
                        "2026-11-23T08:00:00Z --to 2026-11-23T08:05:00Z\n         skerry label --next --count 5\n         skerry label --withdraw --prediction 12");
  label->add_option("label", a.label.value, "a class of the model");
  label->add_flag("--next", a.label.next, "which windows to label: the answers that the model is least sure of");
  label->add_option("--count", a.label.count, "of --next: at most (10)")->check(CLI::Range(1, 100));
  label->add_flag("--withdraw", a.label.withdraw, "take back what was said; names the versions that were made with it");
  label->add_option("--prediction", a.label.prediction, "number of a prediction, see `skerry predictions`");
  label->add_option("--model", a.label.model, "needed when several models look at the series");
  label->add_option("--series", a.label.series);
  add_range(label, a.label.from, a.label.to);
  label->add_option("--source", a.label.source, "who says so (operator)");

  auto* models = command(app, a, "models", "list | show | promote | rollback | pin | unpin | train | retrain | import", "skerry models promote pump 2 --reason \"tried on site\"");
  models->require_subcommand(0, 1);
  auto action = [&](const char* name, const char* what) {
    CLI::App* sub = models->add_subcommand(name, what);
    sub->add_flag("--json", a.common.json, "print JSON");
    sub->add_option("--url", a.common.url, "address of the node");
    sub->callback([&a, name = std::string(name)] { a.models.action = name; });
    return sub;
  };
  action("list", "all versions of all models");
  for (auto [name, what] : {std::pair{"show", "one model"}, std::pair{"promote", "let a version answer"},
                            std::pair{"rollback", "back to the last good version"}, std::pair{"pin", "let a version (the serving one) stay, whatever is learnt"},
                            std::pair{"unpin", "let better versions take over again"}, std::pair{"train", "fine-tune as soon as the device is idle"},
                            std::pair{"retrain", "repeat the job of a version without the labels that were withdrawn"}}) {
    CLI::App* sub = action(name, what);
    sub->add_option("model", a.models.model)->required();
    if (std::string(name) == "promote" || std::string(name) == "retrain") sub->add_option("version", a.models.version)->required();
    if (std::string(name) == "pin") sub->add_option("version", a.models.version)->check(CLI::Range(1, 999'999'999));
    if (std::string(name) != "show" && !std::string(name).ends_with("train")) sub->add_option("--reason", a.models.reason, "kept with the version");
  }
  action("import", "take in a model package")->add_option("path", a.models.path, "folder of the package")->required();

  auto* learning = command(app, a, "learning", "what is learnt just now, and why (not)", "skerry learning why");
  learning->add_option("action", a.learning_action, "why")->check(CLI::IsMember({"why", "status"}));
}

void add_bundle(CLI::App& app, Arguments& a) {
  auto* bundle = command(app, a, "bundle", "keygen | export | import | show: the outbox on a stick, and the hub's receipts back",
                         "skerry bundle export /media/stick\n         skerry bundle import /media/stick --hub http://hub:8470\n         skerry bundle import /media/stick");
  bundle->require_subcommand(1);
  auto action = [&](const char* name, const char* what, const char* path) {
    CLI::App* sub = bundle->add_subcommand(name, what);
    sub->add_flag("--json", a.common.json, "print JSON");
    sub->add_option("--url", a.common.url, "address of the node");
    sub->add_option("path", a.bundle.path, path)->required();
    sub->callback([&a, name = std::string(name)] { a.bundle.action = name; });
    return sub;
  };
  auto* keygen = action("keygen", "make a key and print its public line", "PEM file to make, e.g. var/bundle.key");
  keygen->add_option("--name", a.bundle.name, "of the node or hub whose key it is (node)");
  auto* exported = action("export", "write what waits; nothing is acknowledged by it", "a folder, or a file for a single bundle");
  exported->add_option("--class", a.bundle.outbox_class, "this class only");
  exported->add_option("--max-bytes", a.bundle.bytes_max, "write no more than this, e.g. 4GB")->transform(CLI::AsSizeValue(false));
  exported->add_flag("--again", a.bundle.again, "also what was acknowledged and is still here: for a hub that lost it");
  exported->add_option("--config", a.bundle.config, "of a node that does not run: its folder is read");
  auto* imported = action("import", "take receipts; with --hub bring bundles to a hub and fetch receipts and models", "what export wrote, or its folder");
  imported->add_option("--hub", a.bundle.hub, "address of the hub, http://...");
  imported->add_option("--token-file", a.bundle.token_file, "token for the hub, when it asks for one");
  imported->add_option("--config", a.bundle.config, "of a node that does not run");
  action("show", "what a bundle or a receipt says", "its file");
}

void add_rest(CLI::App& app, Arguments& a) {
  add_bundle(app, a);
  auto* sync = command(app, a, "sync", "status | hold | resume | why | policy | try | preset | revoke | restore: what goes to the hub, and why not",
                       "skerry sync why telemetry\n         skerry sync why 'imu{device=pump-3}' --time 2026-11-23T08:00:00Z\n         "
                       "skerry sync try night.toml\n         skerry sync policy night.toml\n         skerry sync policy take-back\n         "
                       "skerry sync preset lte-metered > policy.toml\n         skerry sync revoke night");
  sync->add_option("action", a.sync.action)->check(CLI::IsMember({"status", "hold", "resume", "why", "policy", "try", "preset", "revoke", "restore"}));
  sync->add_option("argument", a.sync.argument, "why: a class or a series; policy, try: a file; preset, revoke, restore: a name");
  sync->add_option("--time", a.sync.time, "why: of the record");

  auto* replay = command(app, a, "replay", "play a recording into a node", "skerry replay shared/data/motionsense --select subject=4 --speed 10 --labels");
  replay->add_option("path", a.replay.path, "a .csv file, or a folder with meta.json, index.csv and an .npy")->required();
  replay->add_option("--speed", a.replay.speed, "times real time; 0: as fast as the node takes it")->check(CLI::NonNegativeNumber);
  replay->add_option("--select", a.select, "recordings whose index column matches, e.g. subject=4 or trial=1,2")->allow_extra_args(false);
  replay->add_option("--tag", a.tags, "tag of the series, e.g. site=north")->allow_extra_args(false);
  replay->add_option("--stream", a.replay.stream, "name of the series (default: from the file)");
  replay->add_option("--start", a.replay.start, "time of the first record (default: now)");
  replay->add_flag("--labels", a.replay.labels, "give what the recording knows as labels");

  auto* fsck = command(app, a, "fsck", "check a store on this machine, and repair or export it; stop the node first",
                       "skerry fsck var/store\n         skerry fsck var/store --repair\n         skerry fsck var/store --export - --series "
                       "'imu{device=pump-3}' > imu.lp\nExit code: 0 clean or repaired, 1 damaged, 2 cannot run. What is damaged goes to the folder "
                       "quarantine in the store.");
  fsck->add_option("dir", a.fsck.folder, "folder of the store: storage.path of the node")->required();
  fsck->add_flag("--repair", a.fsck.repair, "build the store anew from all that can be read");
  auto* to = fsck->add_option("--export", a.fsck.export_to, "write what can be read to this file, or to stdout (-)");
  fsck->add_option("--format", a.fsck.format, "of the export: lines (InfluxDB line protocol) or csv (a column per field, of all series)")
      ->check(CLI::IsMember({"lines", "csv"}))
      ->needs(to);
  fsck->add_option("--series", a.fsck.series, "export this one only, as `skerry fsck` shows it")->needs(to);

  auto* simulate = command(app, a, "simulate", "a month of a node and its link in seconds: the real store, sync and policy in simulated time",
                           "skerry simulate --config my.toml --scenario config/scenarios/outage.toml --days 30 --seed 7 --svg outage.svg\n         "
                           "skerry simulate --config my.toml --scenario drive.toml --trace 5g.csv --compare other.toml\nExit code: 0 all that the scenario "
                           "expects came true, 1 something did not, 2 cannot run.");
  simulate->add_option("--config", a.simulate.config, "of the node: its [storage] and [sync] count (the defaults)");
  simulate->add_option("--scenario", a.simulate.scenario, "TOML file: loads, link, events, expectations")->required();
  simulate->add_option("--trace", a.simulate.trace, "CSV of the link through time, or driving; instead of the scenario's");
  simulate->add_option("--compare", a.simulate.compare, "another configuration, side by side");
  simulate->add_option("--days", a.simulate.days, "how long, instead of the scenario's length")->check(CLI::Range(0.0001, 3660.0));
  simulate->add_option("--seed", a.simulate.seed, "the same seed gives the same run");
  simulate->add_option("--svg", a.simulate.svg, "draw curves of backlog, age and bytes into this file");

  auto* check = command(app, a, "check-config", "every mistake of a configuration at once", "skerry check-config config/quickstart.toml");
  check->add_option("file", a.check.file, "TOML file");
  check->add_flag("--reference", a.check.reference, "print every key with its default and what it means");
}

void add_fit(CLI::App& app, Arguments& a) {
  auto* fit = command(app, a, "fit", "make a base model from labelled recordings or simulated pumps, and install it as NAME/1",
                      "skerry fit --pump --machines 12 --model pump --models var/models\n         skerry fit --recordings motionsense "
                      "--exclude subject=4,9 --model har --models var/models");
  auto* pump = fit->add_flag("--pump", a.pump, "from simulated pumps");
  auto* recordings = fit->add_option("--recordings", a.fit.recordings, "from a folder with meta.json, index.csv and an .npy");
  pump->excludes(recordings);
  fit->add_option("--machines", a.fit.machines, "simulated pumps (12)")->check(CLI::Range(1, 1000));
  fit->add_option("--model", a.fit.model, "name of the model (pump)");
  fit->add_option("--models", a.fit.models, "folder of packages (var/models)");
  fit->add_option("--stream", a.fit.stream, "name of the series (default: from the recordings)");
  fit->add_option("--select", a.fit_select, "recordings to use, e.g. trial=1,2")->allow_extra_args(false);
  fit->add_option("--exclude", a.fit_exclude, "judged on, not trained on, e.g. subject=4,9")->allow_extra_args(false);
  fit->add_option("--rows", a.fit.rows, "records per window (128)")->check(CLI::Range(2, 65536));
  fit->add_option("--stride", a.fit.stride, "records between windows (64)")->check(CLI::Range(1, 65536));
  fit->add_option("--epochs", a.fit.epochs, "passes over the data (8)")->check(CLI::Range(1, 1000));
  fit->add_option("--sparsity", a.fit.sparsity, "share of the parameters that a fine-tuning on a node may change (0.05): its delta's size goes with it")
      ->check(CLI::Range(1e-4, 1.0));
  fit->add_option("--seed", a.fit.seed, "the same seed gives the same model");
}

// "subject=4" pairs. Returns false after saying what is wrong.
bool pairs(const std::vector<std::string>& given, const char* option, std::map<std::string, std::string>& out) {
  for (const std::string& text : given) {
    size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      std::fprintf(stderr, "skerry: %s '%s': write name=value\n", option, text.c_str());
      return false;
    }
    out[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return true;
}

int run(const std::string& name, Arguments& a) {
  if (a.common.url.empty()) {
    const char* url = std::getenv("SKERRY_URL");
    a.common.url = url && *url ? url : "http://127.0.0.1:8471";
  }
  if (name == "status") {
    if (!a.status_for.empty()) {
      auto time = parse_duration(a.status_for);
      if (!time.ok()) {
        std::fprintf(stderr, "skerry: --for: %s\n", time.error().message.c_str());
        return 2;
      }
      a.status.run_for = *time;
      a.status.watch = true;
    }
    return status(a.common, a.status);
  }
  if (name == "query") {
    if (!pairs(a.query_tags, "--tag", a.query.tags)) return 2;
    return query(a.common, a.query);
  }
  if (name == "sql") return sql(a.common, a.sql);
  if (name == "streams") return streams(a.common);
  if (name == "predictions") return predictions(a.common, a.predictions);
  if (name == "label") return label(a.common, a.label);
  if (name == "models") return models(a.common, a.models);
  if (name == "learning") return learning(a.common);
  if (name == "sync") return cli::sync(a.common, a.sync);
  if (name == "bundle") return cli::bundle(a.common, a.bundle);
  if (name == "replay") {
    if (!pairs(a.select, "--select", a.replay.select) || !pairs(a.tags, "--tag", a.replay.tags)) return 2;
    return replay(a.common, a.replay);
  }
  if (name == "fit") {
    if (!a.pump && a.fit.recordings.empty()) {
      std::fprintf(stderr, "skerry: name what to learn from: --pump, or --recordings DIR\n");
      return 2;
    }
    if (!pairs(a.fit_select, "--select", a.fit.select) || !pairs(a.fit_exclude, "--exclude", a.fit.exclude)) return 2;
    return fit(a.common, a.fit);
  }
  if (name == "simulate") return cli::simulate(a.common, a.simulate);
  if (name == "fsck") return cli::fsck(a.common, a.fsck);
  return check_config(a.common, a.check);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"skerry: look at a node, ask it, teach it. `skerry COMMAND --help` shows an example."};
  app.require_subcommand(1);
  app.set_version_flag("--version", "skerry 0.1.0");
  add_reading(app, arguments);
  add_teaching(app, arguments);
  add_rest(app, arguments);
  add_fit(app, arguments);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(app.get_subcommands().front()->get_name(), arguments);
  } catch (const nlohmann::json::exception& e) {  // a field is missing or of another type
    std::fprintf(stderr, "skerry: what answers at %s does not speak this program's REST API: is it a skerryd of the same version? (%s)\n",
                 arguments.common.url.c_str(), e.what());
    return 1;
  }
}
