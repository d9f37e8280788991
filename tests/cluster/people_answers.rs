//! Which answers are used: those with a bad character in them, those about somebody else, scores without a scale, and
//! positions at another company.

use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{Behaviour, Notices, Response, eventually, fails};
use crate::world::{Beginning, PATH, SECRET, World, contact, credits, enrich, sqlstate};

fn world(contacts: i32) -> World {
    World::with(&Beginning { contacts, credits: Some(100), ..Beginning::default() })
}

/// A body as it stands, byte for byte.
fn raw(body: &[u8]) -> Behaviour {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Behaviour::Answer(Response { status: 200, headers, body: body.to_vec() })
}

/// The rows of a set: status, fields and what was wrong.
fn set(caller: &mut Client, numbers: &[i32]) -> Vec<(String, Vec<String>, String)> {
    let ids: Vec<_> = numbers.iter().map(|n| contact(*n)).collect();
    let rows = caller.query("SELECT * FROM enrich_contacts($1)", &[&ids]).unwrap();
    let of = |row: &postgres::Row| {
        let error: Option<String> = row.get("error_message");
        (row.get("status"), row.get("fields_updated"), error.unwrap_or_default())
    };
    rows.iter().map(of).collect()
}

fn row(world: &World, n: i32) -> Value {
    let sql =
        "SELECT jsonb_strip_nulls(to_jsonb(c)) - '{id,full_name,email}'::text[] FROM crm AS c WHERE id = $1";
    world.owner().query_one(sql, &[&contact(n)]).unwrap().get(0)
}

