//! Vendors played from their documented shapes, with synthetic people: `testdata/presets.json` and `testdata/vendors.json`.
//!
//! A play has `answers` (status, body and perhaps headers, in their order), what each request was (`sent`), the `waits` in
//! between, and what it `comes_to`. A ticket is written down and read again at every wait.

use serde_json::{Map, Value, json};

use super::preset;
use crate::contact::Contact;
use crate::fields::{Field, FieldSet};
use crate::person::Person;
use crate::provider::{
    Answer, Config, FaultKind, HttpRequest, Inquiry, LoginValues, Next, Progress, Verdict, merge_preset,
};

const PRESETS: &str = include_str!("testdata/presets.json");
const VENDORS: &str = include_str!("testdata/vendors.json");
const SECRET: &str = "the-secret-of-the-account";
/// 2026-10-21 07:27:00 UTC.
const NOW: i64 = 1_792_567_620_000_000;

/// Jane, but for what the play says.
fn contact(over: &Value) -> Contact {
    let mut known = json!({
        "full_name": "Jane Example", "email": "jane@acme.example", "company_name": "Acme",
        "linkedin_url": "https://www.linkedin.com/in/jane-example"
    });
    for (name, value) in over.as_object().into_iter().flatten() {
        known[name] = value.clone();
    }
    let text = |name: &str| known[name].as_str().map(str::to_owned);
    Contact {
        full_name: text("full_name"),
        first_name: text("first_name"),
        last_name: text("last_name"),
        email: text("email"),
        company_domain: text("company_domain"),
        values: Field::all().filter_map(|field| Some((field, text(field.name())?))).collect(),
        ..Contact::default()
    }
}

fn answer(given: &Value) -> Answer {
    let body = match &given[1] {
        Value::Null => Vec::new(),
        Value::String(page) => page.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    };
    let headers = given[2].as_object().into_iter().flatten();
    let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    Answer { status: u16::try_from(given[0].as_u64().unwrap()).unwrap(), headers, body }
}

/// What came of a play.
#[derive(Debug, Default)]
struct Played {
    sent: Vec<Value>,
    waits: Vec<u64>,
    comes_to: Value,
}

fn shown(request: &HttpRequest) -> Value {
    let masked = request.masked();
    let all = format!("{masked} {request:?}");
    assert!(!all.contains(SECRET) && !all.contains("the-token"), "{all}");
    json!({"method": masked["method"], "url": masked["url"], "body": masked["body"], "headers": masked["headers"]})
}

fn verdict(verdict: Verdict) -> Value {
    match verdict {
        Verdict::Match { values, confidence } => {
            let mut fields: Map<String, Value> =
                values.iter().map(|(field, value)| (field.name().to_owned(), json!(value))).collect();
            fields.extend(confidence.map(|score| ("confidence".to_owned(), json!(score))));
            Value::Object(fields)
        }
        Verdict::NoMatch => json!("no_match"),
        Verdict::OtherPerson(_) => json!("other_person"),
        Verdict::Suppressed => json!("suppressed"),
        Verdict::Failed(fault) => json!(fault.kind.name()),
    }
}

/// A failure, and what was known by then.
fn failed(kind: &str, inquiry: &Inquiry) -> Value {
    match inquiry.so_far() {
        Verdict::NoMatch => json!(kind),
        found => json!([kind, verdict(found)]),
    }
}

