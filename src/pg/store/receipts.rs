//! Receipts in the tables, and what is erased with them.

use crate::pg::installation;
use serde_json::Value;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::absence::{self, Rows};
use crate::pg::store::ledger::PORTION;
use crate::pg::store::{checks, outcomes, tickets, undone};
use crate::pg::sys::index_probe;
use crate::pg::sys::jsonb::Jsonb;
use crate::pg::sys::row::{boolean, number, optional, pg, texts, uuid};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg};
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::fields::Field;
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt::{Filed, Receipt, Terms};

// One look into the index for each question. With `= ANY` the planner may choose, while the table is small, to read all
// of a workspace's receipts, and stay with it when there are many.
static RECALL: Statement = Statement::new(
    "SELECT r.question, (EXTRACT(epoch FROM r.answered_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, r.known,
            r.matched, pg_catalog.to_json(r.lacking), r.answer
     FROM pg_catalog.unnest($2) AS q(question),
          LATERAL (SELECT w.question, w.answered_at, w.known, w.matched, w.lacking, w.answer FROM leadlex.receipt AS w
                   WHERE w.workspace_id OPERATOR(pg_catalog.=) $1 AND w.question OPERATOR(pg_catalog.=) q.question
                   LIMIT 1) AS r",
);

/// Whether receipts of the former form may be there: restored from the dump of an earlier version.
pub fn has_former() -> bool {
    index_probe::has_entries(installation::present().former_receipts)
}

/// Whether it may be written of any contact what its table refused.
pub fn any_rejection(workspace: Uuid) -> bool {
    absence::may_have(Rows::Rejections, workspace)
}

/// What is written of these questions, whatever its age.
pub fn recall(workspace: Uuid, questions: &[Hash]) -> Vec<(Hash, Receipt)> {
    let read = |row: &Row| {
        let answer = optional(row, 5).and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let receipt = Receipt {
            answered_at: number(row, 1),
            known: uuid(row, 2).into_bytes(),
            matched: boolean(row, 3),
            lacking: texts(row, 4).iter().filter_map(|name| Field::parse(name)).collect(),
            answer: answer.map(|json| Receipt::read_answer(&json)),
        };
        (uuid(row, 0).into_bytes(), receipt)
    };
    let questions = uuids(questions.iter());
    let table = installation::present().receipts;
    if !index_probe::any(table, pg(workspace), &questions) {
        return Vec::new();
    }
    as_owner(|| RECALL.query(View::Latest, &[arg(pg(workspace)), arg(questions)])).iter().map(read).collect()
}

fn uuids<'a>(hashes: impl Iterator<Item = &'a Hash>) -> Vec<pgrx::Uuid> {
    hashes.map(|hash| pgrx::Uuid::from_bytes(*hash)).collect()
}

// An older answer never replaces a newer one: workers may write what was put back out of order. Nor does one of which
// its session kept nothing (leadlex.receipt_ttl = 0) take away what others have.
static FILE: Statement = Statement::new(
    "INSERT INTO leadlex.receipt AS r (workspace_id, question, answered_at, provider_id, known, matched, lacking, answer, person, contact, former)
     SELECT n.workspace_id, n.question,
            pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.answered_at OPERATOR(pg_catalog.*) interval '1 microsecond'),
            n.provider_id, n.known, n.matched, pg_catalog.string_to_array(n.lacking, ','), n.answer, n.person, n.contact, false
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
         pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10))
         AS n(workspace_id, question, answered_at, provider_id, known, matched, lacking, answer, person, contact)
     ON CONFLICT (workspace_id, question) DO UPDATE
     SET answered_at = EXCLUDED.answered_at, provider_id = EXCLUDED.provider_id, known = EXCLUDED.known,
         matched = EXCLUDED.matched, lacking = EXCLUDED.lacking, answer = EXCLUDED.answer, person = EXCLUDED.person, contact = EXCLUDED.contact, former = false
     WHERE r.answered_at OPERATOR(pg_catalog.<) EXCLUDED.answered_at
       AND NOT (r.answer IS NOT NULL AND EXCLUDED.answer IS NULL AND EXCLUDED.matched)",
);

static REQUIRE_FREE: Statement = Statement::new(
    "LOCK TABLE leadlex.receipt, leadlex.ticket, leadlex.outcome, leadlex.spend_hold, leadlex.value_name IN ROW EXCLUSIVE MODE NOWAIT",
);

