//! Ledger, history, idempotency, rate records.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::shared::transaction;
use crate::pg::sys::heap_insert;
use crate::pg::sys::heap_insert::Rows;
use crate::pg::sys::jsonb::Jsonb;
use crate::pg::sys::row::{number, optional, pg, text};
use crate::pg::sys::spi::{Arg, Statement, View, arg, name_arg, optional_texts_arg, texts_arg};
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::rate::Record;
use leadlex_domain::reply::{FieldSources, FieldValues};

pub struct LoadedAccount {
    pub balance: i64,
    /// The balance after the last grant, limit or allotment.
    pub base: Option<i64>,
    pub rate: Option<Record>,
}

static LOAD_ACCOUNT: Statement = Statement::seldom(
    "SELECT coalesce((SELECT b.settled FROM leadlex.credit_balance AS b WHERE b.workspace_id OPERATOR(pg_catalog.=) $1), 0)
            OPERATOR(pg_catalog.+)
            coalesce((SELECT pg_catalog.sum(p.amount)::pg_catalog.int8 FROM leadlex.credit_pending AS p
                      WHERE p.workspace_id OPERATOR(pg_catalog.=) $1), 0),
            r.newest, pg_catalog.array_to_json(r.seconds), r.day, r.day_used, r.lease,
            coalesce((SELECT coalesce((SELECT c.settled FROM leadlex.credit_balance AS c WHERE c.workspace_id OPERATOR(pg_catalog.=) $1), 0)
                             OPERATOR(pg_catalog.+) pg_catalog.sum(u.amount)::pg_catalog.int8
                      FROM leadlex.credit_pending AS u
                      WHERE u.workspace_id OPERATOR(pg_catalog.=) $1
                        AND u.id OPERATOR(pg_catalog.<=)
                            (SELECT g.id FROM leadlex.credit_pending AS g
                             WHERE g.workspace_id OPERATOR(pg_catalog.=) $1
                               AND (g.amount OPERATOR(pg_catalog.>) 0 OR g.note OPERATOR(pg_catalog.=) ANY (ARRAY['limit', 'allotment']))
                             ORDER BY g.id USING OPERATOR(pg_catalog.>) LIMIT 1)),
                     (SELECT d.base FROM leadlex.credit_balance AS d WHERE d.workspace_id OPERATOR(pg_catalog.=) $1))
     FROM (VALUES (1)) AS one LEFT JOIN leadlex.rate_use AS r ON r.id OPERATOR(pg_catalog.=) $1",
);

/// Balance and rate use as committed (and as this transaction left them), in one snapshot.
pub fn load_account(id: &[u8; 16]) -> LoadedAccount {
    let row =
        as_owner(|| LOAD_ACCOUNT.row(View::Latest, &[arg(pgrx::Uuid::from_bytes(*id))])).unwrap_or_default();
    let rate = optional(&row, 1).map(|_| Record {
        newest: number(&row, 1),
        seconds: serde_json::from_str(&text(&row, 2)).unwrap_or_default(),
        day: number(&row, 3),
        day_used: number(&row, 4),
        lease: number(&row, 5),
    });
    let base = optional(&row, 6).and_then(|base| base.parse().ok());
    LoadedAccount { balance: number(&row, 0), base, rate }
}

static LEDGER: Statement = Statement::new(
    "INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id, note) VALUES ($1, $2, $3, $2, $4)",
);

/// A movement of credits that is not a charge.
pub fn add_to_ledger(workspace: Uuid, id: Uuid, amount: i64, note: Option<&str>) {
    transaction::with(|t| t.wrote_ledger = true);
    as_owner(|| LEDGER.run(&[arg(pg(workspace)), arg(pg(id)), arg(amount), arg(note)]));
}

/// One finished enrichment, as it goes into the tables.
pub struct Entry<'a> {
    pub workspace: Uuid,
    pub request_id: Uuid,
    pub requested_by: String,
    pub key_prefix: Option<&'a str>,
    pub schema: &'a str,
    pub table: &'a str,
    pub contact_id: &'a str,
    pub overwrite: bool,
    pub source: &'a str,
    pub confidence: Option<f64>,
    pub fields: FieldSet,
    pub field_sources: FieldSources<'a>,
    pub old_values: FieldValues<'a>,
    pub new_values: FieldValues<'a>,
    /// See [`leadlex_domain::undone::identity`].
    pub identity: Hash,
    /// What was answered for fields that hold something else now.
    pub offered: BTreeMap<&'a str, &'a str>,
    /// Fields whose answers came before the call: when, in epoch microseconds.
    pub answered: BTreeMap<&'a str, i64>,
}

