//! Sums of usage of the days that are over, see sql/14_usage.sql.

use std::time::{Duration, Instant};

use crate::pg::installation::as_owner;
use crate::pg::sys::row::{optional, text};
use crate::pg::sys::spi::{Statement, View, arg};

// A note of a day that is not summed yet says nothing: what it is about will be seen.
static FORGET_NOTES: Statement = Statement::new(
    "DELETE FROM leadlex.usage_change AS c
     WHERE c.day OPERATOR(pg_catalog.>=) (SELECT m.before FROM leadlex.usage_mark AS m WHERE m.mark OPERATOR(pg_catalog.=) 'summed')",
);
static NEXT: Statement = Statement::new(
    "SELECT n.day::pg_catalog.text
     FROM (SELECT coalesce(
               (SELECT pg_catalog.min(c.day) FROM leadlex.usage_change AS c
                WHERE c.day OPERATOR(pg_catalog.<) m.summed),
               least((pg_catalog.timezone('UTC', least(
                   (SELECT e.created_at FROM leadlex.enrichment AS e WHERE e.created_at OPERATOR(pg_catalog.>=) m.since
                    ORDER BY e.created_at USING OPERATOR(pg_catalog.<) LIMIT 1),
                   (SELECT s.created_at FROM leadlex.credit_settled AS s WHERE s.created_at OPERATOR(pg_catalog.>=) m.since
                    ORDER BY s.created_at USING OPERATOR(pg_catalog.<) LIMIT 1))))::pg_catalog.date,
                   (SELECT pg_catalog.min(p.day) FROM leadlex.usage_pruned AS p WHERE p.day OPERATOR(pg_catalog.>=) m.summed))) AS day
           FROM (SELECT b.before AS summed, pg_catalog.timezone('UTC', b.before::pg_catalog.timestamp) AS since
                 FROM leadlex.usage_mark AS b WHERE b.mark OPERATOR(pg_catalog.=) 'summed') AS m) AS n
     WHERE n.day OPERATOR(pg_catalog.<) (pg_catalog.timezone('UTC', pg_catalog.clock_timestamp()))::pg_catalog.date",
);
// The notes go first: one that comes after this statement stays, and the day is summed once more.
static UNNOTE: Statement = Statement::new(
    "DELETE FROM leadlex.usage_change AS c
     WHERE c.day OPERATOR(pg_catalog.=) $1::pg_catalog.date",
);
static UNSUM: Statement = Statement::new(
    "DELETE FROM leadlex.usage_day AS s WHERE s.day OPERATOR(pg_catalog.=) $1::pg_catalog.date",
);
static SUM: Statement = Statement::new(
    "INSERT INTO leadlex.usage_day (workspace_id, day, source, contacts, fields, credits, reverted)
     SELECT u.workspace_id, u.day, coalesce(u.source, ''), u.contacts, u.fields, u.credits, u.reverted
     FROM leadlex.usage_between(pg_catalog.timezone('UTC', $1::pg_catalog.date::pg_catalog.timestamp),
                                pg_catalog.timezone('UTC', ($1::pg_catalog.date OPERATOR(pg_catalog.+) 1)::pg_catalog.timestamp)) AS u",
);
static SUMMED: Statement = Statement::new(
    "UPDATE leadlex.usage_mark AS m SET before = greatest(m.before, $1::pg_catalog.date OPERATOR(pg_catalog.+) 1)
     WHERE m.mark OPERATOR(pg_catalog.=) 'summed'",
);

/// How long the worker sums days before it looks for other work; a single day may take longer.
const PORTION: Duration = Duration::from_millis(100);

/// Sums days that are over and are not summed, or have changed since, the earliest first; each is a transaction that `commit`
/// ends. Whether there may be more.
pub fn sum_days(commit: impl Fn()) -> bool {
    let begun = Instant::now();
    as_owner(|| FORGET_NOTES.run(&[]));
    while begun.elapsed() < PORTION {
        let next = as_owner(|| NEXT.row(View::Caller, &[])).filter(|row| optional(row, 0).is_some());
        let Some(row) = next else { return false };
        let day = text(&row, 0);
        as_owner(|| {
            UNNOTE.run(&[arg(day.as_str())]);
            UNSUM.run(&[arg(day.as_str())]);
            SUM.run(&[arg(day.as_str())]);
            SUMMED.run(&[arg(day.as_str())]);
        });
        commit();
    }
    true
}
