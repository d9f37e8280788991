//! What must be true when a storm is over: the tables are exactly what the server acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::plan::Side;
use super::session::{Effect, Record};
use super::vendor::{self, Asked, Outcome};
use super::{CREDITS, Storm, lock, paid};
use crate::support::eventually;
use crate::world::{contact, credits, enrich, number, sqlstate};

/// No interval this long admits more than the limit.
const WINDOW: Duration = Duration::from_secs(60);
/// Credits left to be spent at the end.
const REST: i64 = 20;

pub fn check(storm: &Storm, record: &Record) {
    let mut owner = storm.world.owner();
    eventually("no request is under way", Duration::from_secs(30), || storm.world.provider.in_flight() == 0);
    storm.world.settle();
    if let Err(error) = storm.look(&mut owner) {
        storm.problem(format!("the last look: {error:?}"));
    }
    let expected = acknowledged(storm, &mut owner, record);
    check_credits(storm, &mut owner, &expected);
    check_charges(storm, &mut owner, &expected);
    check_stored_results(storm, &mut owner, &expected, record);
    let asked = storm.vendor.record();
    check_contacts(storm, &mut owner, &asked);
    check_rates(storm, record, &asked);
    paid::check(storm, &mut owner, record, &asked);
    if storm.problems().is_empty() {
        spend_the_rest(storm);
    }
}

/// What was acknowledged, and of transactions whose end nobody heard those that are in the tables: wholly, or not at all.
fn acknowledged(storm: &Storm, owner: &mut Client, record: &Record) -> Vec<Effect> {
    let mut expected = record.committed.clone();
    for effects in record.unknown.iter().filter(|effects| !effects.is_empty()) {
        let there: Vec<bool> = effects.iter().map(|effect| is_there(owner, effect)).collect();
        if there.iter().all(|there| *there) {
            expected.extend(effects.iter().cloned());
        } else if there.iter().any(|there| *there) {
            storm.problem(format!("half a transaction is there: {effects:?}: {there:?}"));
        }
    }
    expected
}

fn is_there(owner: &mut Client, effect: &Effect) -> bool {
    let sql = match effect {
        Effect::Charge { request_id, .. } => {
            format!("SELECT count(*) FROM leadlex.enrichment WHERE request_id = '{request_id}'")
        }
        Effect::Grant { note, .. } => {
            format!("SELECT count(*) FROM leadlex.credit_ledger WHERE note = '{note}'")
        }
        Effect::Edit { tag } => format!("SELECT count(*) FROM edit WHERE tag = '{tag}'"),
        Effect::Stored { key, request_id } => format!(
            "SELECT count(*) FROM leadlex.idempotency WHERE key = '{key}' AND result->>'request_id' = '{request_id}'"
        ),
    };
    number(owner, &sql) == 1
}

/// granted = spent + balance, in the ledger and in memory.
fn check_credits(storm: &Storm, owner: &mut Client, expected: &[Effect]) {
    for side in Side::BOTH {
        let workspace = storm.workspace(side);
        let (mut granted, mut spent) = (CREDITS[side as usize], 0);
        for effect in expected {
            match effect {
                Effect::Grant { side: of, amount, .. } if *of == side => granted += amount,
                Effect::Charge { side: of, .. } if *of == side => spent += 1,
                _ => {}
            }
        }
        let sum =
            format!("SELECT sum(amount)::int8 FROM leadlex.credit_ledger WHERE workspace_id = '{workspace}'");
        let in_ledger = number(owner, &sum);
        let in_memory = credits(&mut storm.world.cluster.connect_as("app", side.role()));
        if granted != spent + in_ledger || in_memory != Some(in_ledger) {
            storm.problem(format!(
                "{side:?}: granted {granted}, spent {spent}, the ledger says {in_ledger}, leadlex.credits() {in_memory:?}"
            ));
        }
    }
}

