use serde_json::json;

use super::*;
use crate::contact::Contact;
use crate::fields::Field;
use crate::person::Person;
use crate::provider::{Answer, Config, Verdict};

fn rule(value: Value) -> SamePerson {
    SamePerson::parse(&Node::root(&value)).unwrap()
}

fn whom(rule: &SamePerson, contact: &Contact) -> Whom {
    rule.whom(&Values::of(&Person::made_up(contact), None), true)
}

fn jane() -> Contact {
    Contact {
        full_name: Some("Jane Doering".into()),
        email: Some("Jane@Acme.example".into()),
        values: [(Field::LINKEDIN_URL, "https://www.linkedin.com/in/jane-doering".to_owned())]
            .into_iter()
            .collect(),
        ..Contact::default()
    }
}

fn is_other(value: Value, contact: &Contact, body: Value) -> bool {
    let rule = rule(value);
    rule.is_other(&whom(&rule, contact), &body)
}

#[test]
fn every_value_of_a_set_must_be_the_contacts() {
    let both = json!({"email": "/email", "full_name": "/name"});
    for (body, other) in [
        (json!({"email": " jane@ACME.example", "name": "JANE  DOERING"}), false),
        (json!({"email": "mailto:jane@acme.example?subject=x", "name": "jane doering"}), false),
        (json!({"email": "john@acme.example", "name": "Jane Doering"}), true),
        (json!({"email": "jane@acme.example", "name": "John Olsen"}), true),
        // Nothing to compare.
        (json!({"name": "Jane Doering"}), false),
        (json!({"email": null, "name": " "}), false),
        (json!({"email": true, "name": ["Jane"]}), false),
        (json!({"email": "j***@acme.example"}), false),
        (json!({"name": "x".repeat(1_001)}), false),
        (json!({}), false),
        // The other one is compared all the same.
        (json!({"email": "not an address", "name": "John Olsen"}), true),
    ] {
        assert_eq!(is_other(both.clone(), &jane(), body.clone()), other, "{body}");
    }
    let nobody = Contact::default();
    assert!(!is_other(both, &nobody, json!({"email": "john@acme.example", "name": "John Olsen"})));
}

#[test]
fn of_several_sets_one_that_agrees_is_enough() {
    let sets = json!([{"email": "/email"}, {"last_name": "/last"}, {"first_name": "/first"}]);
    for (body, other) in [
        // Married, and a nickname.
        (json!({"email": "x@acme.example", "first": "Jane", "last": "Olsen"}), false),
        (json!({"first": "Janie", "last": "Doering"}), false),
        (json!({"email": "jane@acme.example", "first": "John", "last": "Olsen"}), false),
        (json!({"email": "x@acme.example", "first": "John", "last": "Olsen"}), true),
        (json!({"first": "John", "last": "Olsen"}), true),
        (json!({"last": "Olsen"}), true),
        (json!({}), false),
    ] {
        assert_eq!(is_other(sets.clone(), &jane(), body.clone()), other, "{body}");
    }
}

#[test]
fn a_name_that_does_not_split_is_compared_as_a_whole() {
    let sets = json!([{"email": "/email"}, {"last_name": "/last"}, {"first_name": "/first"}]);
    let body = json!({"first": "Robert", "last": "Doering", "email": "robert@acme.example"});
    let named = |contact| is_other(sets.clone(), &contact, body.clone());
    let full = |name: &str| Contact { full_name: Some(name.into()), ..Contact::default() };
    for (name, other) in [
        ("Robert", false),
        ("doering", false),
        ("Roe", true),
        ("Bob", true),
        ("Robert Doering GmbH", false),
        ("Jane Roe GmbH", true),
        ("Bob Olsen", true),
    ] {
        assert_eq!(named(full(name)), other, "{name}");
    }
    // A nickname, and an address that is the contact's.
    assert!(!named(Contact { email: Some("robert@acme.example".into()), ..full("Bob") }));
    assert!(named(Contact { last_name: Some("Olsen".into()), ..Contact::default() }));
}

#[test]
fn of_several_texts_one_that_agrees_is_enough() {
    let listed = json!({"email": ["/work", "/personal", {"list": "/all", "pointer": "/address"}]});
    for (body, other) in [
        (json!({"work": "x@acme.example", "personal": ["y@b.example", "jane@acme.example"]}), false),
        (
            json!({"work": "x@acme.example", "all": [{"address": "y@b.example"}, {"address": "jane@acme.example"}]}),
            false,
        ),
        (json!({"work": "x@acme.example", "personal": ["y@b.example"]}), true),
        (json!({"work": false, "personal": true, "all": []}), false),
    ] {
        assert_eq!(is_other(listed.clone(), &jane(), body.clone()), other, "{body}");
    }
    let joined = json!({"full_name": {"join": ["/first", "/last"], "separator": " "}});
    assert!(!is_other(joined.clone(), &jane(), json!({"first": "JANE", "last": "doering"})));
    assert!(is_other(joined, &jane(), json!({"first": "John", "last": "doering"})));
}

