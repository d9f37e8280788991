//! The tables at the end.

use crate::terminal::{bold, note, plain, put};

use super::results::{Results, per};
use super::{Amounts, CELLS, Cell};

/// What a figure must be.
#[derive(Clone, Copy)]
enum Target {
    AtLeast(f64),
    Below(f64),
}

fn verdict(title: &str, measured: f64, unit: &str, target: Target) {
    let (words, limit, met) = match target {
        Target::AtLeast(limit) => ("at least", limit, measured >= limit),
        Target::Below(limit) => ("less than", limit, measured < limit),
    };
    let met = if met { "ok" } else { "MISS" };
    put(&format!("{title:<44} {measured:10.2} {unit:<8} {words:<12} {limit:8.2}   {met}\n"));
}

fn heading(text: &str, rest: &str) {
    put(&format!("\n{}{text}{}{rest}\n", bold(), plain()));
}

fn of_cell(results: &Results, what: &str, (clients, latency): Cell) -> f64 {
    results.get(format!("{what}:{clients}:{latency}"))
}

/// A call needs one round trip and one commit, one after the other. With many clients they overlap, and the scarcer counts.
fn limit(results: &Results, cell: Cell) -> f64 {
    let (commit, trip) = (of_cell(results, "commit", cell), of_cell(results, "trip", cell));
    if cell.0 == 1 { per(1.0, per(1.0, commit) + per(1.0, trip)) } else { commit.min(trip) }
}

/// One line with a figure for each cell.
fn line(title: &str, figure: impl Fn(Cell) -> String) {
    put(&format!("{title:<34}{}\n", CELLS.map(figure).concat()));
}

/// Writes the table of calls per second, and the targets with their verdicts. `major`: of Postgres.
pub fn report(major: u32, amounts: &Amounts, rivals: &[&str], results: &Results) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    heading("calls per second", &format!(" on {cores} cores, PostgreSQL {major}, durable commits"));
    line("clients, provider latency", |(clients, latency)| {
        format!("{:>14}", format!("{clients}, {latency} ms"))
    });
    let plain_line =
        |title: &str, what: &str| line(title, |cell| format!("{:14.0}", of_cell(results, what, cell)));
    plain_line("enrich_contact", "ours");
    for rival in rivals {
        plain_line(&format!("by hand, {rival}, lock first"), &format!("{rival}.enrich_lock_first"));
        plain_line(&format!("by hand, {rival}, lock last"), &format!("{rival}.enrich_lock_last"));
    }
    plain_line("bare commit of one row", "commit");
    plain_line("bare keep-alive round trip", "trip");
    line("limit: a round trip and a commit", |cell| format!("{:14.0}", limit(results, cell)));
    heading("enrich_contact as a multiple of", "");
    let ratio = |title: &str, of: &dyn Fn(Cell) -> f64| {
        line(title, |cell| format!("{:13.2}x", per(of_cell(results, "ours", cell), of(cell))));
    };
    for rival in rivals {
        for (words, function) in [("lock first", "enrich_lock_first"), ("lock last", "enrich_lock_last")] {
            let what = format!("{rival}.{function}");
            ratio(&format!("by hand, {rival}, {words}"), &|cell| of_cell(results, &what, cell));
        }
    }
    ratio("the limit", &|cell| limit(results, cell));
    targets(amounts, rivals, results);
    report_many(amounts, results);
    notes(rivals, results);
}

fn targets(amounts: &Amounts, rivals: &[&str], results: &Results) {
    let ours = |cell| of_cell(results, "ours", cell);
    let ratio = |a: &str, b: &str| per(results.get(a), results.get(b));
    heading("targets", "");
    verdict("1 client, 0 ms", ours((1, 0)), "calls/s", Target::AtLeast(1_000.0));
    verdict(
        "  as a multiple of pgsql-http's 250/s (GUIDE)",
        ours((1, 0)) / 250.0,
        "times",
        Target::AtLeast(4.0),
    );
    verdict("32 clients, 50 ms (ceiling 640/s)", ours((32, 50)), "calls/s", Target::AtLeast(608.0));
    let best = rivals
        .iter()
        .flat_map(|rival| {
            ["first", "last"].map(|how| of_cell(results, &format!("{rival}.enrich_lock_{how}"), (32, 0)))
        })
        .fold(0.0, f64::max);
    verdict(
        "32 clients, 0 ms, against the best by hand",
        per(ours((32, 0)), best),
        "times",
        Target::AtLeast(5.0),
    );
    let below = Target::Below;
    verdict(
        "first provider down, breaker open : without it",
        ratio("paused:without", "paused:with"),
        "times",
        below(1.1),
    );
    verdict(
        "alone : beside a workspace without credit",
        ratio("busy:alone", "busy:broke"),
        "times",
        below(1.1),
    );
    verdict(
        "alone : beside one over its rate limit",
        ratio("busy:alone", "busy:limited"),
        "times",
        below(1.1),
    );
    let title = format!("{} contacts, {} ledger rows", amounts.large_contacts, amounts.large_ledger);
    verdict(&title, ratio("size:large", "size:small:large"), "times", below(1.15));
    let beside = ratio("size:large-snapshot", "size:small:large-snapshot");
    verdict("  the same beside an old snapshot", beside, "times", below(1.15));
    let title = format!("growth of one backend, {} calls", amounts.memory_calls);
    verdict(&title, results.get("memory"), "MB", below(2.0));
}

/// Writes what was measured of many contacts at once, with the targets and their verdicts.
pub fn report_many(amounts: &Amounts, results: &Results) {
    let count = amounts.many_contacts;
    let of_count = |name: &str| per(f64::from(count), results.get(name));
    let [parallel, one_by_one, by_hand] =
        ["many:parallel", "many:loop", "many:net"].map(|name| results.get(name));
    heading("many contacts at once", "");
    let title = "1,000 contacts, 50 ms, 64 in parallel : 0.78 s";
    verdict(title, per(parallel, 0.78125), "times", Target::Below(1.2));
    note(&format!(
        "({parallel:.2} s; one call after another {one_by_one:.1} s, queued by hand as pg_net does {by_hand:.2} s)"
    ));
    let (rate, memory) = (of_count("many:bulk"), results.get("many:memory"));
    note(&format!(
        "({count} contacts, 0 ms: {rate:.0} rows/s; peak private memory of the backend {memory:.0} MB)"
    ));
    let inserting = per(results.get("many:insert:with"), results.get("many:insert:without"));
    let title = format!("INSERT of {count} with the enqueue trigger : without");
    verdict(&title, inserting, "times", Target::Below(1.3));
    let draining = per(results.get("many:drain"), rate);
    verdict("the queue drains : rows/s of a batch", draining, "times", Target::AtLeast(0.85));
    let secured = per(results.get("many:rls"), results.get("many:bulk"));
    verdict("bigint key and RLS : uuid key without", secured, "times", Target::Below(1.15));
}

fn notes(rivals: &[&str], results: &Results) {
    let (ours, trip) = (results.get("ours:32:50"), results.get("trip:32:50"));
    let share = 100.0 * per(ours, trip);
    note(&format!(
        "(a bare round trip of 50 ms reached {trip:.0}/s at 32 clients: enrich_contact has {share:.0} % of that)"
    ));
    note(&format!("(the backend's private memory is {:.1} MB)", results.get("memory_total")));
    if !rivals.contains(&"pgsql_http") {
        note("pgsql-http is not installed here, so it was not measured.");
    }
}
