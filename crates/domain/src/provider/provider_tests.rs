use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::contact::Contact;

const SECRET: &str = "s3/cr\"et+ü";

fn preset(name: &str) -> Value {
    serde_json::from_str(presets::preset(name).unwrap()).unwrap()
}

fn people_data_labs() -> Config {
    Config::parse(&preset("people_data_labs")).unwrap()
}

fn post(body: Value, headers: Value) -> Config {
    Config::parse(&json!({
        "request": {"method": "POST", "url": "https://h/x", "headers": headers, "body": body},
        "identify_by": [["email"]],
        "response": {"fields": {"job_title": "/t"}}
    }))
    .unwrap()
}

fn jane() -> Contact {
    Contact {
        full_name: Some("Jane Doe".into()),
        email: Some("jane@acme.example".into()),
        ..Contact::default()
    }
}

fn person(contact: &Contact) -> Person {
    Person::made_up(contact)
}

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, headers: vec![("Retry-After".into(), " 17 ".into())], body: body.as_bytes().to_vec() }
}

/// 2026-10-21 07:27:00 UTC.
const NOW: i64 = 1_792_567_620;

fn fault(config: &Config, answer: &Answer) -> Fault {
    match config.read(answer, NOW) {
        Verdict::Failed(fault) => fault,
        other => panic!("expected a fault, not {other:?}"),
    }
}

fn body_of(config: &Config) -> String {
    let request = config.request(&person(&jane()), Some(SECRET)).unwrap();
    String::from_utf8(request.body.unwrap()).unwrap()
}

#[test]
fn a_request_holds_what_is_known_and_nothing_else() {
    let request = people_data_labs().request(&person(&jane()), Some("key\n")).unwrap();
    assert_eq!(request.method, Method::Get);
    assert_eq!(
        request.url,
        "https://api.peopledatalabs.com/v5/person/enrich\
         ?email=jane%40acme.example&name=Jane%20Doe&company=acme.example&titlecase=true&min_likelihood=2"
    );
    assert_eq!(request.body, None);
    let headers: Vec<_> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("X-Api-Key", "key"), ("Accept", "application/json")]);
}

#[test]
fn contacts_without_an_identifying_set_are_not_asked_about() {
    let config = people_data_labs();
    let mut contact = jane();
    contact.email = Some("  ".into());
    assert!(!config.identifies(&person(&contact)));
    assert!(config.request(&person(&contact), Some("k")).is_none());
    contact.values.set(Field::COMPANY_NAME, "Acme".into());
    assert!(config.identifies(&person(&contact)));
    assert!(config.request(&person(&contact), Some("k")).is_some());

    let by_path = Config::parse(&json!({
        "request": {"url": "https://h/{phone}"},
        "identify_by": [["email"]],
        "response": {"fields": {"job_title": "/t"}}
    }))
    .unwrap();
    assert!(!by_path.identifies(&person(&jane())));
    assert!(by_path.request(&person(&jane()), None).is_none());
    assert!(!by_path.needs_secret());
}

#[test]
fn query_parameters_follow_those_in_the_url() {
    let config = Config::parse(&json!({
        "request": {
            "url": "https://h/x?key={secret}&phone={phone}",
            "query": {"a b": "x {email}", "n": 5, "flag": true}
        },
        "identify_by": [["email"]],
        "response": {"fields": {"job_title": "/t"}}
    }))
    .unwrap();
    let request = config.request(&person(&jane()), Some("k&1")).unwrap();
    assert_eq!(request.url, "https://h/x?key=k%261&a%20b=x%20jane%40acme.example&n=5&flag=true");
}

#[test]
fn json_bodies_leave_out_members_and_elements_that_are_empty() {
    let config = post(
        json!({"who": {"mail": "{email}", "phone": "{phone}"}, "tags": ["{phone}", "{full_name}", 1], "z": null}),
        json!({}),
    );
    let sent: Value = serde_json::from_str(&body_of(&config)).unwrap();
    assert_eq!(sent, json!({"who": {"mail": "jane@acme.example"}, "tags": ["Jane Doe", 1], "z": null}));
    let request = config.request(&person(&jane()), None).unwrap();
    let expected = ("Content-Type".to_owned(), "application/json".to_owned());
    assert!(request.headers.contains(&expected));
}

