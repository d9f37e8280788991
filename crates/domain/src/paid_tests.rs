use super::*;
use crate::contact::Contact;
use crate::fields::{Field, FieldMap};
use serde_json::{Value, json};

const ROW: Hash = [7; 16];

fn config(more: &Value) -> Config {
    let mut description = json!({
        "request": {"url": "https://api.vendor.example/find", "query": {"email": "{email}", "profile": "{linkedin_url}"}},
        "identify_by": [["linkedin_url"], ["email"]],
        "response": {"fields": {"phone": "/phone"}}
    });
    for (name, value) in more.as_object().unwrap() {
        description[name] = value.clone();
    }
    Config::parse(&description).unwrap()
}

fn jane() -> Contact {
    Contact {
        full_name: Some("Jane Example".to_owned()),
        email: Some("jane@acme.example".to_owned()),
        ..Contact::default()
    }
}

fn with(field: Field, value: &str) -> Contact {
    let mut values = FieldMap::default();
    values.set(field, value.to_owned());
    jane().with(values).into_owned()
}

/// Whether what was paid for Jane covers this.
fn covers(more: &Value, then: &Contact, now: &Contact) -> bool {
    let paid = PaidFor::of(&ROW, &Person::made_up(then));
    let kept = PaidFor::parse(&paid.to_text());
    assert_eq!(kept, paid);
    kept.covers(&config(more), &ROW, &Person::made_up(now))
}

#[test]
fn the_same_person_is_paid_for() {
    let plain = json!({});
    assert!(covers(&plain, &jane(), &jane()));
    let spelled = Contact { email: Some(" JANE@Acme.example".to_owned()), ..jane() };
    assert!(covers(&plain, &jane(), &spelled), "another spelling");
    let found = with(Field::LINKEDIN_URL, "https://www.linkedin.com/in/jane-example");
    assert!(covers(&plain, &jane(), &found), "what an answer has filled in");
    let titled = with(Field::JOB_TITLE, "General Counsel");
    assert!(covers(&plain, &jane(), &titled));
}

#[test]
fn another_person_is_not() {
    let plain = json!({});
    let john = Contact { email: Some("john@acme.example".to_owned()), ..jane() };
    assert!(!covers(&plain, &jane(), &john));
    let without = Contact { email: None, ..jane() };
    let profile = "https://www.linkedin.com/in/jane-example";
    let found = with(Field::LINKEDIN_URL, profile);
    assert!(!covers(&plain, &found, &Contact { email: None, ..found.clone() }), "asked without the address");
    let other = with(Field::LINKEDIN_URL, "https://www.linkedin.com/in/john-example");
    assert!(!covers(&plain, &found, &other), "another profile");
    assert!(!covers(&plain, &found, &jane()), "the profile was taken away");
    assert!(covers(&plain, &jane(), &without), "it cannot be asked about");
    assert!(
        !PaidFor::parse("?").covers(&config(&plain), &ROW, &Person::made_up(&jane())),
        "not known of whom"
    );
}

#[test]
fn what_is_not_sent_makes_no_other_question() {
    let renamed = Contact { full_name: Some("Jane Doe".to_owned()), ..jane() };
    assert!(covers(&json!({}), &jane(), &renamed));
    let query = json!({"email": "{email}", "name": "{full_name}", "profile": "{linkedin_url}"});
    let named = json!({"request": {"url": "https://api.vendor.example/find", "query": query}});
    assert!(!covers(&named, &jane(), &renamed));
    let alone = json!({"send": "used_set", "request": named["request"]});
    assert!(covers(&alone, &jane(), &renamed), "only the used set is sent");
}

#[test]
fn the_position_goes_with_it_and_makes_no_other_question() {
    let paid = |at: Option<&str>| PaidFor::of(&ROW, &Person::made_up(&jane())).at(at.map(str::to_owned));
    for at in [None, Some(""), Some("0123456789abcdef")] {
        let kept = PaidFor::parse(&paid(at).to_text());
        assert_eq!((kept.position(), &kept), (at, &paid(at)));
        assert!(kept.covers(&config(&json!({})), &ROW, &Person::made_up(&jane())));
    }
    assert!(paid(Some("a")).includes(&paid(Some("a"))) && paid(Some("a")).includes(&paid(None)));
    assert!(!paid(None).includes(&paid(Some("a"))) && !paid(Some("")).includes(&paid(Some("a"))));
    let john = Contact { email: Some("john@acme.example".to_owned()), ..jane() };
    assert!(!PaidFor::of(&ROW, &Person::made_up(&john)).includes(&paid(None)));
}
