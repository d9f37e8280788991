//! What must be reached, and what is aimed at.

use super::Amounts;
use super::calls::{Cell, best_by_hand, figure, keyed};
use super::results::{Results, per};
use super::table::{Table, whole};

/// Where a figure is good.
#[derive(Clone, Copy)]
enum Good {
    /// From there upward.
    AtLeast,
    /// From there downward.
    AtMost,
}

use Good::{AtLeast, AtMost};

/// A figure with its target.
struct Target {
    title: String,
    /// `None`: not measured.
    figure: Option<f64>,
    /// Behind each of the numbers.
    unit: &'static str,
    good: Good,
    must: f64,
    aim: Option<f64>,
    /// What the figure was computed from.
    detail: String,
}

impl Target {
    fn of(title: &str, figure: Option<f64>, unit: &'static str, good: Good, must: f64) -> Target {
        Target { title: title.to_owned(), figure, unit, good, must, aim: None, detail: String::new() }
    }

    fn aim(mut self, aim: f64) -> Target {
        self.aim = Some(aim);
        self
    }

    fn detail(mut self, detail: String) -> Target {
        self.detail = detail;
        self
    }

    fn verdict(&self) -> &'static str {
        let Some(figure) = self.figure else { return "not measured" };
        let meets = |limit: f64| match self.good {
            AtLeast => figure >= limit,
            AtMost => figure <= limit,
        };
        match (meets(self.must), self.aim.is_some_and(meets)) {
            (false, _) => "MISS",
            (true, true) => "aim met",
            (true, false) => "ok",
        }
    }

    fn row(&self) -> Vec<String> {
        let with_unit = |text: String| format!("{text}{}", self.unit);
        let limit = |number: f64| {
            let sign = match self.good {
                AtLeast => "≥",
                AtMost => "≤",
            };
            with_unit(format!("{sign} {number}"))
        };
        vec![
            self.title.clone(),
            self.figure.map_or("–".to_owned(), |figure| with_unit(format!("{figure:.3}"))),
            limit(self.must),
            self.aim.map(limit).unwrap_or_default(),
            self.verdict().to_owned(),
            self.figure.map(|_| self.detail.clone()).unwrap_or_default(),
        ]
    }
}

fn table(title: &str, targets: &[Target]) -> Table {
    let mut table = Table::new(title, &["", "measured", "must", "aim", "verdict", "from"]);
    table.ends_in_words = true;
    table.rows = targets.iter().map(Target::row).collect();
    table
}

/// What a call needs of the machine: one round trip and one commit, one after the other. With many clients they overlap, and
/// the scarcer counts. `None`: not measured.
pub fn limit(results: &Results, cell @ (clients, _): Cell) -> Option<f64> {
    let commit = results.find(figure("commit", (clients, 0)))?;
    let trip = results.find(figure("trip", cell))?;
    Some(if clients == 1 { per(1.0, per(1.0, commit) + per(1.0, trip)) } else { commit.min(trip) })
}

/// A target of calls a second, ours against another's.
fn faster(
    results: &Results,
    title: &str,
    ours: &str,
    other: Option<(String, f64)>,
    must: f64,
    aim: f64,
) -> Target {
    let ours = results.find(ours);
    let both = ours.zip(other).filter(|(_, (_, rate))| *rate > 0.0);
    let detail =
        both.as_ref().map(|(ours, (who, rate))| format!("{} : {} calls/s{who}", whole(*ours), whole(*rate)));
    let ratio = both.map(|(ours, (_, rate))| ours / rate);
    Target::of(title, ratio, "×", AtLeast, must).aim(aim).detail(detail.unwrap_or_default())
}

/// The table of targets. `base`: the commit to compare with, as it was given.
pub fn targets(amounts: &Amounts, rivals: &[&str], base: Option<&str>, results: &Results) -> Table {
    let mut all = of_calls(rivals, base.unwrap_or("BASE"), results);
    all.extend(of_memory(results));
    all.extend(of_size(amounts, results));
    let paused = results.ratio("paused:without", "paused:with");
    all.push(Target::of(
        "a provider in front that is down : without it, time a call",
        paused,
        "×",
        AtMost,
        1.1,
    ));
    let title = format!("growth of one backend, {} calls", whole(amounts.memory_calls as f64));
    all.push(Target::of(&title, results.find("memory"), " MB", AtMost, 2.0));
    table("Targets", &all)
}

