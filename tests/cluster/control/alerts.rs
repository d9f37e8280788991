//! docs/monitoring/alerts.yml in Prometheus' own tool, over numbers that a real exporter read from a real server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use leadlex_domain::provider::{Effect, FaultKind};
use serde_json::{Value, json};

use super::monitoring::{Exporter, SOON, exporter, find, root, samples, value};
use crate::support::{Behaviour, eventually, person};
use crate::world::{Beginning, PATH, PHONE, World, only_phone, try_enrich};

/// `None`: there is no package. Since Debian 13 it has its own.
fn promtool() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| find(&["promtool", "prometheus"], "promtool", "prometheus")).clone()
}

/// One server, its exporter, and Prometheus' tool.
struct Watched {
    world: World,
    exporter: Exporter,
    promtool: PathBuf,
}

impl Watched {
    /// Without pauses; the one provider costs so much a match.
    fn new(price: &Value) -> Option<Watched> {
        let (program, promtool) = (exporter()?, promtool()?);
        let conf = &["leadlex.breaker_failures = 0"];
        let world = World::with(&Beginning { contacts: 100, credits: None, conf, ..Beginning::default() });
        world.run(
            "SELECT leadlex.drop_provider('main'); CREATE ROLE leadlex_monitor LOGIN IN ROLE pg_monitor",
        );
        let watched = Watched { exporter: Exporter::start(&program, &world), world, promtool };
        watched.add("main", price);
        Some(watched)
    }

    fn add(&self, name: &str, price: &Value) {
        let mut config = self.world.provider.config(PATH);
        config["price"] = price.clone();
        self.world.add_provider(name, &config);
    }

    /// Asks about these contacts, one after another.
    fn ask(&self, contacts: std::ops::Range<i32>) {
        let mut caller = self.world.caller();
        contacts.for_each(|n| drop(try_enrich(&mut caller, n)));
    }

    /// What the exporter tells once these numbers are as they should be: metric, column, label and number.
    fn scrape(&self, wanted: &[(&str, &str, &str, f64)]) -> String {
        let mut scrape = String::new();
        eventually(&format!("{wanted:?}"), SOON, || {
            scrape = self.exporter.scrape();
            let is = |(name, col, label, number): &(&str, &str, &str, f64)| {
                value(&scrape, &format!("sql_leadlex_{name}"), col, label) == Some(*number)
            };
            wanted.iter().all(is)
        });
        scrape
    }

    fn check(&self, scrapes: (&str, &str), minutes: u32, alerts: &[(&str, u32)]) {
        check((&self.promtool, self.world.cluster.dir()), scrapes, minutes, alerts);
    }
}

/// How many alerts of each name are firing, where every number goes on for so many minutes as it did from the one scrape to the
/// other, which were ten minutes apart. The tool's file is written into the folder.
fn check(
    (promtool, dir): (&Path, &Path),
    (before, after): (&str, &str),
    minutes: u32,
    alerts: &[(&str, u32)],
) {
    let old = samples(before);
    let series = samples(after).into_iter().filter(|(.., number)| !number.is_nan()).map(|(name, labels, end)| {
        let same = old.iter().find(|(n, l, _)| (n, l) == (&name, &labels));
        let step = same.map_or(0.0, |(.., begin)| (end - begin) / 10.0);
        let start = end - step * f64::from(minutes);
        let sign = if step < 0.0 { "" } else { "+" };
        json!({"series": format!("{name}{{{labels}}}"), "values": format!("{start}{sign}{step}x{minutes}")})
    });
    let asked = alerts.iter().map(|(name, number)| {
        let expr = format!("count(ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}) or vector(0)");
        json!({"expr": expr, "eval_time": format!("{minutes}m"), "exp_samples": [{"labels": "{}", "value": number}]})
    });
    let tests = json!([{
        "interval": "1m",
        "input_series": series.collect::<Vec<_>>(),
        "promql_expr_test": asked.collect::<Vec<_>>(),
    }]);
    let rules = root().join("docs/monitoring/alerts.yml");
    let text = json!({"rule_files": [rules], "evaluation_interval": "1m", "tests": tests});
    let path = dir.join("alerts-test.yml");
    std::fs::write(&path, text.to_string()).unwrap();
    let done = Command::new(promtool).args(["test", "rules"]).arg(&path).output().unwrap();
    let told = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{alerts:?}: {}", String::from_utf8_lossy(&told));
}

