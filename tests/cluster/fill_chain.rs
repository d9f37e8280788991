//! With `leadlex.waterfall = 'fill'` what one provider finds identifies for the next, in the same call.

use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, SECRET, World, contact, credits, number};

const PHONES: &str = "/phones";
const SOON: std::time::Duration = std::time::Duration::from_secs(30);

fn profile(n: &str) -> String {
    format!("https://www.linkedin.com/in/found-{n}")
}

/// The first provider knows profiles by e-mail, the second phones by profile.
fn chain(contacts: i32) -> World {
    let beginning = Beginning {
        credits: Some(1_000),
        contacts,
        conf: &["leadlex.waterfall = fill"],
        ..Beginning::default()
    };
    let world = World::with(&beginning);
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or("nobody");
        Behaviour::json(
            200,
            json!({"likelihood": 9, "data": {"linkedin_url": profile(&email.replace("@acme.example", ""))}}),
        )
    });
    world.provider.on(PHONES, |request| {
        let handle = request.param("profile").unwrap_or("nobody").rsplit('-').next().unwrap().to_owned();
        let number = handle.replace("person", "");
        Behaviour::json(200, json!({"data": {"phone": format!("+1555010{number:0>4}")}}))
    });
    let phones = json!({
        "request": {"url": world.provider.url(PHONES), "headers": {"X-Api-Key": "{secret}"}, "query": {"profile": "{linkedin_url}"}},
        "identify_by": [["linkedin_url"]],
        "response": {"fields": {"phone": "/data/phone"}, "confidence": {"value": 0.8}}
    });
    world
        .owner()
        .execute(
            "SELECT leadlex.add_provider('phones', config => $1, secret => $2, priority => 200)",
            &[&phones, &SECRET],
        )
        .unwrap();
    world
}

fn enrich(caller: &mut Client, n: i32) -> Value {
    let sql = "SELECT enrich_contact($1, '{linkedin_url,phone}')";
    caller.query_one(sql, &[&contact(n)]).unwrap().get(0)
}

fn asked(world: &World) -> (usize, usize) {
    (world.provider.count_of(PATH), world.provider.count_of(PHONES))
}

#[test]
fn one_call_asks_both_and_costs_one_credit() {
    let world = chain(2);
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1);
    assert_eq!(result["fields_updated"], json!(["linkedin_url", "phone"]), "{result}");
    assert_eq!(result["field_sources"]["phone"]["source"], "phones");
    assert_eq!(result["contact"]["phone"], "+15550100001");
    assert_eq!((asked(&world), credits(&mut caller)), ((1, 1), Some(999)));
    world.check_credits_add_up();
}

#[test]
fn after_a_rollback_both_answer_from_their_receipts() {
    let world = chain(2);
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    let sql = "SELECT enrich_contact($1, '{linkedin_url,phone}')";
    transaction.query_one(sql, &[&contact(1)]).unwrap();
    transaction.rollback().unwrap();
    let result = enrich(&mut world.caller(), 1);
    assert_eq!(result["fields_updated"], json!(["linkedin_url", "phone"]), "{result}");
    assert_eq!(asked(&world), (1, 1));
    // The profile is stored by now: the phone is known by it.
    world.run("UPDATE crm SET phone = NULL");
    assert_eq!(enrich(&mut world.caller(), 1)["fields_updated"], json!(["phone"]));
    assert_eq!(asked(&world), (1, 1));
}

#[test]
fn a_set_and_its_repetition_ask_both_once() {
    let world = chain(60);
    let mut caller = world.caller();
    let set = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm), '{linkedin_url,phone}')
               WHERE fields_updated = '{linkedin_url,phone}'";
    let mut transaction = caller.transaction().unwrap();
    assert_eq!(number(&mut transaction, set), 60);
    transaction.rollback().unwrap();
    assert_eq!(asked(&world), (60, 60));
    assert_eq!(number(&mut caller, set), 60);
    assert_eq!((asked(&world), credits(&mut caller)), ((60, 60), Some(940)));
    assert_eq!(
        world.number("SELECT count(*) FROM crm WHERE right(phone, 4)::int = right(id::text, 4)::int"),
        60
    );
    world.check_credits_add_up();
}

#[test]
fn the_queue_asks_both_in_one_job() {
    let world = chain(3);
    let mut caller = world.caller();
    let ids: Vec<Uuid> = (1..=3).map(contact).collect();
    caller.execute("SELECT leadlex.enqueue($1, '{linkedin_url,phone}')", &[&ids]).unwrap();
    eventually("the jobs are done", SOON, || {
        world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL AND linkedin_url IS NOT NULL") == 3
    });
    assert_eq!((asked(&world), credits(&mut caller)), ((3, 3), Some(997)));
}

#[test]
fn an_estimate_counts_a_contact_whose_second_provider_would_be_asked() {
    let world = chain(3);
    let mut caller = world.caller();
    // The first provider has told, the second was not asked yet.
    world.run("SELECT leadlex.enable_provider('phones', false)");
    for n in 1..=2 {
        let mut transaction = caller.transaction().unwrap();
        let sql = "SELECT enrich_contact($1, '{linkedin_url,phone}')";
        transaction.query_one(sql, &[&contact(n)]).unwrap();
        transaction.rollback().unwrap();
    }
    world.run("SELECT leadlex.enable_provider('phones', true)");
    let sql = "SELECT sum(contacts)::int8 FROM leadlex.estimate('crm', ARRAY(SELECT id::text FROM crm), '{linkedin_url,phone}')
               WHERE outcome = 'asked'";
    assert_eq!(number(&mut caller, sql), 3);
    world.provider.forget();
    let set = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm), '{linkedin_url,phone}')";
    assert_eq!(number(&mut caller, set), 3);
    assert_eq!(asked(&world), (1, 3), "all three were asked about");
}