#[test]
fn lists_lose_what_has_nothing_to_tell() {
    let sent = |body: Value| -> Value {
        let config = post(json!({"mail": "{email}", "x": body}), json!({}));
        serde_json::from_str::<Value>(&body_of(&config)).unwrap()["x"].clone()
    };
    let gone = Value::Null;
    for (body, expected) in [
        (json!(["{linkedin_url}"]), gone.clone()),
        (json!([{"service": "linkedin", "url": "{linkedin_url}"}]), gone.clone()),
        (
            json!([{"service": "mail", "at": "{email}", "url": "{phone}"}]),
            json!([{"service": "mail", "at": "jane@acme.example"}]),
        ),
        (json!([{"k": "{secret}", "url": "{phone}"}, {"k": "{secret}"}]), json!([{"k": SECRET}])),
        (json!([{"deep": {"deeper": [{"a": 1, "b": "{phone}"}]}}]), gone.clone()),
        (json!([["{phone}"], ["{email}"]]), json!([["jane@acme.example"]])),
        (json!({"url": "{phone}"}), gone.clone()),
        (json!({"kind": 1, "url": "{phone}"}), json!({"kind": 1})),
        // What says nothing of the contact by intention stays as it is.
        (json!([{"service": "linkedin"}, [], {}]), json!([{"service": "linkedin"}, [], {}])),
        (json!([]), json!([])),
    ] {
        assert_eq!(sent(body.clone()), expected, "{body}");
    }
    let rootless = post(json!(["{phone}"]), json!({"X-Mail": "{email}"}));
    assert_eq!(body_of(&rootless), "[]");
}

#[test]
fn a_request_that_tells_nothing_of_the_contact_is_not_sent() {
    for (body, headers, sent) in [
        (json!({"url": "{linkedin_url}", "k": "{secret}"}), json!({}), false),
        (json!({"a": 1, "p": "{phone}"}), json!({"X": "{secret}"}), false),
        (json!("url {linkedin_url}"), json!({}), false),
        (json!("url {linkedin_url} {full_name}"), json!({}), true),
        (json!({"a": 1}), json!({"X": "{email}"}), true),
    ] {
        let config = post(body.clone(), headers);
        assert_eq!(config.identifies(&person(&jane())), sent, "{body}");
        assert_eq!(config.request(&person(&jane()), Some(SECRET)).is_some(), sent, "{body}");
    }
}

#[test]
fn text_bodies_are_written_in_the_manner_of_their_type() {
    let form = json!({"content-type": "application/x-www-form-urlencoded"});
    let config = post(json!("key={secret}&phone={phone}&mail={email}"), form);
    assert_eq!(body_of(&config), "key=s3%2Fcr%22et%2B%C3%BC&mail=jane%40acme.example");

    let typed = json!({"Content-Type": "application/vnd.x+json"});
    let config = post(json!("{{\"key\": \"{secret}\", \"p\": \"{phone}\", \"m\": \"{email}\"}}"), typed);
    let sent: Value = serde_json::from_str(&body_of(&config)).unwrap();
    assert_eq!(sent, json!({"key": SECRET, "p": "", "m": "jane@acme.example"}));

    let config = post(json!("mail {email}"), json!({}));
    assert_eq!(body_of(&config), "mail jane@acme.example");
}

#[test]
fn the_secret_is_masked_wherever_it_went() {
    let bodies = [
        (json!({"a": ["{secret}"], "b": "x{secret}y"}), "application/json"),
        (json!("a={secret}&b=1"), "application/x-www-form-urlencoded"),
        (json!("{{\"k\": \"{secret}\"}}"), "application/json"),
        (json!("plain {secret}"), "text/plain"),
    ];
    for (body, content_type) in bodies {
        let config = Config::parse(&json!({
            "request": {
                "method": "POST",
                "url": "https://h/{secret}/x?k={secret}",
                "query": {"q": "{secret}", "m": "{email}"},
                "headers": {"Authorization": "Bearer {secret}", "Content-Type": content_type},
                "body": body
            },
            "identify_by": [["email"]],
            "response": {"fields": {"job_title": "/t"}}
        }))
        .unwrap();
        let request = config.request(&person(&jane()), Some(SECRET)).unwrap();
        assert!(request.url.contains("s3%2Fcr%22et"));
        let shown = [request.masked().to_string(), format!("{request:?}")];
        for text in shown {
            assert!(!text.contains("s3") && !text.contains("et+"), "{text}");
        }
        assert_eq!(request.masked()["url"], "https://h/***/x?k=***&q=***&m=jane%40acme.example");
        assert_eq!(request.masked()["headers"]["Authorization"], "Bearer ***");
    }
}

