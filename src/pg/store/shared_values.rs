//! Values that many people share, and the names that each value came up with.

use crate::pg::installation;
use crate::pg::sys::spi;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::absence::{self, Rows};
use crate::pg::store::ledger::PORTION;
use crate::pg::sys::index_probe;
use crate::pg::sys::row::{boolean, optional, pg, text, uuid};
use crate::pg::sys::spi::{Arg, Statement, View, arg, uuids_arg};
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt::Filed;
use leadlex_domain::shared::{Kind, Value};

/// Whether a value may be shared in this workspace: mostly none is.
pub fn any(workspace: Uuid) -> bool {
    absence::may_have(Rows::SharedValues, workspace)
}

/// Which of these values are shared by more than `most` names, as committed now.
pub fn known(workspace: Uuid, values: impl Iterator<Item = Hash>, most: usize) -> Vec<bool> {
    let table = installation::present().shared_values;
    let values: Vec<pgrx::Uuid> = values.map(pgrx::Uuid::from_bytes).collect();
    index_probe::each_above(
        table,
        pg(workspace),
        &values,
        index_probe::Above { number: c"names", unless: c"allowed" },
        most,
    )
}

static ALLOWED: Statement = Statement::new(
    "SELECT s.value FROM leadlex.shared_value AS s
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.value OPERATOR(pg_catalog.=) ANY ($2) AND s.allowed",
);

/// Which of these values an administrator allowed, as committed now.
pub fn allowed(workspace: Uuid, values: &[Hash]) -> HashSet<Hash> {
    if values.is_empty() || !any(workspace) {
        return HashSet::new();
    }
    let values: Vec<pgrx::Uuid> = values.iter().copied().map(pgrx::Uuid::from_bytes).collect();
    let rows = as_owner(|| ALLOWED.query(View::Latest, &[arg(pg(workspace)), arg(values)]));
    rows.iter().map(|row| uuid(row, 0).into_bytes()).collect()
}

// A value names its workspace. Mostly it is new: one look into the index, and what is there stays in the processor's cache for the
// entry. The worker alone writes here, mostly: should somebody else have meanwhile, this is 23505, and done again.
static ADD_NEW: Statement = Statement::new(
    "INSERT INTO leadlex.value_name (workspace_id, value, name, person)
     SELECT n.workspace_id, n.value, n.name, n.person
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
         AS n(workspace_id, value, name, person)
     WHERE (SELECT true FROM leadlex.value_name AS w WHERE w.value OPERATOR(pg_catalog.=) n.value LIMIT 1) IS NULL
     RETURNING value",
);
// One look into the index for each value, and never more names than are needed.
static NAMES: Statement = Statement::new(
    "SELECT q.value, n.name
     FROM pg_catalog.unnest($1) AS q(value),
          LATERAL (SELECT w.name FROM leadlex.value_name AS w
                   WHERE w.value OPERATOR(pg_catalog.=) q.value LIMIT $2) AS n",
);
// None of them is there: the worker has looked, and mostly nobody else writes there. Should somebody have, this is 23505, and done again.
static ADD_NAMES: Statement = Statement::new(
    "INSERT INTO leadlex.value_name (workspace_id, value, name, person)
     SELECT n.workspace_id, n.value, n.name, n.person
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
         AS n(workspace_id, value, name, person)",
);

/// A value with more names than are allowed.
#[derive(Clone, Copy)]
pub struct Crowded {
    pub workspace: Uuid,
    pub provider: Option<Uuid>,
    pub value: Value,
    pub names: usize,
}

/// A name that a value came up with.
struct Met<'a> {
    filed: &'a Filed,
    name: Hash,
    value: Value,
}

/// Notes the names that values came up with, `most` and one more of each; which have more than `most`.
pub fn count(filed: &[(Hash, Filed)], most: usize) -> Vec<Crowded> {
    let sightings = filed.iter().filter_map(|(_, filed)| Some((filed, filed.sighting.as_ref()?)));
    let met: Vec<Met<'_>> = sightings
        .flat_map(|(filed, sighting)| {
            sighting.values.iter().map(move |value| Met { filed, name: sighting.name, value: *value })
        })
        .collect();
    if met.is_empty() {
        return Vec::new();
    }
    let mut names = add_new(&met);
    let known = met.iter().map(|met| met.value.hash).filter(|value| !names.contains_key(value));
    let known = names_of(known.collect(), most);
    names.extend(known);
    let mut added: Vec<&Met<'_>> = Vec::new();
    for met in &met {
        let known = names.entry(met.value.hash).or_default();
        if known.len() <= most && !known.contains(&met.name) {
            known.push(met.name);
            added.push(met);
        }
    }
    if !added.is_empty() {
        as_owner(|| ADD_NAMES.run(&columns(&added)));
    }
    let mut crowded: Vec<Crowded> = Vec::new();
    for Met { filed, value, .. } in &met {
        let many = names.remove(&value.hash).filter(|names| names.len() > most);
        if let Some(names) = many {
            let provider = value.kind.is_supplied().then_some(filed.provider);
            crowded.push(Crowded { workspace: filed.workspace, provider, value: *value, names: names.len() });
        }
    }
    crowded
}

