use serde_json::json;

use super::*;
use crate::provider::{ConfigError, merge_preset};

/// The example of the contract.
fn example() -> Value {
    json!({
        "login": {
            "request": {"method": "POST", "url": "https://api.example.com/oauth/token", "body": {"client_id": "me", "client_secret": "{secret}"}},
            "take": {"token": "/access_token"}, "valid_for": {"pointer": "/expires_in"}
        },
        "identify_by": [["linkedin_url"], ["full_name", "company_domain"]], "send": "used_set",
        "poll_every_s": 10, "poll_for_s": 600,
        "steps": [
            {"request": {"method": "POST", "url": "https://api.example.com/v2/enrich", "headers": {"Authorization": "Bearer {token}"},
                         "body": {"data": [{"full_name": "{full_name}", "domain": "{company_domain}", "linkedin": "{linkedin_url}"}],
                                  "want": {"wanted": {"phone": "phones", "job_title": "profile"}}}},
             "response": {}, "take": {"ticket": "/enrichment_id"}},
            {"request": {"url": "https://api.example.com/v2/enrich/{ticket}", "headers": {"Authorization": "Bearer {token}"}},
             "response": {"pending": {"body": [{"pointer": "/status", "in": ["IN_PROGRESS"]}]}, "ticket_unknown": {"status": [404]},
                          "fields": {"phone": "/data/0/phone"}}}
        ]
    })
}

fn with(place: &str, value: Value) -> Value {
    let mut description = example();
    let (parent, key) = place.rsplit_once('/').unwrap();
    match description.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        object => object[key] = value,
    }
    description
}

fn refusal(description: &Value) -> ConfigError {
    parse(description).expect_err(&description.to_string())
}

#[test]
fn the_example_of_the_contract_is_accepted() {
    let config = parse(&example()).unwrap();
    assert!(config.has_steps() && config.login().is_some() && config.needs_secret());
    assert_eq!((config.poll_every_s(), config.poll_for_s()), (10, 600));
    assert_eq!(config.when_pending(), WhenPending::Wait);
    assert_eq!((config.maps().names(), config.fills().names()), (vec!["phone"], vec!["phone"]));
    assert!(config.origins().contains("https://api.example.com:443"));
}

#[test]
fn one_step_is_what_a_request_and_a_response_are() {
    let (request, response) =
        (json!({"url": "https://h/x", "query": {"e": "{email}"}}), json!({"fields": {"phone": "/p"}}));
    let one = json!({"identify_by": [["email"]], "request": request, "response": response});
    let step = json!({"identify_by": [["email"]], "steps": [{"request": request, "response": response}]});
    assert_eq!(parse(&one), parse(&step));
    let config = parse(&one).unwrap();
    assert!(!config.has_steps());
    assert_eq!((config.poll_every_s(), config.poll_for_s(), config.min_confidence()), (10, 600, None));
}