#[test]
fn without_a_secret_its_parameters_are_left_out() {
    let request = people_data_labs().request(&person(&jane()), None).unwrap();
    assert!(request.headers.iter().all(|(name, _)| name != "X-Api-Key"));
    assert_eq!(request.masked()["method"], "GET");
    assert_eq!(request.masked()["body"], Value::Null);
}

#[test]
fn a_match_is_mapped_and_normalised() {
    let body = json!({
        "status": 200, "likelihood": 8,
        "data": {
            "job_title": "Chief Tester", "job_company_name": "Acme", "linkedin_url": "linkedin.com/in/janedoe-test",
            "mobile_phone": true, "phone_numbers": ["+15550100"], "location_name": "Bern", "job_title_levels": ["cxo"]
        }
    });
    let Verdict::Match { values, confidence } = people_data_labs().read(&answer(200, &body.to_string()), NOW)
    else {
        panic!("expected a match");
    };
    let listed: Vec<_> = values.iter().map(|(f, v)| (f.name(), v.as_str())).collect();
    assert_eq!(
        listed,
        [
            ("job_title", "Chief Tester"),
            ("company_name", "Acme"),
            ("linkedin_url", "https://www.linkedin.com/in/janedoe-test"),
            ("phone", "+15550100"),
            ("location", "Bern"),
            ("seniority", "c_suite"),
        ]
    );
    assert_eq!(confidence, Some(0.8));
}

#[test]
fn withheld_values_are_not_text() {
    let body = json!({"data": {"mobile_phone": true, "location_name": true, "job_title": "Tester", "linkedin_url": false}});
    let Verdict::Match { values, confidence } = people_data_labs().read(&answer(200, &body.to_string()), NOW)
    else {
        panic!("expected a match");
    };
    assert_eq!(values.fields().names(), ["job_title"]);
    assert_eq!(confidence, None);
    let body = json!({"data": {"mobile_phone": true}});
    assert_eq!(people_data_labs().read(&answer(200, &body.to_string()), NOW), Verdict::NoMatch);
}

