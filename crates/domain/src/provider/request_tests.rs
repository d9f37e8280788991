use serde_json::json;

use super::*;
use crate::contact::Contact;
use crate::fields::{Field, FieldSet};
use crate::person::Person;
use crate::provider::{Config, Inquiry, Next};

fn jane() -> Contact {
    let values = [
        (Field::LINKEDIN_URL, "https://www.linkedin.com/in/jane-example".to_owned()),
        (Field::COMPANY_NAME, "Acme".to_owned()),
    ];
    Contact {
        full_name: Some("Jane Example".into()),
        email: Some("jane@acme.example".into()),
        values: values.into_iter().collect(),
        ..Contact::default()
    }
}

fn config(send: &str, identify_by: Value, request: Value) -> Config {
    Config::parse(&json!({
        "send": send, "identify_by": identify_by, "request": request, "response": {"fields": {"phone": "/p", "job_title": "/t", "location": "/l"}}
    }))
    .unwrap()
}

fn everything() -> Value {
    json!({"url": "https://h/x", "query": {
        "mail": "{email}", "name": "{full_name}", "first": "{first_name}", "last": "{last_name}", "company": "{company_name}",
        "domain": "{company_domain}", "url": "{linkedin_url}", "handle": "{linkedin_handle}", "k": "{secret}"
    }})
}

fn sent(config: &Config, contact: &Contact, wanted: FieldSet) -> Option<HttpRequest> {
    match Inquiry::new(wanted).next(config, &Person::made_up(contact), Some("key"), None) {
        Next::Send(request) => Some(*request),
        _ => None,
    }
}

/// The names of the parameters.
fn parameters(config: &Config, contact: &Contact) -> Vec<String> {
    let url = sent(config, contact, FieldSet::ALL).expect("somebody who can be asked about").url;
    let query = url.split_once('?').unwrap().1;
    query.split('&').map(|pair| pair.split_once('=').unwrap().0.to_owned()).collect()
}

fn fields(names: &[Field]) -> FieldSet {
    names.iter().copied().collect()
}

#[test]
fn the_used_set_alone_is_sent_where_the_description_says_so() {
    let without = |gone: &str| {
        let mut contact = jane();
        match gone {
            "profile" => contact.values.unset(Field::LINKEDIN_URL),
            _ => contact.email = None,
        }
        contact
    };
    let sets = json!([
        ["linkedin_url"],
        ["email"],
        ["first_name", "last_name", "company_name"],
        ["full_name", "company_domain"]
    ]);
    let used = config("used_set", sets.clone(), everything());
    assert_eq!(parameters(&used, &jane()), ["url", "handle", "k"]);
    assert_eq!(parameters(&used, &without("profile")), ["mail", "k"]);
    let mut named = without("profile");
    named.email = None;
    assert_eq!(
        parameters(&used, &named),
        ["name", "first", "last", "company", "k"],
        "a whole name stands for its parts"
    );
    let mut by_domain = named.clone();
    by_domain.values.unset(Field::COMPANY_NAME);
    by_domain.company_domain = Some("acme.example".into());
    assert_eq!(parameters(&used, &by_domain), ["name", "first", "last", "domain", "k"]);
    let handles = config("used_set", json!([["linkedin_handle"]]), everything());
    assert_eq!(parameters(&handles, &jane()), ["url", "handle", "k"]);
    assert_eq!(parameters(&config("all", sets, everything()), &jane()).len(), 9);
    // The set that is used has no place in the request.
    let path =
        config("used_set", json!([["email"]]), json!({"url": "https://h/{linkedin_handle}?m={email}"}));
    assert!(sent(&path, &jane(), FieldSet::ALL).is_none() && !path.identifies(&Person::made_up(&jane())));
    let silent = config("used_set", json!([["email"]]), json!({"url": "https://h/x?n={full_name}"}));
    assert!(!silent.identifies(&Person::made_up(&jane())));
}

#[test]
fn of_several_forms_of_a_parameter_the_first_that_is_known_is_sent() {
    let request =
        json!({"url": "https://h/x", "query": {"who": ["{phone}", "of {company_name}", "{email}"]}});
    let config = config("all", json!([["email"], ["phone"]]), request);
    let mut contact = jane();
    for (phone, company, expected) in [
        (None, Some("Acme"), "?who=of%20Acme"),
        (Some("+1 202 555 0123"), Some("Acme"), "?who=%2B1%20202%20555%200123"),
        (None, None, "?who=jane%40acme.example"),
    ] {
        for (field, value) in [(Field::PHONE, phone), (Field::COMPANY_NAME, company)] {
            match value {
                Some(value) => contact.values.set(field, value.to_owned()),
                None => contact.values.unset(field),
            }
        }
        assert_eq!(sent(&config, &contact, FieldSet::ALL).unwrap().url, format!("https://h/x{expected}"));
    }
}

#[test]
fn a_role_mailbox_whose_name_does_not_go_with_it_identifies_nobody() {
    let mut contact = jane();
    contact.email = Some("info@acme.example".into());
    contact.values.unset(Field::LINKEDIN_URL);
    for (send, sets, identifies) in [
        ("all", json!([["email"]]), true),
        ("used_set", json!([["email"]]), false),
        ("used_set", json!([["email", "full_name"]]), true),
    ] {
        let config = config(send, sets.clone(), everything());
        assert_eq!(config.identifies(&Person::made_up(&contact)), identifies, "{send} {sets}");
    }
}

