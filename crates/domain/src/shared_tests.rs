use super::*;
use crate::contact::Contact;
use crate::person::Person;
use crate::receipt::{Content, Filed};
use crate::sighting::identifying;

const HERE: Uuid = Uuid::from_u128(1);
const VENDOR: Uuid = Uuid::from_u128(7);

fn person(name: &str, email: &str, profile: &str) -> Person {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut contact = Contact { full_name: some(name), email: some(email), ..Contact::default() };
    if let Some(profile) = some(profile) {
        contact.values.set(Field::LINKEDIN_URL, profile);
    }
    Person::made_up(&contact)
}

fn named(name: &str) -> Named {
    Named::of(HERE, &person(name, "", "")).unwrap()
}

#[test]
fn a_value_is_the_same_in_every_spelling_and_another_elsewhere() {
    let of = |person: &Person| identifying(HERE, person).collect::<Vec<_>>();
    let one = of(&person("Jane Doe", "NoBody@import.example", "linkedin.com/in/Jane-Doe"));
    let same = of(&person("John Roe", " <nobody@import.example>;", "https://www.linkedin.com/in/jane-doe/"));
    assert_eq!(one, same);
    assert_eq!(one.iter().map(|value| value.kind).collect::<Vec<_>>(), [Kind::Email, Kind::Profile]);
    let elsewhere: Vec<Value> =
        identifying(Uuid::from_u128(2), &person("Jane Doe", "nobody@import.example", "")).collect();
    assert_ne!(one[0].hash, elsewhere[0].hash);
    // To be asked with a profile is one thing, to be given it another.
    assert_ne!(one[1].hash, Value::supplied_profile(HERE, VENDOR, "jane-doe").hash);
    assert_eq!(of(&person("Jane Doe", "info@acme.example", "")), [], "a role mailbox is no secret");
}

#[test]
fn names_are_the_same_in_any_case_and_a_person_without_one_has_none() {
    assert_eq!(named("Jane  Doe").name, named("JANE DOE").name);
    assert_ne!(named("Jane Doe").name, named("Jane Roe").name);
    assert!(Named::of(HERE, &person("N/A", "jane@acme.example", "")).is_none());
    let person = person("Jane Doe", "", "");
    assert_ne!(Named::of(Uuid::from_u128(2), &person).unwrap().name, named("Jane Doe").name);
}

#[test]
fn a_person_with_a_title_a_second_name_or_another_order_is_no_crowd() {
    for name in ["Dr. Jane Doering", "Doering, Jane", "Jane M. Doering", "jane  doering"] {
        assert_eq!(named(name), named("Jane Doering"), "{name}");
    }
    assert_ne!(named("Joan Doering"), named("Jane Doering"));
}

#[test]
fn a_crowd_is_found_with_one_name_more_than_is_allowed() {
    let value = Value::email(HERE, "nobody@import.example");
    let mut crowd = Crowd::default();
    for name in ["Jane Doe", "John Roe", "jane doe", "Ada Poe"] {
        crowd.meet(value, named(name), 3);
        assert!(!crowd.is_crowded(value, 3), "{name}");
    }
    assert_eq!(crowd.take_found(), []);
    crowd.meet(value, named("Eve Moe"), 3);
    assert!(crowd.is_crowded(value, 3) && !crowd.is_crowded(Value::email(HERE, "jane@acme.example"), 3));
    let found = crowd.take_found();
    assert_eq!((found.len(), found[0].0, found[0].1.len()), (1, value, 4));
    crowd.meet(value, named("Max Loe"), 3);
    assert_eq!(crowd.take_found(), [], "it is told once");
}