#[test]
fn every_mistake_is_refused_with_its_place() {
    let ticket = |text: &str| json!({"url": text});
    for (place, value, part) in [
        ("/request", json!({"url": "https://h/"}), "must be left out where there are \"steps\""),
        ("/response", json!({"fields": {"phone": "/p"}}), "must be left out where there are \"steps\""),
        ("/steps", json!([]), "at least one step"),
        ("/steps", json!({}), "must be a list"),
        ("/steps", Value::Array(vec![json!({}); 9]), "more than 8 steps"),
        ("/steps/0", json!([]), "must be an object"),
        ("/steps/0/takes", json!({}), "allowed are request, response, take"),
        ("/steps/0/request", Value::Null, "is missing"),
        ("/steps/1/response", Value::Null, "is missing"),
        ("/steps/0/take", json!({}), "at least one place"),
        ("/steps/0/take/token", json!("/x"), "takes {token} a second time"),
        ("/steps/0/take/email", json!("/x"), "placeholder of ours"),
        ("/steps/0/take/secret", json!("/x"), "placeholder of ours"),
        ("/steps/1/take", json!({"ticket": "/x"}), "/steps/1/take/ticket takes {ticket} a second time"),
        ("/steps/1/response/fields", Value::Null, "is missing"),
        ("/steps/1/response/fields", json!({}), "at least one field"),
        ("/steps/0/response/fields", json!({}), "at least one field"),
        ("/steps/0/response/ticket_unknown", json!({"status": [404]}), "no ticket that could be unknown"),
        (
            "/steps/1/response/ticket_unknown",
            json!({"statuses": [404]}),
            "/steps/1/response/ticket_unknown/statuses",
        ),
        ("/steps/1/response/pending", json!({"absent": "/x"}), "/steps/1/response/pending/absent"),
        ("/steps/1/response/no_match", json!({"status": [404]}), "another rule"),
        ("/steps/1/response/fields/phone", json!("/{ticket}"), "has the placeholder {ticket}"),
        ("/steps/0/response/confidence", json!("/{token}"), "has the placeholder {token}"),
        ("/steps/0/request", ticket("https://h/{ticket}"), "which only /steps/0/take takes"),
        ("/steps/1/request", ticket("https://{ticket}.example.com/x"), "before its path"),
        ("/steps/1/request", ticket("https://h:{ticket}/x"), "before its path"),
        ("/steps/1/request", ticket("https://h/{tickets}"), "known are {email}"),
        ("/steps/1/request", ticket("https://h/{tickets}"), "{token}, {ticket}"),
        ("/steps/0/request/body/want", json!({"wanted": {}}), "at least one field"),
        ("/steps/0/request/body/want", json!({"wanted": {"mail": "x"}}), "is not one of the fields"),
        ("/steps/0/request/body/want", json!({"wanted": {"phone": 1}}), "must be a text"),
        ("/steps/0/request/body/want", json!({"wanted": {"phone": ""}}), "vendor's word"),
        ("/steps/0/request/body/want", json!({"wanted": {"phone": "{email}"}}), "vendor's word"),
        ("/steps/0/request/body/want", json!({"wanted": {"phone": "x"}, "more": 1}), "allowed are wanted"),
        ("/steps/0/request/headers/X", json!({"wanted": {"phone": "x"}}), "must be a text"),
        ("/send", json!("some"), "\"all\" or \"used_set\""),
        ("/send", json!(true), "must be a text"),
        ("/when_pending", json!("never"), "\"wait\" or \"next\""),
        ("/when_pending", json!("queue"), "for the setting leadlex.when_pending"),
        ("/poll_every_s", json!(0), "from 1 to 3600"),
        ("/poll_every_s", json!(3_601), "from 1 to 3600"),
        ("/poll_every_s", json!(1.5), "whole number"),
        ("/poll_for_s", json!(0), "from 1 to 2592000"),
        ("/poll_for_s", json!(2_592_001), "from 1 to 2592000"),
        ("/poll_for_s", json!(9), "less than poll_every_s"),
        ("/min_confidence", json!(1.1), "from 0 to 1"),
        ("/min_confidence", json!("0.5"), "must be a number"),
        ("/min_confidence", json!(0.5), "no response has a \"confidence\""),
        ("/idempotency_header", json!("authorization"), "there twice"),
        ("/login", json!("x"), "must be an object"),
    ] {
        let error = refusal(&with(place, value.clone()));
        assert!(error.place.starts_with(place), "{value}: {error}");
        assert!(error.to_string().contains(part), "{place} {value}: {error}");
    }
}

