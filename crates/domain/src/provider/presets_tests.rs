//! Whatever a vendor answers, and whatever somebody describes: nothing panics, and only sound text comes out.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, json};

use super::*;
use crate::contact::Contact;
use crate::fields::{Field, FieldMap};
use crate::person::Person;
use crate::provider::{
    Answer, Config, Inquiry, LoginValues, MAX_TICKET_BYTES, Next, Progress, Verdict, Whom, merge_preset,
};

/// 2026-10-21 07:27:00 UTC.
const NOW: i64 = 1_792_567_620;
const MAX_CHARS: usize = 1_000;

/// Every preset as it is used: the generic one needs an address, and two logins need a client's id.
pub(super) fn complete() -> Vec<(&'static str, Value)> {
    let given = |name| match name {
        "generic" => json!({"request": {"url": "https://api.acme.example/people"}}),
        "snov" => json!({"login": {"request": {"body": {"client_id": "me"}}}}),
        "zoominfo" => json!({"login": {"request": {"body": "client_id=me&client_secret={secret}"}}}),
        _ => json!({}),
    };
    all().map(|(name, preset)| (name, merge_preset(&preset, &given(name)).unwrap())).collect()
}

#[test]
fn no_preset_says_anything_to_no_effect() {
    for (name, description) in complete() {
        assert_eq!(Config::parse(&description).unwrap().remarks(), Vec::<String>::new(), "{name}");
    }
}

/// Each answer that a preset reads, as a description of one request: its steps each, without what only steps have.
fn each_answer() -> Vec<(String, Value)> {
    let mut alone = Vec::new();
    for (name, preset) in complete() {
        let Some(steps) = preset["steps"].as_array() else {
            alone.push((name.to_owned(), preset));
            continue;
        };
        for (at, step) in steps.iter().enumerate().filter(|(_, step)| step["response"]["fields"].is_object())
        {
            let mut response = step["response"].clone();
            response.as_object_mut().unwrap().remove("ticket_unknown");
            let request = json!({"url": "https://api.acme.example/people", "query": {"email": "{email}"}});
            let one = json!({"request": request, "identify_by": preset["identify_by"], "response": response});
            alone.push((format!("{name}, step {at}"), one));
        }
    }
    alone
}

/// Every place that a description looks at: pointers, and those within the first two elements of a list.
fn places(description: &Value) -> Vec<String> {
    match description {
        Value::String(text) if text.is_empty() || text.starts_with('/') => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(places).collect(),
        Value::Object(members) => {
            let inner =
                members.iter().filter(|(key, _)| *key != "where").flat_map(|(_, member)| places(member));
            let conditions = members.get("where").and_then(Value::as_object).into_iter().flat_map(Map::keys);
            let inner: Vec<String> = inner.chain(conditions.cloned()).collect();
            match members.get("list").and_then(Value::as_str) {
                None => inner,
                Some(list) => {
                    let within = inner.iter().filter(|place| *place != list);
                    within
                        .flat_map(|place| [format!("{list}/0{place}"), format!("{list}/1{place}")])
                        .collect()
                }
            }
        }
        _ => Vec::new(),
    }
}

/// For each list of which only some elements count: what the first two have to hold for that.
fn admitted(description: &Value, found: &mut Vec<(String, Value)>) {
    match description {
        Value::Array(items) => items.iter().for_each(|item| admitted(item, found)),
        Value::Object(members) => {
            let list = members.get("list").and_then(Value::as_str);
            let conditions = members.get("where").and_then(Value::as_object).into_iter().flatten();
            for (place, values) in conditions.filter(|_| list.is_some()) {
                let value = values.as_array().map_or(values, |values| &values[0]);
                found.extend([0, 1].map(|n| (format!("{}/{n}{place}", list.unwrap()), value.clone())));
            }
            members.values().for_each(|member| admitted(member, found));
        }
        _ => {}
    }
}

/// Puts a value there, whatever has to be made or replaced on the way.
fn put(body: &mut Value, place: &str, value: Value) {
    let mut here = body;
    for token in place.split('/').skip(1) {
        here = match token.parse::<usize>() {
            Ok(index) => {
                if !here.is_array() {
                    *here = json!([]);
                }
                let items = here.as_array_mut().expect("made just now");
                items.resize(items.len().max(index + 1), json!({}));
                &mut items[index]
            }
            Err(_) => {
                if !here.is_object() {
                    *here = json!({});
                }
                &mut here[token]
            }
        };
    }
    *here = value;
}