/// Adds the first name of each value that has none; those values, with that name.
fn add_new(met: &[Met<'_>]) -> HashMap<Hash, Vec<Hash>> {
    let mut first: HashMap<Hash, Hash> = HashMap::with_capacity(met.len());
    let is_first = |met: &&Met<'_>| match first.entry(met.value.hash) {
        Entry::Vacant(place) => {
            place.insert(met.name);
            true
        }
        Entry::Occupied(_) => false,
    };
    let firsts: Vec<&Met<'_>> = met.iter().filter(is_first).collect();
    let rows = as_owner(|| ADD_NEW.query(View::Current, &columns(&firsts)));
    let values = rows.iter().map(|row| uuid(row, 0).into_bytes());
    values.filter_map(|value| Some((value, vec![*first.get(&value)?]))).collect()
}

fn names_of(mut values: Vec<Hash>, most: usize) -> HashMap<Hash, Vec<Hash>> {
    let mut names: HashMap<Hash, Vec<Hash>> = HashMap::new();
    if values.is_empty() {
        return names;
    }
    values.sort_unstable();
    values.dedup();
    let values: Vec<pgrx::Uuid> = values.into_iter().map(pgrx::Uuid::from_bytes).collect();
    let rows = as_owner(|| NAMES.query(View::Latest, &[arg(values), arg(most as i64 + 1)]));
    for row in &rows {
        names.entry(uuid(row, 0).into_bytes()).or_default().push(uuid(row, 1).into_bytes());
    }
    names
}

/// As ADD_NEW and ADD_NAMES take them.
fn columns(met: &[&Met<'_>]) -> [Arg; 4] {
    let column = |of: fn(&Met<'_>) -> Hash| {
        uuids_arg(&met.iter().map(|met| pgrx::Uuid::from_bytes(of(met))).collect::<Vec<_>>())
    };
    [
        column(|met| met.filed.workspace.into_bytes()),
        column(|met| met.value.hash),
        column(|met| met.name),
        column(|met| met.filed.person),
    ]
}

// One that an administrator allowed stays so; it is not told of.
static LIST: Statement = Statement::new(
    "INSERT INTO leadlex.shared_value AS s (workspace_id, value, kind, provider_id, names)
     SELECT n.workspace_id, n.value, n.kind, n.provider_id, n.names
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5))
         AS n(workspace_id, value, kind, provider_id, names)
     ON CONFLICT (workspace_id, value) DO UPDATE SET names = EXCLUDED.names, found_at = pg_catalog.clock_timestamp()
     WHERE s.names OPERATOR(pg_catalog.<) EXCLUDED.names
     RETURNING s.workspace_id, s.value, s.kind, s.provider_id, s.allowed",
);

/// One that was not on the list, or was there with fewer names.
pub struct New {
    pub workspace: Uuid,
    pub hash: Uuid,
    pub kind: Kind,
    pub provider: Option<Uuid>,
}

/// Puts them on the list; which are new there, and not allowed.
pub fn list(crowded: &[Crowded]) -> Vec<New> {
    let each = |of: fn(&Crowded) -> Option<pgrx::Uuid>| arg(crowded.iter().map(of).collect::<Vec<_>>());
    let rows = as_owner(|| {
        LIST.query(
            View::Current,
            &[
                each(|c| Some(pg(c.workspace))),
                each(|c| Some(pgrx::Uuid::from_bytes(c.value.hash))),
                arg(crowded.iter().map(|c| c.value.kind.name()).collect::<Vec<_>>()),
                each(|c| c.provider.map(pg)),
                arg(crowded.iter().map(|c| c.names as i32).collect::<Vec<_>>()),
            ],
        )
    });
    let new = |row: &spi::Row| {
        Some(New {
            workspace: uuid(row, 0),
            hash: uuid(row, 1),
            kind: Kind::parse(&text(row, 2))?,
            provider: optional(row, 3).and_then(|id| id.parse().ok()),
        })
    };
    rows.iter().filter(|row| !boolean(row, 4)).filter_map(new).collect()
}

static ALLOW: Statement = Statement::new(
    "INSERT INTO leadlex.shared_value AS s (workspace_id, value, kind, provider_id, names, allowed)
     SELECT $1, n.value, n.kind, n.provider_id, 0, true
     FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS n(value, kind, provider_id)
     ON CONFLICT (workspace_id, value) DO UPDATE SET allowed = true WHERE NOT s.allowed",
);
static COUNT_ANEW: Statement = Statement::new(
    "DELETE FROM leadlex.shared_value AS s
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.value OPERATOR(pg_catalog.=) ANY ($2) AND s.allowed",
);
static DROP_NAMES: Statement = Statement::new(
    "DELETE FROM leadlex.value_name AS n
     WHERE n.workspace_id OPERATOR(pg_catalog.=) $1 AND n.value OPERATOR(pg_catalog.=) ANY ($2)",
);