#[test]
fn a_paid_answer_survives_what_json_cannot_say() {
    let world = world(8);
    let bodies: [&[u8]; 4] = [
        br#"{"likelihood": 9, "data": {"phone": "+1 555 0100", "headline": "rocket \ud83d"}}"#,
        b"{\"likelihood\": 9, \"data\": {\"phone\": \"+1 555 0100\", \"headline\": \"Zo\xeb\"}}",
        br#"{"likelihood": NaN, "data": {"phone": "+1 555 0100", "rank": -Infinity, "weight": Infinity}}"#,
        br#"{"likelihood": 9, "data": {"phone": "+1 555 0100", "job_title": "Head of \ud83d"}}"#,
    ];
    let mut caller = world.caller();
    for (at, body) in bodies.into_iter().enumerate() {
        let (single, in_set) = (2 * at as i32 + 1, 2 * at as i32 + 2);
        world.provider.on(PATH, move |_| raw(body));
        world.provider.forget();
        // What a rollback takes away is not paid for again.
        caller.batch_execute("BEGIN").unwrap();
        enrich(&mut caller, single).unwrap();
        caller.batch_execute("ROLLBACK").unwrap();
        assert_eq!(enrich(&mut caller, single).unwrap()["contact"]["phone"], "+1 555 0100");
        assert_eq!(set(&mut caller, &[in_set])[0].0, "enriched");
        assert_eq!(world.provider.count(), 2, "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(row(&world, 7)["job_title"], "Head of \u{fffd}");
    // What is no JSON otherwise, is none.
    world.run("UPDATE crm SET phone = NULL, email = 'other@acme.example'");
    world.provider.on(PATH, |_| raw(b"{\"data\": {\"phone\": NaNa}}"));
    let failure = fails(enrich(&mut caller, 1)).json();
    assert_eq!(failure["providers"][0]["reason"], "bad_json", "{failure}");
}

/// Answers as the vendor would that knows person n under another name or address.
fn compares(world: &World, rule: &Value) {
    let change = json!({"response": {"same_person": rule}});
    world.owner().execute("SELECT leadlex.alter_provider('main', $1)", &[&change]).unwrap();
}

fn says(email: &str, name: &str) -> Value {
    json!({"likelihood": 9, "email": email, "name": name, "data": {"phone": "+1 555 0100", "job_title": "CEO"}})
}

fn answers(world: &World, body: Value) {
    world.provider.on(PATH, move |_| Behaviour::json(200, body.clone()));
}

#[test]
fn an_answer_about_somebody_else_is_no_match() {
    let world = world(6);
    compares(&world, &json!({"email": "/email", "full_name": "/name"}));
    let mut caller = world.caller();
    answers(&world, says("somebody@acme.example", "Person 1"));
    let failure = fails(enrich(&mut caller, 1));
    assert_eq!((failure.sqlstate.as_str(), &failure.json()["reason"]), ("LX409", &json!("other_person")));
    assert_eq!(failure.json()["other_person"], json!(["main"]));
    answers(&world, says("person2@acme.example", "Somebody Else"));
    let told = &set(&mut caller, &[2])[0];
    assert_eq!((told.0.as_str(), told.2.ends_with("(other_person)")), ("no_match", true), "{told:?}");
    assert_eq!((row(&world, 1), row(&world, 2)), (json!({}), json!({})));
    assert_eq!((credits(&mut caller), world.provider.count()), (Some(100), 2));
    // It is remembered like any other no match.
    assert_eq!(fails(enrich(&mut caller, 1)).sqlstate, "LX409");
    assert_eq!(set(&mut caller, &[2])[0].0, "no_match");
    assert_eq!(world.provider.count(), 2);
    // The same person, written otherwise; and an answer that does not say whom it is about.
    answers(&world, says("mailto:PERSON3@acme.example", " person  3"));
    enrich(&mut caller, 3).unwrap();
    answers(&world, json!({"data": {"phone": "+1 555 0100"}, "email": true}));
    enrich(&mut caller, 4).unwrap();
    // Nor can be compared what the contact lacks.
    world.run(&format!("UPDATE crm SET full_name = NULL WHERE id = '{}'", contact(5)));
    answers(&world, says("person5@acme.example", "Somebody Else"));
    enrich(&mut caller, 5).unwrap();
    assert_eq!(credits(&mut caller), Some(97));
    world.check_credits_add_up();
}

#[test]
fn batches_the_queue_and_check_provider_say_why() {
    let world = world(2);
    compares(&world, &json!({"full_name": "/name"}));
    answers(&world, says("person1@acme.example", "Somebody Else"));
    let (mut owner, heard) = world.listening("postgres");
    owner.execute("SELECT leadlex.grant_access('postgres', $1)", &[&world.workspace]).unwrap();
    let ids = vec![contact(1).to_string()];
    owner.execute("CALL leadlex.enrich_batch('crm', $1)", &[&ids]).unwrap();
    let last = heard.messages().pop().unwrap();
    assert!(last.contains("1 without a match (1 other_person)"), "{last}");
    world.caller().execute("SELECT leadlex.enqueue($1)", &[&vec![contact(2)]]).unwrap();
    eventually("the job is done", Duration::from_secs(30), || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 1
    });
    let row = owner.query_one("SELECT outcome, last_error FROM leadlex.job", &[]).unwrap();
    let (outcome, why): (String, Option<String>) = (row.get(0), row.get(1));
    assert_eq!((outcome.as_str(), why.unwrap().contains("other_person")), ("no_match", true));
    let check = "SELECT leadlex.check_provider('main', '{\"email\": \"a@b.example\", \"full_name\": \"Jane Example\"}'::jsonb)";
    let told: Value = owner.query_one(check, &[]).unwrap().get(0);
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("no_match"), &json!("other_person")), "{told}");
    assert_eq!(credits(&mut world.caller()), Some(100));
}

