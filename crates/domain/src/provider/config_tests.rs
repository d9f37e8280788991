use serde_json::json;

use super::*;
use crate::provider::{ConfigError, merge_preset, presets};

/// The example that the contract shows.
pub fn example() -> Value {
    json!({
        "request": {
            "method": "GET",
            "url": "https://api.example.com/v5/person/enrich",
            "headers": {"X-Api-Key": "{secret}"},
            "query": {"email": "{email}", "name": "{full_name}", "company": "{company_name}", "profile": "{linkedin_url}"},
            "body": null
        },
        "identify_by": [["email"], ["linkedin_url"], ["full_name", "company_name"]],
        "response": {
            "no_match": {"status": [404], "absent": "/data"},
            "fields": {
                "job_title": "/data/job_title",
                "phone": ["/data/mobile_phone", "/data/phone_numbers/0"],
                "location": {"join": ["/person/city", "/person/state", "/person/country"], "separator": ", "},
                "linkedin_url": {"pointer": "/data/linkedin/handle", "prefix": "https://www.linkedin.com/in/"},
                "seniority": {"pointer": "/data/level", "map": {"cxo": "c_suite"}}
            },
            "confidence": {"pointer": "/likelihood", "divide_by": 10}
        },
        "timeout_ms": 5000,
        "max_requests_per_minute": 300,
        "max_requests_per_day": 10000
    })
}

/// The example with one place changed (or, with null, taken away).
fn with(pointer: &str, value: Value) -> Value {
    let mut config = example();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = config.pointer_mut(parent).expect(pointer);
    let key = key.replace("~1", "/").replace("~0", "~");
    match parent {
        Value::Object(members) => {
            members.insert(key, value);
        }
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        _ => panic!("nothing to change at {pointer}"),
    }
    config
}

fn refusal(config: &Value) -> ConfigError {
    parse(config).expect_err(&config.to_string())
}

#[test]
fn the_example_of_the_contract_is_accepted() {
    let config = parse(&example()).unwrap();
    assert_eq!(config.timeout_ms(), Some(5000));
    assert_eq!(config.max_requests_per_minute(), Some(300));
    assert_eq!(config.max_requests_per_day(), Some(10_000));
    assert!(config.needs_secret());
    assert_eq!(config.fills().names(), ["job_title", "linkedin_url", "phone", "location", "seniority"]);
}

