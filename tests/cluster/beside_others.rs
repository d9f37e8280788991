//! What another session holds keeps a set waiting as long as it does a single call, and ends what it is about, not the set.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::support::{Behaviour, person};
use crate::world::{Beginning, PATH, World, contact};

fn world(credits: i64, contacts: i32) -> World {
    let world = World::with(&Beginning { contacts, credits: Some(credits), ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    world
}

fn enrich(caller: &mut Client, numbers: std::ops::RangeInclusive<i32>) -> BTreeMap<String, usize> {
    let ids: Vec<_> = numbers.map(contact).collect();
    let sql = "SELECT coalesce(error_code, status) FROM enrich_contacts($1)";
    let mut counts = BTreeMap::new();
    for row in caller.query(sql, &[&ids]).unwrap() {
        *counts.entry(row.get(0)).or_default() += 1;
    }
    counts
}

/// The same contact by contact.
fn batch(numbers: std::ops::RangeInclusive<i32>) -> String {
    let ids: Vec<String> = numbers.map(|n| contact(n).to_string()).collect();
    format!("CALL leadlex.enrich_batch('crm', '{{{}}}', chunk => 1)", ids.join(","))
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(what, count)| (what.to_owned(), count)).collect()
}

/// A transaction that has enriched this contact, and is still open.
fn holder(world: &World, n: i32) -> Client {
    let mut holder = world.caller();
    holder.batch_execute("BEGIN").unwrap();
    holder.query_one("SELECT enrich_contact($1)", &[&contact(n)]).unwrap();
    holder
}

/// How long each of these waits for credits that others hold, at most.
const WAIT: Duration = Duration::from_millis(1500);
const CONTACTS: i32 = 10;

#[test]
fn a_set_waits_for_credits_as_long_as_one_call_does() {
    let world = world(1, CONTACTS + 1);
    world.run("ALTER DATABASE app SET leadlex.credit_wait = '1500ms'");
    let mut holder = holder(&world, CONTACTS + 1);
    let mut caller = world.caller();
    let begun = Instant::now();
    assert_eq!(enrich(&mut caller, 1..=CONTACTS), counts([("insufficient_credits", CONTACTS as usize)]));
    assert!(begun.elapsed() >= WAIT && begun.elapsed() < WAIT * 4, "{:?}", begun.elapsed());
    let begun = Instant::now();
    caller.batch_execute(&batch(1..=CONTACTS)).unwrap();
    assert!(begun.elapsed() >= WAIT && begun.elapsed() < WAIT * 4, "{:?}", begun.elapsed());
    // What comes back within that time is used.
    let waiting = std::thread::spawn(move || enrich(&mut caller, 1..=1));
    std::thread::sleep(Duration::from_millis(300));
    holder.batch_execute("ROLLBACK").unwrap();
    assert_eq!(waiting.join().unwrap(), counts([("enriched", 1)]));
    world.check_credits_add_up();
}

#[test]
fn a_trigger_waits_for_credits_no_longer_than_its_own_time() {
    let world = world(1, 1);
    world.run("ALTER DATABASE app SET leadlex.credit_wait = '10s'; ALTER DATABASE app SET leadlex.trigger_timeout = '1s'");
    world.run(
        "ALTER TABLE crm OWNER TO caller; SET ROLE caller;
         CREATE TRIGGER now AFTER INSERT ON crm REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
         EXECUTE FUNCTION leadlex.enrich_on_insert('phone')",
    );
    let _holder = holder(&world, 1);
    let mut owner = world.owner();
    let begun = Instant::now();
    owner
        .batch_execute(
            "INSERT INTO crm (id, full_name, email) SELECT gen_random_uuid(), 'New Person', n || '@acme.example' FROM generate_series(1, 6) AS n",
        )
        .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn lock_timeout_ends_the_contact_that_another_session_is_enriching() {
    let world = world(100, 6);
    let mut holder = holder(&world, 3);
    let mut caller = world.caller();
    caller.batch_execute("SET lock_timeout = '300ms'").unwrap();
    assert_eq!(enrich(&mut caller, 1..=4), counts([("55P03", 1), ("enriched", 3)]));
    caller.batch_execute(&batch(1..=6)).unwrap();
    let filled = "SELECT count(*) FROM crm WHERE phone IS NOT NULL";
    assert_eq!(world.number(filled), 5);
    // A call that is under way, too, and nothing is left of having waited for it.
    holder.batch_execute("ROLLBACK").unwrap();
    world.run("UPDATE crm SET phone = NULL, job_title = NULL, email = 'new' || email");
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_secs(3)));
    let mut under_way = world.caller();
    let calling =
        std::thread::spawn(move || under_way.query_one("SELECT enrich_contact($1)", &[&contact(3)]).is_ok());
    crate::support::eventually("it is asked about", Duration::from_secs(10), || world.provider.count() > 6);
    assert_eq!(enrich(&mut caller, 3..=3), counts([("55P03", 1)]));
    assert!(calling.join().unwrap());
    caller.batch_execute("RESET lock_timeout").unwrap();
    assert_eq!(enrich(&mut caller, 3..=3), counts([("unchanged", 1)]));
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(world.number(locks), 0);
    world.check_credits_add_up();
}