/// Raises 55P03 where somebody has locked a table into which answers are written.
pub fn require_free() {
    as_owner(|| REQUIRE_FREE.run(&[]));
}

/// Writes receipts, each question at most once among them.
pub fn file(filed: &[(Hash, Filed)]) {
    let receipts: Vec<(&Hash, &Filed, &Receipt)> =
        filed.iter().filter_map(|(question, filed)| Some((question, filed, filed.receipt()?))).collect();
    if receipts.is_empty() {
        return;
    }
    let column = |of: fn(&Filed, &Receipt) -> Hash| {
        uuids(receipts.iter().map(|(_, filed, receipt)| of(filed, receipt)).collect::<Vec<_>>().iter())
    };
    let answers: Vec<Option<Jsonb>> =
        receipts.iter().map(|(_, _, r)| r.answer_json().map(|json| Jsonb::of(&json))).collect();
    // Whom it is about is noted only where there is something about them.
    let persons: Vec<Option<pgrx::Uuid>> = receipts
        .iter()
        .map(|(_, f, r)| r.answer.as_ref().map(|_| pgrx::Uuid::from_bytes(f.person)))
        .collect();
    let contacts: Vec<Option<pgrx::Uuid>> =
        receipts.iter().map(|(_, f, _)| f.is_rejection().then(|| pgrx::Uuid::from_bytes(f.person))).collect();
    as_owner(|| {
        FILE.run(&[
            arg(column(|f, _| f.workspace.into_bytes())),
            arg(uuids(receipts.iter().map(|(question, ..)| *question))),
            arg(receipts.iter().map(|(_, _, r)| r.answered_at as f64).collect::<Vec<_>>()),
            arg(column(|f, _| f.provider.into_bytes())),
            arg(column(|_, r| r.known)),
            arg(receipts.iter().map(|(_, _, r)| r.matched).collect::<Vec<_>>()),
            arg(receipts.iter().map(|(_, _, r)| r.lacking.names().join(",")).collect::<Vec<_>>()),
            arg(answers),
            arg(persons),
            arg(contacts),
        ])
    });
}

// In portions, so that nobody waits long for the worker; by the time at which the transaction began, or no index would serve.
static EXPIRE: Statement = Statement::new(
    "UPDATE leadlex.receipt AS r SET answer = NULL, person = NULL
     WHERE r.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.receipt AS q
         WHERE q.person IS NOT NULL
           AND q.answered_at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 microsecond'))
         LIMIT $2 FOR UPDATE SKIP LOCKED))",
);
// What lacks nothing has nothing left to say without its answer.
static EXPIRE_COMPLETE: Statement = Statement::new(
    "DELETE FROM leadlex.receipt AS r
     WHERE r.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.receipt AS q
         WHERE q.person IS NOT NULL AND q.lacking OPERATOR(pg_catalog.=) '{}'
           AND q.answered_at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 microsecond'))
         LIMIT $2 FOR UPDATE SKIP LOCKED))",
);
static PURGE: Statement = Statement::new(
    "DELETE FROM leadlex.receipt AS r
     WHERE r.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.receipt AS q
         WHERE q.answered_at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 microsecond'))
         LIMIT $2 FOR UPDATE SKIP LOCKED))",
);

/// What is done with receipts whose time is over, each in portions of [`PORTION`].
#[derive(Clone, Copy, Debug)]
pub enum Expiry {
    /// Those that say nothing without their answer are removed.
    Complete,
    /// Personal data is taken out of the others.
    Personal,
    /// Those of which no part counts any more are removed.
    All,
}

/// Does that to one portion; how many were concerned.
pub fn expire(what: Expiry, terms: Terms) -> u64 {
    let (statement, age_us) = match what {
        Expiry::Complete => (&EXPIRE_COMPLETE, terms.ttl_us),
        Expiry::Personal => (&EXPIRE, terms.ttl_us),
        Expiry::All => (&PURGE, terms.ttl_us.max(terms.recheck_us)),
    };
    as_owner(|| statement.run(&[arg(age_us as f64), arg(PORTION as i64)]))
}

// What there was is kept: it was paid for. What a table refused of it is among the rest: somebody may have changed the table.
static FORGET_NOTHINGS: Statement = Statement::new(
    "DELETE FROM leadlex.receipt AS r
     WHERE r.provider_id OPERATOR(pg_catalog.=) $1 AND r.answered_at OPERATOR(pg_catalog.>=) $2 AND r.answer IS NULL",
);