fn of_calls(rivals: &[&str], base: &str, results: &Results) -> Vec<Target> {
    let by_hand = |cell, with_key| {
        best_by_hand(rivals, results, cell, with_key).map(|(who, rate)| (format!(" ({who})"), rate))
    };
    let of_base = |cell| results.find(figure("base", cell)).map(|rate| (String::new(), rate));
    let [one, many, slow] = [(1, 0), (32, 0), (32, 50)];
    let ours = |cell| figure("ours", cell);
    let bare = limit(results, slow).map(|rate| (String::new(), rate));
    vec![
        faster(
            results,
            "1 client, 0 ms, with an idempotency key : the best by hand",
            &figure(&keyed("ours"), one),
            by_hand(one, true),
            1.15,
            1.25,
        ),
        faster(results, &format!("1 client, 0 ms, without : {base}"), &ours(one), of_base(one), 1.15, 1.3),
        faster(results, "32 clients, 0 ms : the best by hand", &ours(many), by_hand(many, false), 2.5, 3.0),
        faster(results, &format!("32 clients, 0 ms : {base}"), &ours(many), of_base(many), 1.3, 1.6),
        faster(results, "32 clients, 50 ms : a bare round trip and commit", &ours(slow), bare, 0.97, 0.985),
    ]
}

/// Of a backend that has called and waits, beyond one that has not.
fn of_memory(results: &Results) -> Vec<Target> {
    let [http, https] = ["http", "https"].map(|scheme| {
        let of = |what: &str| results.find(format!("waiting:ours:{scheme}:{what}"));
        let both = of("called").zip(of("not"));
        let detail = both.map(|(called, not)| format!("{called:.2} − {not:.2} MB")).unwrap_or_default();
        (of("memory"), of("threads"), detail)
    });
    let threads = http.1.zip(https.1).map(|(a, b)| a.max(b));
    let title = "a backend that called and waits : one that did not,";
    vec![
        Target::of(&format!("{title} http"), http.0, " MB", AtMost, 1.0).aim(0.5).detail(http.2),
        Target::of(&format!("{title} https"), https.0, " MB", AtMost, 2.0).aim(1.5).detail(https.2),
        Target::of(&format!("{title} threads"), threads, "", AtMost, 0.0),
    ]
}

fn of_size(amounts: &Amounts, results: &Results) -> Vec<Target> {
    let against_small = |name: &str, title: &str, must: f64| {
        let (large, small) = (format!("size:{name}"), format!("size:small:{name}"));
        let both = results.find(&large).zip(results.find(&small));
        let detail = both.map(|(large, small)| format!("{large:.3} : {small:.3} ms a call"));
        Target::of(title, results.ratio(large, small), "×", AtMost, must).detail(detail.unwrap_or_default())
    };
    let (contacts, ledger) =
        (whole(f64::from(amounts.large_contacts)), whole(f64::from(amounts.large_ledger)));
    let large = format!("{contacts} contacts, {ledger} ledger rows : a small database, time a call");
    let beside = |role: &str, what: &str| {
        let (alone, busy) = ("busy:alone".to_owned(), format!("busy:{role}"));
        let both = results.find(&alone).zip(results.find(&busy));
        let detail = both.map(|(alone, busy)| format!("{alone:.1} : {busy:.1} calls/s"));
        Target::of(
            &format!("alone : beside a workspace {what}"),
            results.ratio(alone, busy),
            "×",
            AtMost,
            1.05,
        )
        .detail(detail.unwrap_or_default())
    };
    vec![
        against_small("large", &large, 1.06),
        against_small("large-snapshot", "  the same beside an old snapshot", 1.15),
        beside("broke", "without credit that calls on"),
        beside("limited", "over its rate limit that calls on"),
    ]
}

/// The targets of many contacts at once. `base`: as of [`targets`].
pub fn of_sets(amounts: &Amounts, base: Option<&str>, results: &Results) -> Table {
    let count = whole(f64::from(amounts.many_contacts));
    let mut all = of_bulk(&count, results);
    all.extend(of_sets_of_base(amounts, base.unwrap_or("BASE"), results));
    all.extend(of_queue(amounts, results));
    all.push(Target::of(
        "bigint key and row-level security : uuid key without, time",
        results.ratio("many:rls", "many:bulk"),
        "×",
        AtMost,
        1.15,
    ));
    table("Many at once", &all)
}