/// Text of every kind; none of it says what a boolean says.
fn any_text() -> impl Strategy<Value = String> {
    let kinds = prop_oneof![
        4 => "\\PC{0,24}",
        4 => "[\\x00-\\x20\\x7f\u{80}\u{85}\u{200b}\u{202e}\u{2028}\u{feff}a-z0-9é%/.+-]{0,16}",
        2 => "(in/|https://www\\.linkedin\\.com/in/|in%2F)?[a-zé%0-9-]{0,12}",
        2 => "[+]?[0-9 ().-]{0,20}",
        1 => Just(" ".to_owned()),
        // About as long as a value may be, in characters and in bytes.
        2 => (998usize..1_004, prop::sample::select(vec!["x", "é", "1"])).prop_map(|(length, c)| c.repeat(length)),
        1 => (60usize..70, prop::sample::select(vec!["7", "é"])).prop_map(|(length, c)| c.repeat(length)),
        1 => (900usize..1_004).prop_map(|length| format!("https://x.example/{}", "y".repeat(length))),
    ];
    kinds.prop_filter("a word for a boolean", |text| !says_a_boolean(text))
}

fn says_a_boolean(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("true") || text.contains("false")
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        3 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        6 => any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let pairs = prop::collection::vec(("[a-z]{0,3}", inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            pairs.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What is put into which of a description's places; only there can it matter.
fn placed() -> impl Strategy<Value = Vec<(Index, Value)>> {
    // Most places are looked at for text.
    let value = prop_oneof![
        4 => any_text().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        2 => any_json(),
    ];
    prop::collection::vec((any::<Index>(), value), 0..12)
}

fn answer(status: u16, body: &Value) -> Answer {
    let headers = vec![
        ("x-call-credits-spent".to_owned(), "true".to_owned()),
        ("x-ratelimit-reset".to_owned(), "\u{85}soon".to_owned()),
    ];
    Answer { status, headers, body: body.to_string().into_bytes() }
}

/// Reads the body as this provider would; checks what a contact would get of it.
fn check(config: &Config, answer: &Answer) -> Result<(), TestCaseError> {
    let (verdict, cost) = config.read_all(answer, NOW, &Whom::default());
    prop_assert!(
        cost.and_then(crate::provider::Reported::credits).is_none_or(|cost| cost.is_finite() && cost >= 0.0),
        "{cost:?}"
    );
    let Verdict::Match { values, confidence } = verdict else { return Ok(()) };
    prop_assert!(confidence.is_none_or(|share| (0.0..=1.0).contains(&share)), "{confidence:?}");
    prop_assert!(!values.is_empty());
    check_values(&values)
}

fn check_values(values: &FieldMap<String>) -> Result<(), TestCaseError> {
    for (field, value) in values.iter() {
        prop_assert!(!value.trim().is_empty(), "{field} is empty: {value:?}");
        prop_assert!(!value.chars().any(char::is_control), "{field}: {value:?}");
        prop_assert!(value.chars().count() <= MAX_CHARS, "{field} has {} characters", value.chars().count());
        prop_assert!(!says_a_boolean(value), "{field} is made from a boolean: {value:?}");
    }
    Ok(())
}

#[test]
fn every_place_of_every_preset_is_met() {
    for (name, preset) in each_answer() {
        let config = Config::parse(&preset).unwrap();
        let mut admitted_by = Vec::new();
        admitted(&preset["response"]["fields"], &mut admitted_by);
        let places = places(&preset["response"]["fields"]);
        assert!(places.len() >= config.maps().iter().count(), "{name}: {places:?}");
        for place in &places {
            // Alone it must be enough for a match, or be a condition that admits an element.
            let bodies = ["someone", "in/someone", "+12025550123"].map(|given| {
                let mut body = json!({});
                for other in &places {
                    put(&mut body, other, json!(null));
                }
                for (condition, value) in &admitted_by {
                    put(&mut body, condition, value.clone());
                }
                put(&mut body, place, json!(given));
                for name in if body.is_object() { &["/person/name", "/name"][..] } else { &[] } {
                    put(&mut body, name, json!("Jane Example"));
                }
                body
            });
            let condition = admitted_by.iter().any(|(known, _)| known == place);
            let matches = |body| matches!(config.read(&answer(200, body), NOW), Verdict::Match { .. });
            let matched = bodies.iter().any(matches);
            // The last rule for a list admits every element, so its value is met in any case.
            assert_eq!(matched, !condition, "{name} {place}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_vendor_answers_only_sound_text_comes_out(
        statuses in prop::collection::vec(prop_oneof![3 => 200u16..207, 1 => 100u16..600], 32),
        given in any_json(),
        values in placed(),
    ) {
        for ((_, preset), status) in each_answer().into_iter().zip(statuses) {
            let config = Config::parse(&preset).unwrap();
            check(&config, &answer(status, &given))?;
            let places = places(&preset["response"]);
            let mut body = given.clone();
            for (index, value) in &values {
                put(&mut body, index.get(&places), value.clone());
            }
            check(&config, &answer(status, &body))?;
        }
    }

    /// Fields alone, so that no rule about errors stands before them.
    #[test]
    fn whatever_stands_where_a_field_is_looked_for_only_sound_text_comes_out(values in placed()) {
        for (_, preset) in each_answer() {
            let response = json!({"fields": preset["response"]["fields"], "confidence": preset["response"]["confidence"]});
            let mut bare = preset.clone();
            bare["response"] = response;
            let config = Config::parse(&bare).unwrap();
            let places = places(&bare["response"]);
            let mut body = json!({});
            for (index, value) in &values {
                put(&mut body, index.get(&places), value.clone());
            }
            check(&config, &answer(200, &body))?;
        }
    }

    #[test]
    fn whatever_is_given_as_a_description_is_refused_or_works(
        preset in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), description()), 1..4),
        whole in description(),
        body in any_json(),
    ) {
        let _ = Config::parse(&whole);
        let mut changed = preset.get(&complete()).1.clone();
        for (index, value) in changes {
            let mut places = Vec::new();
            every_place("", &changed, &mut places);
            *changed.pointer_mut(index.get(&places)).unwrap() = value;
        }
        if let Ok(config) = Config::parse(&changed) {
            let jane = Contact { email: Some("jane@acme.example".into()), ..Contact::default() };
            let _ = config.request(&Person::made_up(&jane), Some("secret"));
            let verdict = config.read(&answer(200, &body), NOW);
            // Words of a description are its author's, but even they are text that Postgres can hold.
            if let Verdict::Match { values, .. } = verdict {
                for (field, value) in values.iter() {
                    prop_assert!(!value.chars().any(char::is_control), "{field}: {value:?}");
                }
            }
        }
    }
}

fn every_place(place: &str, value: &Value, found: &mut Vec<String>) {
    found.push(place.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| every_place(&format!("{place}/{n}"), item, found));
        }
        Value::Object(members) => {
            members
                .iter()
                .for_each(|(key, item)| every_place(&format!("{place}/{}", escaped(key)), item, found));
        }
        _ => {}
    }
}