#[test]
fn no_match_is_what_the_description_says_it_is() {
    let config = people_data_labs();
    let not_found = r#"{"status": 404, "error": {"type": "not_found", "message": "No records were found"}}"#;
    assert_eq!(config.read(&answer(404, not_found), NOW), Verdict::NoMatch);
    for body in ["not even JSON", "<html>", "", "{}", r#"{"message": "no Route matched with those values"}"#]
    {
        assert_eq!(fault(&config, &answer(404, body)).kind, FaultKind::Unrecognised, "{body}");
    }
    let mut absent = preset("people_data_labs");
    absent["response"]["no_match"] = json!({"absent": "/data"});
    let absent = Config::parse(&absent).unwrap();
    for body in [r#"{"data":null}"#, r#"{"data":{}}"#, r#"{"data":[]}"#, r#"{"data":" "}"#, "[]"] {
        assert_eq!(config.read(&answer(200, body), NOW), Verdict::NoMatch, "{body}");
        assert_eq!(absent.read(&answer(200, body), NOW), Verdict::NoMatch, "{body}");
    }
    for body in ["{}", "1", "", " \n"] {
        assert_eq!(fault(&config, &answer(200, body)).kind, FaultKind::Unrecognised, "{body}");
        assert_eq!(absent.read(&answer(200, body), NOW), Verdict::NoMatch, "{body}");
    }
    assert_eq!(config.read(&answer(204, ""), NOW), Verdict::NoMatch);
    let plain = post(json!({"mail": "{email}"}), json!({}));
    assert_eq!(fault(&plain, &answer(404, "")).kind, FaultKind::BadStatus);
    assert!(fault(&plain, &answer(404, "<html></html>")).remedy.is_some_and(|r| r.contains("check the URL")));
    assert_eq!(plain.read(&answer(204, ""), NOW), Verdict::NoMatch);
    assert_eq!(fault(&plain, &answer(202, "{}")).kind, FaultKind::Pending);
    for body in ["{}", "", r#"{"error": "x"}"#, r#"{"x": {"t": "y"}}"#, "7", "[1]"] {
        let fault = fault(&plain, &answer(200, body));
        assert_eq!(fault.kind, FaultKind::Unrecognised, "{body}");
        assert!(fault.remedy.is_some_and(|r| r.contains("no_match")), "{body}");
    }
    assert_eq!(plain.read(&answer(200, "[]"), NOW), Verdict::NoMatch);
    assert_eq!(plain.read(&answer(200, r#"{"t": null}"#), NOW), Verdict::NoMatch);
    assert_eq!(plain.read(&answer(200, "\u{feff}{\"t\":\"\"}"), NOW), Verdict::NoMatch);
}

#[test]
fn other_statuses_are_faults_of_their_kind() {
    let config = people_data_labs();
    for (status, kind) in [
        (101, FaultKind::BadStatus),
        (301, FaultKind::Redirect),
        (300, FaultKind::BadStatus),
        (304, FaultKind::BadStatus),
        (305, FaultKind::BadStatus),
        (308, FaultKind::Redirect),
        (400, FaultKind::BadStatus),
        (401, FaultKind::BadCredentials),
        (402, FaultKind::Quota),
        (403, FaultKind::BadCredentials),
        (410, FaultKind::BadStatus),
        (429, FaultKind::RateLimited),
        (500, FaultKind::ServerError),
        (599, FaultKind::ServerError),
    ] {
        let fault = fault(&config, &answer(status, r#"{"error": "body text"}"#));
        assert_eq!(fault.kind, kind, "{status}");
        assert_eq!(fault.retry_after_s, Some(17));
        assert!(fault.message.contains(&status.to_string()));
        assert!(!fault.message.contains("body text"));
    }
}

#[test]
fn a_refusal_for_legal_reasons_is_one_unless_the_description_says_otherwise() {
    let plain = post(json!({"m": "{email}"}), json!({}));
    assert_eq!(plain.read(&answer(451, "{}"), NOW), Verdict::Suppressed);
    for body in ["", "<html>Not in your country</html>", "Unavailable"] {
        assert_eq!(fault(&plain, &answer(451, body)).kind, FaultKind::Unrecognised, "{body}");
    }
    let vendors = people_data_labs();
    assert_eq!(vendors.read(&answer(451, r#"{"error": {"type": "opt_out"}}"#), NOW), Verdict::Suppressed);
    assert_eq!(fault(&vendors, &answer(451, r#"{"message": "no"}"#)).kind, FaultKind::Unrecognised);
    let mut own = preset("people_data_labs");
    own["response"]["failed"] = json!({"status": [451]});
    let own = Config::parse(&own).unwrap();
    assert_eq!(fault(&own, &answer(451, "{}")).kind, FaultKind::ProviderError);
}

#[test]
fn costs_are_reported_with_answers_of_any_kind() {
    let mut own = preset("people_data_labs");
    own["response"]["cost"] = json!({"pointer": "/spent"});
    let own = Config::parse(&own).unwrap();
    for (status, body, cost) in [
        (200, r#"{"spent": 2, "data": {"job_title": "x"}}"#, Some(2.0)),
        (404, r#"{"spent": 1}"#, Some(1.0)),
        (500, r#"{"spent": "1.5"}"#, Some(1.5)),
        (500, "no JSON", None),
    ] {
        assert_eq!(
            own.read_all(&answer(status, body), NOW, &Whom::default()).1,
            cost.map(Reported::Credits),
            "{status} {body}"
        );
    }
}

#[test]
fn retry_after_is_understood_in_every_form_of_http() {
    let config = people_data_labs();
    for (text, seconds) in [
        ("0", Some(0)),
        ("17", Some(17)),
        ("1.5", Some(2)),
        ("Wed, 21 Oct 2026 07:28:00 GMT", Some(60)),
        ("Wednesday, 21-Oct-26 07:28:00 GMT", Some(60)),
        ("Wed Oct 21 07:28:00 2026", Some(60)),
        // Over already.
        ("Wed, 21 Oct 2026 07:26:00 GMT", Some(0)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        // No meaning, or none that anybody could have.
        ("", None),
        ("-1", None),
        ("tomorrow", None),
        ("Wed, 21 Oct 2026 25:28:00 GMT", None),
        ("99999999999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
    ] {
        let mut dated = answer(429, "");
        dated.headers[0].1 = format!(" {text} ");
        assert_eq!(fault(&config, &dated).retry_after_s, seconds, "{text}");
    }
}

#[test]
fn unreadable_successes_are_faults_and_never_panics() {
    let config = people_data_labs();
    let deep = "[".repeat(100_000);
    assert_eq!(fault(&config, &answer(200, "<html>")).kind, FaultKind::Unrecognised);
    for body in ["{", "{\"data\": }", "nul", deep.as_str(), "{} trailing"] {
        assert_eq!(fault(&config, &answer(200, body)).kind, FaultKind::BadJson);
    }
}

#[test]
fn one_bad_character_costs_no_more_than_itself() {
    let read = |body: &[u8]| people_data_labs().read(&Answer { body: body.to_vec(), ..answer(200, "") }, NOW);
    for body in [
        &b"{\"data\": {\"job_title\": \"CEO\", \"headline\": \"\xff\"}}"[..],
        br#"{"data": {"job_title": "CEO", "headline": "\ud83d"}}"#,
        br#"{"likelihood": NaN, "data": {"job_title": "CEO", "score": -Infinity}}"#,
    ] {
        let Verdict::Match { values, confidence: None } = read(body) else { panic!("{:?}", read(body)) };
        assert_eq!(values.get(Field::JOB_TITLE).unwrap(), "CEO");
    }
    // It is no value by itself.
    assert_eq!(read(br#"{"data": {"job_title": "\ud800 \udc00"}}"#), Verdict::NoMatch);
}

#[test]
fn merging_follows_rfc_7386() {
    // The appendix's examples.
    for (under, over, merged) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merge_preset(&under, &over).unwrap(), merged, "{under} + {over}");
    }
}

#[test]
fn a_rule_of_another_form_replaces_the_presets() {
    let under = preset("people_data_labs");
    let over = json!({"response": {
        "fields": {
            "linkedin_url": {"join": ["/a", "/b"]},
            "seniority": {"map": {"boss": "head"}},
            "phone": null
        },
        "confidence": {"value": 0.5}
    }});
    let merged = merge_preset(&under, &over).unwrap();
    let fields = &merged["response"]["fields"];
    assert_eq!(fields["linkedin_url"], json!({"join": ["/a", "/b"]}));
    assert_eq!(fields["seniority"]["map"]["boss"], "head");
    assert_eq!(fields["seniority"]["map"]["cxo"], "c_suite");
    assert_eq!(merged["response"]["confidence"], json!({"value": 0.5}));
    assert_eq!(Config::parse(&merged).unwrap().fills().iter().count(), 5);
    // Names of parameters are not forms.
    let query = |name: &str| json!({"request": {"query": {name: "x"}}});
    let merged = merge_preset(&query("pointer"), &query("value")).unwrap();
    assert_eq!(merged["request"]["query"], json!({"pointer": "x", "value": "x"}));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[/~{}a-z0-9]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof!["[a-z]{0,3}", Just("pointer".to_owned()), Just("join".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_answer_makes_reading_panic(status in 100u16..600, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = people_data_labs().read(&Answer { status, headers: vec![], body }, NOW);
    }

    #[test]
    fn no_json_in_any_place_makes_parsing_panic(value in any_json(), place in 0usize..8) {
        let places = ["", "/request", "/request/url", "/request/headers", "/request/query", "/identify_by",
            "/response/fields", "/response/confidence"];
        let mut config = preset("people_data_labs");
        *config.pointer_mut(places[place]).unwrap() = value;
        let _ = Config::parse(&config);
    }

    #[test]
    fn a_masked_request_never_holds_the_secret(secret in "[!-~]{6,20}", name in "[a-z ]{1,9}") {
        let config = post(json!({"k": "{secret}", "n": "{full_name}", "m": "{email}"}), json!({"A": "x {secret}", "B": "{full_name}"}));
        let contact = Contact { full_name: Some(name), ..jane() };
        let masked = config.request(&person(&contact), Some(&secret)).unwrap().masked();
        prop_assert_eq!(&masked["headers"]["A"], "x ***");
        prop_assert_eq!(&masked["body"]["k"], "***");
    }
}
