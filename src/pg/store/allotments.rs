//! Credits that workspaces are given anew at the begin of each day or month.

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::sys::row::{boolean, pg};
use crate::pg::sys::row::{number, text, uuid};
use crate::pg::sys::spi::{Statement, View, arg};
use leadlex_domain::allotment::Period;

static SET: Statement = Statement::new(
    "INSERT INTO leadlex.allotment AS a (workspace_id, credits, period, made_for) VALUES ($1, $2, $3, pg_catalog.to_timestamp($4))
     ON CONFLICT (workspace_id) DO UPDATE SET credits = EXCLUDED.credits, period = EXCLUDED.period, made_for = EXCLUDED.made_for,
         since = pg_catalog.clock_timestamp()",
);

/// From the period after the one that began at `start` (epoch seconds) on.
pub fn set(workspace: Uuid, credits: i64, period: Period, start: i64) {
    let args = [arg(pg(workspace)), arg(credits), arg(period.name()), arg(start as f64)];
    as_owner(|| SET.run_in(View::Current, &args));
}

static END: Statement =
    Statement::new("DELETE FROM leadlex.allotment AS a WHERE a.workspace_id OPERATOR(pg_catalog.=) $1");

/// Whether there was one.
pub fn end(workspace: Uuid) -> bool {
    as_owner(|| END.run_in(View::Current, &[arg(pg(workspace))])) > 0
}

/// Of how many are made by one transaction.
pub const PORTION: usize = 50;

static DUE: Statement = Statement::new(
    "SELECT a.workspace_id, a.credits, a.period
     FROM leadlex.allotment AS a JOIN leadlex.workspace AS w ON w.id OPERATOR(pg_catalog.=) a.workspace_id
     WHERE w.has_credit_limit
       AND a.made_for OPERATOR(pg_catalog.<) pg_catalog.to_timestamp(CASE WHEN a.period OPERATOR(pg_catalog.=) 'day' THEN $1 ELSE $2 END)
     LIMIT $3 FOR UPDATE OF a SKIP LOCKED",
);

/// Workspace, credits and period of some that are due at `now`, in epoch seconds; locked.
pub fn due(now: i64) -> Vec<(Uuid, i64, Period)> {
    let start = |period: Period| arg(period.start(now) as f64);
    let args = [start(Period::Day), start(Period::Month), arg(PORTION as i64)];
    let rows = as_owner(|| DUE.query(View::Current, &args));
    let read = |row: &_| Some((uuid(row, 0), number(row, 1), Period::parse(&text(row, 2))?));
    rows.iter().filter_map(read).collect()
}

static MADE: Statement = Statement::new(
    "UPDATE leadlex.allotment AS a SET made_for = pg_catalog.to_timestamp($2) WHERE a.workspace_id OPERATOR(pg_catalog.=) $1",
);

/// It was made for the period that began at `start`, in epoch seconds.
pub fn made(workspace: Uuid, start: i64) {
    as_owner(|| MADE.run_in(View::Current, &[arg(pg(workspace)), arg(start as f64)]));
}

static PERIODS: Statement = Statement::new(
    "SELECT EXISTS (SELECT FROM leadlex.allotment AS a WHERE a.period OPERATOR(pg_catalog.=) 'day'),
            EXISTS (SELECT FROM leadlex.allotment AS a)",
);

/// When the next one is due after `now`, in epoch seconds; `None`: there is none.
pub fn next(now: i64) -> Option<i64> {
    let row = as_owner(|| PERIODS.row(View::Latest, &[]))?;
    match (boolean(&row, 0), boolean(&row, 1)) {
        (true, _) => Some(Period::Day.next(now)),
        (false, true) => Some(Period::Month.next(now)),
        (false, false) => None,
    }
}
