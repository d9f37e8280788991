//! What was spent, in the tables, and the budgets.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::pg::installation::{self, as_owner};
use crate::pg::shared::budgets::{self, Counts, EntryKey, Record, SumKey};
use crate::pg::shared::transaction;
use crate::pg::sys::row::{number, optional, text, uuid};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg};
use crate::pg::sys::{database, index_probe, role};
use leadlex_domain::money::windows::{Period, Windows, day_of, first_day, month_of};
use leadlex_domain::money::{Amount, Currency};

/// Every workspace together, as the tables have it.
pub const EVERY_WORKSPACE: Uuid = Uuid::from_bytes(budgets::EVERY_WORKSPACE);

/// One budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// `None`: all together.
    pub provider: Option<String>,
    pub period: Period,
    /// `None`: all together.
    pub workspace: Option<Uuid>,
    pub currency: Currency,
    pub amount: Amount,
}

static BUDGETS: Statement = Statement::seldom(
    "SELECT b.provider, b.period, b.workspace_id, b.currency,
            (b.amount OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM leadlex.budget_limit AS b",
);

/// All budgets.
pub fn budgets() -> Vec<Budget> {
    let read = |row: &Row| {
        Some(Budget {
            provider: Some(text(row, 0)).filter(|name| !name.is_empty()),
            period: Period::parse(&text(row, 1))?,
            workspace: Some(uuid(row, 2)).filter(|id| *id != EVERY_WORKSPACE),
            currency: Currency::parse(&text(row, 3))?,
            amount: Amount(number(row, 4)),
        })
    };
    // Most have none, and no statement is planned.
    if index_probe::is_empty(installation::present().budgets) {
        return Vec::new();
    }
    as_owner(|| BUDGETS.query(View::Latest, &[])).iter().filter_map(read).collect()
}

static SET_BUDGET: Statement = Statement::new(
    "INSERT INTO leadlex.budget_limit AS b (provider, period, workspace_id, currency, amount)
     VALUES ($1, $2, $3, $4, $5::pg_catalog.numeric)
     ON CONFLICT (provider, period, workspace_id, currency) DO UPDATE
     SET amount = EXCLUDED.amount, changed_at = pg_catalog.clock_timestamp()",
);
static TAKE_BUDGET: Statement = Statement::new(
    "DELETE FROM leadlex.budget_limit AS b
     WHERE b.provider OPERATOR(pg_catalog.=) $1 AND b.period OPERATOR(pg_catalog.=) $2
       AND b.workspace_id OPERATOR(pg_catalog.=) $3 AND b.currency OPERATOR(pg_catalog.=) $4",
);
static DROP_BUDGETS: Statement =
    Statement::new("DELETE FROM leadlex.budget_limit AS b WHERE b.provider OPERATOR(pg_catalog.=) $1");

/// Sets a budget.
///
/// Raises 40001: it has changed since the transaction's one snapshot.
pub fn set_budget(budget: &Budget) {
    let mut args = Vec::from(key_args(budget));
    args.push(arg(budget.amount.to_string()));
    as_owner(|| SET_BUDGET.run(&args));
    transaction::with(|t| t.set_budget = true);
}

/// Takes a budget away; `false`: there was none.
///
/// Raises 40001: it has changed since the transaction's one snapshot.
pub fn take_budget(budget: &Budget) -> bool {
    as_owner(|| TAKE_BUDGET.run_in(View::Serialized, &key_args(budget))) > 0
}

/// Those of a provider.
pub fn drop_budgets(provider: &str) {
    as_owner(|| DROP_BUDGETS.run(&[arg(provider)]));
}

fn key_args(budget: &Budget) -> [Arg; 4] {
    [
        arg(budget.provider.as_deref().unwrap_or_default()),
        arg(budget.period.name()),
        arg(to_pg(budget.workspace.unwrap_or(EVERY_WORKSPACE).into_bytes())),
        arg(budget.currency.name()),
    ]
}

fn to_pg(id: [u8; 16]) -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(id)
}

/// Tells leases of this extension in this life of shared memory from those that a crash, a copy or a restore has left.
pub fn life() -> i64 {
    budgets::life((database::this_database(), installation::present().catalog))
}

