//! Credit limits that are given, changed and taken away, and credits that come anew each period.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::json;
use uuid::Uuid;

use super::{Listener, PROMPT, count, detail};
use crate::support::{Behaviour, Stop, eventually};
use crate::world::{Beginning, PATH, World, contact, credits, enrich, only_phone, pid, sqlstate, try_enrich};

const SOON: Duration = Duration::from_secs(20);

fn world(credits: Option<i64>, contacts: i32) -> World {
    let world = World::with(&Beginning { credits, contacts, ..Beginning::default() });
    answers(&world, Duration::ZERO);
    world
}

fn answers(world: &World, after: Duration) {
    world.provider.on(PATH, move |request| {
        let email = request.param("email").unwrap_or("nobody");
        Behaviour::json(200, only_phone(&format!("+1202555 {email}"))).after(after)
    });
}

fn limit(client: &mut Client, workspace: Uuid, credits: Option<i64>) -> Result<u64, postgres::Error> {
    client.execute("SELECT leadlex.limit_credits($1, $2)", &[&workspace, &credits])
}

fn ledger_sum(world: &World) -> i64 {
    world.number("SELECT coalesce(sum(amount), 0)::int8 FROM leadlex.credit_ledger")
}

fn notes(world: &World) -> Vec<i64> {
    let sql = "SELECT amount FROM leadlex.credit_ledger WHERE note = 'limit' ORDER BY id";
    world.owner().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_workspace_without_a_limit_is_given_one_and_loses_it_again() {
    let world = world(None, 20);
    let (mut caller, mut owner) = (world.caller(), world.owner());
    (1..=3).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    assert_eq!((credits(&mut caller), ledger_sum(&world)), (None, -3));
    limit(&mut owner, world.workspace, Some(2)).unwrap();
    assert_eq!((credits(&mut caller), ledger_sum(&world), notes(&world)), (Some(2), 2, vec![5]));
    enrich(&mut caller, 4).unwrap();
    enrich(&mut caller, 5).unwrap();
    assert_eq!(sqlstate(&enrich(&mut caller, 6)), "LX402");
    // Less, more, and as much as there is.
    for credits_now in [7, 1, 1] {
        limit(&mut owner, world.workspace, Some(credits_now)).unwrap();
        assert_eq!((credits(&mut caller), ledger_sum(&world)), (Some(credits_now), credits_now));
    }
    assert_eq!(notes(&world), [5, 7, -6]);
    limit(&mut owner, world.workspace, None).unwrap();
    (6..=9).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    assert_eq!((credits(&mut caller), ledger_sum(&world)), (None, -3));
    // What was rolled back has limited nobody.
    let mut open = owner.transaction().unwrap();
    open.execute("SELECT leadlex.limit_credits($1, 0)", &[&world.workspace]).unwrap();
    open.rollback().unwrap();
    enrich(&mut caller, 10).unwrap();
    limit(&mut owner, world.workspace, Some(1)).unwrap();
    world.settle();
    world.cluster.restart(Stop::Fast);
    assert_eq!((credits(&mut world.caller()), ledger_sum(&world)), (Some(1), 1));
}

/// The workspace that the first provider makes has no limit, and can have one.
#[test]
fn the_workspace_default_can_be_limited() {
    let world = world(Some(5), 5);
    world.run("CREATE DATABASE other");
    let mut other = world.cluster.connect("other");
    other.batch_execute("CREATE EXTENSION leadlex_enrich; SELECT leadlex.add_provider('any', config => '{\"identify_by\": [[\"email\"]], \"request\": {\"url\": \"https://vendor.example/{email}\"}, \"response\": {\"fields\": {\"phone\": \"/phone\"}}}')").unwrap();
    let id: Uuid =
        other.query_one("SELECT id FROM leadlex.workspace WHERE name = 'default'", &[]).unwrap().get(0);
    limit(&mut other, id, Some(3)).unwrap();
    other.batch_execute(&format!("SELECT leadlex.grant_access('postgres', '{id}')")).unwrap();
    assert_eq!(credits(&mut other), Some(3));
}

#[test]
fn it_waits_for_calls_under_way_and_calls_wait_for_it() {
    let world = world(Some(10), 20);
    answers(&world, Duration::from_secs(1));
    let mut busy = world.caller();
    let call = thread::spawn(move || enrich(&mut busy, 1).unwrap());
    world.provider.wait_for(1, SOON);
    let mut owner = world.owner();
    owner.batch_execute("SET lock_timeout = '100ms'").unwrap();
    assert_eq!(sqlstate(&limit(&mut owner, world.workspace, Some(4))), "55P03");
    owner.batch_execute("SET lock_timeout = 0; SET statement_timeout = '100ms'").unwrap();
    assert_eq!(sqlstate(&limit(&mut owner, world.workspace, Some(4))), "57014");
    owner.batch_execute("SET statement_timeout = 0").unwrap();
    let began = Instant::now();
    let mut open = owner.transaction().unwrap();
    open.execute("SELECT leadlex.limit_credits($1, 4)", &[&world.workspace]).unwrap();
    assert!(began.elapsed() > Duration::from_millis(300), "it has not waited: {:?}", began.elapsed());
    call.join().unwrap();
    // Another workspace is not concerned; a call in this one waits, and can give up.
    let mut caller = world.caller();
    caller.batch_execute("SET lock_timeout = '200ms'").unwrap();
    assert_eq!(sqlstate(&enrich(&mut caller, 2)), "55P03");
    caller.batch_execute("SET lock_timeout = 0").unwrap();
    let waiting = pid(&mut caller);
    let call = thread::spawn(move || enrich(&mut caller, 2).map(|_| caller));
    world.wait_until_blocked(waiting);
    assert_eq!(world.provider.count(), 1);
    open.commit().unwrap();
    let mut caller = call.join().unwrap().unwrap();
    assert_eq!((credits(&mut caller), ledger_sum(&world)), (Some(3), 3));
    world.check_credits_add_up();
}

/// A call that began without a limit, and one that comes while it is given, in every order.
#[test]
fn the_balance_is_exact_whatever_goes_on() {
    let world = world(None, 200);
    let callers: Vec<_> = (0..4)
        .map(|n| {
            let mut caller = world.caller();
            thread::spawn(move || (1..=50).filter(|i| enrich(&mut caller, n * 50 + i).is_ok()).count() as i64)
        })
        .collect();
    let mut owner = world.owner();
    for round in 0..20 {
        limit(&mut owner, world.workspace, [Some(5), None, Some(1_000)][round % 3]).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    limit(&mut owner, world.workspace, Some(1_000)).unwrap();
    let done: i64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert!(done > 0);
    let mut caller = world.caller();
    let sum = ledger_sum(&world);
    assert_eq!(credits(&mut caller), Some(sum));
    assert_eq!(
        world.number("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1 AND note IS NULL"),
        done
    );
    // The same after everything in memory is lost.
    world.cluster.restart(Stop::Immediate);
    assert_eq!(credits(&mut world.caller()), Some(sum));
}

/// Called from a trigger of the row that is being enriched: the call has reserved a credit.
#[test]
fn no_less_than_what_is_reserved() {
    let world = world(Some(10), 5);
    world.run(&format!(
        "CREATE FUNCTION limit_it() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $f$
         BEGIN PERFORM leadlex.limit_credits('{}', 0); RETURN NEW; END $f$;
         CREATE TRIGGER limit_it BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION limit_it()",
        world.workspace
    ));
    assert_eq!(sqlstate(&enrich(&mut world.caller(), 1)), "55000");
    assert_eq!(credits(&mut world.caller()), Some(10));
}

#[test]
fn arguments_are_checked() {
    let world = world(None, 1);
    let id = world.workspace;
    let mut owner = world.owner();
    for (call, expected) in [
        ("limit_credits(NULL, 1)".to_owned(), "22023"),
        ("limit_credits(gen_random_uuid(), 1)".to_owned(), "22023"),
        (format!("limit_credits('{id}', -1)"), "22023"),
        (format!("limit_credits('{id}', 1000000000000001)"), "22003"),
        (format!("allot_credits('{id}', 5, 'week')"), "22023"),
        (format!("allot_credits('{id}', 5, 'day')"), "55000"),
        (format!("limit_credits('{id}', 0)"), "00000"),
        (format!("allot_credits('{id}', NULL, 'day')"), "22023"),
        (format!("allot_credits('{id}', -1, 'day')"), "22023"),
        (format!("allot_credits('{id}', 5, 'day')"), "00000"),
        (format!("allot_credits('{id}', NULL, NULL)"), "00000"),
    ] {
        assert_eq!(sqlstate(&owner.execute(&format!("SELECT leadlex.{call}"), &[])), expected, "{call}");
    }
    for call in [format!("limit_credits('{id}', 1)"), format!("allot_credits('{id}', 1, 'day')")] {
        assert_eq!(sqlstate(&world.caller().execute(&format!("SELECT leadlex.{call}"), &[])), "42501");
    }
}

fn allotted(world: &World) -> Vec<i64> {
    let sql = "SELECT amount FROM leadlex.credit_ledger WHERE note = 'allotment' ORDER BY id";
    world.owner().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// As if the server had been down when the month began.
#[test]
fn an_allotment_of_the_month_comes_once_although_the_server_was_down_on_the_first() {
    let world = world(Some(10), 10);
    (1..=3).for_each(|n| drop(enrich(&mut world.caller(), n).unwrap()));
    world.run(&format!("SELECT leadlex.allot_credits('{}', 100, 'month')", world.workspace));
    thread::sleep(Duration::from_secs(2));
    assert_eq!((allotted(&world), credits(&mut world.caller())), (vec![], Some(7)), "not before the next");
    world.cluster.stop(Stop::Fast);
    world.cluster.start_again();
    world.cluster.wait_until_ready();
    // It was made for two months ago last: what was missed comes once.
    world.run("UPDATE leadlex.allotment SET made_for = date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '2 months'");
    world.cluster.restart(Stop::Immediate);
    world.cluster.wait_until_ready();
    eventually("it has come", SOON, || allotted(&world) == [93]);
    assert_eq!(credits(&mut world.caller()), Some(100));
    for how in [Stop::Fast, Stop::Immediate] {
        world.cluster.restart(how);
        world.cluster.wait_until_ready();
        enrich(&mut world.caller(), if how == Stop::Fast { 4 } else { 5 }).unwrap();
        thread::sleep(Duration::from_secs(2));
    }
    assert_eq!((allotted(&world), credits(&mut world.caller())), (vec![93], Some(98)));
    // What is left over lapses with the next.
    world.run("UPDATE leadlex.allotment SET credits = 50, made_for = made_for - interval '1 month'");
    world.run("SELECT leadlex.grant_credits(1)");
    eventually("the next has come", SOON, || allotted(&world) == [93, -49]);
    assert_eq!(credits(&mut world.caller()), Some(50));
    // Without a limit there is none.
    limit(&mut world.owner(), world.workspace, None).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM leadlex.allotment"), 0);
}

#[test]
fn low_credits_reach_a_psql_that_listens() {
    let world = world(Some(20), 25);
    let mut psql = world.cluster.command("psql", "app");
    psql.args(["-X", "-A", "-t", "-c", "LISTEN leadlex", "-c", "SELECT pg_sleep(6)", "-c", "SELECT 1"]);
    let psql = psql.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let listens =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6)%' AND pid <> pg_backend_pid()";
    eventually("psql listens", SOON, || world.number(listens) == 1);
    let mut caller = world.caller();
    (1..=18).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    thread::sleep(PROMPT);
    assert_eq!(count(&world, "credits_low"), 0, "2 of 20 are not below 10 percent");
    enrich(&mut caller, 19).unwrap();
    eventually("it is told of", PROMPT, || count(&world, "credits_low") == 1);
    assert_eq!(detail(&world, "credits_low"), json!({"credits": 1, "of": 20}));
    let output = psql.wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.contains("Asynchronous notification \"leadlex\" with payload \"{\"event\":\"credits_low\""),
        "{output}"
    );
}

#[test]
fn the_last_credit_is_told_of_and_a_grant_begins_anew() {
    let world = world(Some(0), 30);
    let mut listener = Listener::new(&world);
    let mut caller = world.caller();
    // The first LX402, of a workspace that never had any.
    assert_eq!(try_enrich(&mut caller, 1)["error"]["code"], "insufficient_credits");
    listener.next("credits_out", PROMPT);
    try_enrich(&mut caller, 1);
    world.run("SELECT leadlex.grant_credits(3)");
    world.run("UPDATE leadlex.event SET at = at - interval '1 minute'");
    (1..=3).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    // The commit that leaves none.
    listener.next("credits_out", PROMPT);
    assert_eq!((count(&world, "credits_out"), count(&world, "credits_low")), (2, 0));
    // Of another base, after it was settled and all memory lost.
    limit(&mut world.owner(), world.workspace, Some(10)).unwrap();
    world.settle();
    world.run("UPDATE leadlex.event SET at = at - interval '1 minute'");
    world.cluster.restart(Stop::Immediate);
    world.cluster.wait_until_ready();
    world.cluster.set("leadlex.credits_low", "50");
    let mut listener = Listener::new(&world);
    let mut caller = world.caller();
    let ids: Vec<Uuid> = (4..=9).map(contact).collect();
    caller.query("SELECT status FROM enrich_contacts($1)", &[&ids]).unwrap();
    listener.next("credits_low", PROMPT);
    assert_eq!(detail(&world, "credits_low"), json!({"credits": 4, "of": 10}));
}

#[test]
fn the_last_credit_within_a_set_is_told_of_as_none() {
    let world = world(Some(3), 10);
    let mut listener = Listener::new(&world);
    let set = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm LIMIT 6))";
    world.caller().batch_execute(set).unwrap();
    listener.next("credits_out", PROMPT);
    assert_eq!(detail(&world, "credits_out"), json!({"credits": 0}), "the set holds all three");
}