/// Exactly the acknowledged charges are in ledger and history; the two were compared with each other before.
fn check_charges(storm: &Storm, owner: &mut Client, expected: &[Effect]) {
    let mut wanted = BTreeMap::new();
    for effect in expected {
        if let Effect::Charge { side, contact: n, request_id, fields } = effect {
            let what =
                (storm.workspace(*side), side.table().to_owned(), contact(*n).to_string(), fields.clone());
            if wanted.insert(*request_id, what).is_some() {
                storm.problem(format!("request {request_id} was told of twice"));
            }
        }
    }
    let sql = "SELECT request_id, workspace_id, table_name::text, contact_id, to_jsonb(fields_updated) FROM leadlex.enrichment";
    let mut found = BTreeMap::new();
    for row in owner.query(sql, &[]).unwrap() {
        let fields: Vec<String> = serde_json::from_value(row.get(4)).unwrap();
        found.insert(row.get::<_, Uuid>(0), (row.get::<_, Uuid>(1), row.get(2), row.get(3), fields));
    }
    compare(storm, "charge", &wanted, &found);
}

fn compare<V: PartialEq + std::fmt::Debug>(
    storm: &Storm,
    what: &str,
    wanted: &BTreeMap<Uuid, V>,
    found: &BTreeMap<Uuid, V>,
) {
    let ids: BTreeSet<&Uuid> = wanted.keys().chain(found.keys()).collect();
    for id in ids {
        let (wanted, found) = (wanted.get(id), found.get(id));
        if wanted != found {
            storm.problem(format!("{what} {id}: acknowledged {wanted:?}, found {found:?}"));
        }
    }
}

fn check_stored_results(storm: &Storm, owner: &mut Client, expected: &[Effect], record: &Record) {
    let mut wanted = BTreeMap::new();
    for effect in expected {
        if let Effect::Stored { key, request_id } = effect
            && wanted.insert(*key, request_id.to_string()).is_some()
        {
            storm.problem(format!("key {key} was used up twice"));
        }
    }
    let sql = "SELECT key, result->>'request_id' FROM leadlex.idempotency";
    let found = owner.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    compare(storm, "stored result", &wanted, &found);
    for key in record.replayed.iter().filter(|key| !found.contains_key(*key)) {
        storm.problem(format!("key {key} was replayed, and nothing is stored under it"));
    }
}

/// Something that was written to a contact: by a charge, or by a person.
struct Change {
    table: String,
    contact: String,
    before: Map<String, Value>,
    after: Map<String, Value>,
    by_charge: bool,
}

/// Contacts have changed exactly where a charge says so, to what a provider answered about them.
fn check_contacts(storm: &Storm, owner: &mut Client, asked: &[Asked]) {
    let mut now: HashMap<(String, String), Map<String, Value>> = HashMap::new();
    let mut then = now.clone();
    for side in Side::BOTH {
        let table = side.table();
        let sql = format!("SELECT id::text, to_jsonb(c) - 'id' - 'full_name' - 'note' FROM {table} AS c");
        for row in owner.query(&sql, &[]).unwrap() {
            let (id, values): (String, Value) = (row.get(0), row.get(1));
            let values = values.as_object().unwrap().clone();
            let mut first: Map<String, Value> =
                values.keys().map(|name| (name.clone(), Value::Null)).collect();
            let n: i32 = id.rsplit('-').next().unwrap().parse().unwrap();
            first.insert("email".to_owned(), format!("person{n}@{}", side.domain()).into());
            then.insert((table.to_owned(), id.clone()), first);
            now.insert((table.to_owned(), id), values);
        }
    }
    for change in changes(owner) {
        let contact = then.get_mut(&(change.table.clone(), change.contact.clone())).expect("one of ours");
        for (name, value) in &change.after {
            if change.by_charge {
                let known = vendor::serial(value).and_then(|serial| asked.get(serial)).is_some_and(|a| {
                    let of_this =
                        a.side.table() == change.table && super::contact_id(a.contact) == change.contact;
                    of_this && matches!(&a.outcome, Outcome::Match(data) if data.get(name) == Some(value))
                });
                let changed =
                    change.before.get(name) == contact.get(name) && contact.get(name) != Some(value);
                if !known || !changed {
                    let (table, id, before) = (&change.table, &change.contact, &contact[name]);
                    storm.problem(format!(
                        "{table} {id}: {name} from {before} to {value}: known {known}, changed {changed}"
                    ));
                }
            }
            contact.insert(name.clone(), value.clone());
        }
    }
    for (key, values) in &now {
        if then.get(key) != Some(values) {
            storm.problem(format!("{key:?} is {values:?}; its history comes to {:?}", then.get(key)));
        }
    }
}

