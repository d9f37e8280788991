//! What the table refuses, where `fill` passes on what was found, beside a company, and where one question is under way.

use std::sync::{Arc, Mutex};

use super::*;
use crate::world::SECRET;

const SECOND: &str = "/second";
const TAKEN: &str = "UPDATE crm SET linkedin_url = 'https://www.linkedin.com/in/jane-example' WHERE id = ";

/// The first provider knows profiles, the second phones, and both are asked by profile where there is one. The profile is
/// another contact's already.
fn chain(conf: &[&str]) -> World {
    let mut all = vec!["leadlex.waterfall = fill"];
    all.extend(conf);
    let world =
        World::with(&Beginning { credits: Some(100), contacts: 9, conf: &all, ..Beginning::default() });
    world.run(&format!("CREATE UNIQUE INDEX one_profile ON crm (linkedin_url); {TAKEN} '{}'", contact(9)));
    world.run("UPDATE crm SET full_name = 'Person ' || right(id::text, 1)");
    world
        .provider
        .on(PATH, |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"linkedin_url": PROFILE}})));
    world.provider.on(SECOND, |_| Behaviour::json(200, json!({"data": {"phone": "+15550100100"}})));
    let by_profile = |path: &str, field: &str| {
        json!({
            "request": {"url": world.provider.url(path), "headers": {"X-Api-Key": "{secret}"},
                        "query": {"profile": "{linkedin_url}", "email": "{email}"}},
            "identify_by": [["linkedin_url"], ["email"]],
            "response": {"fields": {field: format!("/data/{field}")}, "confidence": {"value": 0.8}}
        })
    };
    let mut owner = world.owner();
    let first = by_profile(PATH, "linkedin_url");
    owner.execute("SELECT leadlex.drop_provider('main')", &[]).unwrap();
    let add = "SELECT leadlex.add_provider($1, config => $2, secret => $3, priority => $4)";
    owner.execute(add, &[&"main", &first, &SECRET, &100]).unwrap();
    owner.execute(add, &[&"second", &by_profile(SECOND, "phone"), &SECRET, &200]).unwrap();
    world
}

fn asked(world: &World) -> (usize, usize) {
    (world.provider.count_of(PATH), world.provider.count_of(SECOND))
}

/// With a found profile the first provider's question is another one: its refusal belongs to the one that it was asked.
#[test]
fn in_a_chain_it_is_remembered_of_the_question_that_was_asked() {
    let world = chain(&["leadlex.receipt_ttl = 0"]);
    let mut caller = Session::new(&world, "caller");
    let set =
        "SELECT to_jsonb(fields_updated) FROM enrich_contacts(ARRAY[$1]::uuid[], '{linkedin_url,phone}')";
    let single = "SELECT enrich_contact($1, '{linkedin_url,phone}')->'fields_updated'";
    for (way, n, so_far) in [(set, 1, 0), (single, 2, 1)] {
        let updated: Value = caller.client.query_one(way, &[&contact(n)]).unwrap().get(0);
        assert_eq!(updated, json!(["phone"]), "{way}");
        assert_eq!(asked(&world), (so_far + 1, so_far + 1), "{way}");
        for _ in 0..2 {
            assert_eq!(fails(caller.call(n, &["linkedin_url", "phone"])).json()["reason"], "table_refuses");
        }
        assert_eq!(asked(&world), (so_far + 1, so_far + 1), "nobody is asked again for the profile: {way}");
    }
    world.check_credits_add_up();
}

/// While the answer is good it is offered each time, but the next provider is asked about what would be written.
#[test]
fn what_was_refused_before_identifies_nobody() {
    let world = chain(&[]);
    let profiles = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&profiles);
    world.provider.on(SECOND, move |request| {
        sink.lock().unwrap().push(request.param("profile").map(str::to_owned));
        Behaviour::json(200, json!({"data": {"phone": "+15550100100"}}))
    });
    let mut caller = Session::new(&world, "caller");
    let set = "SELECT to_jsonb(fields_updated) FROM enrich_contacts(ARRAY[$1]::uuid[])";
    let single = "SELECT enrich_contact($1)->'fields_updated'";
    for (way, n) in [(single, 1), (set, 2)] {
        let failure = fails(caller.call(n, &["linkedin_url"])).json();
        assert_eq!(failure["reason"], "table_refuses", "{failure}");
        let updated: Value = caller.client.query_one(way, &[&contact(n)]).unwrap().get(0);
        assert_eq!(updated, json!(["phone"]), "{way}");
    }
    assert_eq!(*profiles.lock().unwrap(), [None, None]);
    // It is found all the same: that person may be on the list.
    for n in [3, 4] {
        assert_eq!(fails(caller.call(n, &["linkedin_url"])).json()["reason"], "table_refuses");
        // Told beforehand, too, although the answer is still good and is tried again.
        let sql =
            "SELECT outcome || ', ' || reason FROM leadlex.estimate('crm', ARRAY[$1], ARRAY['linkedin_url'])";
        let told: String = caller.client.query_one(sql, &[&contact(n).to_string()]).unwrap().get(0);
        assert_eq!(told, "skipped, refused by the table");
    }
    world.run(&format!("SELECT leadlex.suppress('{PROFILE}')"));
    assert_eq!(fails(caller.call(3, &[])).json()["reason"], "suppressed");
    let sql = "SELECT error_message FROM enrich_contacts(ARRAY[$1]::uuid[])";
    let told: String = caller.client.query_one(sql, &[&contact(4)]).unwrap().get(0);
    assert_eq!(told, "no_match: no provider is to be asked about this person (suppressed)");
    let sql = "SELECT reason FROM leadlex.estimate('crm', ARRAY[$1])";
    let told: String = caller.client.query_one(sql, &[&contact(4).to_string()]).unwrap().get(0);
    assert_eq!(told, "suppressed");
    assert_eq!(profiles.lock().unwrap().len(), 2, "nobody else was asked");
    // The table takes it by now.
    world.run(&format!("SELECT leadlex.unsuppress('{PROFILE}'); DROP INDEX one_profile"));
    let updated: Value = caller.client.query_one(single, &[&contact(3)]).unwrap().get(0);
    assert_eq!(updated, json!(["linkedin_url", "phone"]));
    world.check_credits_add_up();
}