#[test]
fn null_is_the_same_as_leaving_out_what_is_optional() {
    for place in [
        "/timeout_ms",
        "/max_requests_per_minute",
        "/max_requests_per_day",
        "/request/method",
        "/request/headers",
        "/request/query",
        "/request/query/email",
        "/request/headers/X-Api-Key",
        "/response/no_match",
        "/response/no_match/absent",
        "/response/no_match/status",
        "/response/confidence",
        "/response/fields/phone",
        "/response/fields/location/separator",
    ] {
        let mut without = with(place, Value::Null);
        // Something of the contact stays in it.
        without["request"]["url"] = json!("https://api.acme.example/{email}");
        parse(&without).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    for place in [
        "/request",
        "/request/url",
        "/identify_by",
        "/response",
        "/response/fields",
        "/response/fields/linkedin_url/pointer",
    ] {
        let error = refusal(&with(place, Value::Null));
        assert_eq!((error.place.as_str(), error.message.as_str()), (place, "is missing"));
    }
}

#[test]
fn every_mistake_is_refused_with_its_place() {
    let cases = [
        ("/surprise", json!(1), "allowed are about, request, identify_by"),
        ("/request/verb", json!("GET"), "allowed are method, url"),
        (
            "/response/data",
            json!({}),
            "allowed are fields, same_person, confidence, retry_after, cost, balance, suppressed",
        ),
        ("/response/no_match/code", json!(1), "allowed are status, body, absent"),
        ("/request", json!([]), "must be an object, not a list"),
        ("/request/method", json!("PUT"), "GET or POST"),
        ("/request/method", json!("get"), "GET or POST"),
        ("/request/method", json!(1), "must be a text"),
        ("/request/url", json!("ftp://h/"), "https:// or http://"),
        ("/request/url", json!("https://{email}/"), "before its path"),
        ("/request/body", json!({"a": 1}), "method is GET"),
        ("/request/headers", json!("X: y"), "must be an object, not a text"),
        ("/request/headers/X-Api-Key", json!(1), "must be a text"),
        ("/request/headers/X-Api-Key", json!("{sekret}"), "unknown placeholder {sekret}"),
        ("/request/headers/X-Api-Key", json!("a\r\nX-Evil: 1"), "line breaks"),
        ("/request/headers/X-Api-Key", json!("a\u{0}"), "control"),
        ("/request/headers/Bad Name", json!("x"), "not a valid header name"),
        ("/request/headers/X:", json!("x"), "not a valid header name"),
        ("/request/headers/", json!("x"), "not a valid header name"),
        ("/request/headers/{email}", json!("x"), "not a valid header name"),
        ("/request/headers/Host", json!("x"), "set for you"),
        ("/request/headers/content-length", json!("5"), "set for you"),
        ("/request/headers/Transfer-Encoding", json!("chunked"), "set for you"),
        ("/request/headers/CONNECTION", json!("close"), "set for you"),
        ("/request/headers/Accept-Encoding", json!("br"), "set for you"),
        ("/request/headers/x-api-key", json!("x"), "twice"),
        ("/request/query/email", json!("{mail}"), "unknown placeholder {mail}"),
        ("/request/query/email", json!([]), "empty list"),
        ("/request/query/{email}", json!("x"), "without { and }"),
        ("/request/query/", json!("x"), "must have a name"),
        ("/identify_by", json!([]), "at least one set"),
        ("/identify_by", json!("email"), "must be a list"),
        ("/identify_by/0", json!([]), "at least one name"),
        ("/identify_by/0", json!("email"), "must be a list"),
        ("/identify_by/2/1", json!("company"), "must be one of email"),
        ("/identify_by/2/1", json!("secret"), "must be one of email"),
        ("/identify_by/2/1", json!(5), "must be a text"),
        ("/response/fields", json!({}), "at least one field"),
        ("/response/fields/title", json!("/a"), "job_title, company_name"),
        ("/response/fields/phone", json!("data/phone"), "begins with /"),
        ("/response/fields/phone/1", json!("/a~b"), "~0"),
        ("/response/no_match/status", json!(404), "must be a list"),
        ("/response/no_match/status/0", json!(99), "from 100 to 599"),
        ("/response/no_match/status/0", json!(600), "from 100 to 599"),
        ("/response/no_match/status/0", json!(404.5), "whole number"),
        ("/response/no_match/status/0", json!("404"), "must be a number"),
        ("/response/no_match/absent", json!("data"), "begins with /"),
        ("/response/confidence/divide_by", json!(0), "above 0"),
        ("/timeout_ms", json!(0), "from 1 to 60000"),
        ("/timeout_ms", json!(60_001), "from 1 to 60000"),
        ("/timeout_ms", json!("5s"), "must be a number"),
        ("/timeout_ms", json!(1.5), "whole number"),
        ("/max_requests_per_minute", json!(0), "from 1 to"),
        ("/max_requests_per_day", json!(-1), "from 1 to"),
        ("/max_requests_per_day", json!(1e12), "from 1 to"),
        ("/max_requests_per_second", json!(0), "from 1 to"),
        ("/max_requests_per_second", json!(0.5), "whole number"),
        ("/max_concurrent", json!(0), "from 1 to"),
        ("/max_concurrent", json!("5"), "must be a number"),
        ("/when_limited", json!("stop"), "must be \"next\" or \"wait\""),
        ("/when_limited", json!(true), "must be a text"),
    ];
    for (place, value, part) in cases {
        let config = with(place, value);
        let error = refusal(&config);
        assert_eq!(error.place, place, "{error}");
        assert!(error.message.contains(part), "{place}: {error}");
    }
}

#[test]
fn each_form_of_a_parameter_is_checked() {
    for (list, place, part) in [
        (json!(["{email}", "{mail}"]), "/request/query/email/1", "unknown placeholder {mail}"),
        (json!([["a"]]), "/request/query/email/0", "must be a text, not a list"),
        (json!([null]), "/request/query/email/0", "must be a text, not null"),
        (json!([{"wanted": {"phone": "x"}}]), "/request/query/email/0", "must be a text, not an object"),
    ] {
        let error = refusal(&with("/request/query/email", list.clone()));
        assert_eq!(error.place, place, "{list}");
        assert!(error.message.contains(part), "{list}: {error}");
    }
    assert!(parse(&with("/request/query/email", json!(["{email}", "none", 1]))).is_ok());
}

#[test]
fn a_description_must_be_an_object() {
    for wrong in [json!(null), json!([]), json!("x"), json!(1)] {
        let error = refusal(&wrong);
        assert_eq!(error.place, "");
        assert!(error.to_string().starts_with("the description must be an object"));
    }
    assert_eq!(refusal(&json!({})).place, "/request");
}

#[test]
fn bodies_are_checked_at_any_depth() {
    let post = |body: Value| {
        let mut config = with("/request/method", json!("POST"));
        config["request"]["body"] = body;
        parse(&config)
    };
    post(json!({"people": [{"mail": "{email}", "n": 1, "t": true, "z": null}]})).unwrap();
    post(json!("email={email}")).unwrap();
    post(json!([])).unwrap();
    for (body, place) in [
        (json!({"people": [{"mail": "{mail}"}]}), "/request/body/people/0/mail"),
        (json!({"a/b": {"{email}": 1}}), "/request/body/a~1b/{email}"),
        (json!("{mail}"), "/request/body"),
        (json!(5), "/request/body"),
        (json!(true), "/request/body"),
    ] {
        assert_eq!(post(body.clone()).unwrap_err().place, place, "{body}");
    }
}

#[test]
fn whole_numbers_may_have_a_point_zero() {
    let config = parse(&with("/timeout_ms", json!(2500.0))).unwrap();
    assert_eq!(config.timeout_ms(), Some(2500));
}

#[test]
fn presets_are_complete_but_for_what_the_user_must_give() {
    assert_eq!(presets::names().len(), 15);
    assert!(presets::names().is_sorted());
    assert_eq!(presets::preset("people"), None);
    let read = |name| serde_json::from_str::<Value>(presets::preset(name).unwrap()).unwrap();

    let vendor = parse(&read("people_data_labs")).unwrap();
    assert!(vendor.needs_secret());
    assert_eq!(vendor.fills().iter().count(), 6);

    for (name, place) in [("snov", "/login/request/body/client_id"), ("zoominfo", "/login/request/body")] {
        let error = refusal(&read(name));
        assert_eq!(error.place, place, "{name}");
        assert!(error.message.contains("unknown placeholder {client_id}"), "{name}: {error}");
    }
    let generic = read("generic");
    let error = refusal(&generic);
    assert_eq!((error.place.as_str(), error.message.as_str()), ("/request/url", "is missing"));
    let own = json!({"request": {"url": "https://people.example.com/find"}});
    let complete = parse(&merge_preset(&generic, &own).unwrap()).unwrap();
    assert_eq!(complete.fills().iter().count(), 6);
}

#[test]
fn a_placeholder_in_a_response_is_refused_with_its_place() {
    for (pointer, value, place) in [
        (
            "/response/failed",
            json!({"body": [{"pointer": "/email", "not_in": ["{email}"]}]}),
            "/response/failed/body/0/not_in/0",
        ),
        (
            "/response/no_match",
            json!({"body": [{"pointer": "/x/{email}", "present": true}]}),
            "/response/no_match/body/0/pointer",
        ),
        ("/response/fields/job_title", json!("/data/{full_name}"), "/response/fields/job_title"),
        (
            "/response/fields/seniority/map",
            json!({"a": "{company_name}"}),
            "/response/fields/seniority/map/a",
        ),
        (
            "/response/fields/seniority/map",
            json!({"{secret}": "a"}),
            "/response/fields/seniority/map/{secret}",
        ),
        ("/response/same_person", json!({"email": "/{email}"}), "/response/same_person/email"),
        ("/response/cost", json!({"header": "{secret}"}), "/response/cost/header"),
        ("/response/confidence", json!("/{linkedin_handle}"), "/response/confidence"),
    ] {
        let error = refusal(&with(pointer, value.clone()));
        assert_eq!(error.place, place, "{value}: {}", error.message);
        assert!(error.message.contains("placeholder"), "{}", error.message);
    }
    // Other braces are texts of the vendor's.
    let braces = json!({"body": [{"pointer": "/error", "contains": "no {thing}"}]});
    assert!(parse(&with("/response/failed", braces)).is_ok());
}

#[test]
fn whom_an_answer_names_is_described_like_a_field() {
    let rule =
        json!({"email": ["/email", "/emails"], "full_name": {"join": ["/first", "/last"], "separator": " "}});
    assert!(parse(&with("/response/same_person", rule.clone())).is_ok());
    assert!(parse(&with("/response/same_person", json!([rule, {"last_name": "/last"}]))).is_ok());
    for (wrong, place) in [
        (json!({"company_domain": "/domain"}), "/response/same_person/company_domain"),
        (json!({"email": "email"}), "/response/same_person/email"),
        (json!([]), "/response/same_person"),
    ] {
        assert_eq!(refusal(&with("/response/same_person", wrong)).place, place);
    }
}

#[test]
fn limits_are_read_and_a_call_goes_on_unless_it_is_to_wait() {
    use crate::provider::{Fault, FaultKind};
    use crate::throttle::Limits;
    let config = Config::parse(&example()).unwrap();
    assert_eq!(config.throttle(), Limits { per_minute: Some(300), ..Limits::default() });
    let mut limited = example();
    limited["max_concurrent"] = json!(5);
    limited["max_requests_per_second"] = json!(10);
    limited["max_requests_per_minute"] = json!(null);
    limited["when_limited"] = json!("wait");
    let limited = Config::parse(&limited).unwrap();
    assert_eq!(limited.throttle(), Limits { concurrent: Some(5), per_second: Some(10), ..Limits::default() });
    let fault = |kind| Fault::new(kind, "why");
    for kind in [FaultKind::RateLimited, FaultKind::ProviderLimit] {
        let held = limited.held(fault(kind));
        assert_eq!((held.holds, held.kind), (true, FaultKind::RateLimited));
        assert_eq!(config.held(fault(kind)), fault(kind));
    }
    for kind in [FaultKind::Quota, FaultKind::Timeout, FaultKind::BreakerOpen] {
        assert_eq!(limited.held(fault(kind)), fault(kind), "that is no limit");
    }
}