// The charge and its history in one statement: neither is ever there without the other; of one time, so that they are of one day.
static CHARGE: Statement = Statement::new(
    "WITH charge AS (
         INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id, created_at) VALUES ($1, $2, -1, $2, $18))
     INSERT INTO leadlex.enrichment (workspace_id, request_id, requested_by, key_prefix, schema_name, table_name,
         contact_id, overwrite, source, confidence, fields_updated, field_sources, old_values, new_values, identity, offered, answered_at, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
);

pub fn charge(entry: &Entry) {
    transaction::with(|t| t.wrote_ledger = true);
    let args = charge_args(entry, now_arg());
    if !append_charges(std::slice::from_ref(&args)) {
        as_owner(|| CHARGE.run(&args));
    }
}

/// Of [`CHARGE`].
type ChargeArgs = [Arg; 18];

fn charge_args(entry: &Entry, now: Arg) -> ChargeArgs {
    [
        arg(pg(entry.workspace)),
        arg(pg(entry.request_id)),
        name_arg(&entry.requested_by),
        arg(entry.key_prefix),
        name_arg(entry.schema),
        name_arg(entry.table),
        arg(entry.contact_id),
        arg(entry.overwrite),
        arg(entry.source),
        arg(entry.confidence),
        texts_arg(&entry.fields.names()),
        arg(Jsonb::of(&entry.field_sources)),
        arg(Jsonb::of(&entry.old_values)),
        arg(Jsonb::of(&entry.new_values)),
        arg(pgrx::Uuid::from_bytes(entry.identity)),
        arg((!entry.offered.is_empty()).then(|| Jsonb::of(&entry.offered))),
        arg((!entry.answered.is_empty()).then(|| Jsonb::of(&entry.answered))),
        now,
    ]
}

/// The history of many of one call; `$charge`: with a charge for each.
macro_rules! history_of_many {
    ($charge:literal) => {
        concat!(
            "WITH n AS (
         SELECT u.request_id, u.contact_id, u.source, u.confidence, u.fields, u.field_sources, u.old_values, u.new_values,
                u.identity, u.offered, u.answered_at
         FROM ROWS FROM (pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10),
             pg_catalog.unnest($11), pg_catalog.unnest($12), pg_catalog.unnest($13), pg_catalog.unnest($14),
             pg_catalog.unnest($15), pg_catalog.unnest($16), pg_catalog.unnest($17))
             AS u(request_id, contact_id, source, confidence, fields, field_sources, old_values, new_values, identity, offered, answered_at))",
            $charge,
            "
     INSERT INTO leadlex.enrichment (workspace_id, request_id, requested_by, key_prefix, schema_name, table_name,
         contact_id, overwrite, source, confidence, fields_updated, field_sources, old_values, new_values, identity, offered, answered_at, created_at)
     SELECT $1, n.request_id, $2, $3, $4, $5, n.contact_id, $6, n.source, n.confidence,
            pg_catalog.string_to_array(n.fields, ','), n.field_sources::pg_catalog.jsonb, n.old_values::pg_catalog.jsonb,
            n.new_values::pg_catalog.jsonb, n.identity, n.offered::pg_catalog.jsonb, n.answered_at::pg_catalog.jsonb, $18
     FROM n"
        )
    };
}

static CHARGE_MANY: Statement = Statement::new(history_of_many!(
    ", charge AS (
         INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id, created_at)
         SELECT $1, n.request_id, -1, n.request_id, $18 FROM n)"
));
static NOTE_MANY: Statement = Statement::new(history_of_many!(""));

/// The same for many of one call: all of them of one workspace and table.
pub fn charge_many(entries: &[Entry]) {
    transaction::with(|t| t.wrote_ledger = true);
    let now = now_arg();
    let all: Vec<ChargeArgs> = entries.iter().map(|entry| charge_args(entry, now.again())).collect();
    if !append_charges(&all) {
        write_many(entries, &CHARGE_MANY);
    }
}

/// The same where each was charged before: it is noted in the history alone.
pub fn note_many(entries: &[Entry]) {
    write_many(entries, &NOTE_MANY);
}

