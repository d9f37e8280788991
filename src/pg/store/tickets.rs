//! Answers that providers owe, in the tables.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use crate::pg::installation;
use crate::pg::installation::as_owner;
use crate::pg::store::ledger::PORTION;
use crate::pg::sys::index_probe;
use crate::pg::sys::row::{number, optional, pg, text, uuid};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg};
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt::{Content, Filed, Terms};
use leadlex_domain::ticket::{Ticket, VendorId};

// One look into the index for each question, as for receipts.
static RECALL: Statement = Statement::new(
    "SELECT t.question, t.known, t.ticket, t.person, t.vendor_id, t.whom,
            (EXTRACT(epoch FROM t.kept_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
            (EXTRACT(epoch FROM t.submitted_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
            (EXTRACT(epoch FROM t.expires_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM pg_catalog.unnest($2) AS q(question),
          LATERAL (SELECT w.question, w.known, w.ticket, w.person, w.kept_at, w.submitted_at, w.expires_at,
                  w.vendor_id, w.whom FROM leadlex.ticket AS w
                   WHERE w.workspace_id OPERATOR(pg_catalog.=) $1 AND w.question OPERATOR(pg_catalog.=) q.question
                   LIMIT 1) AS t",
);

/// What is written of these questions, over its time or not.
pub fn recall(workspace: Uuid, questions: &[Hash]) -> Vec<(Hash, Ticket)> {
    let read = |row: &Row| {
        let body = serde_json::from_str::<Value>(&text(row, 2)).unwrap_or_default();
        let times = (number(row, 6), number(row, 7), number(row, 8));
        let hash = |at| optional(row, at).and_then(|text| Some(text.parse::<Uuid>().ok()?.into_bytes()));
        let vendor_id = hash(4).zip(hash(5)).map(|(id, whom)| VendorId { id, whom });
        let asked = (uuid(row, 3).into_bytes(), uuid(row, 1).into_bytes(), vendor_id);
        (uuid(row, 0).into_bytes(), Ticket::from_body(&body, times, asked))
    };
    if questions.is_empty() {
        return Vec::new();
    }
    let questions: Vec<pgrx::Uuid> = questions.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    if !index_probe::any(installation::present().tickets, pg(workspace), &questions) {
        return Vec::new();
    }
    as_owner(|| RECALL.query(View::Latest, &[arg(pg(workspace)), arg(questions)])).iter().map(read).collect()
}

// What was kept earlier never replaces what was kept later. Of a provider or workspace that was dropped meanwhile nothing is kept.
static FILE: Statement = Statement::new(
    "INSERT INTO leadlex.ticket AS t (workspace_id, question, provider_id, kept_at, submitted_at, expires_at, known, ticket, person, vendor_id, whom)
     SELECT n.workspace_id, n.question, n.provider_id,
            pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.kept_at OPERATOR(pg_catalog.*) interval '1 microsecond'),
            pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.submitted_at OPERATOR(pg_catalog.*) interval '1 microsecond'),
            pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.expires_at OPERATOR(pg_catalog.*) interval '1 microsecond'),
            n.known, n.ticket::pg_catalog.jsonb, n.person, n.vendor_id, n.whom
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
         pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),
         pg_catalog.unnest($10), pg_catalog.unnest($11))
         AS n(workspace_id, question, provider_id, kept_at, submitted_at, expires_at, known, ticket, person, vendor_id, whom)
     WHERE EXISTS (SELECT FROM leadlex.provider_config AS p WHERE p.id OPERATOR(pg_catalog.=) n.provider_id)
       AND EXISTS (SELECT FROM leadlex.workspace AS s WHERE s.id OPERATOR(pg_catalog.=) n.workspace_id)
     ON CONFLICT (workspace_id, question) DO UPDATE
     SET provider_id = EXCLUDED.provider_id, kept_at = EXCLUDED.kept_at, submitted_at = EXCLUDED.submitted_at,
         expires_at = EXCLUDED.expires_at, known = EXCLUDED.known, ticket = EXCLUDED.ticket, person = EXCLUDED.person,
         vendor_id = EXCLUDED.vendor_id, whom = EXCLUDED.whom
     WHERE t.kept_at OPERATOR(pg_catalog.<) EXCLUDED.kept_at",
);
// What the vendor called a question that is handed in anew: it may give that name to somebody else as well as the present one.
static KEEP_FORMER: Statement = Statement::new(
    "INSERT INTO leadlex.ticket AS f (workspace_id, question, provider_id, kept_at, submitted_at, expires_at, known, ticket, person, vendor_id, whom)
     SELECT t.workspace_id,
            pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.uuid_send(t.question) OPERATOR(pg_catalog.||) pg_catalog.uuid_send(t.vendor_id)), 1, 16), 'hex')::pg_catalog.uuid,
            t.provider_id, t.kept_at, t.submitted_at, least(t.expires_at, pg_catalog.clock_timestamp()), t.known, '{}'::pg_catalog.jsonb,
            t.person, t.vendor_id, t.whom
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS n(workspace_id, question, vendor_id)
          JOIN leadlex.ticket AS t ON t.workspace_id OPERATOR(pg_catalog.=) n.workspace_id AND t.question OPERATOR(pg_catalog.=) n.question
     WHERE t.vendor_id IS NOT NULL AND (n.vendor_id IS NULL OR t.vendor_id OPERATOR(pg_catalog.<>) n.vendor_id)
     ON CONFLICT (workspace_id, question) DO UPDATE SET expires_at = EXCLUDED.expires_at",
);
static REMOVE: Statement = Statement::new(
    "DELETE FROM leadlex.ticket AS t
     USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS n(workspace_id, question, at)
     WHERE t.workspace_id OPERATOR(pg_catalog.=) n.workspace_id AND t.question OPERATOR(pg_catalog.=) n.question
       AND t.kept_at OPERATOR(pg_catalog.<=)
           (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.at OPERATOR(pg_catalog.*) interval '1 microsecond'))",
);