#[test]
fn each_of_two_who_share_a_profile_is_compared_by_its_own_name() {
    let world = world(3);
    let config = json!({
        "request": {"query": {"email": null, "name": null, "company": null, "profile": "{linkedin_url}"}},
        "identify_by": [["linkedin_url"]],
        "response": {"same_person": {"full_name": "/name"}}
    });
    world.owner().execute("SELECT leadlex.alter_provider('main', $1)", &[&config]).unwrap();
    world.run("UPDATE crm SET linkedin_url = 'https://www.linkedin.com/in/person-1'");
    answers(&world, says("person1@acme.example", "Person 1"));
    let mut caller = world.caller();
    assert_eq!(fails(enrich(&mut caller, 2)).json()["reason"], "other_person");
    enrich(&mut caller, 1).unwrap();
    assert_eq!(set(&mut caller, &[3])[0].0, "no_match");
    assert_eq!((row(&world, 2)["phone"].clone(), credits(&mut caller)), (Value::Null, Some(99)));
}

#[test]
fn a_row_that_becomes_somebody_else_meanwhile_gets_nothing() {
    let world = world(1);
    compares(&world, &json!({"full_name": "/name"}));
    let person = says("person1@acme.example", "Person 1");
    world.provider.on(PATH, move |_| Behaviour::json(200, person.clone()));
    let name = format!("UPDATE crm SET full_name = 'Somebody Else' WHERE id = '{}'", contact(1));
    let result = while_asked(&world, &name);
    assert_eq!(sqlstate(&result), "40001");
    assert_eq!(row(&world, 1), json!({}));
}

/// A call whose provider answers only after this statement has been run.
fn while_asked(world: &World, sql: &str) -> Result<Value, postgres::Error> {
    let asked = world.provider.count();
    let mut caller = world.caller();
    std::thread::scope(|scope| {
        let held = world.provider.hold();
        let call = scope.spawn(move || enrich(&mut caller, 1));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        world.run(sql);
        drop(held);
        call.join().unwrap()
    })
}

#[test]
fn a_placeholder_in_a_response_is_refused() {
    let world = world(1);
    let rule = json!({"body": [{"pointer": "/email", "not_in": ["{email}"], "status": [200]}]});
    let mut config = world.provider.config(PATH);
    config["response"]["no_match"] = rule.clone();
    let mut owner = world.owner();
    let added = owner.execute("SELECT leadlex.add_provider('new', config => $1)", &[&config]);
    let altered = json!({"response": {"no_match": rule}});
    let altered = owner.execute("SELECT leadlex.alter_provider('main', $1)", &[&altered]);
    for refused in [added, altered] {
        let failure = fails(refused);
        assert_eq!(failure.sqlstate, "22023");
        assert_eq!(failure.json()["place"], "/response/no_match/body/0/not_in/0");
    }
    let unknown = json!({"response": {"same_person": {"company_domain": "/domain"}}});
    let failure = fails(owner.execute("SELECT leadlex.alter_provider('main', $1)", &[&unknown]));
    assert_eq!(failure.json()["place"], "/response/same_person/company_domain");
}

#[test]
fn a_score_above_1_is_none_without_its_scale() {
    let world = world(4);
    let (mut owner, heard) = world.listening("postgres");
    let told =
        |heard: &Notices| heard.take().iter().filter(|said| said.message.contains("divide_by")).count();
    let mut alter = |config: Value| {
        owner.execute("SELECT leadlex.alter_provider('main', $1)", &[&config]).unwrap();
    };
    alter(json!({"response": {"confidence": {"pointer": "/score", "divide_by": null}}}));
    assert_eq!(told(&heard), 1);
    alter(json!({"timeout_ms": 4000}));
    assert_eq!(told(&heard), 0, "what is not changed is not told again");
    let mut config = world.provider.config("/other");
    config["response"]["confidence"] = json!("/score");
    let mut another = |name: &str, preset: Option<&str>, config: &Value| {
        let sql = "SELECT leadlex.add_provider($1, $2, $3, secret => $4)";
        owner.execute(sql, &[&name, &preset, config, &SECRET]).unwrap();
        owner.execute("SELECT leadlex.drop_provider($1)", &[&name]).unwrap();
        told(&heard)
    };
    assert_eq!(another("plain", None, &config), 1);
    assert_eq!(another("preset", Some("people_data_labs"), &json!({})), 0);
    let url = json!({"request": {"url": world.provider.url("/x")}});
    assert_eq!(another("own", Some("generic"), &url), 0, "the preset says what its scale is");

    let scored = |score: Value| {
        world.provider.on(PATH, move |request| {
            Behaviour::json(200, json!({"score": score, "data": {"job_title": request.param("email")}}))
        });
    };
    let mut caller = world.caller();
    scored(json!(85));
    assert_eq!(enrich(&mut caller, 1).unwrap()["confidence"], Value::Null);
    caller.batch_execute("SET leadlex.min_confidence = 0.8").unwrap();
    assert_eq!(fails(enrich(&mut caller, 2)).json()["below_min_confidence"], json!(["main"]));
    scored(json!(0.85));
    assert_eq!(enrich(&mut caller, 3).unwrap()["confidence"], 0.85);

    let check = || -> Value {
        let sql = "SELECT leadlex.check_provider('main', '{\"email\": \"a@b.example\"}'::jsonb)";
        world.owner().query_one(sql, &[]).unwrap().get(0)
    };
    assert_eq!(check().get("warning"), None);
    scored(json!(85));
    let told = check();
    assert!(told["warning"].as_str().unwrap().contains("divide_by"), "{told}");
    assert_eq!(told["confidence"], Value::Null);
}