#[test]
fn what_is_wanted_is_a_list_in_a_body_and_joined_in_a_query() {
    let words = json!({"wanted": {"phone": "phones", "job_title": "profile", "location": "profile"}});
    let post = json!({"method": "POST", "url": "https://h/x", "query": {"r": words}, "body": {"m": "{email}", "a": {"deep": [words]}, "want": words}});
    let config = config("all", json!([["email"]]), post);
    for (wanted, query, list) in [
        (FieldSet::ALL, Some("?r=phones%2Cprofile"), json!(["phones", "profile"])),
        (fields(&[Field::LOCATION]), Some("?r=profile"), json!(["profile"])),
        (fields(&[Field::SENIORITY]), None, Value::Null),
    ] {
        let request = sent(&config, &jane(), wanted).unwrap();
        assert_eq!(request.url.strip_prefix("https://h/x"), Some(query.unwrap_or_default()));
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        let expected = match query {
            Some(_) => json!({"m": "jane@acme.example", "a": {"deep": [list]}, "want": list}),
            None => json!({"m": "jane@acme.example"}),
        };
        assert_eq!(body, expected);
    }
    assert_eq!(config.asked(fields(&[Field::LOCATION])).unwrap().names(), ["job_title", "location"]);
    assert_eq!(config.asked(FieldSet::EMPTY), Some(FieldSet::EMPTY));
    assert_eq!(config.maps_of(fields(&[Field::PHONE])).names(), ["phone"]);
    // Under one word the vendor gives both.
    assert_eq!(config.maps_of(fields(&[Field::JOB_TITLE])).names(), ["job_title", "location"]);
    // "wanted" that is no object is a word of the vendor's.
    let own = json!({"method": "POST", "url": "https://h/x", "body": {"m": "{email}", "wanted": ["phones"], "x": {"wanted": "all"}}});
    let own = super::tests::config("all", json!([["email"]]), own);
    assert_eq!((own.asked(FieldSet::ALL), own.maps_of(FieldSet::EMPTY)), (None, own.maps()));
}

#[test]
fn words_alone_ask_about_nobody() {
    let words = json!({"wanted": {"phone": "phones"}});
    let post = json!({"method": "POST", "url": "https://h/x", "body": {"want": words, "k": "{secret}", "m": "{location}"}});
    let config = config("all", json!([["email"]]), post);
    assert!(sent(&config, &jane(), FieldSet::ALL).is_none());
}

#[test]
fn elements_of_lists_that_name_nobody_are_left_out() {
    let post = |body: Value| json!({"method": "POST", "url": "https://h/x", "body": body});
    for (body, expected) in [
        (json!({"e": ["{email}"], "p": ["{phone}"]}), json!({"e": ["jane@acme.example"]})),
        (
            json!({"e": "{email}", "who": [{"type": "phone", "at": "{phone}"}]}),
            json!({"e": "jane@acme.example"}),
        ),
        (
            json!({"who": [{"type": "mail", "at": "{email}", "or": "{phone}"}, {"type": "phone", "at": "{phone}"}]}),
            json!({"who": [{"type": "mail", "at": "jane@acme.example"}]}),
        ),
        (json!({"e": "{email}", "a": {"b": {"c": ["{phone}"]}}}), json!({"e": "jane@acme.example"})),
    ] {
        let config = config("all", json!([["email"]]), post(body.clone()));
        let request = sent(&config, &jane(), FieldSet::ALL).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&request.body.unwrap()).unwrap(), expected, "{body}");
    }
}

#[test]
fn what_was_taken_is_a_value_wherever_it_stands() {
    let config = Config::parse(&json!({
        "identify_by": [["email"]],
        "steps": [
            {"request": {"url": "https://h/x", "query": {"m": "{email}"}}, "response": {}, "take": {"id": "/id", "more": "/more"}},
            {"request": {
                "method": "POST", "url": "https://h/{id}/x?a={id}", "query": {"b": "{id}"}, "headers": {"X-Id": "{more}"},
                "body": {"ids": ["{id}"], "list": [{"kind": 1, "id": "{id}"}, {"kind": 2, "p": "{phone}"}], "k": "{secret}"}
             }, "response": {"fields": {"phone": "/p"}}}
        ]
    }))
    .unwrap();
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    let person = Person::made_up(&jane());
    let Next::Send(first) = inquiry.next(&config, &person, Some("key"), None) else { panic!() };
    let body = json!({"id": "../a\r\nb\"{email}", "more": 1}).to_string().into_bytes();
    let answer = super::super::Answer { status: 200, headers: Vec::new(), body };
    inquiry.take(&config, (&first, &answer), &config.whom(&person), 0);
    let Next::Send(request) = inquiry.next(&config, &person, Some("key"), None) else { panic!() };
    let encoded = "..%2Fa%0D%0Ab%22%7Bemail%7D";
    assert_eq!(request.url, format!("https://h/{encoded}/x?a={encoded}&b={encoded}"));
    assert_eq!(request.headers[0].1, "1");
    let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
    let id = "../a\r\nb\"{email}";
    assert_eq!(body, json!({"ids": [id], "list": [{"kind": 1, "id": id}], "k": "key"}));
}