/// Writes tickets and takes away those that are settled, each question at most once among them.
pub fn file(filed: &[(Hash, Filed)]) {
    let tickets: Vec<(&Hash, &Filed, &Ticket)> = filed
        .iter()
        .filter_map(|(question, filed)| match &filed.content {
            Content::Ticket(ticket) => Some((question, filed, ticket)),
            _ => None,
        })
        .collect();
    let gone: Vec<(&Hash, &Filed, i64)> = filed
        .iter()
        .filter_map(|(question, filed)| match &filed.content {
            Content::NoTicket(at, _) => Some((question, filed, *at)),
            _ => None,
        })
        .collect();
    if !tickets.is_empty() {
        add(&tickets);
    }
    if !gone.is_empty() {
        as_owner(|| {
            REMOVE.run(&[
                arg(uuids(gone.iter().map(|(_, filed, _)| filed.workspace.into_bytes()))),
                arg(uuids(gone.iter().map(|(question, ..)| **question))),
                arg(gone.iter().map(|(_, _, at)| *at as f64).collect::<Vec<_>>()),
            ])
        });
    }
}

fn uuids(hashes: impl Iterator<Item = Hash>) -> Vec<pgrx::Uuid> {
    hashes.map(pgrx::Uuid::from_bytes).collect()
}

// Of those that are new, so not of the same question. The same id for the same person is no mistake.
static GIVEN_BEFORE: Statement = Statement::new(
    "SELECT n.workspace_id, n.question
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5))
         AS n(workspace_id, question, provider_id, vendor_id, whom)
     WHERE EXISTS (SELECT FROM leadlex.ticket AS t
                   WHERE t.provider_id OPERATOR(pg_catalog.=) n.provider_id AND t.vendor_id OPERATOR(pg_catalog.=) n.vendor_id
                     AND t.vendor_id IS NOT NULL AND t.whom OPERATOR(pg_catalog.<>) n.whom
                     AND t.question OPERATOR(pg_catalog.<>) n.question)",
);

