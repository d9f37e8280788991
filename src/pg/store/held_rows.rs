//! Rows of the tables that an open transaction has changed: what is to be written there has to wait for it.

use std::collections::HashSet;

use crate::pg::installation::as_owner;
use crate::pg::sys::row::{number, pg};
use crate::pg::sys::spi::{Statement, View, arg};
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt::{Content, Filed};

// One look into the index for each, as for receipts. The places, from 1, of those rows that are there, or that nobody holds.
macro_rules! places {
    ($table:literal, $key:literal, $which:literal) => {
        Statement::new(concat!(
            "SELECT q.place
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY AS q(workspace_id, key, place),
          LATERAL (SELECT w.workspace_id FROM leadlex.",
            $table,
            " AS w WHERE w.workspace_id OPERATOR(pg_catalog.=) q.workspace_id AND w.",
            $key,
            " OPERATOR(pg_catalog.=) q.key ",
            $which,
            ") AS r"
        ))
    };
}

static RECEIPTS: [Statement; 2] =
    [places!("receipt", "question", "LIMIT 1"), places!("receipt", "question", "FOR UPDATE SKIP LOCKED")];
static TICKETS: [Statement; 2] =
    [places!("ticket", "question", "LIMIT 1"), places!("ticket", "question", "FOR UPDATE SKIP LOCKED")];
static OUTCOMES: [Statement; 2] =
    [places!("outcome", "contact", "LIMIT 1"), places!("outcome", "contact", "FOR UPDATE SKIP LOCKED")];

/// Which of these an open transaction holds up, by their places. Those are locked that it does not: until the end of this
/// transaction.
pub fn held(filed: &[(Hash, Filed)]) -> HashSet<usize> {
    let at = |statements: &'static [Statement; 2], key: &dyn Fn(&(Hash, Filed)) -> Option<Hash>| {
        let rows: Vec<(usize, pgrx::Uuid, pgrx::Uuid)> = filed
            .iter()
            .enumerate()
            .filter_map(|(at, one)| Some((at, pg(one.1.workspace), pgrx::Uuid::from_bytes(key(one)?))))
            .collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let [there, free] = [&statements[0], &statements[1]].map(|statement| {
            let workspaces: Vec<pgrx::Uuid> = rows.iter().map(|(_, workspace, _)| *workspace).collect();
            let keys: Vec<pgrx::Uuid> = rows.iter().map(|(.., key)| *key).collect();
            let found = as_owner(|| statement.query(View::Caller, &[arg(workspaces), arg(keys)]));
            found.iter().map(|row| number(row, 0)).collect::<HashSet<i64>>()
        });
        let held = there.difference(&free);
        held.filter_map(|place| Some(rows.get(usize::try_from(place - 1).ok()?)?.0)).collect()
    };
    let receipt = |(question, filed): &(Hash, Filed)| filed.receipt().map(|_| *question);
    let ticket = |(question, filed): &(Hash, Filed)| {
        matches!(filed.content, Content::Ticket(_) | Content::NoTicket(..)).then_some(*question)
    };
    let outcome =
        |(_, filed): &(Hash, Filed)| matches!(filed.content, Content::Outcome(_)).then_some(filed.person);
    [at(&RECEIPTS, &receipt), at(&TICKETS, &ticket), at(&OUTCOMES, &outcome)].into_iter().flatten().collect()
}
