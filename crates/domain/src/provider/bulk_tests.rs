use serde_json::json;

use super::*;
use crate::contact::Contact;
use crate::fields::Field;
use crate::provider::merge_preset;

pub fn description() -> Value {
    json!({
        "request": {"url": "https://api.acme.example/one", "headers": {"X-Key": "{secret}"}, "query": {"email": "{email}", "name": "{full_name}"}},
        "identify_by": [["email"], ["full_name", "company_name"]],
        "response": {"no_match": {"status": [404]}, "fields": {"job_title": "/data/title", "phone": "/data/phone"}},
        "bulk": {
            "request": {
                "method": "POST", "url": "https://api.acme.example/all?v=2", "headers": {"X-Key": "{secret}"},
                "body": {"requests": {"each": {"params": {"email": "{email}", "name": "{full_name}", "company": "{company_name}", "n": 1}}}, "on": true}
            },
            "most": 100, "answers": "", "match": "position", "status": "/status", "timeout_ms": 30000
        }
    })
}

pub fn config_with(bulk: Value) -> Config {
    Config::parse(&merge_preset(&description(), &json!({ "bulk": bulk })).unwrap()).unwrap()
}

fn person(email: Option<&str>, name: Option<&str>, company: Option<&str>) -> Person {
    let mut contact =
        Contact { email: email.map(str::to_owned), full_name: name.map(str::to_owned), ..Contact::default() };
    if let Some(company) = company {
        contact.values.set(Field::COMPANY_NAME, company.to_owned());
    }
    Person::made_up(&contact)
}

fn refusal(bulk: Value) -> (String, String) {
    let mut whole = description();
    whole["bulk"] = bulk;
    let error = Config::parse(&whole).unwrap_err();
    (error.place, error.message)
}