/// Those of new tickets whose id the vendor has given for somebody else, in the tables or among these: by workspace and question.
fn of_others(tickets: &[(&Hash, &Filed, &Ticket)]) -> HashSet<(Uuid, Hash)> {
    let mut new: Vec<(&Hash, &Filed, i64, VendorId)> = tickets
        .iter()
        .filter(|(_, _, ticket)| !ticket.renews)
        .filter_map(|(question, filed, ticket)| Some((*question, *filed, ticket.kept_at, ticket.vendor_id?)))
        .collect();
    if new.is_empty() {
        return HashSet::new();
    }
    new.sort_by_key(|(.., kept_at, _)| *kept_at);
    let of = |hash: fn(&VendorId) -> Hash| arg(uuids(new.iter().map(|(.., known)| hash(known))));
    let args = [
        arg(uuids(new.iter().map(|(_, filed, ..)| filed.workspace.into_bytes()))),
        arg(uuids(new.iter().map(|(question, ..)| **question))),
        arg(uuids(new.iter().map(|(_, filed, ..)| filed.provider.into_bytes()))),
        of(|known| known.id),
        of(|known| known.whom),
    ];
    let found = as_owner(|| GIVEN_BEFORE.query(View::Latest, &args));
    let mut others: HashSet<(Uuid, Hash)> =
        found.iter().map(|row| (uuid(row, 0), uuid(row, 1).into_bytes())).collect();
    let mut given: HashMap<(Uuid, Hash), Hash> = HashMap::new();
    for (question, filed, _, VendorId { id, whom }) in new {
        let own = (filed.workspace, *question);
        if !others.contains(&own) && *given.entry((filed.provider, id)).or_insert(whom) != whom {
            others.insert(own);
        }
    }
    others
}

/// Writes tickets. One whose id the vendor has given for somebody else is marked: it is not asked for.
fn add(tickets: &[(&Hash, &Filed, &Ticket)]) {
    let others = of_others(tickets);
    let marked: Vec<Ticket> = tickets
        .iter()
        .map(|(question, filed, ticket)| match others.contains(&(filed.workspace, **question)) {
            true => (*ticket).clone().of_another(),
            false => (*ticket).clone(),
        })
        .collect();
    if !others.is_empty() {
        pgrx::warning!(
            "leadlex_enrich worker: a vendor gave one id for several people: {} questions are not asked for (leadlex.last_outcome has the provider)",
            others.len()
        );
    }
    let times =
        |of: fn(&Ticket) -> i64| arg(marked.iter().map(|ticket| of(ticket) as f64).collect::<Vec<_>>());
    let vendor_ids = |hash: fn(&VendorId) -> Hash| {
        let hashes = marked.iter().map(|ticket| ticket.vendor_id.as_ref().map(hash));
        arg(hashes.map(|hash| hash.map(pgrx::Uuid::from_bytes)).collect::<Vec<_>>())
    };
    let workspaces = || arg(uuids(tickets.iter().map(|(_, filed, _)| filed.workspace.into_bytes())));
    let questions = || arg(uuids(tickets.iter().map(|(question, ..)| **question)));
    as_owner(|| {
        if tickets.iter().any(|(_, _, ticket)| !ticket.renews) {
            KEEP_FORMER.run(&[workspaces(), questions(), vendor_ids(|known| known.id)]);
        }
        FILE.run(&[
            workspaces(),
            questions(),
            arg(uuids(tickets.iter().map(|(_, filed, _)| filed.provider.into_bytes()))),
            times(|ticket| ticket.kept_at),
            times(|ticket| ticket.submitted_at),
            times(|ticket| ticket.ends_at),
            arg(uuids(marked.iter().map(|ticket| ticket.known))),
            arg(marked.iter().map(|ticket| ticket.body().to_string()).collect::<Vec<_>>()),
            arg(uuids(tickets.iter().map(|(_, filed, _)| filed.person))),
            vendor_ids(|known| known.id),
            vendor_ids(|known| known.whom),
        ])
    });
}

// In portions, as receipts; those over their time may still be looked at once by whoever waited for them.
static PURGE: Statement = Statement::new(
    "DELETE FROM leadlex.ticket AS t
     WHERE t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.ticket AS q
         WHERE q.expires_at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 microsecond'))
         LIMIT $2 FOR UPDATE SKIP LOCKED))",
);