fn write_many(entries: &[Entry], statement: &'static Statement) {
    let Some(one) = entries.first() else { return };
    let offered: Vec<Option<String>> =
        entries.iter().map(|e| (!e.offered.is_empty()).then(|| json(&e.offered))).collect();
    let answered: Vec<Option<String>> =
        entries.iter().map(|e| (!e.answered.is_empty()).then(|| json(&e.answered))).collect();
    let texts = |of: &dyn Fn(&Entry) -> String| texts_arg(&entries.iter().map(of).collect::<Vec<_>>());
    let args = [
        arg(pg(one.workspace)),
        name_arg(&one.requested_by),
        arg(one.key_prefix),
        name_arg(one.schema),
        name_arg(one.table),
        arg(one.overwrite),
        arg(entries.iter().map(|e| pg(e.request_id)).collect::<Vec<_>>()),
        texts_arg(&entries.iter().map(|e| e.contact_id).collect::<Vec<_>>()),
        texts_arg(&entries.iter().map(|e| e.source).collect::<Vec<_>>()),
        arg(entries.iter().map(|e| e.confidence).collect::<Vec<Option<f64>>>()),
        texts(&|e| e.fields.names().join(",")),
        texts(&|e| json(&e.field_sources)),
        texts(&|e| json(&e.old_values)),
        texts(&|e| json(&e.new_values)),
        arg(entries.iter().map(|e| pgrx::Uuid::from_bytes(e.identity)).collect::<Vec<_>>()),
        optional_texts_arg(&offered.iter().map(Option::as_deref).collect::<Vec<_>>()),
        optional_texts_arg(&answered.iter().map(Option::as_deref).collect::<Vec<_>>()),
        now_arg(),
    ];
    as_owner(|| statement.run(&args));
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("values with names")
}

pub fn now_arg() -> Arg {
    // SAFETY: reads the clock.
    arg(unsafe { pgrx::datum::TimestampWithTimeZone::try_from(pg_sys::GetCurrentTimestamp()) }.ok())
}

/// Charges and history by the short way; `false` where that is not open.
fn append_charges(all: &[ChargeArgs]) -> bool {
    let ledger: Vec<_> = all.iter().map(ledger_row).collect();
    let history: Vec<_> = all.iter().map(history_row).collect();
    heap_insert::rows(&[
        Rows { table: c"credit_pending", checks: 1, rows: &ledger },
        Rows { table: c"enrichment", checks: 0, rows: &history },
    ])
}

fn ledger_row([workspace, request, .., now]: &ChargeArgs) -> Vec<(&'static str, Arg)> {
    vec![
        ("workspace_id", workspace.again()),
        ("id", request.again()),
        ("amount", arg(-1i64)),
        ("request_id", request.again()),
        ("note", arg(None::<&str>)),
        ("created_at", now.again()),
    ]
}

fn history_row(args: &ChargeArgs) -> Vec<(&'static str, Arg)> {
    const FIRST: [&str; 18] = [
        "workspace_id",
        "request_id",
        "requested_by",
        "key_prefix",
        "schema_name",
        "table_name",
        "contact_id",
        "overwrite",
        "source",
        "confidence",
        "fields_updated",
        "field_sources",
        "old_values",
        "new_values",
        "identity",
        "offered",
        "answered_at",
        "created_at",
    ];
    let not_reverted = [
        ("reverted_at", arg(None::<pgrx::datum::TimestampWithTimeZone>)),
        ("reverted_fields", Arg { kind: pg_sys::TEXTARRAYOID, value: None }),
        ("reverted_times", arg(None::<Vec<i64>>)),
    ];
    FIRST.into_iter().zip(args.iter().map(Arg::again)).chain(not_reverted).collect()
}

// What the worker does, each in a transaction of its own.

// Not of what was dropped.
static RECORD_RATE: Statement = Statement::new(
    "INSERT INTO leadlex.rate_use AS r (id, newest, seconds, day, day_used, lease)
     SELECT $1, $2, $3, $4, $5, $6
     WHERE EXISTS (SELECT FROM leadlex.workspace AS w WHERE w.id OPERATOR(pg_catalog.=) $1)
        OR EXISTS (SELECT FROM leadlex.provider_config AS p WHERE p.id OPERATOR(pg_catalog.=) $1)
     ON CONFLICT (id) DO UPDATE SET newest = EXCLUDED.newest, seconds = EXCLUDED.seconds, day = EXCLUDED.day,
         day_used = EXCLUDED.day_used, lease = EXCLUDED.lease, recorded_at = pg_catalog.clock_timestamp()",
);

pub fn record_rate(id: &[u8; 16], record: &Record) {
    as_owner(|| {
        RECORD_RATE.run(&[
            arg(pgrx::Uuid::from_bytes(*id)),
            arg(record.newest),
            arg(record.seconds.clone()),
            arg(record.day),
            arg(record.day_used),
            arg(record.lease),
        ])
    });
}