static LOAD: Statement = Statement::seldom(
    "SELECT coalesce((SELECT pg_catalog.sum(s.used) FROM leadlex.spend_sum AS s
                      WHERE s.currency OPERATOR(pg_catalog.=) $1 AND s.provider OPERATOR(pg_catalog.=) $2
                        AND s.workspace_id OPERATOR(pg_catalog.=) $3 AND s.period OPERATOR(pg_catalog.=) p.period
                        AND s.starts OPERATOR(pg_catalog.=) p.starts), 0),
            coalesce((SELECT r.credits FROM leadlex.spend_reported AS r
                      WHERE r.currency OPERATOR(pg_catalog.=) $1 AND r.provider OPERATOR(pg_catalog.=) $2), 0),
            coalesce((SELECT pg_catalog.sum(l.amount) FROM leadlex.spend_lease AS l
                      WHERE l.life OPERATOR(pg_catalog.<>) $6), 0),
            coalesce(h.amount, 0), coalesce(h.polls, 0),
            coalesce((SELECT pg_catalog.sum(l.amount) FROM leadlex.spend_lease AS l
                      WHERE l.life OPERATOR(pg_catalog.<>) $6 AND l.currency OPERATOR(pg_catalog.=) $1
                        AND ($2 OPERATOR(pg_catalog.=) '' OR l.provider OPERATOR(pg_catalog.=) $2)
                        AND ($3 OPERATOR(pg_catalog.=) 'ffffffff-ffff-ffff-ffff-ffffffffffff' OR l.workspace_id OPERATOR(pg_catalog.=) $3)), 0)
     FROM (VALUES ('day', pg_catalog.date '1970-01-01' OPERATOR(pg_catalog.+) $4),
                  ('month', pg_catalog.date '1970-01-01' OPERATOR(pg_catalog.+) $5),
                  ('total', pg_catalog.date '1970-01-01')) AS p(period, starts)
     CROSS JOIN (SELECT pg_catalog.sum(o.amount) AS amount, pg_catalog.sum(o.polls) AS polls FROM leadlex.spend_hold AS o
                 WHERE o.currency OPERATOR(pg_catalog.=) $1
                   AND ($2 OPERATOR(pg_catalog.=) '' OR o.provider OPERATOR(pg_catalog.=) $2)
                   AND ($3 OPERATOR(pg_catalog.=) 'ffffffff-ffff-ffff-ffff-ffffffffffff' OR o.workspace_id OPERATOR(pg_catalog.=) $3)) AS h
     ORDER BY p.period USING OPERATOR(pg_catalog.<)",
);

/// A sum as the tables have it.
pub struct Known {
    pub windows: Windows,
    /// The most credits that an answer of the provider has reported.
    pub reported: Amount,
    /// What a crash has left of leases and is not booked yet: of this sum, and whether there is any. Before that is done, nothing may be
    /// spent.
    pub left: Amount,
    pub any_left: bool,
}

/// A sum at `now`.
pub fn load(key: &SumKey, now: i64) -> Known {
    let args = [
        arg(key.currency.name()),
        arg(key.name()),
        arg(to_pg(key.workspace)),
        arg(day_of(now) as i32),
        arg(first_day(month_of(now)) as i32),
        arg(life()),
    ];
    let rows = as_owner(|| LOAD.query(View::Latest, &args));
    let of = |at: usize| rows.get(at).map_or(Amount::ZERO, |row| amount(row, 0));
    let first = |at| rows.first().map_or(Amount::ZERO, |row| amount(row, at));
    let windows = Windows::new(now, of(0), of(1), of(2)).holding(first(3), first(4));
    Known { windows, reported: first(1), left: first(5), any_left: first(2) > Amount::ZERO }
}

/// A numeric of at most six decimals; nothing where it is NULL.
pub fn amount(row: &Row, at: usize) -> Amount {
    optional(row, at).and_then(|text| Amount::parse(&text).ok()).unwrap_or_default()
}