/// What is over is kept as long as an answer is, as long as a job can wait for another provider's answer, and an hour at least.
const SHORTEST_US: i64 = 3_600_000_000;

/// Removes a portion of those that are over; how many. `longest_us`: the longest time for which a provider is asked.
pub fn purge(terms: Terms, longest_us: i64) -> u64 {
    let age = terms.ttl_us.max(SHORTEST_US).max(longest_us) as f64;
    as_owner(|| PURGE.run(&[arg(age), arg(PORTION as i64)]))
}

// One may come in while the provider or workspace is dropped: each of the two transactions does not see the other.
static REMOVE_OWNERLESS: Statement = Statement::new(
    "DELETE FROM leadlex.ticket AS t
     WHERE t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.ticket AS q
         WHERE NOT EXISTS (SELECT FROM leadlex.provider_config AS p WHERE p.id OPERATOR(pg_catalog.=) q.provider_id)
            OR NOT EXISTS (SELECT FROM leadlex.workspace AS w WHERE w.id OPERATOR(pg_catalog.=) q.workspace_id)
         LIMIT $1 FOR UPDATE SKIP LOCKED))",
);

/// Removes a portion of those whose provider or workspace is gone; how many.
pub fn remove_ownerless() -> u64 {
    as_owner(|| REMOVE_OWNERLESS.run(&[arg(PORTION as i64)]))
}

// Both are asked by hand only, so neither has an index.
macro_rules! owed {
    ($whose:literal) => {
        Statement::new(concat!(
            "SELECT pg_catalog.count(*) FROM leadlex.ticket AS t
     WHERE t.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() AND ",
            $whose
        ))
    };
}

static OWED_BY: Statement = owed!(
    "t.provider_id OPERATOR(pg_catalog.=) (SELECT p.id FROM leadlex.provider_config AS p WHERE p.name OPERATOR(pg_catalog.=) $1)"
);
static OWED_TO: Statement = owed!("t.workspace_id OPERATOR(pg_catalog.=) $1");

fn count(statement: &'static Statement, args: &[Arg]) -> i64 {
    as_owner(|| statement.row(View::Latest, args)).map_or(0, |row| number(&row, 0))
}

/// How many answers the provider of this name owes, by the tables.
pub fn owed_by(provider: &str) -> i64 {
    count(&OWED_BY, &[arg(provider)])
}

static OWED_UNTIL: Statement = owed!(
    "t.provider_id OPERATOR(pg_catalog.=) (SELECT p.id FROM leadlex.provider_config AS p WHERE p.name OPERATOR(pg_catalog.=) $1)
       AND t.expires_at OPERATOR(pg_catalog.-) ($2 OPERATOR(pg_catalog.*) interval '1 second') OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()"
);

/// How many answers, of those that the provider owes, it owes for less than so many seconds more.
pub fn owed_for_less_than(provider: &str, seconds: u32) -> i64 {
    count(&OWED_UNTIL, &[arg(provider), arg(f64::from(seconds))])
}

/// How many a workspace waits for.
pub fn owed_to(workspace: Uuid) -> i64 {
    count(&OWED_TO, &[arg(pg(workspace))])
}

static ERASE: Statement = Statement::new(
    "DELETE FROM leadlex.ticket AS t
     USING (SELECT w.question FROM leadlex.ticket AS w
            WHERE w.workspace_id OPERATOR(pg_catalog.=) $1 AND w.person OPERATOR(pg_catalog.=) $2
            UNION SELECT q.question FROM pg_catalog.unnest($3) AS q(question)) AS n
     WHERE t.workspace_id OPERATOR(pg_catalog.=) $1 AND t.question OPERATOR(pg_catalog.=) n.question",
);

/// Deletes those of a person and of `questions`, as of now and not of the snapshot; how many.
pub fn erase(workspace: Uuid, person: Hash, questions: &[Hash]) -> u64 {
    let args =
        [arg(pg(workspace)), arg(pgrx::Uuid::from_bytes(person)), arg(uuids(questions.iter().copied()))];
    as_owner(|| ERASE.run_in(View::Current, &args))
}
