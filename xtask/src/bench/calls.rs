//! Single calls: ours, and those of a function written by hand.

use crate::error::Result;
use crate::terminal::note;

use super::Cell;
use super::load::{Load, Span};
use super::results::Results;
use super::session::{OF_TURN, Session};

/// What is called, and how many records it leaves.
struct Call<'a> {
    what: &'a str,
    sql: &'a str,
    search_path: Option<&'a str>,
    /// The table in which every call that enriched a contact leaves a row.
    records: &'a str,
    /// Seconds that sessions need to start.
    patience: u32,
}

/// As `ours:CLIENTS:LATENCY`.
pub fn measure_ours(session: &Session, cell: Cell, results: &mut Results) -> Result<()> {
    let call =
        Call { what: "ours", sql: OF_TURN, search_path: None, records: "leadlex.enrichment", patience: 1 };
    measure(session, &call, cell, results)
}

/// As `SCHEMA.FUNCTION:CLIENTS:LATENCY`.
pub fn measure_rival(
    session: &Session,
    schema: &str,
    function: &str,
    cell: Cell,
    results: &mut Results,
) -> Result<()> {
    let url = session.nginx.url(cell.1);
    let call = Call {
        what: &format!("{schema}.{function}"),
        sql: &format!("SELECT {function}(id, '{url}') FROM turns WHERE n = (SELECT nextval('turn'))"),
        search_path: Some(&format!("{schema},public")),
        records: &format!("{schema}.ledger"),
        // Sessions of Python take about a second of processor time each to start.
        patience: if schema == "urllib3" && cell.0 > 1 { session.amounts.warm_up_seconds } else { 1 },
    };
    measure(session, &call, cell, results)
}

/// Every call must have enriched a contact that was empty before: the records that each leaves are counted.
fn measure(session: &Session, call: &Call, (clients, latency): Cell, results: &mut Results) -> Result<()> {
    let what = call.what;
    let script = session.pgbench_script(what, call.sql)?;
    session.run("bench", &["CHECKPOINT"])?;
    let count = format!("SELECT count(*) FROM {}", call.records);
    let before = session.number("bench", &count)?;
    let span = Span::Seconds(session.amounts.seconds + call.patience);
    let load = Load { search_path: call.search_path, ..Load::of(&script, clients, span) };
    let (done, rate) = load.measure(session)?;
    let left = session.number("bench", &count)? - before;
    if left != done {
        return Err(format!("{what}: {done} calls left {left} records: were the contacts used up?"));
    }
    results.set(format!("{what}:{clients}:{latency}"), rate);
    note(&format!("{what:<34} {rate:8.0} calls/s"));
    Ok(())
}