/// Two rows with one address: the first provider's question is the same, the second's need not be.
#[test]
fn an_estimate_is_an_upper_bound_where_two_rows_share_the_first_question_only() {
    let world = chain(2);
    world.run("UPDATE crm SET email = 'person1@acme.example', full_name = 'Same Person'");
    world.run(&format!("UPDATE crm SET linkedin_url = '{}' WHERE id = '{}'", profile("person9"), contact(2)));
    let mut caller = world.caller();
    let sql =
        "SELECT sum(contacts)::int8 FROM leadlex.estimate('crm', ARRAY(SELECT id::text FROM crm ORDER BY id))
               WHERE outcome = 'asked'";
    assert_eq!(number(&mut caller, sql), 2);
    let set = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id))";
    assert_eq!(number(&mut caller, set), 2);
    assert_eq!(asked(&world), (1, 2));
}

#[test]
fn a_found_profile_on_the_suppression_list_ends_it() {
    let world = chain(3);
    // Somebody with that profile has refused.
    world.provider.on(PHONES, |_| Behaviour::json(451, json!({})));
    world.run(&format!(
        "UPDATE crm SET email = NULL, linkedin_url = '{}' WHERE id = '{}'",
        profile("person1"),
        contact(3)
    ));
    let mut caller = world.caller();
    let sql = "SELECT try_enrich_contact($1)";
    let result: Value = caller.query_one(sql, &[&contact(3)]).unwrap().get(0);
    assert_eq!(result["error"]["reason"], "suppressed", "{result}");
    world.run(&format!("DELETE FROM crm WHERE id = '{}'", contact(3)));
    world.provider.forget();
    // Also where nobody else would be asked.
    for other in [true, false] {
        world.run(&format!("SELECT leadlex.enable_provider('phones', {other})"));
        let result: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
        assert_eq!(result["error"]["reason"], "suppressed", "{result}");
        let set = "SELECT status, error_message FROM enrich_contacts($1)";
        let row = caller.query_one(set, &[&vec![contact(1)]]).unwrap();
        assert_eq!(row.get::<_, &str>(0), "no_match", "another provider: {other}");
        assert_eq!(
            row.get::<_, &str>(1),
            "no_match: no provider is to be asked about this person (suppressed)"
        );
    }
    assert_eq!(asked(&world).1, 0, "nobody is asked about that person");
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE linkedin_url IS NOT NULL"), 0);
    let sql = "SELECT reason FROM leadlex.estimate('crm', $1)";
    let row = caller.query_one(sql, &[&vec![contact(1).to_string()]]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "suppressed");
    assert_eq!(credits(&mut caller), Some(1_000));
}

/// Somebody enters another profile while the second provider is asked with the one that was found.
#[test]
fn what_was_found_about_one_profile_is_not_written_beside_another() {
    let world = chain(1);
    let conninfo = world.cluster.config("app");
    let change = format!(
        "UPDATE crm SET linkedin_url = 'https://www.linkedin.com/in/entered-by-hand' WHERE id = '{}'",
        contact(1)
    );
    world.provider.on(PHONES, move |_| {
        conninfo.connect(postgres::NoTls).unwrap().batch_execute(&change).unwrap();
        Behaviour::json(200, json!({"data": {"phone": "+15550100001"}}))
    });
    let mut caller = world.caller();
    let sql = "SELECT enrich_contact($1, '{linkedin_url,phone}')";
    let failure = crate::support::fails(caller.query_one(sql, &[&contact(1)]));
    assert_eq!(failure.sqlstate, "40001", "{failure:?}");
    assert_eq!((world.phone(1), credits(&mut caller)), (None, Some(1_000)));
}

/// Also with `first_match`: where the first has nothing, two rows with one address can be two questions to the second.
#[test]
fn an_estimate_is_an_upper_bound_where_the_first_may_have_nothing() {
    let world = World::with(&Beginning { contacts: 3, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    world.provider.on(PHONES, |_| Behaviour::json(404, json!({})));
    let by_profile = json!({
        "request": {"url": world.provider.url(PHONES), "query": {"profile": "{linkedin_url}"}},
        "identify_by": [["linkedin_url"]],
        "response": {"no_match": {"status": [404]}, "fields": {"phone": "/data/phone"}}
    });
    world
        .owner()
        .execute("SELECT leadlex.add_provider('phones', config => $1, priority => 200)", &[&by_profile])
        .unwrap();
    world.run("UPDATE crm SET full_name = 'Same Person', email = 'same@acme.example'");
    for n in [2, 3] {
        world.run(&format!(
            "UPDATE crm SET linkedin_url = '{}' WHERE id = '{}'",
            profile(&n.to_string()),
            contact(n)
        ));
    }
    let mut caller = world.caller();
    let sql =
        "SELECT sum(contacts)::int8 FROM leadlex.estimate('crm', ARRAY(SELECT id::text FROM crm ORDER BY id))
               WHERE outcome = 'asked'";
    assert_eq!(number(&mut caller, sql), 3);
    let set = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id))";
    assert_eq!(number(&mut caller, set), 3);
    assert_eq!(asked(&world), (1, 2));
}
