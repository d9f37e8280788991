use super::*;
use crate::provider::Config;
use serde_json::{Value, json};

fn price(per_match: f64, per_request: f64) -> Arc<Config> {
    with_phones(per_match, per_request, 0.1)
}

fn with_phones(per_match: f64, per_request: f64, phone: f64) -> Arc<Config> {
    priced(json!({
        "request": {"url": "https://api.vendor.example/v1", "query": {"email": "{email}"}},
        "response": {"fields": {"phone": "/phone", "job_title": "/title"}},
        "price": {"per_match": per_match, "per_request": per_request, "per_field": {"phone": phone}},
    }))
}

fn priced(mut description: Value) -> Arc<Config> {
    description["identify_by"] = json!([["email"]]);
    if let Some(price) = description.get_mut("price") {
        price["currency"] = json!("USD");
    }
    Arc::new(Config::parse(&description).unwrap())
}

/// What a question that wants all is expected to cost, asked alone.
fn expected(record: Record, config: &Config) -> f64 {
    record.expected_cost(config.price().unwrap(), &config.reach(fields()), 1)
}

fn candidate(config: &Arc<Config>, record: Record) -> Candidate {
    Candidate { config: Some(Arc::clone(config)), record, together: 1 }
}

fn record(answers: u64, matches: u64) -> Record {
    let mut record = Record { answers, matches, ..Record::default() };
    for field in [Field::PHONE, Field::JOB_TITLE] {
        record.asked[field.index()] = answers;
        record.supplied[field.index()] = matches;
    }
    record
}

fn fields() -> FieldSet {
    [Field::PHONE, Field::JOB_TITLE].into_iter().collect()
}

#[test]
fn expected_costs_follow_the_hit_rates() {
    let cost = expected(record(100, 50), &price(0.2, 0.01));
    // 0.01 + 0.5 × 0.2 + 0.5 × 0.1.
    assert!((cost - 0.16).abs() < 1e-9, "{cost}");
    // Answers about others are billed, too: 0.01 + 0.6 × 0.2 + 0.6 × 0.1.
    let with_others = Record { others: 10, ..record(100, 50) };
    let cost = expected(with_others, &price(0.2, 0.01));
    assert!((cost - 0.19).abs() < 1e-9, "{cost}");
    assert_eq!(expected(record(0, 0), &price(0.2, 0.01)), 0.01);
}

/// The vendor bills each field that its answer has, wanted or not.
#[test]
fn a_field_that_was_never_wanted_is_expected_in_each_answer() {
    let title = [Field::JOB_TITLE].into_iter().collect();
    let mut only_titles = record(100, 100);
    (only_titles.asked[Field::PHONE.index()], only_titles.supplied[Field::PHONE.index()]) = (0, 0);
    let cost = expected(only_titles, &price(0.2, 0.0));
    assert!((cost - 0.3).abs() < 1e-9, "{cost}");
    // One euro for a match and no field: cheaper than 0.20 and ten for a telephone number that comes along.
    let (along, plain) =
        (candidate(&with_phones(0.2, 0.0, 10.0), only_titles), candidate(&price(1.0, 0.0), record(100, 100)));
    assert_eq!(cheapest(&[&along, &plain], title), [1, 0]);
}

