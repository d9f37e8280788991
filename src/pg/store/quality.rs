//! What providers' answers were worth, in the tables: sums by workspace and field, and of all workspaces together.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::shared::budgets::{Counts, EntryKey};
use crate::pg::sys::row::{boolean, number, text, uuid};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg};
use leadlex_domain::fields::Field;
use leadlex_domain::money::Amount;
use leadlex_domain::money::order::{ANSWERS_THAT_TELL, Record};

// Of a provider that was dropped nothing is kept. Field '' has answers and matches.
static RECORD: Statement = Statement::new(
    "INSERT INTO leadlex.provider_field_tally AS t (provider_id, workspace_id, field, currency, asked, supplied, used, reverted,
         lost, cost)
     SELECT p.id, coalesce(u.workspace_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), u.field, coalesce(u.currency, ''),
            pg_catalog.sum(u.asked)::pg_catalog.int8, pg_catalog.sum(u.supplied)::pg_catalog.int8,
            pg_catalog.sum(u.used)::pg_catalog.int8, pg_catalog.sum(u.reverted)::pg_catalog.int8,
            pg_catalog.sum(u.lost)::pg_catalog.int8, pg_catalog.sum(u.cost::pg_catalog.numeric)
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
         pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),
         pg_catalog.unnest($10))
         AS u(workspace_id, provider, field, currency, asked, supplied, used, reverted, lost, cost)
     JOIN leadlex.provider_config AS p ON p.name OPERATOR(pg_catalog.=) u.provider
     GROUP BY GROUPING SETS ((p.id, u.workspace_id, u.field, u.currency), (p.id, u.field))
     ON CONFLICT (provider_id, workspace_id, field, currency) DO UPDATE
     SET asked = t.asked OPERATOR(pg_catalog.+) EXCLUDED.asked,
         supplied = t.supplied OPERATOR(pg_catalog.+) EXCLUDED.supplied,
         used = t.used OPERATOR(pg_catalog.+) EXCLUDED.used,
         reverted = t.reverted OPERATOR(pg_catalog.+) EXCLUDED.reverted,
         lost = t.lost OPERATOR(pg_catalog.+) EXCLUDED.lost,
         cost = t.cost OPERATOR(pg_catalog.+) EXCLUDED.cost",
);

/// Adds what these entries came to.
pub fn record(entries: &[(EntryKey, Counts)]) {
    let rows: Vec<Line> = entries.iter().flat_map(|(key, counts)| lines(key, counts)).collect();
    if rows.is_empty() {
        return;
    }
    let numbers = |at: usize| arg(rows.iter().map(|line| i64::from(line.numbers[at])).collect::<Vec<_>>());
    let texts = |of: fn(&Line) -> String| arg(rows.iter().map(of).collect::<Vec<_>>());
    let args: [Arg; 10] = [
        arg(rows.iter().map(|line| pgrx::Uuid::from_bytes(line.key.of.workspace)).collect::<Vec<_>>()),
        texts(|line| line.key.of.name().to_owned()),
        texts(|line| line.field.map_or(String::new(), |field| field.name().to_owned())),
        texts(|line| line.key.of.currency.name().to_owned()),
        numbers(0),
        numbers(1),
        numbers(2),
        numbers(3),
        numbers(4),
        texts(|line| line.cost.to_string()),
    ];
    as_owner(|| RECORD.run(&args));
    let names: BTreeSet<String> = rows.iter().map(|line| line.key.of.name().to_owned()).collect();
    publish(names.into_iter().collect());
}

struct Line<'a> {
    key: &'a EntryKey,
    field: Option<Field>,
    /// Asked, supplied, used, reverted, lost; of all fields together answers, matches, and those about other persons.
    numbers: [u32; 5],
    cost: Amount,
}

fn lines<'a>(key: &'a EntryKey, counts: &Counts) -> Vec<Line<'a>> {
    let counts = counts.fields;
    let of = |field: Field| {
        let at = field.index();
        let uses = counts.uses;
        let numbers =
            [counts.asked[at], counts.supplied[at], uses.used[at], uses.reverted[at], uses.lost[at]];
        Line { key, field: Some(field), numbers, cost: counts.cost[at] }
    };
    let all = Line {
        key,
        field: None,
        numbers: [counts.answers, counts.matches, counts.others, 0, 0],
        cost: Amount::ZERO,
    };
    let mut lines: Vec<Line> = Field::all().map(of).collect();
    lines.push(all);
    lines.retain(|line| line.numbers != [0; 5] || line.cost != Amount::ZERO);
    lines
}