fn play(config: &Config, play: &Value) -> Played {
    let person = Person::made_up(&contact(&play["contact"]));
    let wanted: FieldSet = match play["wanted"].as_array() {
        Some(names) => names.iter().filter_map(|name| Field::parse(name.as_str()?)).collect(),
        None => config.fills(),
    };
    let whom = config.whom(&person);
    let mut answers = play["answers"].as_array().unwrap().iter();
    let (mut inquiry, mut login, mut played) = (Inquiry::new(wanted), None::<LoginValues>, Played::default());
    played.comes_to = loop {
        match inquiry.next(config, &person, Some(SECRET), login.as_ref()) {
            Next::LogIn(_) => {
                let of = config.login().unwrap();
                let request = of.request(Some(SECRET)).unwrap();
                played.sent.push(shown(&request));
                match of.read(
                    &request,
                    &answer(answers.next().expect("an answer to the login")),
                    NOW / 1_000_000,
                ) {
                    Ok(values) => login = Some(values),
                    Err(fault) => break failed(fault.kind.name(), &inquiry),
                }
            }
            Next::Nothing(found) => break found.map_or(json!("not_identifiable"), verdict),
            Next::Send(request) => {
                let Some(given) = answers.next() else { break failed("waits", &inquiry) };
                played.sent.push(shown(&request));
                let progress = inquiry.take(config, (&request, &answer(given)), &whom, NOW).0;
                match progress {
                    Progress::Next { after_s } | Progress::Pending { after_s, .. } => {
                        played.waits.push(after_s);
                        if let Some(ticket) = inquiry.ticket() {
                            let stored = serde_json::from_str(&ticket.to_string()).unwrap();
                            inquiry = Inquiry::resumed(config, &stored, wanted)
                                .expect("the ticket that was written down");
                        }
                    }
                    Progress::LogInAgain => login = None,
                    Progress::TicketUnknown(_) => break failed("ticket_unknown", &inquiry),
                    Progress::Failed(fault) => break failed(fault.kind.name(), &inquiry),
                    Progress::Over(over) => break verdict(over),
                }
            }
        }
    };
    assert_eq!(answers.next(), None, "all answers are asked for: {played:?}");
    played
}

/// Whether all that is expected of a request is so.
fn matches(expected: &Value, sent: &Value) -> bool {
    expected.as_object().unwrap().iter().all(|(key, value)| match key.as_str() {
        "headers" => {
            value.as_object().unwrap().iter().all(|(name, value)| sent["headers"].get(name) == Some(value))
        }
        _ => sent.get(key) == Some(value),
    })
}

fn check(who: &str, config: &Config, given: &Value) {
    let played = play(config, given);
    let what = format!("{who}: {}: {played:#?}", given["what"]);
    assert_eq!(played.comes_to, given["comes_to"], "{what}");
    if let Some(sent) = given["sent"].as_array() {
        assert_eq!(sent.len(), played.sent.len(), "{what}");
        for (expected, sent) in sent.iter().zip(&played.sent) {
            assert!(matches(expected, sent), "{what}: expected {expected}");
        }
    }
    if let Some(waits) = given["waits"].as_array() {
        assert_eq!(waits, &played.waits.iter().map(|wait| json!(wait)).collect::<Vec<_>>(), "{what}");
    }
}

fn described(vendor: &Value) -> Config {
    let mut description = match vendor["preset"].as_str() {
        Some(name) => {
            let under = serde_json::from_str(preset(name).unwrap()).unwrap();
            merge_preset(&under, vendor.get("config").unwrap_or(&json!({}))).unwrap()
        }
        None => vendor["config"].clone(),
    };
    // What a merge cannot reach: members of an object within the steps.
    for (place, members) in vendor["set"].as_object().into_iter().flatten() {
        let object = description.pointer_mut(place).and_then(Value::as_object_mut).unwrap();
        object.extend(members.as_object().unwrap().clone());
    }
    Config::parse(&description).unwrap_or_else(|error| panic!("{}: {error}", vendor["vendor"]))
}