#[test]
fn a_name_that_is_only_written_otherwise_is_the_same() {
    for (one, other, same) in [
        ("Jane Doering", "jane  DOERING", Some(true)),
        ("Zoë Müller-Lüdenscheidt", "Zoe Mueller Luedenscheidt", Some(true)),
        ("Zoë Müller", "ZOE MULLER", Some(true)),
        ("Søren Łącki", "Soren Lacki", Some(true)),
        ("Jane A. Doering", "Jane Doering", Some(true)),
        ("Jane Alice Doering", "Jane A. Doering", Some(true)),
        ("Dr. Jane Doering", "Jane Doering", Some(true)),
        ("Doering, Jane", "Jane Doering", Some(true)),
        ("Jane O'Doering", "Jane ODoering", Some(true)),
        ("Jane Doering García", "Jane Doering", Some(true)),
        ("J. Doering", "Jane Doering", Some(true)),
        ("Jane Doering", "Jane Olsen", Some(false)),
        ("Jane Doering", "John Doering", Some(false)),
        ("J. Doering", "Kim Doering", Some(false)),
        // An initial can be short for anything.
        ("Ann Roe", "R. A. Doe", Some(false)),
        ("Ann Roe", "Ann R. Smith", Some(false)),
        ("Ann Roe", "Roe A. Smith", Some(false)),
        ("Ann Roe", "Robert A. Smith", Some(false)),
        ("Roe, Ann", "Smith, Ann R.", Some(false)),
        ("John Lee", "J. L. Smith", Some(false)),
        ("Ann Marie Roe", "A. M. R. Doe", Some(false)),
        ("Al Roe", "Al R. Doe", Some(false)),
        ("Madonna", "M. Smith", Some(false)),
        ("Ann", "Robert A.", Some(false)),
        ("Jane Doe", "J. Doe Smith", Some(false)),
        ("Ann Roe", "Dr. Ann R.", Some(true)),
        ("Ann R.", "Ann Roe Smith", Some(true)),
        ("Jane Doe", "J. A. Doe", Some(true)),
        ("Doe, Jane", "J. A. Doe", Some(true)),
        ("Jane Doering", "J. Doering, CFA", Some(true)),
        ("Jane Doe", "J. D.", None),
        ("Dr. Jane Doe", "Jane Marie Doe", Some(true)),
        ("Mr. Jan Roe", "Jan P. Roe", Some(true)),
        ("Jane Doe, MBA", "Jane Marie Doe", Some(true)),
        ("Phil Roe", "Bob Roe", Some(false)),
        ("Ann Lord", "Ann Smith", Some(false)),
        ("Ann Mary Lord", "Ann Mary Smith", Some(false)),
        ("Ann Professor", "Ann Smith", Some(false)),
        ("Mia Roe", "Bob Roe", Some(false)),
        ("Mia Roe", "Bob Mia Roe Doe", Some(true)),
        ("Pat O'Brien", "Pat O Brien", Some(true)),
        ("Anne-Marie Stone", "Annemarie Stone", Some(true)),
        ("Jan van der Berg", "Jan Vanderberg", Some(true)),
        // Of scripts that need no blank.
        ("王伟", "王 伟", Some(true)),
        ("山田太郎", "太郎 山田", Some(true)),
        ("王伟", "王 芳", Some(false)),
        ("李娜", "李 强", Some(false)),
        ("王伟", "王芳 (Fang Wang)", Some(false)),
        ("王伟", "Wei Wang 王伟", Some(true)),
        ("王伟", "Wei Wang", None),
        ("Roe", "R.", None),
        ("Юлия Пример", "Yulia Primer", None),
        ("Юлия Пример", "Юлия ПРИМЕР", Some(true)),
        ("Юлия Пример", "Иван Пример", Some(false)),
        ("Jane Doering", "", None),
        ("?", "Jane Doering", None),
        (&"Jane ".repeat(33), "Jane Doering", None),
    ] {
        assert_eq!(same_name(one, other), same, "{one} {other}");
        assert_eq!(same_name(other, one), same, "{other} {one}");
    }
}

#[test]
fn of_parts_an_initial_says_nothing_alone() {
    let parts = json!([{"email": "/e"}, {"last_name": "/last"}, {"first_name": "/first"}]);
    let ann = Contact { full_name: Some("Ann Roe".into()), ..Contact::default() };
    for (first, last, other) in [
        ("A.", "Smith", true),
        ("Robert A.", "Smith", true),
        ("Robert", "A. Smith", true),
        ("Bob", "R.", true),
        ("A.", "Roe", false),
        ("Ann", "R.", false),
        ("Ann", "Smith", false),
        ("A.", "R.", false),
    ] {
        assert_eq!(
            is_other(parts.clone(), &ann, json!({"first": first, "last": last})),
            other,
            "{first} {last}"
        );
    }
    let roe = Contact { full_name: Some("Roe".into()), ..Contact::default() };
    assert!(is_other(parts.clone(), &roe, json!({"first": "Bob", "last": "R. Smith"})));
    assert!(!is_other(parts, &roe, json!({"first": "Bob", "last": "Roe"})));
}