/// JSON in which the words of a description occur.
fn description() -> impl Strategy<Value = Value> {
    const WORDS: &str = "about request identify_by response fills timeout_ms max_requests_per_minute \
        idempotency_header steps login take valid_for seconds send used_set poll_every_s poll_for_s when_pending next \
        min_confidence wanted ticket_unknown if method url headers query body fields confidence retry_after cost no_match failed pending \
        suppressed status absent pointer list where join separator map prefix trim_prefix decode format in not_in \
        contains present as phone value";
    let word = || prop::sample::select(WORDS.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned);
    let leaf = prop_oneof![
        2 => any_json(),
        1 => Just(json!("/data/phone")),
        1 => Just(json!("{email}")),
        1 => Just(json!("https://api.acme.example/{{x}}?a={secret}")),
        1 => "[/~{}a-z0-9\\x00]{0,8}".prop_map(Value::from),
        1 => word().prop_map(Value::from),
        1 => Just(json!("percent")),
        1 => Just(json!("e164")),
        1 => (0u16..700).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        let key = prop_oneof![6 => word(), 1 => "[/~{}a-z]{0,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Where each preset's vendor tells a name, as its answers have it.
const NAMES: [(&str, &str, &str, &str); 5] = [
    ("apollo", "/person/first_name", "/person/last_name", "/person/name"),
    ("hunter", "/data/name/givenName", "/data/name/familyName", "/data/name/fullName"),
    ("lusha", "/results/0/firstName", "/results/0/lastName", "/results/0/fullName"),
    ("people_data_labs", "/data/first_name", "/data/last_name", "/data/full_name"),
    ("rocketreach", "/none", "/none", "/name"),
];

/// What vendors take at most whatever the plan: in a second, and in a minute.
const LIMITS_OF_EVERY_PLAN: [(&str, Option<u32>, Option<u32>); 8] = [
    ("bettercontact", None, Some(60)),
    ("crustdata", None, Some(15)),
    ("dropcontact", Some(60), None),
    ("fullenrich", None, Some(60)),
    ("hunter", Some(15), Some(500)),
    ("rocketreach", Some(10), None),
    ("snov", None, Some(60)),
    ("surfe", Some(10), None),
];

#[test]
fn presets_keep_the_limits_that_hold_for_every_plan() {
    for (preset, description) in complete() {
        let limits = Config::parse(&description).unwrap().throttle();
        let of_vendor = LIMITS_OF_EVERY_PLAN.iter().find(|(name, ..)| *name == preset);
        let (per_second, per_minute) = of_vendor.map_or((None, None), |of| (of.1, of.2));
        assert_eq!((limits.per_second, limits.per_minute), (per_second, per_minute), "{preset}");
    }
}

#[test]
fn presets_take_an_answer_about_somebody_else_for_no_match() {
    let jane = Contact {
        full_name: Some("Jane Doering".into()),
        email: Some("jane@acme.example".into()),
        ..Contact::default()
    };
    let complete = each_answer();
    for (preset, first_at, last_at, full_at) in NAMES {
        let description = &complete.iter().find(|(name, _)| name.starts_with(preset)).unwrap().1;
        let config = Config::parse(description).unwrap();
        let read = |first: &str, last: &str, whom: &Whom| {
            let mut body = json!({});
            for place in
                places(&description["response"]["fields"]).iter().filter(|p| !p.ends_with("oNotCall"))
            {
                put(&mut body, place, json!("someone"));
            }
            put(&mut body, "/person/name", json!("any"));
            put(&mut body, first_at, json!(first));
            put(&mut body, last_at, json!(last));
            put(&mut body, full_at, json!(format!("{first} {last}")));
            config.read_all(&answer(200, &body), NOW, whom).0
        };
        let whom = config.whom(&Person::made_up(&jane));
        let is_match = |verdict| matches!(verdict, Verdict::Match { .. });
        assert!(matches!(read("John", "Olsen", &whom), Verdict::OtherPerson(_)), "{preset}");
        for (first, last) in
            [("JANE", "doering"), ("Janie", "Doering"), ("Jane", "Olsen"), ("Jane A.", "Doering-Olsen")]
        {
            assert!(is_match(read(first, last, &whom)), "{preset} {first} {last}");
        }
        assert!(is_match(read("John", "Olsen", &config.whom(&Person::default()))), "{preset}");
    }
    // Asked by e-mail, one vendor lists all addresses that it knows.
    let config =
        Config::parse(&complete.iter().find(|(name, _)| *name == "people_data_labs").unwrap().1).unwrap();
    for (data, other) in [
        (
            json!({"work_email": "x@acme.example", "emails": [{"address": "y@b.example"}, {"address": "Jane@Acme.example"}]}),
            false,
        ),
        (json!({"personal_emails": ["jane@acme.example"]}), false),
        (json!({"work_email": false, "personal_emails": true, "emails": true}), true),
        (json!({"work_email": "x@acme.example"}), true),
    ] {
        let mut data = data;
        for (place, value) in [("job_title", "CEO"), ("first_name", "john"), ("last_name", "olsen")] {
            data[place] = json!(value);
        }
        let verdict = config
            .read_all(&answer(200, &json!({"data": data})), NOW, &config.whom(&Person::made_up(&jane)))
            .0;
        assert_eq!(matches!(verdict, Verdict::OtherPerson(_)), other, "{data}");
    }
}

/// Each preset with the places that it looks at, read once.
static PRESETS_READ: LazyLock<Vec<(&str, Config, Vec<String>)>> = LazyLock::new(|| {
    complete()
        .into_iter()
        .map(|(name, preset)| (name, Config::parse(&preset).unwrap(), places(&preset)))
        .collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Step by step, with a ticket that is written down and read at every turn.
    #[test]
    fn whatever_a_vendor_answers_a_question_comes_to_an_end(
        answers in prop::collection::vec((prop_oneof![3 => 200u16..207, 1 => 400u16..600], any_json(), placed()), 6),
    ) {
        let values = [(Field::LINKEDIN_URL, "https://www.linkedin.com/in/jane".to_owned())].into_iter().collect();
        let email = Some("jane@acme.example".to_owned());
        let jane = Person::made_up(&Contact { email, full_name: Some("Jane Example".into()), values, ..Contact::default() });
        for (name, config, places) in PRESETS_READ.iter() {
            let mut inquiry = Inquiry::new(config.fills());
            for (status, given, values) in &answers {
                let Next::Send(request) = inquiry.next(config, &jane, Some("a-long-secret"), Some(&LoginValues::default()))
                else { break };
                let mut body = given.clone();
                for (index, value) in values {
                    put(&mut body, index.get(places), value.clone());
                }
                let (progress, _) = inquiry.take(config, (&request, &answer(*status, &body)), &Whom::default(), NOW);
                if let Verdict::Match { values, .. } = inquiry.so_far() {
                    check_values(&values)?;
                }
                if let Some(ticket) = inquiry.ticket() {
                    let text = ticket.to_string();
                    prop_assert!(text.len() <= MAX_TICKET_BYTES, "{name}");
                    let stored = serde_json::from_str(&text).unwrap();
                    let again = Inquiry::resumed(config, &stored, config.fills());
                    prop_assert_eq!(again.as_ref().map(Inquiry::ticket), Some(inquiry.ticket()), "{}", name);
                }
                if matches!(progress, Progress::Over(_) | Progress::TicketUnknown(_)) {
                    break;
                }
            }
        }
    }
}
