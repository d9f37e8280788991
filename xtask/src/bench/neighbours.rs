//! Whether a workspace's calls are slowed by another one's that are refused.

use std::process::Stdio;
use std::time::Duration;

use crate::error::{Context, Result};
use crate::process::{kill_tree, text_of};
use crate::terminal::note;

use super::load::{Load, Span};
use super::results::Results;
use super::session::{Session, psql};

const NEIGHBOURS: u32 = 8;
const ROUNDS: u32 = 3;
/// Roles of neighbours.sql, and why each is refused.
const REFUSED: [(&str, &str); 2] = [("broke", "insufficient_credits"), ("limited", "rate_limited")];

fn calls_of(role: &str) -> String {
    format!("SELECT try_enrich_row('{role}.contact'::regclass, nextval('{role}.turn')::text)")
}

/// Alone, beside the one, beside the other, again and again; the best of each, as what else runs only ever slows. As
/// `busy:alone`, `busy:broke`, `busy:limited`, calls per second.
pub fn measure(session: &Session, results: &mut Results) -> Result<()> {
    session.script("bench", "neighbours.sql", &[("slow_url", &session.nginx.url(50))])?;
    // Uses up what the limited one has for the minute.
    let script = session.pgbench_script("limited", &calls_of("limited"))?;
    Load { role: "limited", ..Load::of(&script, 1, Span::Calls(12)) }.run(session)?;
    for round in 1..=ROUNDS {
        let mut keep = |role: &str, rate: f64| {
            results.best(format!("busy:{role}"), rate);
            note(&format!("{:<34} {rate:8.1} calls/s", format!("busy, {role} ({round})")));
        };
        keep("alone", busy(session)?);
        for (role, code) in REFUSED {
            keep(role, beside(session, role, code)?);
        }
    }
    Ok(())
}

/// Calls per second of 4 clients of the workspace "busy", whose provider takes 50 ms.
fn busy(session: &Session) -> Result<f64> {
    let script = session.pgbench_script("busy", &calls_of("busy"))?;
    let count = "SELECT count(*) FROM leadlex.enrichment";
    let before = session.number("bench", count)?;
    let span = Span::Seconds(session.amounts.seconds);
    let (done, rate) = Load { role: "busy", ..Load::of(&script, 4, span) }.measure(session)?;
    if session.number("bench", count)? - before != done {
        return Err("busy: a call did not enrich".to_owned());
    }
    Ok(rate)
}

/// The same beside clients of another workspace that call again as soon as they are refused.
fn beside(session: &Session, role: &str, code: &str) -> Result<f64> {
    let script = session.pgbench_script(role, &calls_of(role))?;
    let span = Span::Seconds(session.amounts.seconds + 2);
    let mut hammer = Load { role, ..Load::of(&script, NEIGHBOURS, span) }.command(session);
    let mut hammer =
        hammer.arg("bench").stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("pgbench")?;
    let measured = (|| {
        std::thread::sleep(Duration::from_secs(1));
        let sql = format!("SELECT ({}) #>> '{{error,code}}'", calls_of(role));
        let found = text_of(psql(session.cluster(), "bench").env("PGUSER", role).args(["-c", &sql]), "psql")?;
        if found != code {
            return Err(format!("{role}: expected to be refused with {code}, not with '{found}'"));
        }
        let rate = busy(session)?;
        match hammer.try_wait().context("pgbench")? {
            Some(_) => Err(format!("{role}: its clients were done too early")),
            None => Ok(rate),
        }
    })();
    if measured.is_err() {
        kill_tree(&mut hammer);
    } else if !hammer.wait().context("pgbench")?.success() {
        return Err(format!("{role}: pgbench failed"));
    }
    measured
}