/// What the sums of all workspaces together are, of the providers of these names.
macro_rules! sums {
    () => {
        "SELECT p.id, coalesce(pg_catalog.max(t.asked) FILTER (WHERE t.field OPERATOR(pg_catalog.=) ''), 0) AS answers,
                coalesce(pg_catalog.max(t.supplied) FILTER (WHERE t.field OPERATOR(pg_catalog.=) ''), 0) AS matches,
                coalesce(pg_catalog.max(t.used) FILTER (WHERE t.field OPERATOR(pg_catalog.=) ''), 0) AS others,
                coalesce(pg_catalog.jsonb_object_agg(t.field, pg_catalog.jsonb_build_array(t.asked, t.supplied))
                         FILTER (WHERE t.field OPERATOR(pg_catalog.<>) ''), '{}') AS fields
         FROM leadlex.provider_field_tally AS t
         JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) t.provider_id
         WHERE t.workspace_id OPERATOR(pg_catalog.=) 'ffffffff-ffff-ffff-ffff-ffffffffffff'
           AND p.name OPERATOR(pg_catalog.=) ANY ($1)
         GROUP BY p.id"
    };
}

// A change makes all sessions read their configuration anew: so it is told of when there are enough answers, and then of each
// tenth more.
static STALE: Statement = Statement::new(concat!(
    "SELECT EXISTS (
         SELECT FROM (",
    sums!(),
    ") AS s LEFT JOIN leadlex.provider_rate AS r ON r.provider_id OPERATOR(pg_catalog.=) s.id
         WHERE s.answers OPERATOR(pg_catalog.>=) $2
           AND (r.provider_id IS NULL OR (s.answers OPERATOR(pg_catalog.*) 10) OPERATOR(pg_catalog.>=) (r.answers OPERATOR(pg_catalog.*) 11)))"
));
static PUBLISH: Statement = Statement::new(concat!(
    "INSERT INTO leadlex.provider_rate AS r (provider_id, answers, matches, others, fields)
     SELECT s.id, s.answers, s.matches, s.others, s.fields FROM (",
    sums!(),
    ") AS s WHERE s.answers OPERATOR(pg_catalog.>=) $2
     ON CONFLICT (provider_id) DO UPDATE
     SET answers = EXCLUDED.answers, matches = EXCLUDED.matches, others = EXCLUDED.others, fields = EXCLUDED.fields"
));

fn publish(names: Vec<String>) {
    let args = || [arg(names.clone()), arg(ANSWERS_THAT_TELL as i64)];
    as_owner(|| {
        let is_stale = STALE.row(View::Latest, &args());
        if is_stale.is_some_and(|row| boolean(&row, 0)) {
            PUBLISH.run(&args());
        }
    });
}

static RECORDS: Statement = Statement::new(concat!(
    "SELECT s.id, s.answers, s.matches, s.others, s.fields FROM (",
    sums!(),
    ") AS s"
));

/// What is written of the providers of these names, however seldom they have answered.
pub fn records(names: &[&str]) -> HashMap<Uuid, Record> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    as_owner(|| RECORDS.query(View::Latest, &[arg(names)])).iter().map(rate).collect()
}

static HIT_RATES: Statement = Statement::seldom(
    "SELECT r.provider_id, r.answers, r.matches, r.others, r.fields FROM leadlex.provider_rate AS r",
);

/// What is known of each provider that has answered often enough.
pub fn hit_rates() -> HashMap<Uuid, Record> {
    as_owner(|| HIT_RATES.query(View::Latest, &[])).iter().map(rate).collect()
}

fn rate(row: &Row) -> (Uuid, Record) {
    let fields: serde_json::Value = serde_json::from_str(&text(row, 4)).unwrap_or_default();
    let mut record = Record {
        answers: number(row, 1).max(0).unsigned_abs(),
        matches: number(row, 2).max(0).unsigned_abs(),
        others: number(row, 3).max(0).unsigned_abs(),
        ..Record::default()
    };
    for field in Field::all() {
        let of = |at: usize| fields[field.name()][at].as_u64().unwrap_or_default();
        (record.asked[field.index()], record.supplied[field.index()]) = (of(0), of(1));
    }
    (uuid(row, 0), record)
}