fn usd(key: &str, amount: f64) -> Value {
    json!({"currency": "USD", key: amount})
}

#[test]
fn what_is_still_to_come_and_what_was_not_sent_has_not_failed() {
    let Some(watched) = Watched::new(&usd("per_match", 0.10)) else { return };
    let main = "provider=\"main\"";
    let before = watched.scrape(&[("provider", "calls", main, 0.0)]);
    watched.world.provider.on(PATH, |_| Behaviour::json(202, json!({"id": 4711})));
    watched.ask(1..11);
    watched.world.run("SELECT leadlex.set_budget('main', 'total', 0.05)");
    watched.ask(11..21);
    watched.world.run("SELECT leadlex.set_budget('main', 'total', NULL)");
    watched.world.provider.on(PATH, |_| Behaviour::json(200, person()));
    watched.ask(21..25);
    let healthy = watched.scrape(&[
        ("provider", "calls", main, 14.0),
        ("provider", "pending", main, 10.0),
        ("provider", "over_budget", main, 10.0),
        ("provider", "not_sent", main, 10.0),
        ("provider", "failed", main, 0.0),
        ("provider", "ended", main, 4.0),
    ]);
    let told = [("LeadlexProviderFails", 0), ("LeadlexProviderLimited", 0), ("LeadlexOverBudget", 1)];
    watched.check((&before, &healthy), 40, &told);

    watched.world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    watched.ask(25..37);
    let failing = watched.scrape(&[("provider", "failed", main, 12.0), ("provider", "ended", main, 16.0)]);
    let told = [("LeadlexProviderFails", 1), ("LeadlexProviderLimited", 0), ("LeadlexOverBudget", 0)];
    watched.check((&healthy, &failing), 40, &told);

    watched.world.provider.on(PATH, |_| Behaviour::json(429, json!({})));
    (37..49).for_each(|n| {
        watched.ask(n..n + 1);
        watched.world.end_pauses();
    });
    let limited = watched.scrape(&[("provider", "limited", main, 12.0), ("provider", "failed", main, 12.0)]);
    watched.check((&failing, &limited), 40, &[("LeadlexProviderFails", 0), ("LeadlexProviderLimited", 1)]);
}

/// What says nothing of the provider was not sent, but for these two, and the query has it so.
#[test]
fn the_query_knows_every_kind_of_failure_that_was_not_sent() {
    let text = std::fs::read_to_string(root().join("docs/monitoring/sql-exporter.yml")).unwrap();
    let (_, rest) = text.split_once("k.key IN (").unwrap();
    let mut told: Vec<&str> =
        rest.split_once(')').unwrap().0.split(", ").map(|k| k.trim_matches('\'')).collect();
    let mut kinds: Vec<&str> = FaultKind::ALL
        .into_iter()
        .filter(|kind| kind.effect() == Effect::Nothing)
        .filter(|kind| !matches!(kind, FaultKind::AddressRefused | FaultKind::Internal))
        .map(FaultKind::name)
        .collect();
    told.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(told, kinds);
}

#[test]
fn a_provider_that_was_dropped_or_added_again_is_not_useless() {
    let Some(watched) = Watched::new(&usd("per_match", 1.0)) else { return };
    watched.world.provider.on(PATH, |_| Behaviour::json(200, only_phone(PHONE)));
    watched.ask(1..13);
    let main = "provider=\"main\"";
    let worth = [("worth", "cost", main, 12.0), ("worth", "used", main, 12.0)];
    let day = 25 * 60;
    let with = watched.scrape(&worth);
    watched.check((&with, &with), day, &[("LeadlexProviderUseless", 0)]);
    watched.world.run("SELECT leadlex.drop_provider('main')");
    eventually("it is gone", SOON, || {
        value(&watched.exporter.scrape(), "sql_leadlex_provider", "calls", main).is_none()
    });
    // All queries have run again.
    thread::sleep(Duration::from_secs(3));
    let without = watched.scrape(&[]);
    assert!(value(&without, "sql_leadlex_worth", "cost", main).is_some());
    watched.check((&without, &without), day, &[("LeadlexProviderUseless", 0)]);
    watched.add("main", &usd("per_match", 1.0));
    let anew = watched.scrape(&[("provider", "calls", main, 0.0), worth[0], worth[1]]);
    watched.check((&anew, &anew), day, &[("LeadlexProviderUseless", 0)]);

    watched.world.run("SELECT leadlex.drop_provider('main')");
    watched.add("useless", &usd("per_request", 1.0));
    watched.world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    watched.ask(21..33);
    let useless = "provider=\"useless\"";
    let paid = watched.scrape(&[("worth", "cost", useless, 12.0), ("worth", "used", useless, 0.0)]);
    watched.check((&paid, &paid), day, &[("LeadlexProviderUseless", 1)]);
}