// One row for each day, role, workspace and provider; and their sums, for each way in which a budget can count them.
static BOOK: Statement = Statement::new(
    "WITH n AS (
         SELECT pg_catalog.date '1970-01-01' OPERATOR(pg_catalog.+) u.day AS day, u.workspace_id, u.provider, u.currency, u.role,
                u.requests, u.matches, u.fields_supplied, u.fields_used, u.vendor_credits::pg_catalog.numeric AS vendor_credits,
                u.cost::pg_catalog.numeric AS cost, u.unknown::pg_catalog.numeric AS unknown
         FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
             pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),
             pg_catalog.unnest($10), pg_catalog.unnest($11), pg_catalog.unnest($12))
             AS u(day, workspace_id, provider, currency, role, requests, matches, fields_supplied, fields_used, vendor_credits,
                  cost, unknown)), days AS (
         INSERT INTO leadlex.spend_day AS d (day, workspace_id, provider, currency, role, requests, matches, fields_supplied,
             fields_used, vendor_credits, cost, unknown)
         SELECT n.day, n.workspace_id, n.provider, n.currency, n.role, n.requests, n.matches, n.fields_supplied, n.fields_used,
                n.vendor_credits, n.cost, n.unknown FROM n
         ON CONFLICT (day, workspace_id, provider, currency, role) DO UPDATE
         SET requests = d.requests OPERATOR(pg_catalog.+) EXCLUDED.requests,
             matches = d.matches OPERATOR(pg_catalog.+) EXCLUDED.matches,
             fields_supplied = d.fields_supplied OPERATOR(pg_catalog.+) EXCLUDED.fields_supplied,
             fields_used = d.fields_used OPERATOR(pg_catalog.+) EXCLUDED.fields_used,
             vendor_credits = d.vendor_credits OPERATOR(pg_catalog.+) EXCLUDED.vendor_credits,
             cost = d.cost OPERATOR(pg_catalog.+) EXCLUDED.cost,
             unknown = d.unknown OPERATOR(pg_catalog.+) EXCLUDED.unknown)
     INSERT INTO leadlex.spend_sum AS s (currency, provider, workspace_id, period, starts, used)
     SELECT n.currency, coalesce(n.provider, ''), coalesce(n.workspace_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), p.period, p.starts,
            pg_catalog.sum(n.cost OPERATOR(pg_catalog.+) n.unknown)
     FROM n, LATERAL (VALUES ('day', n.day),
                             ('month', (pg_catalog.date_trunc('month', n.day::pg_catalog.timestamp))::pg_catalog.date),
                             ('total', pg_catalog.date '1970-01-01')) AS p(period, starts)
     WHERE n.currency OPERATOR(pg_catalog.<>) ''
     GROUP BY n.currency, p.period, p.starts,
              GROUPING SETS ((n.provider, n.workspace_id), (n.provider), (n.workspace_id), ())
     HAVING pg_catalog.sum(n.cost OPERATOR(pg_catalog.+) n.unknown) OPERATOR(pg_catalog.>) 0
     ON CONFLICT (currency, provider, workspace_id, period, starts) DO UPDATE SET used = s.used OPERATOR(pg_catalog.+) EXCLUDED.used",
);
static LEASE: Statement = Statement::new(
    "INSERT INTO leadlex.spend_lease AS l (currency, provider, workspace_id, day, amount, life)
     SELECT u.currency, u.provider, u.workspace_id, pg_catalog.date '1970-01-01' OPERATOR(pg_catalog.+) $5,
            u.amount::pg_catalog.numeric, $6
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
         AS u(currency, provider, workspace_id, amount)
     ON CONFLICT (currency, provider, workspace_id) DO UPDATE
     SET day = EXCLUDED.day, amount = EXCLUDED.amount, life = EXCLUDED.life",
);
static SHRINK: Statement = Statement::new(
    "UPDATE leadlex.spend_lease AS l
     SET amount = CASE WHEN l.amount OPERATOR(pg_catalog.>) n.amount THEN l.amount OPERATOR(pg_catalog.-) n.amount ELSE 0 END
     FROM (SELECT u.currency, u.provider, u.workspace_id, pg_catalog.sum(u.amount::pg_catalog.numeric) AS amount
           FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
               AS u(currency, provider, workspace_id, amount)
           GROUP BY u.currency, u.provider, u.workspace_id) AS n
     WHERE l.currency OPERATOR(pg_catalog.=) n.currency AND l.provider OPERATOR(pg_catalog.=) n.provider
       AND l.workspace_id OPERATOR(pg_catalog.=) n.workspace_id AND l.life OPERATOR(pg_catalog.=) $5",
);
static CLOSE: Statement = Statement::new(
    "DELETE FROM leadlex.spend_lease AS l
     USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS u(currency, provider, workspace_id)
     WHERE l.currency OPERATOR(pg_catalog.=) u.currency AND l.provider OPERATOR(pg_catalog.=) u.provider
       AND l.workspace_id OPERATOR(pg_catalog.=) u.workspace_id",
);
static REPORTED: Statement = Statement::new(
    "INSERT INTO leadlex.spend_reported AS r (currency, provider, credits)
     SELECT u.currency, u.provider, u.credits::pg_catalog.numeric
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS u(currency, provider, credits)
     ON CONFLICT (currency, provider) DO UPDATE SET credits = EXCLUDED.credits
     WHERE r.credits OPERATOR(pg_catalog.<) EXCLUDED.credits",
);