/// In the order in which they were made. Each was noted while its row was locked.
fn changes(owner: &mut Client) -> Vec<Change> {
    let sql = "SELECT table_name::text, contact_id, old_values, new_values, true, created_at FROM leadlex.enrichment
               UNION ALL SELECT relation, contact_id, '{}', written, false, at FROM edit ORDER BY 6";
    let object = |value: Value| value.as_object().cloned().unwrap_or_default();
    let change = |row: &postgres::Row| Change {
        table: row.get(0),
        contact: row.get(1),
        before: object(row.get(2)),
        after: object(row.get(3)),
        by_charge: row.get(4),
    };
    owner.query(sql, &[]).unwrap().iter().map(change).collect()
}

/// No minute admitted more calls than the limit: by what the sessions were told, and by the provider's own clock.
fn check_rates(storm: &Storm, record: &Record, asked: &[Asked]) {
    let of_this = |side: Side| side == Side::Metered;
    let calls: Vec<(Instant, Instant)> = record
        .calls
        .iter()
        .filter(|c| c.admitted && of_this(c.side))
        .map(|c| (c.started, c.finished))
        .collect();
    let requests: Vec<(Instant, Instant)> = asked
        .iter()
        .filter(|a| of_this(a.side) && a.question.0 == crate::world::PATH)
        .map(|a| (a.arrived, a.arrived))
        .collect();
    let mut limits = lock(&storm.limits).clone();
    if let Some(last) = limits.last_mut() {
        last.0 = Instant::now();
    }
    for (what, events) in [("calls", calls), ("requests", requests)] {
        // A stale connection is replaced without counting: one call can make two requests, one of them in vain.
        for (until, limit) in &limits {
            let before = |at: Instant| at <= *until;
            for (start, _) in events.iter().filter(|(start, _)| before(*start)) {
                let inside =
                    events.iter().filter(|(s, f)| s >= start && before(*f) && *f < *start + WINDOW).count();
                if inside as i64 > *limit {
                    return storm.problem(format!("{inside} {what} in a minute with a limit of {limit}"));
                }
            }
        }
    }
}

/// Nothing is left reserved by anybody: every credit of the balance can be had, and then there is none.
fn spend_the_rest(storm: &Storm) {
    storm.vendor.calm_down();
    // What was sent before may still fail, and pause the provider.
    crate::support::eventually("no request is under way", Duration::from_secs(30), || {
        storm.world.provider.in_flight() == 0
    });
    storm.world.end_pauses();
    storm.set_limit(None);
    for side in Side::BOTH {
        let mut client = storm.world.cluster.connect_as("app", side.role());
        client.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
        let balance = credits(&mut client).expect("a credit limit");
        // To take back is refused where anything is reserved; a correction of one would look like a charge.
        if balance > REST + 1 {
            let sql = "SELECT leadlex.grant_credits($1::uuid, $2, 'the rest')";
            client.execute(sql, &[&storm.workspace(side), &(REST - balance)]).unwrap();
        }
        let left = credits(&mut client).expect("a credit limit");
        let mut spend = || {
            storm.world.run(&format!("UPDATE {} SET phone = NULL WHERE id = '{}'", side.table(), contact(1)));
            match side {
                Side::Short => enrich(&mut client, 1),
                Side::Metered => {
                    let sql = format!("SELECT enrich_row('theirs', '{}')", contact(1));
                    client.query_one(&sql, &[]).map(|row| row.get(0))
                }
            }
        };
        for spent in 1..=left {
            let result: Value =
                spend().unwrap_or_else(|error| panic!("{side:?}: {spent} of {left}: {error:?}"));
            assert_eq!(result["credits_remaining"], left - spent, "{side:?}");
        }
        assert_eq!(sqlstate(&spend()), "LX402", "{side:?}");
    }
    storm.world.check_credits_add_up();
}