#[test]
fn the_cheapest_for_what_is_wanted_comes_first() {
    let unpriced = priced(json!({
        "request": {"url": "https://api.vendor.example/v1", "query": {"email": "{email}"}},
        "response": {"fields": {"phone": "/phone"}},
    }));
    let (dear, cheap, per_request) = (price(0.5, 0.0), price(0.1, 0.0), price(0.0, 0.02));
    let mut never_phones = record(100, 90);
    never_phones.supplied[Field::PHONE.index()] = 0;
    let all = [
        candidate(&unpriced, record(100, 100)),
        candidate(&dear, record(100, 90)),
        candidate(&cheap, never_phones),
        // Two of a hundred: 0.02 for each request, and one euro for a match.
        candidate(&per_request, record(100, 2)),
        candidate(&cheap, record(100, 90)),
        candidate(&dear, record(49, 0)),
    ];
    let all: Vec<&Candidate> = all.iter().collect();
    let phone = [Field::PHONE].into_iter().collect();
    assert_eq!(cheapest(&all, phone), [5, 4, 1, 3, 2, 0]);
    assert_eq!(cheapest(&all, FieldSet::EMPTY).len(), all.len());
    // Of ten that are paid nine are about others.
    let others = Record { others: 90, ..record(100, 10) };
    let two = [candidate(&cheap, others), candidate(&dear, record(100, 90))];
    assert_eq!(cheapest(&two.iter().collect::<Vec<_>>(), phone), [1, 0]);
    // Nothing tells equals apart but their priority.
    let equals = [candidate(&cheap, record(100, 90)), candidate(&cheap, record(100, 90))];
    assert_eq!(cheapest(&equals.iter().collect::<Vec<_>>(), phone), [0, 1]);
}

fn steps(per_request: f64, titles: f64, later: Value) -> Arc<Config> {
    let mut first = json!({
        "request": {"url": "https://api.vendor.example/v1", "query": {"email": "{email}"}},
        "response": {"fields": {"job_title": "/title"}}, "take": {"id": "/id"},
    });
    first["response"]["pending"] = json!({"status": []});
    let mut second = json!({
        "request": {"url": "https://api.vendor.example/v1/phone", "query": {"id": "{id}"}},
        "response": {"fields": {"phone": "/phone"}},
    });
    second["response"].as_object_mut().unwrap().extend(later.as_object().unwrap().clone());
    let price = json!({"per_request": per_request, "per_field": {"phone": 10.0, "job_title": titles}});
    priced(json!({"steps": [first, second], "price": price}))
}

/// What a question does not come to is not reckoned with, and each request that it comes to is.
#[test]
fn a_vendor_of_several_requests_is_reckoned_with_as_far_as_a_question_comes() {
    let (title, phone) = ([Field::JOB_TITLE].into_iter().collect(), [Field::PHONE].into_iter().collect());
    let mut only_titles = record(100, 100);
    (only_titles.asked[Field::PHONE.index()], only_titles.supplied[Field::PHONE.index()]) = (0, 0);
    // A title for 0.30, and a telephone number for ten that is never asked for, beside one euro for a match.
    let (rest, plain) =
        (candidate(&steps(0.1, 0.2, json!({})), only_titles), candidate(&price(1.0, 0.0), record(100, 100)));
    assert_eq!(cheapest(&[&plain, &rest], title), [1, 0]);
    assert_eq!(cheapest(&[&rest, &plain], phone), [1, 0]);
    // Half of the questions come to the second request, and each that is handed in is asked for.
    let cost = |config: &Config, record: Record| {
        record.expected_cost(config.price().unwrap(), &config.reach(phone), 1)
    };
    let half = record(100, 50);
    assert!((cost(&steps(0.1, 0.0, json!({})), half) - (0.15 + 5.0)).abs() < 1e-9);
    assert!((cost(&steps(0.1, 0.0, json!({"pending": {"status": [202]}})), half) - (0.2 + 5.0)).abs() < 1e-9);
}

/// A request that ten contacts share costs each a tenth.
#[test]
fn contacts_that_share_a_request_share_what_it_costs() {
    let phone = [Field::PHONE].into_iter().collect();
    let (bulk, plain) = (price(0.0, 0.5), price(0.2, 0.0));
    let together = |together| Candidate { together, ..candidate(&bulk, record(100, 100)) };
    assert_eq!(cheapest(&[&together(1), &candidate(&plain, record(100, 100))], phone), [1, 0]);
    assert_eq!(cheapest(&[&candidate(&plain, record(100, 100)), &together(10)], phone), [1, 0]);
}