/// 100 contacts a request, and each in a request of its own where the vendor takes 50 ms.
fn of_bulk(count: &str, results: &Results) -> Vec<Target> {
    let ideal = results.find("many:parallel").map(|seconds| seconds / 0.781_25);
    let [parallel, one_by_one, by_hand] =
        ["many:parallel", "many:loop", "many:net"].map(|name| results.get(name));
    let detail = format!(
        "{parallel:.2} s; one call after another {one_by_one:.1} s; by hand, queued as pg_net does {by_hand:.2} s"
    );
    let [slow, limited] = ["together:slow", "together:limited"].map(|name| results.find(name));
    let memory = |name: &str| results.find(format!("{name}:memory"));
    let both = memory("many:bulk").zip(memory("together"));
    let beside = memory("many:base").map(|mb| format!("; by the commit to compare with {mb:.0} MB"));
    let detail_of_memory = both.map(|(one, all)| {
        format!("one in each {one:.0} MB, 100 in a request {all:.0} MB{}", beside.unwrap_or_default())
    });
    vec![
        Target::of("1,000 contacts, 50 ms, 100 in a request", slow, " s", AtMost, 0.2).aim(0.15),
        Target::of("  the same, 100 requests a minute", limited, " s", AtMost, 0.5),
        Target::of("1,000 contacts, 50 ms, 64 in parallel : the ideal 0.78 s", ideal, "×", AtMost, 1.2)
            .detail(detail),
        Target::of(
            &format!("{count} contacts, 0 ms : peak private memory"),
            both.map(|(one, all)| one.max(all)),
            " MB",
            AtMost,
            28.0,
        )
        .aim(20.0)
        .detail(detail_of_memory.unwrap_or_default()),
    ]
}

/// Sets of all contacts, the provider answering at once, against those of the commit to compare with.
fn of_sets_of_base(amounts: &Amounts, base: &str, results: &Results) -> Vec<Target> {
    let count = whole(f64::from(amounts.many_contacts));
    let rate = |name: &str| whole(set_rate(amounts, results, name).unwrap_or_default());
    let against_base = |name: &str, what: &str, must: f64, aim: f64| {
        let title = format!("{count} contacts, 0 ms, {what} : a set of {base}");
        let detail = format!("{} : {} rows/s", rate(name), rate("many:base"));
        Target::of(&title, results.ratio("many:base", name), "×", AtLeast, must).aim(aim).detail(detail)
    };
    vec![
        against_base("together:many", "100 in a request", 1.6, 2.0),
        against_base("many:bulk", "one in each", 1.3, 1.5),
    ]
}

fn of_queue(amounts: &Amounts, results: &Results) -> Vec<Target> {
    let count = whole(f64::from(amounts.many_contacts));
    let set = set_rate(amounts, results, "many:bulk");
    let draining = results.find("many:drain").zip(set).map(|(drain, set)| drain / set);
    let inserting = results.ratio("many:insert:with", "many:insert:without");
    let inserts =
        format!("{:.2} : {:.2} s", results.get("many:insert:with"), results.get("many:insert:without"));
    vec![
        Target::of(
            &format!("INSERT of {count} with the enqueue trigger : without"),
            inserting,
            "×",
            AtMost,
            1.25,
        )
        .aim(1.15)
        .detail(inserts),
        Target::of(&format!("the queue of {count} drains : rows/s of a set"), draining, "×", AtLeast, 0.95)
            .detail(format!("a set: {} rows/s", whole(set.unwrap_or_default()))),
    ]
}

/// Rows a second of a set that took so many seconds.
fn set_rate(amounts: &Amounts, results: &Results, seconds: &str) -> Option<f64> {
    let seconds = results.find(seconds).filter(|seconds| *seconds > 0.0)?;
    Some(f64::from(amounts.many_contacts) / seconds)
}

#[cfg(test)]
mod tests {
    use super::super::{QUICK, WHOLE};
    use super::*;

