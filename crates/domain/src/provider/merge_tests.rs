use serde_json::json;

use super::*;
use crate::provider::{Answer, Config, Verdict, presets};

fn preset(name: &str) -> Value {
    serde_json::from_str(presets::preset(name).unwrap()).unwrap()
}

#[test]
fn nulls_that_a_merge_would_lose_are_refused() {
    let field = |rule: Value| json!({"response": {"fields": {"seniority": rule}}});
    for (over, place) in [
        (field(json!({"map": {"n/a": null}})), "/response/fields/seniority/map/n~1a"),
        (
            field(json!({"list": "/x", "where": {"/y": null}, "pointer": "/z"})),
            "/response/fields/seniority/where/~1y",
        ),
    ] {
        assert_eq!(merge_preset(&preset("people_data_labs"), &over).unwrap_err().place, place, "{over}");
    }
    for over in [
        field(json!({"map": null})),
        field(json!({"map": {"unpaid": ""}})),
        json!({"request": {"body": {"map": {"x": null}}}}),
    ] {
        merge_preset(&preset("people_data_labs"), &over).unwrap();
    }
    let without = merge_preset(&preset("people_data_labs"), &field(json!({"map": {"unpaid": ""}}))).unwrap();
    let body = json!({"data": {"job_title": "Tester", "job_title_levels": ["unpaid"]}}).to_string();
    let answer = Answer { status: 200, headers: Vec::new(), body: body.into_bytes() };
    let Verdict::Match { values, .. } = Config::parse(&without).unwrap().read(&answer, 0) else {
        panic!("expected a match");
    };
    assert_eq!(values.fields().names(), ["job_title"]);
}

#[test]
fn a_bulk_request_goes_with_the_request_in_whose_place_it_stands() {
    let under = json!({
        "request": {"url": "https://api.acme.example/one"},
        "bulk": {"request": {"url": "https://api.acme.example/all"}, "most": 10}
    });
    let merged = |over: Value| merge_preset(&under, &over).unwrap();
    assert_eq!(merged(json!({"timeout_ms": 9}))["bulk"], under["bulk"]);
    assert_eq!(merged(json!({"bulk": {"most": 5}}))["bulk"]["request"], under["bulk"]["request"]);
    for over in [
        json!({"bulk": null}),
        json!({"request": {"url": "https://sandbox.acme.example/one"}}),
        json!({"request": {"query": {"min": 6}}}),
        json!({"steps": []}),
    ] {
        assert_eq!(merged(over.clone()).get("bulk"), None, "{over}");
    }
    let both =
        json!({"request": {"url": "https://x.example"}, "bulk": {"request": {"url": "https://y.example"}}});
    assert_eq!(merged(both)["bulk"], json!({"request": {"url": "https://y.example"}, "most": 10}));
}
