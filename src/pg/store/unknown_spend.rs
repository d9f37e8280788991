//! What a crash has left unknown, into the tables: before anything else of this life of shared memory is written there.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::shared::budgets::EVERY_WORKSPACE;
use crate::pg::store::spend::{amount, life};
use crate::pg::sys::row::{number, text, uuid};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg};
use leadlex_domain::money::Amount;
use leadlex_domain::money::unknown::{Left, Part, Room, Scope, spread, sums};
use leadlex_domain::money::windows::Period;

static LEFT: Statement = Statement::new(
    "SELECT l.currency, l.provider, l.workspace_id, (l.day OPERATOR(pg_catalog.-) pg_catalog.date '1970-01-01')::pg_catalog.int8,
            l.amount, (EXTRACT(epoch FROM l.opened_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM leadlex.spend_lease AS l WHERE l.life OPERATOR(pg_catalog.<>) $1 AND l.amount OPERATOR(pg_catalog.>) 0
     ORDER BY l.currency USING OPERATOR(pg_catalog.<), l.provider USING OPERATOR(pg_catalog.<), l.workspace_id USING OPERATOR(pg_catalog.<)",
);
// What each budget had left on each of these days, beside what is held for answers that come later.
static ROOMS: Statement = Statement::new(
    "SELECT b.currency, b.provider, b.workspace_id, b.period, (d.day OPERATOR(pg_catalog.-) pg_catalog.date '1970-01-01')::pg_catalog.int8,
            (EXTRACT(epoch FROM b.changed_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
            b.amount OPERATOR(pg_catalog.-) coalesce(
                (SELECT s.used FROM leadlex.spend_sum AS s
                 WHERE s.currency OPERATOR(pg_catalog.=) b.currency AND s.provider OPERATOR(pg_catalog.=) b.provider
                   AND s.workspace_id OPERATOR(pg_catalog.=) b.workspace_id AND s.period OPERATOR(pg_catalog.=) b.period
                   AND s.starts OPERATOR(pg_catalog.=)
                       CASE WHEN b.period OPERATOR(pg_catalog.=) 'day' THEN d.day
                            WHEN b.period OPERATOR(pg_catalog.=) 'month'
                            THEN (pg_catalog.date_trunc('month', d.day::pg_catalog.timestamp))::pg_catalog.date
                            ELSE pg_catalog.date '1970-01-01' END), 0) OPERATOR(pg_catalog.-) coalesce(
                (SELECT pg_catalog.sum(h.amount) FROM leadlex.spend_hold AS h
                 WHERE h.currency OPERATOR(pg_catalog.=) b.currency
                   AND b.provider OPERATOR(pg_catalog.=) ANY (ARRAY['', h.provider])
                   AND b.workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY['ffffffff-ffff-ffff-ffff-ffffffffffff', h.workspace_id])), 0)
     FROM leadlex.budget_limit AS b
     JOIN (SELECT DISTINCT l.currency, l.day FROM leadlex.spend_lease AS l
           WHERE l.life OPERATOR(pg_catalog.<>) $1 AND l.amount OPERATOR(pg_catalog.>) 0) AS d
       ON d.currency OPERATOR(pg_catalog.=) b.currency",
);
static FORGET: Statement =
    Statement::new("DELETE FROM leadlex.spend_lease AS l WHERE l.life OPERATOR(pg_catalog.<>) $1");
static BOOK_DAYS: Statement = Statement::new(
    "INSERT INTO leadlex.spend_day AS d (day, workspace_id, provider, currency, role, requests, matches, fields_supplied,
         fields_used, vendor_credits, cost, unknown)
     SELECT pg_catalog.date '1970-01-01' OPERATOR(pg_catalog.+) u.day, u.workspace_id, u.provider, $1, '', 0, 0, 0, 0, 0, 0,
            u.unknown::pg_catalog.numeric
     FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5))
         AS u(day, provider, workspace_id, unknown)
     ON CONFLICT (day, workspace_id, provider, currency, role) DO UPDATE
     SET unknown = d.unknown OPERATOR(pg_catalog.+) EXCLUDED.unknown",
);
static BOOK_SUMS: Statement = Statement::new(
    "INSERT INTO leadlex.spend_sum AS s (currency, provider, workspace_id, period, starts, used)
     SELECT $1, u.provider, u.workspace_id, u.period, pg_catalog.date '1970-01-01' OPERATOR(pg_catalog.+) u.starts,
            u.used::pg_catalog.numeric
     FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6))
         AS u(starts, provider, workspace_id, used, period)
     ON CONFLICT (currency, provider, workspace_id, period, starts) DO UPDATE SET used = s.used OPERATOR(pg_catalog.+) EXCLUDED.used",
);

