//! Why contacts were not enriched, as the tables keep it.

use std::time::Duration;

use uuid::Uuid;

use crate::pg::installation;
use crate::pg::installation::as_owner;
use crate::pg::store::absence::{self, Rows};
use crate::pg::store::ledger::PORTION;
use crate::pg::sys::index_probe;
use crate::pg::sys::row::pg;
use crate::pg::sys::spi::{Statement, View, arg, optional_texts_arg, texts_arg};
use leadlex_domain::hash::Hash;
use leadlex_domain::last_outcome::Trouble;
use leadlex_domain::receipt::{Content, Filed};

/// Whether the tables may say something of one of these contacts.
pub fn any(workspace: Uuid, contacts: &[Hash]) -> bool {
    if !absence::may_have(Rows::Outcomes, workspace) {
        return false;
    }
    let table = installation::present().outcomes;
    let contacts: Vec<pgrx::Uuid> = contacts.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    index_probe::any(table, pg(workspace), &contacts)
}

// An older one never replaces a newer one: workers may write what was put back out of order.
static FILE: Statement = Statement::new(
    "INSERT INTO leadlex.outcome AS o (workspace_id, contact, schema_name, table_name, contact_id, at, status, error_code, reason, providers)
     SELECT n.workspace_id, n.contact, n.schema_name, n.table_name, n.contact_id,
            pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.at OPERATOR(pg_catalog.*) interval '1 microsecond'),
            n.status, n.error_code, n.reason, n.providers::pg_catalog.jsonb
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
         pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10))
         AS n(workspace_id, contact, schema_name, table_name, contact_id, at, status, error_code, reason, providers)
     ON CONFLICT (workspace_id, contact) DO UPDATE
     SET schema_name = EXCLUDED.schema_name, table_name = EXCLUDED.table_name, contact_id = EXCLUDED.contact_id, at = EXCLUDED.at,
         status = EXCLUDED.status, error_code = EXCLUDED.error_code, reason = EXCLUDED.reason, providers = EXCLUDED.providers
     WHERE o.at OPERATOR(pg_catalog.<) EXCLUDED.at",
);
static REMOVE: Statement = Statement::new(
    "DELETE FROM leadlex.outcome AS o
     USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS n(workspace_id, contact, at)
     WHERE o.workspace_id OPERATOR(pg_catalog.=) n.workspace_id AND o.contact OPERATOR(pg_catalog.=) n.contact
       AND o.at OPERATOR(pg_catalog.<=) (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.at OPERATOR(pg_catalog.*) interval '1 microsecond'))",
);

/// Writes what came in, each contact at most once among it.
pub fn file(filed: &[(Hash, Filed)]) {
    let outcome = |(_, filed): &'_ (Hash, Filed)| match &filed.content {
        Content::Outcome(outcome) => Some((filed.workspace, filed.person, outcome.clone())),
        _ => None,
    };
    let (mut troubles, mut removed) = (Vec::new(), Vec::new());
    for (workspace, contact, outcome) in filed.iter().filter_map(outcome) {
        match outcome.trouble {
            Some(trouble) => troubles.push((workspace, contact, outcome.at, trouble)),
            None => removed.push((workspace, contact, outcome.at)),
        }
    }
    if !removed.is_empty() {
        let args = [
            arg(removed.iter().map(|(workspace, ..)| pg(*workspace)).collect::<Vec<_>>()),
            arg(removed.iter().map(|(_, contact, _)| pgrx::Uuid::from_bytes(*contact)).collect::<Vec<_>>()),
            arg(removed.iter().map(|(.., at)| *at as f64).collect::<Vec<_>>()),
        ];
        as_owner(|| REMOVE.run_in(View::Current, &args));
    }
    if !troubles.is_empty() {
        add(&troubles);
    }
}

fn add(troubles: &[(Uuid, Hash, i64, Trouble)]) {
    let texts = |of: &dyn Fn(&Trouble) -> &str| {
        texts_arg(&troubles.iter().map(|(.., trouble)| of(trouble).to_owned()).collect::<Vec<_>>())
    };
    let optional = |of: &dyn Fn(&Trouble) -> Option<String>| {
        let all: Vec<Option<String>> = troubles.iter().map(|(.., trouble)| of(trouble)).collect();
        optional_texts_arg(&all.iter().map(Option::as_deref).collect::<Vec<_>>())
    };
    let args = [
        arg(troubles.iter().map(|(workspace, ..)| pg(*workspace)).collect::<Vec<_>>()),
        arg(troubles.iter().map(|(_, contact, ..)| pgrx::Uuid::from_bytes(*contact)).collect::<Vec<_>>()),
        texts(&|t| &t.schema),
        texts(&|t| &t.table),
        texts(&|t| &t.contact),
        arg(troubles.iter().map(|(_, _, at, _)| *at as f64).collect::<Vec<_>>()),
        texts(&|t| &t.status),
        optional(&|t| t.error_code.clone()),
        optional(&|t| t.reason.clone()),
        optional(&|t| t.providers.as_ref().map(ToString::to_string)),
    ];
    as_owner(|| FILE.run(&args));
}

static ERASE: Statement = Statement::new(
    "DELETE FROM leadlex.outcome AS o
     WHERE o.workspace_id OPERATOR(pg_catalog.=) $1 AND o.contact OPERATOR(pg_catalog.=) $2",
);

/// Forgets what became of a contact; how many rows.
pub fn erase(workspace: Uuid, contact: Hash) -> u64 {
    as_owner(|| ERASE.run_in(View::Current, &[arg(pg(workspace)), arg(pgrx::Uuid::from_bytes(contact))]))
}

static PURGE: Statement = Statement::new(
    "DELETE FROM leadlex.outcome AS o
     WHERE o.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.outcome AS q
         WHERE q.at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 second'))
         LIMIT $2 FOR UPDATE SKIP LOCKED))",
);

/// Removes one portion of what is older than that; how many.
pub fn purge(age: Duration) -> u64 {
    as_owner(|| PURGE.run(&[arg(age.as_secs_f64()), arg(PORTION as i64)]))
}