    fn verdicts(good: Good, must: f64, aim: Option<f64>, figures: &[Option<f64>]) -> Vec<&'static str> {
        let of = |figure: &Option<f64>| Target { aim, ..Target::of("", *figure, "", good, must) }.verdict();
        figures.iter().map(of).collect()
    }

    #[test]
    fn a_verdict_is_about_what_was_measured() {
        let figures = [None, Some(1.149), Some(1.15), Some(1.249), Some(1.25), Some(0.0)];
        assert_eq!(
            verdicts(AtLeast, 1.15, Some(1.25), &figures),
            ["not measured", "MISS", "ok", "ok", "aim met", "MISS"]
        );
        let figures = [None, Some(1.01), Some(1.0), Some(0.5), Some(0.0)];
        assert_eq!(
            verdicts(AtMost, 1.0, Some(0.5), &figures),
            ["not measured", "MISS", "ok", "aim met", "aim met"]
        );
        assert_eq!(verdicts(AtMost, 0.0, None, &[Some(0.0), Some(1.0)]), ["ok", "MISS"]);
    }

    fn row<'a>(table: &'a Table, title: &str) -> &'a [String] {
        table.rows.iter().find(|row| row[0] == title).unwrap_or_else(|| panic!("no row {title}"))
    }

    #[test]
    fn each_target_compares_what_it_names() {
        let mut results = Results::default();
        for (name, value) in [
            ("ours:1:0", 2_600.0),
            ("ours+key:1:0", 2_000.0),
            ("base:1:0", 2_000.0),
            ("pgsql_http.enrich_lock_last:1:0", 1_999.0),
            ("pgsql_http.enrich_lock_last+key:1:0", 1_700.0),
            ("ours:32:50", 600.0),
            ("commit:32:0", 9_000.0),
            ("trip:32:50", 625.0),
            ("waiting:ours:http:memory", 0.75),
            ("waiting:ours:http:threads", 0.0),
            ("waiting:ours:https:threads", 1.0),
            ("busy:alone", 70.0),
            ("busy:broke", 70.0),
        ] {
            results.set(name, value);
        }
        let table = targets(&WHOLE, &["pgsql_http"], Some("4fc6c40"), &results);
        let found = |title: &str| row(&table, title)[1..5].join("|");
        let with_key = "1 client, 0 ms, with an idempotency key : the best by hand";
        assert_eq!(found(with_key), "1.176×|≥ 1.15×|≥ 1.25×|ok");
        assert_eq!(row(&table, with_key)[5], "2,000 : 1,700 calls/s (pgsql_http, lock last)");
        assert_eq!(found("1 client, 0 ms, without : 4fc6c40"), "1.300×|≥ 1.15×|≥ 1.3×|aim met");
        assert_eq!(found("32 clients, 0 ms : the best by hand"), "–|≥ 2.5×|≥ 3×|not measured");
        assert_eq!(found("32 clients, 50 ms : a bare round trip and commit"), "0.960×|≥ 0.97×|≥ 0.985×|MISS");
        let waits = "a backend that called and waits : one that did not,";
        assert_eq!(found(&format!("{waits} http")), "0.750 MB|≤ 1 MB|≤ 0.5 MB|ok");
        assert_eq!(found(&format!("{waits} threads")), "1.000|≤ 0||MISS");
        assert_eq!(found("alone : beside a workspace without credit that calls on"), "1.000×|≤ 1.05×||ok");
        assert!(
            found("2,000,000 contacts, 1,000,000 ledger rows : a small database, time a call")
                .ends_with("measured")
        );
        assert!(
            targets(&QUICK, &[], None, &Results::default()).rows.iter().all(|row| row[4] == "not measured")
        );
        assert!(of_sets(&QUICK, None, &Results::default()).rows.iter().all(|row| row[4] == "not measured"));
    }

    #[test]
    fn one_client_takes_turns_and_many_overlap() {
        let mut results = Results::default();
        for (name, rate) in
            [("commit:1:0", 1_000.0), ("trip:1:0", 1_000.0), ("commit:32:0", 5.0), ("trip:32:0", 7.0)]
        {
            results.set(name, rate);
        }
        assert_eq!(
            [(1, 0), (32, 0), (32, 50)].map(|cell| limit(&results, cell)),
            [Some(500.0), Some(5.0), None]
        );
    }
}