#[test]
fn a_budget_is_out_until_it_is_raised() {
    let Some(watched) = Watched::new(&usd("per_match", 0.10)) else { return };
    let main = "provider=\"main\"";
    watched.world.run("SELECT leadlex.set_budget('main', 'total', 0.50)");
    watched.world.provider.on(PATH, |_| Behaviour::json(200, person()));
    watched.ask(1..3);
    let some = watched.scrape(&[("budget", "used", main, 0.2), ("budget", "out", main, 0.0)]);
    watched.check((&some, &some), 10, &[("LeadlexBudgetOut", 0)]);
    watched.ask(3..8);
    eventually("the event is told", SOON, || super::count(&watched.world, "budget_out") == 1);
    // Hours later.
    watched.world.run("UPDATE leadlex.event SET at = at - interval '3 hours'");
    let budget = "event=\"budget_out\"";
    let out = [("budget", "used", main, 0.5), ("budget", "out", main, 1.0)];
    let mut out = watched.scrape(&out);
    eventually("the event is old", SOON, || {
        out = watched.exporter.scrape();
        value(&out, "sql_leadlex_events", "count", budget).is_none()
    });
    watched.check((&out, &out), 10, &[("LeadlexBudgetOut", 1)]);
    watched.world.run("SELECT leadlex.set_budget('main', 'total', 5.00)");
    let raised = watched.scrape(&[("budget", "amount", main, 5.0), ("budget", "out", main, 0.0)]);
    watched.check((&raised, &raised), 10, &[("LeadlexBudgetOut", 0)]);
}

/// Two numbers of one query have different labels: a rule that forgets that never fires.
#[test]
fn rules_over_two_numbers_of_a_query_fire() {
    let Some(promtool) = promtool() else { return };
    let dir = std::env::temp_dir().join(format!("leadlex-alerts-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let check = |scrapes, minutes, alerts: &[(&str, u32)]| check((&promtool, &dir), scrapes, minutes, alerts);
    let metric =
        |name: &str, rest: &str, number: f64| format!("sql_leadlex_{name}{{{rest},host=\"a\"}} {number}\n");
    let old = [
        metric("queue", "col=\"oldest_seconds\"", 4_000.0),
        metric("queue", "col=\"paused\"", 0.0),
        metric("spend", "col=\"cost\",currency=\"USD\",provider=\"main\"", 10.0),
        metric("spend", "col=\"unknown\",currency=\"USD\",provider=\"main\"", 2.0),
        metric("quality", "col=\"asked\",field=\"phone\",provider=\"main\"", 0.0),
        metric("quality", "col=\"supplied\",field=\"phone\",provider=\"main\"", 7.0),
    ]
    .concat();
    // As many are asked about in ten minutes, and so more than a hundred in a day.
    let new = old.replace("provider=\"main\",host=\"a\"} 0\n", "provider=\"main\",host=\"a\"} 10\n");
    assert_ne!(old, new);
    let told = [("LeadlexQueueOld", 1), ("LeadlexSpendUnknown", 1), ("LeadlexQualityFalls", 1)];
    check((&old, &new), 25 * 60, &told);
    let paused = new.replace("col=\"paused\",host=\"a\"} 0", "col=\"paused\",host=\"a\"} 1");
    assert_ne!(paused, new);
    check((&paused, &paused), 60, &[("LeadlexQueueOld", 0), ("LeadlexQualityFalls", 0)]);
    std::fs::remove_dir_all(&dir).unwrap();
}