/// Forgets that this provider had nothing, or not all, or only what a table refuses, as far as it was found since then; how
/// many findings.
pub fn forget_nothings(provider: Uuid, since: pgrx::datum::TimestampWithTimeZone) -> u64 {
    as_owner(|| FORGET_NOTHINGS.run_in(View::Current, &[arg(pg(provider)), arg(since)]))
}

/// What was erased.
///
/// Each is a number of rows.
#[derive(Default)]
pub struct Erased {
    pub history: u64,
    pub receipts: u64,
    pub tickets: u64,
    pub stored_results: u64,
    pub jobs: u64,
    /// Values that were taken back.
    pub undone: u64,
    /// Why the contact was not enriched.
    pub outcomes: u64,
    /// Values that were asked about again.
    pub checked: u64,
    /// Values that came up with the person's name.
    pub value_names: u64,
}

impl Erased {
    /// Each by its name in results.
    pub fn counts(&self) -> [(&'static str, u64); 9] {
        [
            ("history", self.history),
            ("receipts", self.receipts),
            ("tickets", self.tickets),
            ("stored_results", self.stored_results),
            ("jobs", self.jobs),
            ("undone", self.undone),
            ("outcomes", self.outcomes),
            ("checked", self.checked),
            ("value_names", self.value_names),
        ]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }

    /// The sums of both.
    pub fn and(self, more: Erased) -> Erased {
        Erased {
            history: self.history + more.history,
            receipts: self.receipts + more.receipts,
            tickets: self.tickets + more.tickets,
            stored_results: self.stored_results + more.stored_results,
            jobs: self.jobs + more.jobs,
            undone: self.undone + more.undone,
            outcomes: self.outcomes + more.outcomes,
            checked: self.checked + more.checked,
            value_names: self.value_names + more.value_names,
        }
    }
}

// As of now, whatever the transaction's snapshot: what is not seen would stay.
static ERASE_HISTORY: Statement = Statement::new(
    "DELETE FROM leadlex.enrichment AS e
     WHERE e.workspace_id OPERATOR(pg_catalog.=) $1
       AND e.schema_name OPERATOR(pg_catalog.=) $2::pg_catalog.name AND e.table_name OPERATOR(pg_catalog.=) $3::pg_catalog.name
       AND e.contact_id OPERATOR(pg_catalog.=) $4",
);
// Each way to find some is one look into an index, so they are not alternatives of one condition.
static ERASE_RECEIPTS: Statement = Statement::new(
    "DELETE FROM leadlex.receipt AS r
     USING (SELECT a.question FROM leadlex.receipt AS a
            WHERE a.workspace_id OPERATOR(pg_catalog.=) $1 AND a.person OPERATOR(pg_catalog.=) $2
            UNION SELECT b.question FROM leadlex.receipt AS b
            WHERE b.workspace_id OPERATOR(pg_catalog.=) $1 AND b.contact OPERATOR(pg_catalog.=) $2
            UNION SELECT q.question FROM pg_catalog.unnest($3) AS q(question)) AS n
     WHERE r.workspace_id OPERATOR(pg_catalog.=) $1 AND r.question OPERATOR(pg_catalog.=) n.question",
);
// The dump of an older schema brings results that do not name the person.
static ERASE_RESULTS: Statement = Statement::new(
    "DELETE FROM leadlex.idempotency AS i
     USING (SELECT a.key FROM leadlex.idempotency AS a
            WHERE a.workspace_id OPERATOR(pg_catalog.=) $1 AND a.person OPERATOR(pg_catalog.=) $2
            UNION SELECT b.key FROM leadlex.idempotency AS b
            WHERE b.workspace_id OPERATOR(pg_catalog.=) $1 AND b.person IS NULL
              AND (b.result OPERATOR(pg_catalog.#>>) '{contact,id}') OPERATOR(pg_catalog.=) $3) AS n
     WHERE i.workspace_id OPERATOR(pg_catalog.=) $1 AND i.key OPERATOR(pg_catalog.=) n.key",
);

/// A person, as far as rows of one workspace name one.
pub struct Person<'a> {
    pub workspace: Uuid,
    pub schema: &'a str,
    pub table: &'a str,
    pub contact: &'a str,
    /// See [`leadlex_domain::receipt::person`].
    pub hash: Hash,
}

impl Person<'_> {
    /// As answers on their way name one.
    pub fn row(&self) -> ContactRow {
        ContactRow { workspace: self.workspace, hash: self.hash }
    }
}

/// Deletes what the tables hold on a person, and the receipts of `questions`, as of now and not of the
/// snapshot. Counts rows; `jobs` and `value_names` stay 0.
pub fn erase(person: &Person, questions: &[Hash]) -> Erased {
    let workspace = || arg(pg(person.workspace));
    let hash = || arg(pgrx::Uuid::from_bytes(person.hash));
    as_owner(|| Erased {
        history: ERASE_HISTORY.run_in(
            View::Current,
            &[workspace(), arg(person.schema), arg(person.table), arg(person.contact)],
        ),
        receipts: ERASE_RECEIPTS.run_in(View::Current, &[workspace(), hash(), arg(uuids(questions.iter()))]),
        tickets: tickets::erase(person.workspace, person.hash, questions),
        stored_results: ERASE_RESULTS.run_in(View::Current, &[workspace(), hash(), arg(person.contact)]),
        jobs: 0,
        value_names: 0,
        undone: undone::erase(person.workspace, person.hash),
        outcomes: outcomes::erase(person.workspace, person.hash),
        checked: checks::forget(person.workspace, (person.schema, person.table), &[person.contact], None),
    })
}

// What tells of a person, each by an index of its own; the workspace alone. `$of`: of which workspace.
macro_rules! traces {
    ($of:literal) => {
        concat!(
            "SELECT t.workspace_id FROM leadlex.enrichment AS t
             WHERE t.contact_id OPERATOR(pg_catalog.=) $3 AND t.schema_name OPERATOR(pg_catalog.=) $1::pg_catalog.name
               AND t.table_name OPERATOR(pg_catalog.=) $2::pg_catalog.name",
            $of,
            " UNION ALL SELECT t.workspace_id FROM leadlex.receipt AS t WHERE t.person OPERATOR(pg_catalog.=) $4",
            $of,
            " UNION ALL SELECT t.workspace_id FROM leadlex.receipt AS t WHERE t.contact OPERATOR(pg_catalog.=) $4",
            $of,
            " UNION ALL SELECT t.workspace_id FROM leadlex.ticket AS t WHERE t.person OPERATOR(pg_catalog.=) $4",
            $of,
            " UNION ALL SELECT t.workspace_id FROM leadlex.value_name AS t WHERE t.person OPERATOR(pg_catalog.=) $4",
            $of,
            " UNION ALL SELECT t.workspace_id FROM leadlex.outcome AS t WHERE t.contact OPERATOR(pg_catalog.=) $4",
            $of,
            " UNION ALL SELECT t.workspace_id FROM leadlex.undone AS t WHERE t.contact OPERATOR(pg_catalog.=) $4",
            $of,
            " UNION ALL SELECT t.workspace_id FROM leadlex.idempotency AS t WHERE t.person OPERATOR(pg_catalog.=) $4",
            $of,
            " UNION ALL SELECT t.workspace_id FROM leadlex.idempotency AS t
             WHERE t.person IS NULL AND (t.result OPERATOR(pg_catalog.#>>) '{contact,id}') OPERATOR(pg_catalog.=) $3",
            $of
        )
    };
}

static HOLDS: Statement =
    Statement::new(concat!("SELECT EXISTS (", traces!(" AND t.workspace_id OPERATOR(pg_catalog.=) $5"), ")"));
static WORKSPACES_OF: Statement =
    Statement::new(concat!("SELECT DISTINCT h.workspace_id FROM (", traces!(""), ") AS h"));

/// Whether the tables of the workspace hold something on a person.
pub fn holds(person: &Person) -> bool {
    let [schema, table, contact, hash] = named((person.schema, person.table), person.contact, person.hash);
    let args = [schema, table, contact, hash, arg(pg(person.workspace))];
    as_owner(|| HOLDS.row(View::Latest, &args)).is_some_and(|row| boolean(&row, 0))
}

/// The workspaces whose tables hold something on a contact, also those that are gone: their history has stayed. `hash`: see
/// [`leadlex_domain::receipt::person`].
pub fn workspaces_of(table: (&str, &str), contact: &str, hash: Hash) -> Vec<Uuid> {
    let rows = as_owner(|| WORKSPACES_OF.query(View::Latest, &named(table, contact, hash)));
    rows.iter().map(|row| uuid(row, 0)).collect()
}

fn named((schema, table): (&str, &str), contact: &str, hash: Hash) -> [Arg; 4] {
    [arg(schema), arg(table), arg(contact), arg(pgrx::Uuid::from_bytes(hash))]
}