/// What may have been spent on a day, and will never be known.
pub fn book_unknown(day: i64, of: (Uuid, String, String), unknown: Amount) {
    as_owner(|| BOOK.run(&unknown_args(day, of, unknown)));
}

/// One row of an amount alone.
fn unknown_args(
    day: i64,
    (workspace, provider, currency): (Uuid, String, String),
    unknown: Amount,
) -> Vec<Arg> {
    let nothing = || arg(vec!["0".to_owned()]);
    let none = || arg(vec![0_i64]);
    vec![
        arg(vec![day as i32]),
        arg(vec![to_pg(workspace.into_bytes())]),
        arg(vec![provider]),
        arg(vec![currency]),
        arg(vec![String::new()]),
        none(),
        none(),
        none(),
        none(),
        nothing(),
        nothing(),
        arg(vec![unknown.to_string()]),
    ]
}

/// Writes what shared memory has; in one transaction.
pub fn record(record: &Record) {
    as_owner(|| {
        let spent: Vec<(EntryKey, Counts)> =
            record.entries.iter().filter(|(_, counts)| counts.is_spend()).copied().collect();
        if !spent.is_empty() {
            BOOK.run(&entry_args(&spent));
        }
        let (closed, open): (Vec<_>, Vec<_>) =
            record.leases.iter().partition(|(_, amount)| *amount == Amount::ZERO);
        if !closed.is_empty() {
            CLOSE.run(&sum_args(&closed));
        }
        if !open.is_empty() {
            let amounts = arg(open.iter().map(|(_, amount)| amount.to_string()).collect::<Vec<_>>());
            let mut args = Vec::from(sum_args(&open));
            args.extend([amounts, arg(record.day as i32), arg(life())]);
            LEASE.run(&args);
        }
        if !record.reported.is_empty() {
            let of = |what: &dyn Fn(&(SumKey, Amount)) -> String| {
                arg(record.reported.iter().map(what).collect::<Vec<_>>())
            };
            REPORTED.run(&[
                of(&|(key, _)| key.currency.name().to_owned()),
                of(&|(key, _)| key.name().to_owned()),
                of(&|(_, credits)| credits.to_string()),
            ]);
        }
    });
}

/// What leases need not cover any more, because the tables have it in the same transaction: else a crash would count it twice.
pub fn shrink_leases(by: &[(SumKey, Amount)]) {
    if by.is_empty() {
        return;
    }
    let mut args = Vec::from(sum_args(&by.iter().collect::<Vec<_>>()));
    args.push(arg(by.iter().map(|(_, amount)| amount.to_string()).collect::<Vec<_>>()));
    args.push(arg(life()));
    as_owner(|| SHRINK.run(&args));
}

fn sum_args(sums: &[&(SumKey, Amount)]) -> [Arg; 3] {
    [
        arg(sums.iter().map(|(key, _)| key.currency.name().to_owned()).collect::<Vec<_>>()),
        arg(sums.iter().map(|(key, _)| key.name().to_owned()).collect::<Vec<_>>()),
        arg(sums.iter().map(|(key, _)| to_pg(key.workspace)).collect::<Vec<_>>()),
    ]
}

/// Names of roles are looked up once each. Two oids of one name cannot be, but of one that is gone.
fn entry_args(entries: &[(EntryKey, Counts)]) -> Vec<Arg> {
    let mut names = BTreeMap::new();
    for (key, _) in entries {
        names.entry(key.role).or_insert_with(|| role::name_of(key.role.into()));
    }
    let count = |of: fn(&Counts) -> u64| arg(entries.iter().map(|(_, n)| of(n) as i64).collect::<Vec<_>>());
    let money =
        |of: fn(&Counts) -> Amount| arg(entries.iter().map(|(_, n)| of(n).to_string()).collect::<Vec<_>>());
    vec![
        arg(entries.iter().map(|(key, _)| key.day as i32).collect::<Vec<_>>()),
        arg(entries.iter().map(|(key, _)| to_pg(key.of.workspace)).collect::<Vec<_>>()),
        arg(entries.iter().map(|(key, _)| key.of.name().to_owned()).collect::<Vec<_>>()),
        arg(entries.iter().map(|(key, _)| key.of.currency.name().to_owned()).collect::<Vec<_>>()),
        arg(entries.iter().map(|(key, _)| names[&key.role].clone()).collect::<Vec<_>>()),
        count(|n| n.requests),
        count(|n| n.matches),
        count(|n| n.fields_supplied),
        count(|n| n.fields_used),
        money(|n| n.credits),
        money(|n| n.cost),
        money(|n| n.unknown),
    ]
}