/// Makes these values count again, whatever names they come up with; how many of them did not.
pub fn allow(workspace: Uuid, values: &[(Value, Option<Uuid>)]) -> u64 {
    let hashes: Vec<pgrx::Uuid> =
        values.iter().map(|(value, _)| pgrx::Uuid::from_bytes(value.hash)).collect();
    let kinds: Vec<&str> = values.iter().map(|(value, _)| value.kind.name()).collect();
    let providers: Vec<Option<pgrx::Uuid>> = values.iter().map(|(_, id)| id.map(pg)).collect();
    as_owner(|| ALLOW.run_in(View::Current, &[arg(pg(workspace)), arg(hashes), arg(kinds), arg(providers)]))
}

/// Takes that back: their names are counted from the beginning. How many were allowed.
///
/// Raises 40001: a value has changed since the transaction's one snapshot.
pub fn disallow(workspace: Uuid, values: &[(Value, Option<Uuid>)]) -> u64 {
    let hashes = || {
        let hashes = values.iter().map(|(value, _)| pgrx::Uuid::from_bytes(value.hash));
        arg(hashes.collect::<Vec<_>>())
    };
    as_owner(|| {
        let taken_back = COUNT_ANEW.run_in(View::Serialized, &[arg(pg(workspace)), hashes()]);
        if taken_back > 0 {
            DROP_NAMES.run_in(View::Current, &[arg(pg(workspace)), hashes()]);
        }
        taken_back
    })
}

// As of now, whatever the transaction's snapshot: what is not seen would stay.
static ERASE_NAMES: Statement = Statement::new(
    "DELETE FROM leadlex.value_name AS n
     USING (SELECT w.value, w.name FROM leadlex.value_name AS w
            WHERE w.workspace_id OPERATOR(pg_catalog.=) $1 AND w.person OPERATOR(pg_catalog.=) $2
            UNION SELECT q.value, $4 FROM pg_catalog.unnest($3) AS q(value)) AS p
     WHERE n.workspace_id OPERATOR(pg_catalog.=) $1 AND n.value OPERATOR(pg_catalog.=) p.value
       AND n.name OPERATOR(pg_catalog.=) p.name
     RETURNING n.value",
);
// A value has no more names than are left.
static RECOUNT: Statement = Statement::new(
    "UPDATE leadlex.shared_value AS s
     SET names = (SELECT pg_catalog.count(*) FROM leadlex.value_name AS n
                  WHERE n.workspace_id OPERATOR(pg_catalog.=) s.workspace_id AND n.value OPERATOR(pg_catalog.=) s.value)
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.value OPERATOR(pg_catalog.=) ANY ($2)",
);
static UNLIST: Statement = Statement::new(
    "DELETE FROM leadlex.shared_value AS s
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.value OPERATOR(pg_catalog.=) ANY ($2)
       AND s.names OPERATOR(pg_catalog.<=) $3 AND NOT s.allowed",
);

/// Takes a person's name off the values that it came up with; how many. What is left with `most` names or fewer counts again.
/// The person is a workspace and the hash of a row there; `name` and `values`: as the contact is now.
pub fn erase((workspace, person): (Uuid, Hash), name: Option<Hash>, values: &[Value], most: usize) -> u64 {
    let now: Vec<pgrx::Uuid> = values.iter().map(|value| pgrx::Uuid::from_bytes(value.hash)).collect();
    let name = name.map(pgrx::Uuid::from_bytes);
    as_owner(|| {
        let args = [arg(pg(workspace)), arg(pgrx::Uuid::from_bytes(person)), arg(now), arg(name)];
        let rows = ERASE_NAMES.query(View::Current, &args);
        if rows.is_empty() {
            return 0;
        }
        let values = || arg(rows.iter().map(|row| pg(uuid(row, 0))).collect::<Vec<_>>());
        RECOUNT.run_in(View::Current, &[arg(pg(workspace)), values()]);
        UNLIST.run_in(View::Current, &[arg(pg(workspace)), values(), arg(most as i32)]);
        rows.len() as u64
    })
}

// The names of a listed value stay with it, so that it is known how many are left when one is erased.
static PURGE: Statement = Statement::new(
    "DELETE FROM leadlex.value_name AS n
     WHERE n.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT o.ctid FROM leadlex.value_name AS o
         WHERE o.seen_at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 microsecond'))
           AND NOT EXISTS (SELECT FROM leadlex.shared_value AS s
                           WHERE s.workspace_id OPERATOR(pg_catalog.=) o.workspace_id AND s.value OPERATOR(pg_catalog.=) o.value)
         LIMIT $2 FOR UPDATE OF o SKIP LOCKED))",
);

/// Removes names that came up longer ago than that, in microseconds, at most a portion; how many.
pub fn purge(age_us: i64) -> u64 {
    as_owner(|| PURGE.run(&[arg(age_us as f64), arg(PORTION as i64)]))
}