/// Two vendors, asked one after the other.
fn two(contacts: i32, first: Value, second: Value) -> World {
    let world = world(contacts);
    let mut config = world.provider.config("/second");
    config["response"]["fields"] = json!({"job_title": "/data/job_title", "company_name": "/data/company_name", "seniority": "/data/seniority", "phone": "/data/phone"});
    world.add_provider("second", &config);
    answers(&world, json!({ "data": first }));
    world.provider.on("/second", move |_| Behaviour::json(200, json!({ "data": second })));
    world
}

fn fill(world: &World) -> Client {
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    caller
}

#[test]
fn the_parts_of_a_position_come_from_one_company() {
    let second = |company: &str| json!({"job_title": "CTO", "seniority": "c_suite", "company_name": company, "phone": "+15550100102"});
    for (first, second, expected) in [
        (
            json!({"job_title": "CEO", "company_name": "Acme Ltd."}),
            second("ACME"),
            json!({"job_title": "CEO", "company_name": "Acme Ltd.", "seniority": "c_suite", "phone": "+15550100102"}),
        ),
        (
            json!({"job_title": "CEO", "company_name": "Acme Ltd."}),
            second("Other Inc"),
            json!({"job_title": "CEO", "company_name": "Acme Ltd.", "phone": "+15550100102"}),
        ),
        // A title that names no company goes with no company that another one names.
        (
            json!({"job_title": "CEO"}),
            second("Other Inc"),
            json!({"job_title": "CEO", "phone": "+15550100102"}),
        ),
        (
            json!({"company_name": "Acme"}),
            second("Acme GmbH"),
            json!({"company_name": "Acme", "job_title": "CTO", "seniority": "c_suite", "phone": "+15550100102"}),
        ),
        (
            json!({"company_name": "Acme"}),
            second("Other"),
            json!({"company_name": "Acme", "phone": "+15550100102"}),
        ),
        (
            json!({"location": "Oslo"}),
            second("Other"),
            json!({"location": "Oslo", "company_name": "Other", "job_title": "CTO", "seniority": "c_suite", "phone": "+15550100102"}),
        ),
    ] {
        let world = two(2, first.clone(), second);
        let mut caller = fill(&world);
        enrich(&mut caller, 1).unwrap();
        assert_eq!(set(&mut caller, &[2])[0].0, "enriched");
        assert_eq!([row(&world, 1), row(&world, 2)], [expected.clone(), expected], "{first}");
        assert_eq!(credits(&mut caller), Some(98));
    }
}

