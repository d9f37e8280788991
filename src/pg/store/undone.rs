//! Values that were taken back, as the tables keep them.

use uuid::Uuid;

use crate::pg::installation;
use crate::pg::installation::as_owner;
use crate::pg::store::absence::{self, Rows};
use crate::pg::store::ledger::PORTION;
use crate::pg::sys::index_probe;
use crate::pg::sys::row::{number, optional, pg, text, uuid};
use crate::pg::sys::spi::{Row, Statement, View, arg, texts_arg};
use leadlex_domain::fields::{Field, FieldSet};
use leadlex_domain::hash::Hash;
use leadlex_domain::undone::Undone;

// One look into the index for each contact.
static RECALL: Statement = Statement::new(
    "SELECT u.contact, u.provider_id, u.field, u.value, u.identity,
            (EXTRACT(epoch FROM u.undone_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM pg_catalog.unnest($2) AS c(contact),
          LATERAL (SELECT w.contact, w.provider_id, w.field, w.value, w.identity, w.undone_at FROM leadlex.undone AS w
                   WHERE w.workspace_id OPERATOR(pg_catalog.=) $1 AND w.contact OPERATOR(pg_catalog.=) c.contact OFFSET 0) AS u",
);

/// What was taken back of these contacts after this time, in epoch microseconds; each with its contact.
pub fn recall(workspace: Uuid, contacts: &[Hash], since: i64) -> Vec<(Hash, Undone)> {
    if !absence::may_have(Rows::Undone, workspace) {
        return Vec::new();
    }
    let table = installation::present().undone;
    let contacts: Vec<pgrx::Uuid> = contacts.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    if !index_probe::any(table, pg(workspace), &contacts) {
        return Vec::new();
    }
    let read = |row: &Row| {
        let undone = Undone {
            provider: uuid(row, 1),
            field: Field::parse(&text(row, 2))?,
            value: uuid(row, 3).into_bytes(),
            identity: optional(row, 4).map(|_| uuid(row, 4).into_bytes()),
            at: number(row, 5),
        };
        (undone.at >= since).then(|| (uuid(row, 0).into_bytes(), undone))
    };
    let rows = as_owner(|| RECALL.query(View::Latest, &[arg(pg(workspace)), arg(contacts)]));
    rows.iter().filter_map(read).collect()
}

static REMEMBER: Statement = Statement::new(
    "INSERT INTO leadlex.undone AS u (workspace_id, contact, provider_id, field, value, identity)
     SELECT DISTINCT ON (n.contact, n.provider_id, n.field, n.value) $1, n.contact, n.provider_id, n.field, n.value, n.identity
     FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6))
         AS n(contact, provider_id, field, value, identity)
     ORDER BY n.contact, n.provider_id, n.field, n.value
     ON CONFLICT (workspace_id, contact, provider_id, field, value) DO UPDATE
     SET identity = EXCLUDED.identity, undone_at = EXCLUDED.undone_at",
);

/// Remembers what was taken back just now; each with its contact.
pub fn remember(workspace: Uuid, all: &[(Hash, Undone)]) {
    if all.is_empty() {
        return;
    }
    let uuids = |of: &dyn Fn(&(Hash, Undone)) -> Hash| -> Vec<pgrx::Uuid> {
        all.iter().map(|one| pgrx::Uuid::from_bytes(of(one))).collect()
    };
    let fields: Vec<&str> = all.iter().map(|(_, undone)| undone.field.name()).collect();
    let identities: Vec<Option<pgrx::Uuid>> =
        all.iter().map(|(_, undone)| undone.identity.map(pgrx::Uuid::from_bytes)).collect();
    let args = [
        arg(pg(workspace)),
        arg(uuids(&|(contact, _)| *contact)),
        arg(uuids(&|(_, undone)| undone.provider.into_bytes())),
        texts_arg(&fields),
        arg(uuids(&|(_, undone)| undone.value)),
        arg(identities),
    ];
    as_owner(|| REMEMBER.run_in(View::Current, &args));
}

// A receipt that says nothing any more goes; what is left of an answer keeps its age.
static TAKE_FROM_RECEIPTS: Statement = Statement::new(
    "UPDATE leadlex.receipt AS r
     SET lacking = ARRAY(SELECT l.field FROM pg_catalog.unnest(r.lacking) AS l(field)
                         UNION SELECT f.field FROM pg_catalog.unnest(pg_catalog.string_to_array(n.fields, ',')) AS f(field)),
         answer = CASE WHEN ((r.answer OPERATOR(pg_catalog.->) 'values') OPERATOR(pg_catalog.-) pg_catalog.string_to_array(n.fields, ',')) OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb
                       THEN NULL
                       ELSE pg_catalog.jsonb_set(r.answer, '{values}', (r.answer OPERATOR(pg_catalog.->) 'values') OPERATOR(pg_catalog.-) pg_catalog.string_to_array(n.fields, ',')) END,
         person = CASE WHEN ((r.answer OPERATOR(pg_catalog.->) 'values') OPERATOR(pg_catalog.-) pg_catalog.string_to_array(n.fields, ',')) OPERATOR(pg_catalog.=) '{}'::pg_catalog.jsonb
                       THEN NULL ELSE r.person END
     FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS n(question, fields)
     WHERE r.workspace_id OPERATOR(pg_catalog.=) $1 AND r.question OPERATOR(pg_catalog.=) n.question AND r.answer IS NOT NULL",
);

/// Turns what receipts of these questions say of the fields into "nothing".
pub fn take_from_receipts(workspace: Uuid, questions: &[(Hash, FieldSet)]) {
    if questions.is_empty() {
        return;
    }
    let hashes: Vec<pgrx::Uuid> = questions.iter().map(|(hash, _)| pgrx::Uuid::from_bytes(*hash)).collect();
    let fields: Vec<String> = questions.iter().map(|(_, fields)| fields.names().join(",")).collect();
    as_owner(|| {
        TAKE_FROM_RECEIPTS.run_in(View::Current, &[arg(pg(workspace)), arg(hashes), texts_arg(&fields)])
    });
}

static ERASE: Statement = Statement::new(
    "DELETE FROM leadlex.undone AS u
     WHERE u.workspace_id OPERATOR(pg_catalog.=) $1 AND u.contact OPERATOR(pg_catalog.=) $2",
);

/// Forgets what was taken back of a contact; how many values.
pub fn erase(workspace: Uuid, contact: Hash) -> u64 {
    as_owner(|| ERASE.run_in(View::Current, &[arg(pg(workspace)), arg(pgrx::Uuid::from_bytes(contact))]))
}

static PURGE: Statement = Statement::new(
    "DELETE FROM leadlex.undone AS u
     WHERE u.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.undone AS q
         WHERE q.undone_at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 microsecond'))
         LIMIT $2 FOR UPDATE SKIP LOCKED))",
);

/// Removes one portion of what is older than that; how many.
pub fn purge(age_us: i64) -> u64 {
    as_owner(|| PURGE.run(&[arg(age_us as f64), arg(PORTION as i64)]))
}
