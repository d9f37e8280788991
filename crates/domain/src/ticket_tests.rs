use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::contact::Contact;
use crate::contact_row::ContactRow;
use crate::person::Person;
use crate::provider::{Answer, Next, Progress, Whom};
use crate::question::{Parties, Questions};
use crate::receipt::fingerprint;

const PERSON: Hash = [7; 16];
const NOW: i64 = 1_792_567_620_000_000;
const SECOND: i64 = 1_000_000;
const KNOWN: Hash = [7; 16];
const WHOM: Hash = [9; 16];

fn config(poll_for_s: u32) -> Config {
    config_that_takes("ticket", "https://api.acme.example/v1/{ticket}", poll_for_s)
}

fn config_that_takes(name: &str, asked_at: &str, poll_for_s: u32) -> Config {
    let step = |url: &str, response: Value, take: Value| json!({"request": {"url": url}, "response": response, "take": take});
    let submit = step("https://api.acme.example/v1?email={email}", json!({}), json!({name: "/id"}));
    let mut poll =
        step(asked_at, json!({"pending": {"status": [202]}, "fields": {"phone": "/phone"}}), json!({}));
    poll.as_object_mut().unwrap().remove("take");
    let description = json!({
        "identify_by": [["email"]], "poll_every_s": 5, "poll_for_s": poll_for_s, "steps": [submit, poll]
    });
    Config::parse(&description).unwrap()
}