#[test]
fn nobody_is_paid_for_what_could_not_be_used() {
    let world = two(2, json!({"job_title": "CEO"}), json!({"company_name": "Other"}));
    let mut caller = fill(&world);
    let fields = vec!["job_title", "company_name", "seniority"];
    caller.execute("SELECT enrich_contact($1, $2)", &[&contact(1), &fields]).unwrap();
    caller.execute("SELECT * FROM enrich_contacts($1, $2)", &[&vec![contact(2)], &fields]).unwrap();
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of("/second")), (2, 0));
}

#[test]
fn a_company_that_stays_keeps_its_own_position() {
    let world = two(
        6,
        json!({"job_title": "CEO", "seniority": "c_suite", "company_name": "Other Inc"}),
        json!({"job_title": "CTO", "company_name": "ACME, Inc."}),
    );
    world.run("UPDATE crm SET company_name = 'Acme Ltd'; SELECT leadlex.enable_provider('second', false)");
    let mut caller = world.caller();
    // As ever, unless it is asked for.
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["job_title"], "CEO");
    assert_eq!(sqlstate(&caller.batch_execute("SET leadlex.position = 'apart'")), "22023");
    caller.batch_execute("SET leadlex.position = 'together'").unwrap();
    let failure = fails(enrich(&mut caller, 2));
    assert_eq!((failure.sqlstate.as_str(), &failure.json()["reason"]), ("LX409", &json!("other_company")));
    assert_eq!(failure.json()["other_company"], json!(["main"]));
    let told = &set(&mut caller, &[3])[0];
    assert_eq!((told.0.as_str(), told.2.ends_with("(other_company)")), ("no_match", true), "{told:?}");
    assert_eq!((row(&world, 2), credits(&mut caller)), (json!({"company_name": "Acme Ltd"}), Some(99)));
    // One that names the company is asked next.
    world.run("SELECT leadlex.enable_provider('second', true)");
    let result = enrich(&mut caller, 4).unwrap();
    assert_eq!((&result["contact"]["job_title"], &result["source"]), (&json!("CTO"), &json!("second")));
    assert_eq!(set(&mut caller, &[5])[0].1, ["job_title"]);
    // A company that is replaced does not stay.
    let sql = "SELECT enrich_contact($1, overwrite => true)";
    let result: Value = caller.query_one(sql, &[&contact(6)]).unwrap().get(0);
    assert_eq!(result["fields_updated"], json!(["job_title", "company_name", "seniority"]));
    assert_eq!(row(&world, 6)["company_name"], "Other Inc");
}

#[test]
fn a_company_typed_in_meanwhile_stays() {
    let other = json!({"data": {"job_title": "CEO", "company_name": "Other Inc"}});
    let late = move |_: &crate::support::http::Request| Behaviour::json(200, other.clone());
    let typed = |n| format!("UPDATE crm SET company_name = 'Acme Ltd' WHERE id = '{}'", contact(n));
    let world = World::with(&Beginning {
        contacts: 3,
        conf: &["leadlex.position = 'together'"],
        ..Beginning::default()
    });
    world.provider.on(PATH, late.clone());
    let failure = fails(while_asked(&world, &typed(1)));
    assert_eq!((failure.sqlstate.as_str(), &failure.json()["reason"]), ("LX409", &json!("other_company")));
    let mut caller = world.caller();
    let asked = world.provider.count();
    let told = std::thread::scope(|scope| {
        let held = world.provider.hold();
        let call = scope.spawn(|| set(&mut caller, &[2, 3]));
        world.provider.wait_for(asked + 2, Duration::from_secs(10));
        world.run(&typed(2));
        drop(held);
        call.join().unwrap()
    });
    assert_eq!((told[0].0.as_str(), told[1].0.as_str()), ("no_match", "enriched"), "{told:?}");
    assert!(told[0].2.ends_with("(other_company)"), "{told:?}");
    let acme = json!({"company_name": "Acme Ltd"});
    assert_eq!([row(&world, 1), row(&world, 2)], [acme.clone(), acme]);
    assert_eq!(row(&world, 3), json!({"job_title": "CEO", "company_name": "Other Inc"}));
    world.check_credits_add_up();
}
