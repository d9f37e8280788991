//! Who must not be asked about.

use crate::pg::installation;
use crate::pg::sys::clock;
use std::ffi::CStr;

use pgrx::datum::TimestampWithTimeZone;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::installation::receipt_key;
use crate::pg::shared::receipts;
use crate::pg::store::absence::{self, Rows};
use crate::pg::store::ledger::PORTION;
use crate::pg::sys::index_probe;
use crate::pg::sys::row::{pg, uuid};
use crate::pg::sys::spi::{Statement, View, arg};
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt::{Filed, ProviderRefusal};

/// Stands for every workspace.
const EVERYWHERE: Uuid = Uuid::nil();
/// The column that says when an entry ends.
const UNTIL: &CStr = c"until";

/// Whether one of these is on the list, in this workspace or in every one, as committed now. They are asked for where
/// anybody at all can be on it.
pub fn any(workspace: Option<Uuid>, people: impl FnOnce() -> Vec<Hash>) -> bool {
    let table = installation::present().suppressions;
    // In this order: what is gone from there is in the table by then.
    let nobody_waits = receipts::with(|arena| arena.has_no_refusal());
    let may_list = |workspace| absence::may_have(Rows::Suppressions, workspace);
    let nobody_listed = !may_list(EVERYWHERE) && !workspace.is_some_and(may_list);
    if nobody_waits && nobody_listed {
        return false;
    }
    let hashes = people();
    if hashes.is_empty() {
        return false;
    }
    if !nobody_waits && waiting(workspace, &hashes) {
        return true;
    }
    let people: Vec<pgrx::Uuid> = hashes.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    let now = clock::now_us();
    let of = |workspace| index_probe::any_until(table, pg(workspace), &people, UNTIL, now);
    of(EVERYWHERE) || workspace.is_some_and(of)
}

/// A provider has refused to tell about one of these, and the tables do not say so yet.
pub fn waiting(workspace: Option<Uuid>, people: &[Hash]) -> bool {
    let found: Vec<Vec<u8>> =
        receipts::with(|arena| people.iter().flat_map(|hash| arena.refusals(&receipt_key(*hash))).collect());
    let here = |refusal: &ProviderRefusal| {
        refusal.workspace.is_none_or(|other| workspace.is_none_or(|own| own == other))
    };
    found.iter().filter_map(|bytes| Filed::from_bytes(bytes)).any(|filed| filed.refusal().is_some_and(here))
}

// Whose time is over is not on the list any more, and comes onto it anew.
static REMOVE_ENDED: Statement = Statement::new(
    "DELETE FROM leadlex.suppression AS s
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.person OPERATOR(pg_catalog.=) ANY ($2)
       AND s.until OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()",
);
static ADD: Statement = Statement::new(
    "INSERT INTO leadlex.suppression AS s (workspace_id, person, reason, source, until)
     SELECT $1, p.person, $3, $4, $5 FROM pg_catalog.unnest($2) AS p(person)
     ON CONFLICT (workspace_id, person) DO NOTHING",
);
// A person who is listed stays listed for the longest time that was given.
static EXTEND: Statement = Statement::new(
    "UPDATE leadlex.suppression AS s SET until = $3
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.person OPERATOR(pg_catalog.=) ANY ($2)
       AND s.until IS NOT NULL AND ($3 IS NULL OR s.until OPERATOR(pg_catalog.<) $3)",
);

/// Why and for how long somebody is on the list, and who says so.
pub struct Listing<'a> {
    pub reason: &'a str,
    pub source: &'a str,
    /// `None`: for ever.
    pub until: Option<TimestampWithTimeZone>,
}

/// How many were not on the list yet.
pub fn add(workspace: Option<Uuid>, people: &[Hash], listing: &Listing) -> u64 {
    let workspace = || arg(pg(workspace.unwrap_or(EVERYWHERE)));
    let people = || arg(people.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect::<Vec<_>>());
    let until = || arg(listing.until);
    as_owner(|| {
        REMOVE_ENDED.run_in(View::Current, &[workspace(), people()]);
        let added = ADD.run(&[workspace(), people(), arg(listing.reason), arg(listing.source), until()]);
        EXTEND.run_in(View::Current, &[workspace(), people(), until()]);
        added
    })
}

/// What a provider refused. A workspace that is gone has nobody left to protect.
pub fn file(refusal: &ProviderRefusal) {
    add(
        refusal.workspace,
        &refusal.people,
        &Listing {
            reason: "the provider must not tell anything about this person",
            source: &refusal.source,
            until: None,
        },
    );
}

static REMOVE: Statement = Statement::new(
    "DELETE FROM leadlex.suppression AS s
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.person OPERATOR(pg_catalog.=) ANY ($2)",
);

/// Removes entries from one workspace's list, or with `None` from the list for all workspaces. Returns how
/// many.
///
/// Raises 40001: one has changed since the transaction's one snapshot.
pub fn remove(workspace: Option<Uuid>, people: &[Hash]) -> u64 {
    let people: Vec<pgrx::Uuid> = people.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    as_owner(|| REMOVE.run_in(View::Serialized, &[arg(pg(workspace.unwrap_or(EVERYWHERE))), arg(people)]))
}

/// The same in every workspace.
pub fn remove_everywhere(workspaces: &[Uuid], people: &[Hash]) -> u64 {
    let everywhere = remove(None, people);
    everywhere + workspaces.iter().map(|workspace| remove(Some(*workspace), people)).sum::<u64>()
}

static LISTS: Statement = Statement::new(
    "SELECT l.id FROM (SELECT w.id FROM leadlex.workspace AS w UNION ALL SELECT $1) AS l (id)
     WHERE EXISTS (SELECT FROM leadlex.suppression AS s
                   WHERE s.workspace_id OPERATOR(pg_catalog.=) l.id AND s.person OPERATOR(pg_catalog.=) ANY ($2))",
);

/// The lists on which one of these stands: of workspaces, and `None` for the list of all.
pub fn lists(people: &[Hash]) -> Vec<Option<Uuid>> {
    let people: Vec<pgrx::Uuid> = people.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    let rows = as_owner(|| LISTS.query(View::Latest, &[arg(pg(EVERYWHERE)), arg(people)]));
    rows.iter().map(|row| Some(uuid(row, 0)).filter(|id| *id != EVERYWHERE)).collect()
}

static PURGE: Statement = Statement::new(
    "DELETE FROM leadlex.suppression AS s
     WHERE s.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT e.ctid FROM leadlex.suppression AS e WHERE e.until OPERATOR(pg_catalog.<=) pg_catalog.now()
         LIMIT $1 FOR UPDATE SKIP LOCKED))",
);

/// Removes entries whose time is over, at most a portion; how many.
pub fn purge() -> u64 {
    as_owner(|| PURGE.run(&[arg(PORTION as i64)]))
}