#[test]
fn null_is_the_same_as_leaving_out() {
    for place in
        ["/send", "/poll_every_s", "/poll_for_s", "/when_pending", "/min_confidence", "/request", "/response"]
    {
        parse(&with(place, Value::Null)).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    let unused = with("/steps/1/take", json!({"more": "/cursor"}));
    assert!(parse(&unused).is_ok(), "nothing need use what a step takes");
}

#[test]
fn how_to_poll_means_something_only_where_an_answer_can_be_late() {
    let one = |response: Value, key: &str, value: Value| {
        let mut description = json!({
            "request": {"url": "https://h/x", "query": {"e": "{email}"}}, "identify_by": [["email"]], "response": response
        });
        description[key] = value;
        parse(&description)
    };
    let plain = json!({"fields": {"phone": "/p"}});
    // By itself 202 is such an answer.
    for (key, value) in
        [("poll_every_s", json!(30)), ("poll_for_s", json!(30)), ("when_pending", json!("next"))]
    {
        assert!(one(plain.clone(), key, value.clone()).is_ok(), "{key}");
        for never in
            [json!({"status": [202]}), json!({"body": [{"pointer": "/x", "in": [1], "status": [202]}]})]
        {
            let mut response = plain.clone();
            response["no_match"] = never;
            assert_eq!(one(response.clone(), key, value.clone()).unwrap_err().place, format!("/{key}"));
            response["pending"] = json!({"body": [{"pointer": "/status", "in": ["busy"]}]});
            assert!(one(response, key, value.clone()).is_ok(), "{key}");
        }
    }
    assert_eq!(one(plain.clone(), "poll_every_s", json!(601)).unwrap_err().place, "/poll_every_s");
    assert_eq!(one(plain, "poll_for_s", json!(9)).unwrap_err().place, "/poll_for_s");
}

#[test]
fn steps_are_merged_as_a_whole_and_what_stands_beside_them_as_ever() {
    let merged = |under: &Value, over: Value| merge_preset(under, &over).unwrap();
    let faster = merged(
        &example(),
        json!({"poll_every_s": 3, "timeout_ms": 900, "max_requests_per_minute": 60, "poll_for_s": null}),
    );
    let config = parse(&faster).unwrap();
    assert_eq!((config.poll_every_s(), config.poll_for_s()), (3, 600));
    assert_eq!((config.timeout_ms(), config.max_requests_per_minute()), (Some(900), Some(60)));
    assert_eq!(faster["steps"], example()["steps"]);

    let (request, response) =
        (json!({"url": "https://h/x/{linkedin_handle}"}), json!({"fields": {"phone": "/p"}}));
    let steps = json!([{"request": request, "response": response}]);
    let other = merged(&example(), json!({"steps": steps, "login": null}));
    assert_eq!(other["steps"], steps, "nothing of the old ones is left");
    assert!(parse(&other).is_ok());
    // In place of one request, and the other way round.
    let one = json!({"identify_by": [["email"]], "request": {"url": "https://h/x", "query": {"e": "{email}"}}, "response": response});
    let became = merged(&one, json!({"steps": example()["steps"], "login": example()["login"]}));
    assert!(parse(&became).is_ok(), "{became}");
    let back = merged(
        &example(),
        json!({"steps": null, "login": null, "poll_every_s": null, "request": request, "response": response}),
    );
    assert!(parse(&back).is_ok(), "{back}");
    let both = merged(&example(), json!({"request": {"url": "https://h/x"}}));
    assert_eq!(refusal(&both).place, "/request");
    // A null within steps is the vendor's own, and stays.
    let mut nulls = steps;
    nulls[0]["response"]["no_match"] = json!({"body": [{"pointer": "/x", "in": [null]}]});
    assert_eq!(merged(&example(), json!({ "steps": nulls }))["steps"], nulls);
}

#[test]
fn a_request_that_names_nothing_of_the_contact_is_refused() {
    let silent = json!({"url": "https://h/x", "headers": {"K": "{secret}"}, "query": {"a": {"wanted": {"phone": "p"}}}});
    let response = json!({"fields": {"phone": "/p"}});
    let one = json!({"identify_by": [["email"]], "request": silent, "response": response});
    let error = refusal(&one);
    assert_eq!(error.place, "/request");
    assert!(
        error.message.contains("names nothing of the contact") && error.message.contains("{email}"),
        "{}",
        error.message
    );
    let body = json!({"method": "POST", "url": "https://api.example.com/x", "headers": {"Authorization": "Bearer {token}"}, "body": {"a": "b"}});
    assert_eq!(refusal(&with("/steps/0/request", body.clone())).place, "/steps/0/request");
    // A later step is about what an earlier one took, or about the contact.
    let later = |request: Value| {
        let mut own = with("/steps/1/request", request);
        own["steps"][1]["response"].as_object_mut().unwrap().remove("ticket_unknown");
        own
    };
    let error = refusal(&later(body));
    assert_eq!(error.place, "/steps/1/request");
    assert!(error.message.ends_with("or what an earlier step took"), "{}", error.message);
    let by_mail = json!({"url": "https://api.example.com/x", "query": {"e": "{email}"}});
    assert!(parse(&later(by_mail)).is_ok());
}