#[test]
fn an_answer_supplies_its_profile_and_its_telephone_number() {
    let mut values = FieldMap::default();
    values.set(Field::LINKEDIN_URL, "https://www.linkedin.com/in/sandbox".to_owned());
    values.set(Field::PHONE, "+1 202 555 0123".to_owned());
    values.set(Field::JOB_TITLE, "CEO".to_owned());
    let found: Vec<Value> = supplied(HERE, VENDOR, &values).collect();
    assert_eq!(found[0], Value::supplied_profile(HERE, VENDOR, "sandbox"));
    assert_eq!((found.len(), found[1].kind), (2, Kind::SuppliedPhone));
    let other: Vec<Value> = supplied(HERE, Uuid::from_u128(8), &values).collect();
    assert_ne!(found[0].hash, other[0].hash, "another vendor may know the person");
}

#[test]
fn what_is_shared_is_neither_sent_nor_identifies_nor_gives_a_domain() {
    use crate::provider::Config;
    let json = serde_json::json!({
        "request": {"url": "https://vendor.example/", "query": {"email": "{email}", "profile": "{linkedin_url}", "domain": "{company_domain}", "name": "{full_name}"}},
        "identify_by": [["email"], ["linkedin_url"], ["full_name", "company_domain"]],
        "response": {"fields": {"job_title": "/title"}}
    });
    let config = Config::parse(&json).unwrap();
    let mut person = person("Jane Doe", "nobody@import.example", "linkedin.com/in/jane-doe");
    assert_eq!(config.identity(&person).sets.len(), 3);
    person.shared.add(Kind::Email);
    let sets = config.identity(&person).sets;
    assert_eq!(sets, [vec![("linkedin_url", "jane-doe".into())]]);
    assert!(!config.request(&person, None).unwrap().url.contains("import"));
    person.shared.add(Kind::Profile);
    assert!(!config.identifies(&person) && config.request(&person, None).is_none());
    assert_eq!(person.shared.columns(), ["email", "linkedin_url"]);
}

#[test]
fn a_refusal_is_not_kept_under_what_others_have() {
    use crate::suppression::of_refusal;
    let mut jane = person("Jane Doe", "nobody@import.example", "");
    let before = of_refusal(&jane);
    jane.shared.add(Kind::Email);
    let after = of_refusal(&jane);
    assert!(!after.is_empty() && after != before, "{after:?}");
    let mut john = person("John Roe", "nobody@import.example", "");
    john.shared.add(Kind::Email);
    assert_ne!(of_refusal(&john), after, "it is about one of them");
}

#[test]
fn a_sighting_stays_the_same_on_its_way_to_the_worker() {
    let values = vec![Value::email(HERE, "nobody@import.example"), Value::profile(HERE, "jane-doe")];
    let sighting = Sighting { name: named("Jane Doe").name, values };
    let filed = Filed {
        workspace: HERE,
        provider: VENDOR,
        person: [3; 16],
        content: Content::Nothing,
        sighting: Some(sighting.clone()),
    };
    let bytes = filed.to_bytes();
    assert_eq!(Filed::from_bytes(&bytes), Some(filed));
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("import") && !text.to_lowercase().contains("doe"), "{text}");
    let other = Sighting { name: named("John Roe").name, values: sighting.values.clone() };
    assert_ne!(sighting.key(), other.key());
}

#[test]
fn a_value_that_somebody_writes_down_is_one_address_profile_or_number() {
    assert_eq!(Written::parse("NoBody@import.example"), Some(Written::Email("nobody@import.example".into())));
    assert_eq!(Written::parse("linkedin.com/in/Jane-Doe/"), Some(Written::Profile("jane-doe".into())));
    let number = Some(Written::Phone("+12025550123".into()));
    assert_eq!(Written::parse("+1 (202) 555-0123"), number);
    assert_eq!(Written::parse("tel:+12025550123"), number);
    for other in [
        "",
        "jane",
        "a@acme.example; b@acme.example",
        "linkedin.com/company/acme",
        "12345",
        "+1 202 555 XXXX",
    ] {
        assert_eq!(Written::parse(other), None, "{other}");
    }
}