fn sent(config: &Config, people: &[Person], wanted: FieldSet) -> Value {
    let inquiry = Inquiry::new(wanted);
    let ids: Vec<String> = (0..people.len()).map(|at| format!("id{at}")).collect();
    let seats: Vec<Seat<'_>> =
        people.iter().zip(&ids).map(|(person, id)| Seat { inquiry: &inquiry, person, id }).collect();
    match config.request_for_all(&seats, Some("s3cret"), None) {
        Next::Send(request) => {
            assert_eq!(request.masked()["headers"]["X-Key"], "***");
            serde_json::from_slice(request.body.as_deref().unwrap()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_contact_has_its_element() {
    let config = Config::parse(&description()).unwrap();
    let bulk = config.bulk().unwrap();
    assert_eq!((bulk.most(), bulk.timeout_ms()), (100, Some(30_000)));
    let people = [
        person(Some("jane@acme.example"), Some("Jane Example"), None),
        person(None, Some("Max \"Muster\" Beispiel"), Some("Acme")),
    ];
    assert_eq!(
        sent(&config, &people, FieldSet::ALL),
        json!({"requests": [
            {"params": {"email": "jane@acme.example", "name": "Jane Example", "n": 1}},
            {"params": {"name": "Max \"Muster\" Beispiel", "company": "Acme", "n": 1}},
        ], "on": true})
    );
    let inquiry = Inquiry::new(FieldSet::ALL);
    assert!(config.shares(&inquiry, &people[0]) && config.shares(&inquiry, &people[1]));
    assert!(!config.shares(&inquiry, &person(None, Some("Jane Example"), None)), "no identifying set");
}

#[test]
fn who_is_identified_by_what_it_has_no_place_for_is_asked_about_alone() {
    let config = config_with(
        json!({"request": {"body": {"requests": {"each": {"params": {"name": null, "company": null}}}}}}),
    );
    let inquiry = Inquiry::new(FieldSet::ALL);
    assert!(config.shares(&inquiry, &person(Some("jane@acme.example"), None, None)));
    assert!(!config.shares(&inquiry, &person(None, Some("Jane Example"), Some("Acme"))));
}

#[test]
fn an_id_is_put_where_it_is_to_come_back() {
    for (place, expected) in [
        ("/id", json!({"params": {"email": "jane@acme.example", "n": 1}, "id": "id0"})),
        (
            "/metadata/id",
            json!({"params": {"email": "jane@acme.example", "n": 1}, "metadata": {"id": "id0"}}),
        ),
        ("/params/id", json!({"params": {"email": "jane@acme.example", "n": 1, "id": "id0"}})),
    ] {
        let config = config_with(json!({"match": {"send": place, "answer": "/id"}}));
        let body = sent(&config, &[person(Some("jane@acme.example"), None, None)], FieldSet::ALL);
        assert_eq!(body["requests"][0], expected, "{place}");
    }
}

#[test]
fn what_is_said_once_for_all_tells_groups_apart() {
    let want = json!({"wanted": {"phone": "phones", "job_title": "profile"}});
    let phone = FieldSet::from_iter([Field::PHONE]);
    let outside = config_with(json!({"request": {"body": {"want": want}}}));
    let group = |config: &Config, fields| config.bulk().unwrap().group(fields);
    assert_ne!(group(&outside, phone), group(&outside, FieldSet::ALL));
    let jane = [person(Some("jane@acme.example"), None, None)];
    assert_eq!(sent(&outside, &jane, phone)["want"], json!(["phones"]));
    let inside = config_with(json!({"request": {"body": {"requests": {"each": {"want": want}}}}}));
    assert_eq!(group(&inside, phone), group(&inside, FieldSet::ALL));
    assert_eq!(sent(&inside, &jane, phone)["requests"][0]["want"], json!(["phones"]));
    // What is asked for belongs to the question, wherever it stands.
    assert_eq!(inside.asked(phone), Some(phone));
}

#[test]
fn what_it_sends_belongs_to_the_question_and_its_address_to_the_provider() {
    let without = merge_preset(&description(), &json!({"bulk": null})).unwrap();
    let without = Config::parse(&without).unwrap();
    let with = config_with(
        json!({"request": {"url": "https://bulk.acme.example/all", "body": {"requests": {"each": {"domain": "{company_domain}"}}}}}),
    );
    assert!(with.origins().contains("https://bulk.acme.example:443") && without.origins().len() == 1);
    let jane = person(Some("jane@acme.example"), None, None);
    let settled = |config: &Config| config.identity(&jane).settled;
    assert!(settled(&with).iter().any(|(name, _)| *name == "company_domain"));
    assert!(!settled(&without).iter().any(|(name, _)| *name == "company_domain"));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let bulk = |change: Value| {
        merge_preset(&json!({"bulk": description()["bulk"]}), &json!({ "bulk": change })).unwrap()["bulk"]
            .clone()
    };
    for (change, place, word) in [
        (json!({"most": null}), "/bulk/most", "missing"),
        (json!({"most": 0}), "/bulk/most", "from 1 to 1000"),
        (json!({"most": 1001}), "/bulk/most", "from 1 to 1000"),
        (json!({"mosst": 5}), "/bulk/mosst", "not known"),
        (json!({"request": null}), "/bulk/request", "missing"),
        (json!({"steps": []}), "/bulk/steps", "at least two steps"),
        (json!({"request": {"method": "GET"}}), "/bulk/request/method", "must be POST"),
        (json!({"request": {"method": null}}), "/bulk/request/method", "missing"),
        (json!({"request": {"body": null}}), "/bulk/request/body", "missing"),
        (json!({"request": {"body": "text"}}), "/bulk/request/body", "object or a list"),
        (json!({"request": {"body": {"requests": {"each": null}}}}), "/bulk/request/body", "once"),
        (json!({"request": {"body": {"more": {"each": {"email": "{email}"}}}}}), "", "second time"),
        (
            json!({"request": {"body": {"requests": {"each": {"params": null, "n": 1}}}}}),
            "/bulk/request/body/requests/each",
            "names something",
        ),
        (json!({"request": {"body": {"on": "{email}"}}}), "/bulk/request/body/on", "only in \"each\""),
        (
            json!({"request": {"body": {"requests": {"x": 1}}}}),
            "/bulk/request/body/requests/x",
            "stands alone in its object",
        ),
        (
            json!({"request": {"url": "https://api.acme.example/{email}"}}),
            "/bulk/request/url",
            "only in \"each\"",
        ),
        (json!({"request": {"query": {"q": "{full_name}"}}}), "/bulk/request/query/q", "only in \"each\""),
        (json!({"request": {"headers": {"X": "{phone}"}}}), "/bulk/request/headers/X", "only in \"each\""),
        (
            json!({"request": {"body": {"requests": {"each": {"params": {"email": "{emial}"}}}}}}),
            "/bulk/request/body/requests/each/params/email",
            "unknown placeholder",
        ),
        (json!({"match": "order"}), "/bulk/match", "must be \"position\""),
        (json!({"match": {"send": "/id"}}), "/bulk/match/answer", "missing"),
        (
            json!({"match": {"send": "/id", "answer": "/id", "no_match": "/unknown"}}),
            "/bulk/match/no_match",
            "beside the list",
        ),
        (
            json!({"answers": "/a/b", "match": {"send": "/id", "answer": "/id", "no_match": "/a/b/0/id"}}),
            "/bulk/match/no_match",
            "beside the list",
        ),
        (
            json!({"answers": "/a/b", "match": {"send": "/id", "answer": "/id", "no_match": "/a"}}),
            "/bulk/match/no_match",
            "beside the list",
        ),
        (json!({"match": {"send": "/id", "answer": ""}}), "/bulk/match/answer", "a place in each answer"),
        (json!({"match": {"send": "", "answer": "/id"}}), "/bulk/match/send", "a place in \"each\""),
        (json!({"match": {"send": "/params/email", "answer": "/id"}}), "/bulk/match/send", "fills already"),
        (json!({"match": {"send": "/params/n/id", "answer": "/id"}}), "/bulk/match/send", "no object"),
        (json!({"match": {"send": "id", "answer": "/id"}}), "/bulk/match/send", "JSON Pointer"),
        (json!({"match": {"send": "/ids/0", "answer": "/id"}}), "/bulk/match/send", "a place in a list"),
        (json!({"match": {"send": "/params/0", "answer": "/id"}}), "/bulk/match/send", "a place in a list"),
        (json!({"answers": "data"}), "/bulk/answers", "JSON Pointer"),
        (json!({"status": 5}), "/bulk/status", "text"),
        (json!({"timeout_ms": 60001}), "/bulk/timeout_ms", "60000"),
    ] {
        let (at, message) = refusal(bulk(change.clone()));
        assert!(at.starts_with("/bulk") && (place.is_empty() || at == place), "{change}: {at} {message}");
        assert!(message.contains(word), "{change}: {at} {message}");
    }
}

#[test]
fn an_object_with_more_than_each_is_no_place_for_contacts() {
    let ordinary = json!({
        "request": {"method": "POST", "url": "https://api.acme.example/one", "body": {"each": {"email": "{email}"}}},
        "identify_by": [["email"]], "response": {"fields": {"phone": "/phone"}}
    });
    let config = Config::parse(&ordinary).unwrap();
    let request = config.request(&person(Some("jane@acme.example"), None, None), None).unwrap();
    let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
    assert_eq!(body, json!({"each": {"email": "jane@acme.example"}}), "it means nothing about one contact");
}

proptest::proptest! {
    #[test]
    fn each_element_is_that_of_its_contact_whatever_it_holds(names in proptest::collection::vec("[a-z\"{}\\\\]{1,12}", 1..20)) {
        let config = Config::parse(&description()).unwrap();
        let people: Vec<Person> = names
            .iter()
            .enumerate()
            .map(|(at, name)| person(Some(&format!("p{at}@acme.example")), Some(&format!("Jane {name}")), None))
            .collect();
        let body = sent(&config, &people, FieldSet::ALL);
        let all = body["requests"].as_array().unwrap();
        proptest::prop_assert_eq!(all.len(), names.len());
        for (at, element) in all.iter().enumerate() {
            proptest::prop_assert_eq!(&element["params"]["email"], &json!(format!("p{at}@acme.example")));
        }
    }
}