// Rows are moved, not counted up to an id: a transaction that commits late is simply moved later. They are left alone
// while their workspace has no balance: a restore has brought one table, and is about to bring the other. They are read in the
// order of the file, from a place on: an old snapshot keeps what has been moved, and each portion would walk over all of that.
static SETTLE: Statement = Statement::new(
    "WITH looked AS MATERIALIZED (
         SELECT q.ctid AS place, q.workspace_id FROM leadlex.credit_pending AS q
         WHERE q.ctid OPERATOR(pg_catalog.>) $2::pg_catalog.tid LIMIT $1),
     moved AS (
         DELETE FROM leadlex.credit_pending AS p
         WHERE p.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
             SELECT q.place FROM looked AS q
             WHERE EXISTS (SELECT FROM leadlex.credit_balance AS b WHERE b.workspace_id OPERATOR(pg_catalog.=) q.workspace_id)))
         RETURNING p.workspace_id, p.id, p.amount, p.request_id, p.note, p.created_at),
     kept AS (
         INSERT INTO leadlex.credit_settled (workspace_id, id, amount, request_id, note, created_at)
         SELECT m.workspace_id, m.id, m.amount, m.request_id, m.note, m.created_at FROM moved AS m),
     added AS (
         UPDATE leadlex.credit_balance AS b SET settled = b.settled OPERATOR(pg_catalog.+) m.amount,
             base = coalesce(b.settled OPERATOR(pg_catalog.+) m.up_to_grant, b.base)
         FROM (SELECT n.workspace_id, pg_catalog.sum(n.amount)::pg_catalog.int8 AS amount,
                      (pg_catalog.sum(n.amount) FILTER (WHERE n.id OPERATOR(pg_catalog.<=) g.id))::pg_catalog.int8 AS up_to_grant
               FROM moved AS n LEFT JOIN (
                   SELECT DISTINCT ON (l.workspace_id) l.workspace_id, l.id FROM moved AS l
                   WHERE l.amount OPERATOR(pg_catalog.>) 0 OR l.note OPERATOR(pg_catalog.=) ANY (ARRAY['limit', 'allotment'])
                   ORDER BY l.workspace_id USING OPERATOR(pg_catalog.<), l.id USING OPERATOR(pg_catalog.>)) AS g
                   ON g.workspace_id OPERATOR(pg_catalog.=) n.workspace_id
               GROUP BY n.workspace_id) AS m
         WHERE b.workspace_id OPERATOR(pg_catalog.=) m.workspace_id)
     SELECT (SELECT pg_catalog.count(*) FROM moved), pg_catalog.count(*), pg_catalog.max(s.place)::pg_catalog.text FROM looked AS s",
);

/// At most so many rows are settled, or keys removed, by one transaction of the worker.
pub const PORTION: u64 = 10_000;

/// What one transaction has settled.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    pub rows: u64,
    /// There is more behind these.
    pub more: bool,
    /// It has begun at the front: there is nothing before these.
    pub is_whole: bool,
}

/// Where this worker goes on.
struct Place {
    /// What stands before has been looked at: a `tid`.
    after: String,
    /// When it last began at the front, and how long that portion took.
    front: Option<(Instant, Duration)>,
}

impl Place {
    /// Least time between two looks from the front, and what part of the time they may take.
    const EVERY: Duration = Duration::from_millis(200);
    const SHARE: u32 = 20;

    fn may_start_over(&self) -> bool {
        self.front.is_none_or(|(begun, took)| begun.elapsed() >= Self::EVERY.max(took * Self::SHARE))
    }
}

thread_local! {
    static PLACE: RefCell<Place> = const { RefCell::new(Place { after: String::new(), front: None }) };
}

/// Folds a portion of the pending ledger rows into the balances. What stands before the place where a look begins, of transactions
/// that have committed late, is found by a later one.
pub fn settle_ledger() -> Settled {
    PLACE.with_borrow_mut(|place| {
        let (begun, is_whole) = (Instant::now(), place.may_start_over());
        if is_whole {
            place.after = "(0,0)".to_owned();
        }
        let args = [arg(PORTION as i64), arg(place.after.as_str())];
        let row = as_owner(|| SETTLE.row(View::Caller, &args)).unwrap_or_default();
        if let Some(last) = optional(&row, 2) {
            place.after = last;
        }
        if is_whole {
            place.front = Some((begun, begun.elapsed()));
        }
        Settled { rows: number(&row, 0) as u64, more: number(&row, 1) as u64 == PORTION, is_whole }
    })
}