/// What any vendor can be answered by, whatever was asked: said of the first request, and of the last.
fn troubles(vendor: &Value, config: &Config) {
    let name = vendor["vendor"].as_str().or(vendor["preset"].as_str()).unwrap();
    let whole =
        vendor["plays"].as_array().unwrap().iter().find(|play| play["what"] == "match").expect("a match");
    let logs_in = config.login().is_some();
    let answers = whole["answers"].as_array().unwrap();
    let first = if logs_in { 1 } else { 0 };
    for at in [first, answers.len() - 1] {
        for (status, body, kind) in [
            (500, json!({"error": {"message": "x"}}), "server_error"),
            (503, json!("<html>"), "server_error"),
            (401, json!({"x": 1}), "bad_credentials"),
            (451, json!("<html>"), "unrecognised"),
            (404, json!("<html>"), "unrecognised|bad_status"),
            (429, json!({"x": 1}), "rate_limited"),
            (302, Value::Null, "redirect"),
        ] {
            let mut scene = whole.clone();
            let mut given: Vec<Value> = answers[..at].to_vec();
            given.push(json!([status, body]));
            if status == 401 && logs_in {
                given.extend([answers[0].clone(), json!([status, body])]);
            }
            scene["answers"] = json!(given);
            let comes_to = play(config, &scene).comes_to;
            let told = comes_to.as_array().map_or(&comes_to, |both| &both[0]);
            assert!(kind.split('|').any(|kind| told == kind), "{name}: {status} after {at}: {comes_to}");
        }
    }
}

fn all(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn presets_do_what_their_vendors_document() {
    let mut played: Vec<&str> = Vec::new();
    let presets = all(PRESETS);
    for vendor in &presets {
        let (name, config) = (vendor["preset"].as_str().unwrap(), described(vendor));
        played.push(name);
        let plays = vendor["plays"].as_array().unwrap();
        plays.iter().for_each(|play| check(name, &config, play));
        troubles(vendor, &config);
        let has = |what: &str| plays.iter().any(|play| play["what"] == what);
        for what in
            ["match", "partial", "none", "bad key", "out of credits", "limited", "privacy refusal", "5xx"]
        {
            assert!(has(what), "{name}: {what}");
        }
        let polls = config.steps.iter().any(|step| step.polls());
        assert_eq!(polls, has("pending twice and then done"), "{name}");
        // Neither says what its answer to an unknown task looks like.
        let knows_tickets = !["dropcontact", "snov"].contains(&name);
        assert_eq!(polls && knows_tickets, has("ticket unknown"), "{name}");
    }
    played.push("generic");
    played.sort_unstable();
    assert_eq!(played, super::names());
}

#[test]
fn every_vendor_is_one_configuration() {
    let vendors = all(VENDORS);
    for vendor in &vendors {
        let (name, config) = (vendor["vendor"].as_str().unwrap(), described(vendor));
        vendor["plays"].as_array().unwrap().iter().for_each(|play| check(name, &config, play));
        troubles(vendor, &config);
    }
    // The lines of the list of vendors that teams buy; those with a preset are played above.
    let presets = all(PRESETS);
    let listed = vendors.iter().chain(&presets).filter_map(|vendor| vendor["lines"].as_array());
    let lines: Vec<u64> = listed.flatten().filter_map(Value::as_u64).collect();
    let missing: Vec<u64> = (1..=30).filter(|line| !lines.contains(line)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Apollo answers 400 where a number is asked for without an address to send it to, whatever else it knows.
#[test]
fn apollo_is_asked_for_a_number_only_with_an_address_of_the_users_own() {
    let presets = all(PRESETS);
    let apollo = presets.iter().find(|vendor| vendor["preset"] == "apollo").unwrap();
    let plays = apollo["plays"].as_array().unwrap();
    let mut scene = plays.iter().find(|play| play["what"] == "no phone is wanted").unwrap().clone();
    scene.as_object_mut().unwrap().remove("wanted");
    check("apollo as it comes", &described(&json!({"preset": "apollo"})), &scene);
}

#[test]
fn a_play_that_comes_to_something_else_is_noticed() {
    let vendor = &all(PRESETS)[0];
    let config = described(vendor);
    let mut other = vendor["plays"][0].clone();
    other["comes_to"] = json!("no_match");
    assert!(std::panic::catch_unwind(|| check("x", &config, &other)).is_err());
    assert_ne!(FaultKind::Pending.name(), "waits");
}