/// A company that is refused stays, and a title belongs beside its own.
#[test]
fn beside_a_company_that_stays_nothing_of_another_is_written() {
    let world = world(4, &["leadlex.recheck_after = 0"]);
    world.run("UPDATE crm SET company_name = 'Own Ltd', job_title = 'Clerk'");
    let mut caller = Session::new(&world, "caller");
    let set = "SELECT to_jsonb(fields_updated), status, error_message FROM enrich_contacts(ARRAY[$1]::uuid[], $2, true)";
    let fields = ["job_title", "company_name", "seniority"];
    for (position, check, left) in [
        ("together", "company_name NOT LIKE 'Acme%'", json!([])),
        ("together", "job_title <> 'General Counsel'", json!(["company_name", "seniority"])),
        ("any", "company_name NOT LIKE 'Acme%'", json!(["job_title", "seniority"])),
    ] {
        world.run(&format!("ALTER TABLE crm ADD CONSTRAINT c CHECK ({check})"));
        caller.client.batch_execute(&format!("SET leadlex.position = '{position}'")).unwrap();
        let single = "SELECT try_enrich_contact($1, $2, true)";
        let told: Value = caller.client.query_one(single, &[&contact(1), &&fields[..]]).unwrap().get(0);
        let row = caller.client.query_one(set, &[&contact(2), &&fields[..]]).unwrap();
        assert_eq!(row.get::<_, Value>(0), left, "{check} {position}");
        assert_eq!(caller.warnings().len(), 2, "{check} {position}");
        if left == json!([]) {
            assert_eq!(told["error"]["reason"], "table_refuses", "{told}");
            assert_eq!(told["error"]["refused"], json!(["company_name"]), "{told}");
            let told: String = row.get(2);
            assert!(told.ends_with("(table_refuses)"), "{told}");
        } else {
            assert_eq!(told["fields_updated"], left, "{check} {position}: {told}");
        }
        world.run("ALTER TABLE crm DROP CONSTRAINT c; UPDATE crm SET company_name = 'Own Ltd', job_title = 'Clerk', seniority = NULL");
    }
    world.check_credits_add_up();
}

/// Two contacts are one question: whoever waits for its answer is refused for itself, and remembered so.
#[test]
fn whoever_waits_for_an_answer_is_refused_it_too() {
    let world = World::with(&Beginning { credits: Some(100), contacts: 3, ..Beginning::default() });
    world.run("UPDATE crm SET full_name = 'Same Person', email = 'same@acme.example'; ALTER TABLE crm ADD CONSTRAINT c CHECK (phone LIKE '+49%')");
    world.run(STATE);
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(1_500)));
    let mut sessions: Vec<Session> = (0..2).map(|_| Session::new(&world, "caller")).collect();
    std::thread::scope(|scope| {
        let calls: Vec<_> = sessions
            .iter_mut()
            .zip(1..)
            .map(|(session, n)| {
                scope.spawn(move || fails(session.call(n, &["phone"])).json()["reason"].clone())
            })
            .collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), "table_refuses");
        }
    });
    assert_eq!(world.provider.count(), 1);
    for session in &mut sessions {
        assert_eq!(session.warnings().len(), 1);
        // When the answer is kept no longer, that it was refused is.
        session.client.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    }
    for (session, n) in sessions.iter_mut().zip(1..) {
        assert_eq!(fails(session.call(n, &["phone"])).json()["reason"], "table_refuses");
        session.check("a remembered refusal");
    }
    assert_eq!(world.provider.count(), 1, "a remembered refusal claims no question");
    // Nobody has offered it to the third.
    assert_eq!(fails(sessions[0].call(3, &["phone"])).json()["reason"], "table_refuses");
    assert_eq!((world.provider.count(), credits(&mut sessions[0].client)), (2, Some(100)));
}