/// What a crash has left of leases counts as spent, of an amount that is not known: as much as the budgets allowed that had not
/// changed since the leases were opened.
pub fn book() {
    let life = || [arg(life())];
    as_owner(|| {
        let rows = LEFT.query(View::Caller, &life());
        if rows.is_empty() {
            return;
        }
        let mut rooms = by_currency(&ROOMS.query(View::Caller, &life()), room);
        for (currency, left) in by_currency(&rows, left) {
            let rooms = rooms.remove(&currency).unwrap_or_default();
            book_days(&currency, &spread(&left, &rooms));
            book_sums(&currency, &sums(&left, &rooms));
        }
        FORGET.run(&life());
    });
}

fn book_days(currency: &str, shares: &[(&Left, Amount)]) {
    let told: Vec<_> = shares.iter().filter(|(_, share)| *share > Amount::ZERO).collect();
    let entries: Vec<_> = told.iter().map(|(left, share)| (left.day, &left.of, *share)).collect();
    BOOK_DAYS.run(&args(currency, &entries));
}

fn book_sums(currency: &str, parts: &[Part]) {
    let entries: Vec<_> = parts.iter().map(|part| (part.starts, &part.of, part.amount)).collect();
    let periods: Vec<String> = parts.iter().map(|part| part.period.name().to_owned()).collect();
    let mut args = args(currency, &entries);
    args.push(arg(periods));
    BOOK_SUMS.run(&args);
}

/// Of each the day, the scope and the amount.
fn args(currency: &str, entries: &[(i64, &Scope, Amount)]) -> Vec<Arg> {
    let workspace = |of: &Scope| pgrx::Uuid::from_bytes(of.workspace.unwrap_or(EVERY_WORKSPACE));
    let provider = |of: &Scope| of.provider.clone().unwrap_or_default();
    vec![
        arg(currency.to_owned()),
        arg(entries.iter().map(|(day, ..)| *day as i32).collect::<Vec<_>>()),
        arg(entries.iter().map(|(_, of, _)| provider(of)).collect::<Vec<_>>()),
        arg(entries.iter().map(|(_, of, _)| workspace(of)).collect::<Vec<_>>()),
        arg(entries.iter().map(|(.., amount)| amount.to_string()).collect::<Vec<_>>()),
    ]
}

fn by_currency<T>(rows: &[Row], read: fn(&Row) -> T) -> BTreeMap<String, Vec<T>> {
    let mut map: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for row in rows {
        map.entry(text(row, 0)).or_default().push(read(row));
    }
    map
}

fn left(row: &Row) -> Left {
    Left { of: scope(row), day: number(row, 3), amount: amount(row, 4), opened_at: number(row, 5) }
}

/// Less than nothing is none: a budget was lowered, or set, after it was spent.
fn room(row: &Row) -> Room {
    let period = Period::parse(&text(row, 3)).unwrap_or(Period::Total);
    Room { of: scope(row), period, day: number(row, 4), since: number(row, 5), amount: amount(row, 6) }
}

fn scope(row: &Row) -> Scope {
    let (provider, workspace): (String, Uuid) = (text(row, 1), uuid(row, 2));
    let workspace = workspace.into_bytes();
    Scope {
        provider: (!provider.is_empty()).then_some(provider),
        workspace: (workspace != EVERY_WORKSPACE).then_some(workspace),
    }
}