/// Handed in at [`NOW`].
fn submitted(config: &Config) -> Inquiry {
    let person = Person::made_up(&Contact { email: Some("jane@acme.example".into()), ..Contact::default() });
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    let Next::Send(request) = inquiry.next(config, &person, None, None) else { panic!("a request") };
    let answer = Answer { status: 200, headers: Vec::new(), body: br#"{"id": "t-1"}"#.to_vec() };
    let (progress, _) = inquiry.take(config, (&request, &answer), &Whom::default(), NOW);
    assert_eq!(progress, Progress::Next { after_s: 5 });
    inquiry
}

fn ticket(config: &Config) -> Ticket {
    Ticket::new(config, &submitted(config), (PERSON, KNOWN, WHOM), None, NOW).unwrap()
}

#[test]
fn an_id_is_the_same_whatever_it_is_called() {
    let of = |config: &Config| submitted(config).vendor_id(config);
    let under = |name: &str, address: &str| of(&config_that_takes(name, address, 60));
    let one = of(&config(60));
    assert!(one.is_some() && one == under("batch", "https://api.acme.example/v1/{batch}"));
    assert_ne!(one, under("ticket", "https://api.acme.example/v1/bulk/{ticket}"));
}

#[test]
fn what_was_not_handed_in_leaves_no_ticket() {
    assert_eq!(
        Ticket::new(&config(60), &Inquiry::new(FieldSet::ALL), (PERSON, KNOWN, WHOM), None, NOW),
        None
    );
}

#[test]
fn it_is_the_same_after_the_queue_and_after_the_books() {
    let config = config(60);
    let ticket = ticket(&config);
    let parts = ticket.to_parts();
    assert_eq!(Ticket::from_parts(parts.as_array().unwrap(), PERSON).as_ref(), Some(&ticket));
    let times = (ticket.kept_at, ticket.submitted_at, ticket.ends_at);
    assert_eq!(
        Ticket::from_body(&ticket.body(), times, (PERSON, KNOWN, ticket.vendor_id)),
        Ticket { renews: true, ..ticket.clone() },
        "what is in the tables can be asked for"
    );
    let resumed = ticket.inquiry(&config, FieldSet::ALL).expect("an inquiry");
    assert_eq!(resumed.ticket(), submitted(&config).ticket());
}

#[test]
fn its_time_counts_from_the_submission() {
    let ticket = ticket(&config(60));
    assert_eq!((ticket.submitted_at, ticket.ends_at), (NOW, NOW + 60 * SECOND));
    assert_eq!(ticket.ends(&config(90)), NOW + 90 * SECOND, "as the description says by now");
    let later =
        Ticket::new(&config(60), &submitted(&config(60)), (PERSON, KNOWN, WHOM), Some(&ticket), NOW + SECOND)
            .unwrap();
    assert_eq!((later.ends_at, later.renews, ticket.renews), (ticket.ends_at, true, false));
}

#[test]
fn a_pause_is_not_counted_and_not_counted_off_twice() {
    let config = config(60);
    let paused = ticket(&config).paused(&config, NOW + 30 * SECOND, NOW + 10 * SECOND).unwrap();
    assert_eq!(paused.ends_at, NOW + 80 * SECOND);
    assert_eq!(paused.paused(&config, NOW + 30 * SECOND, NOW + 20 * SECOND), None);
    let longer = paused.paused(&config, NOW + 50 * SECOND, NOW + 25 * SECOND).unwrap();
    assert_eq!(longer.ends_at, NOW + 100 * SECOND);
    let next =
        Ticket::new(&config, &submitted(&config), (PERSON, KNOWN, WHOM), Some(&longer), NOW + 60 * SECOND)
            .unwrap();
    assert_eq!(next.ends_at, longer.ends_at, "it stays so");
}

/// A ticket of a question that was put when less was known: it counts for the row that it was got for, and for others only
/// where its own earlier steps supplied what is known more.
#[test]
fn a_ticket_of_a_namesake_is_another_question() {
    let namesake = Contact {
        full_name: Some("Jane Roe".into()),
        values: [(Field::COMPANY_NAME, "Acme Ltd".to_owned())].into_iter().collect(),
        ..Contact::default()
    };
    let profile = "https://www.linkedin.com/in/jane-a";
    let knows_more = namesake.with([(Field::LINKEDIN_URL, profile.to_owned())].into_iter().collect());
    let json = json!({
        "request": {"url": "https://api.example.com/v1", "query": {"name": "{full_name}"}},
        "identify_by": [["linkedin_url"], ["full_name", "company_name"]],
        "response": {"fields": {"phone": "/phone"}},
    });
    let of = |contact: &Contact, row: u8| {
        let print = fingerprint(&json);
        let parties =
            Parties { workspace: Uuid::nil(), provider: Uuid::nil(), description: &print, former: false };
        let mut person = Person::made_up(contact);
        person.row = Some(ContactRow { workspace: Uuid::nil(), hash: [row; 16] });
        Questions::of(parties, &Config::parse(&json).unwrap(), &person, contact).unwrap()
    };
    let handed_in = of(&namesake, 1);
    let ticket = |supplied: Value| {
        let times = (0, 0, i64::MAX);
        let body = json!({"inquiry": {"values": supplied}, "uncounted_us": 0, "paused_until": 0});
        Ticket::from_body(&body, times, ([1; 16], handed_in.known, None))
    };
    let found = |contact: &Contact, row: u8, ticket: &Ticket| {
        let find = |hash: &Hash| (*hash == handed_in.hashes[0]).then_some(ticket);
        of(contact, row).found(contact, find).next().is_some()
    };
    let plain = ticket(json!({}));
    assert!(found(&namesake, 2, &plain), "it is the same question");
    assert!(found(&knows_more, 1, &plain), "others may have filled it in");
    assert!(!found(&knows_more, 2, &plain));
    assert!(found(&knows_more, 2, &ticket(json!({"linkedin_url": profile}))));
    assert!(!found(&knows_more, 2, &ticket(json!({"linkedin_url": "https://www.linkedin.com/in/jane-b"}))));
}

#[test]
fn what_the_vendor_calls_it_stays_with_it_until_it_is_anothers() {
    let config = config(60);
    let ticket = ticket(&config);
    assert_eq!(ticket.vendor_id.map(|known| known.whom), Some(WHOM));
    assert_eq!(ticket.vendor_id.map(|known| known.id), submitted(&config).vendor_id(&config));
    let again = |before: &Ticket| {
        Ticket::new(&config, &submitted(&config), (PERSON, KNOWN, [1; 16]), Some(before), NOW + SECOND)
            .unwrap()
    };
    assert_eq!(again(&ticket).vendor_id, ticket.vendor_id, "it was asked about whom it was handed in for");
    let over = ticket.clone().given_up(NOW, None, true);
    assert!(over.was_in_vain() && !ticket.clone().given_up(NOW, None, false).was_in_vain());
    assert_eq!((over.vendor_id, over.inquiry(&config, FieldSet::ALL)), (ticket.vendor_id, None));
    let new = again(&over);
    assert_eq!((new.vendor_id.map(|known| known.whom), new.renews), (Some([1; 16]), false), "handed in anew");

    let anothers = ticket.of_another();
    assert_eq!(
        (anothers.vendor_id, anothers.fault().map(|fault| fault.kind)),
        (None, Some(FaultKind::Unrecognised))
    );
    assert!(again(&anothers).is_anothers && !new.is_anothers && new.fault().is_none());
    assert_eq!(Ticket::from_parts(anothers.to_parts().as_array().unwrap(), PERSON).as_ref(), Some(&anothers));
    let times = (anothers.kept_at, anothers.submitted_at, anothers.ends_at);
    assert!(Ticket::from_body(&anothers.body(), times, (PERSON, KNOWN, None)).is_anothers);
}

#[test]
fn a_person_is_known_by_the_name_that_is_sent_or_by_what_identifies() {
    let of = |query: Value, name: &str, email: &str| {
        let description = json!({
            "request": {"url": "https://api.acme.example/v1", "query": query}, "identify_by": [["email"]],
            "response": {"fields": {"phone": "/phone"}}
        });
        let contact =
            Contact { full_name: Some(name.into()), email: Some(email.into()), ..Contact::default() };
        Config::parse(&description).unwrap().whom_asked(&Person::made_up(&contact))
    };
    let (plain, named) = (json!({"email": "{email}"}), json!({"email": "{email}", "name": "{full_name}"}));
    let jane = of(plain.clone(), "Jane Roe", "jane@acme.example");
    assert_eq!(jane, of(plain.clone(), "John Roe", "JANE@acme.example"), "the name is not sent");
    assert_ne!(jane, of(plain, "Jane Roe", "roe@acme.example"));
    let jane = of(named.clone(), "Jane Roe", "jane@acme.example");
    assert_eq!(jane, of(named.clone(), "jane  ROE", "roe@acme.example"), "two addresses of one person");
    assert_ne!(jane, of(named, "John Roe", "jane@acme.example"));
}