#[test]
fn a_profile_counts_only_where_the_contact_is_asked_about_by_it() {
    let rule =
        rule(json!({"linkedin_url": {"pointer": "/handle", "prefix": "https://www.linkedin.com/in/"}}));
    let person = Person::made_up(&jane());
    let values = Values::of(&person, None);
    let other = json!({"handle": "john-other"});
    assert!(rule.is_other(&rule.whom(&values, true), &other));
    assert!(!rule.is_other(&rule.whom(&values, false), &other));
    assert!(!rule.is_other(&rule.whom(&values, true), &json!({"handle": "Jane-Doering"})));
}

#[test]
fn who_is_compared_with_is_the_same_in_normal_form() {
    let rule = rule(json!({"email": "/email", "full_name": "/name"}));
    let one = whom(&rule, &jane());
    let of = |email: Option<&str>, name: &str| {
        let email = email.map(str::to_owned);
        whom(&rule, &Contact { full_name: Some(name.into()), email, ..Contact::default() })
    };
    assert!(one.is(&of(Some("jane@acme.example"), "JANE DOERING")));
    assert!(!one.is(&of(Some("jane@acme.example"), "John Olsen")));
    assert!(!one.is(&of(Some("john@acme.example"), "Jane Doering")));
    assert!(one.is(&of(None, "Jane Doering")), "what nobody could compare");
    let odd = of(Some("not an address"), "?");
    assert!(odd.is(&odd.clone()));
}

#[test]
fn mistakes_are_refused_with_their_place() {
    for (wrong, place) in [
        (json!({}), ""),
        (json!([]), ""),
        (json!([{}]), "/0"),
        (json!("/email"), ""),
        (json!({"phone": "/phone"}), "/phone"),
        (json!({"company_domain": "/domain"}), "/company_domain"),
        (json!({"secret": "/x"}), "/secret"),
        (json!([{"email": "/email"}, {"email": "email"}]), "/1/email"),
        (json!({"email": {"list": "/x"}}), "/email/pointer"),
    ] {
        let error = SamePerson::parse(&Node::root(&wrong)).unwrap_err();
        assert_eq!(error.place, place, "{wrong}: {}", error.message);
    }
}

fn answer(body: &Value) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn compares(identify_by: Value, rule: Value) -> Config {
    Config::parse(&json!({
        "request": {"url": "https://h/x", "query": {"profile": "{linkedin_url}"}},
        "identify_by": identify_by,
        "response": {"fields": {"job_title": "/t"}, "same_person": rule}
    }))
    .unwrap()
}

#[test]
fn an_answer_about_somebody_else_is_told_from_one_about_nobody() {
    let config = compares(json!([["email"]]), json!({"email": "/email", "full_name": "/name"}));
    let read = |body: Value| config.read_all(&answer(&body), 0, &config.whom(&Person::made_up(&jane()))).0;
    let title = Verdict::OtherPerson([Field::parse("job_title").unwrap()].into_iter().collect());
    assert_eq!(read(json!({"t": "CEO", "email": "john@acme.example"})), title, "which is billed");
    assert_eq!(read(json!({"t": "CEO", "email": "jane@acme.example", "name": "John Olsen"})), title);
    assert_eq!(read(json!({"t": null, "name": "John Olsen"})), Verdict::NoMatch);
    assert!(matches!(read(json!({"t": "CEO", "name": "JANE DOERING"})), Verdict::Match { .. }));
}

#[test]
fn what_is_compared_belongs_to_the_question() {
    let profile = |name: &str| {
        let values =
            [(Field::LINKEDIN_URL, "https://www.linkedin.com/in/jane-doe".to_owned())].into_iter().collect();
        Person::made_up(&Contact { values, full_name: Some(name.into()), ..Contact::default() })
    };
    let (jane, john) = (profile("Jane Doe"), profile("John Olsen"));
    let rules = [json!({"full_name": "/name"}), json!(null)];
    let [compared, plain] = rules.map(|rule| compares(json!([["linkedin_url"]]), rule));
    let known = |config: &Config, person: &Person| {
        let identity = config.identity(person);
        format!("{:?}", (identity.settled, identity.all))
    };
    assert_ne!(known(&compared, &jane), known(&compared, &john), "each is judged by its own name");
    assert_eq!(known(&plain, &jane), known(&plain, &john));
    // While it was asked about Jane, the row has become John's.
    assert!(!compared.means_the_same(&jane, &john) && compared.means_the_same(&jane, &profile("JANE DOE")));
    assert!(plain.means_the_same(&jane, &john));
}

/// A mistyped place compares nobody, and says so to who tries the description out.
#[test]
fn what_an_answer_has_nothing_for_is_told() {
    let rule = json!({"full_name": "/data/nam", "email": "/data/email"});
    let parsed = SamePerson::parse(&Node::root(&rule)).unwrap();
    let answer = json!({"data": {"name": "Ann Ellis", "email": "ann@acme.example"}});
    assert_eq!(parsed.without_value(&answer), ["full_name"]);
    assert!(parsed.without_value(&json!({"data": {"nam": "x", "email": "y"}})).is_empty());
}
