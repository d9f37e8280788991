//! Views over the history, as a granted role reads them.

use std::time::Duration;

use crate::error::Result;
use crate::terminal::say;

use super::super::session::Session;
use super::{Pair, least_ms};

const DATABASES: [&str; 2] = ["scale_small", "scale_large"];

/// Two databases with history: spread over the last year, six of ten rows of one workspace, the others of a thousand.
pub fn prepare(session: &Session) -> Result<()> {
    let large = session.amounts.scale.history;
    for (database, rows) in DATABASES.into_iter().zip([large / 100, large]) {
        say(&format!("{rows} rows of history"));
        session.run("postgres", &[&format!("CREATE DATABASE {database}")])?;
        session.script(database, "scale.sql", &[("rows", &rows.to_string())])?;
    }
    for database in DATABASES {
        say(&format!("{database}: until the worker has summed the days"));
        session.until(database, SUMMED, Duration::from_secs(1))?;
    }
    session.run("postgres", &["CHECKPOINT"])
}

/// All days before today; a note of today gives the worker nothing to do.
const SUMMED: &str =
    "NOT EXISTS (SELECT FROM leadlex.usage_change WHERE day < (now() AT TIME ZONE 'UTC')::date)
    AND (SELECT before FROM leadlex.usage_mark WHERE mark = 'summed') = (now() AT TIME ZONE 'UTC')::date";

/// As the role of the large workspace; milliseconds.
fn read(session: &Session, sql: &str) -> Result<Pair> {
    read_as(session, "scale_reader", sql)
}

fn read_as(session: &Session, role: &str, sql: &str) -> Result<Pair> {
    let [small, large] = DATABASES.map(|database| least_ms(session, database, role, sql));
    Ok(Pair { small: small?, large: large? })
}

pub fn enriched_contact(session: &Session) -> Result<Pair> {
    read(session, "SELECT count(value) FROM leadlex.enriched WHERE contact_id = '4711'")
}

pub fn enriched_workspace(session: &Session) -> Result<Pair> {
    read_as(session, "scale_small_reader", "SELECT count(value) FROM leadlex.enriched")
}

pub fn enriched_last(session: &Session) -> Result<Pair> {
    read(
        session,
        "SELECT count(*) FROM (SELECT * FROM leadlex.enriched ORDER BY enriched_at DESC LIMIT 100) AS t",
    )
}

pub fn history_hour(session: &Session) -> Result<Pair> {
    read(session, "SELECT count(*) FROM leadlex.enrichment WHERE created_at > now() - interval '1 hour'")
}

pub fn history_last(session: &Session) -> Result<Pair> {
    read(
        session,
        "SELECT count(*) FROM (SELECT * FROM leadlex.enrichment ORDER BY created_at DESC LIMIT 100) AS t",
    )
}

pub fn ledger_last(session: &Session) -> Result<Pair> {
    read(
        session,
        "SELECT count(*) FROM (SELECT * FROM leadlex.credit_ledger ORDER BY created_at DESC LIMIT 100) AS t",
    )
}

pub fn ledger_request(session: &Session) -> Result<Pair> {
    read(
        session,
        "SELECT count(*) FROM leadlex.credit_ledger
         WHERE request_id = (SELECT request_id FROM leadlex.enrichment ORDER BY created_at DESC LIMIT 1)",
    )
}

pub fn usage_all(session: &Session) -> Result<Pair> {
    read(session, "SELECT sum(credits_spent) FROM leadlex.usage_daily")
}

pub fn usage_today(session: &Session) -> Result<Pair> {
    read(
        session,
        "SELECT sum(credits_spent) FROM leadlex.usage_daily WHERE day = (now() AT TIME ZONE 'UTC')::date",
    )
}
