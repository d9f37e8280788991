use super::*;
use crate::provider::Config;
use serde_json::json;

fn price(per_match: f64, per_request: f64) -> Price {
    with_phones(per_match, per_request, 0.1)
}

fn with_phones(per_match: f64, per_request: f64, phone: f64) -> Price {
    let description = json!({
        "request": {"url": "https://api.vendor.example/v1", "query": {"email": "{email}"}},
        "identify_by": [["email"]],
        "response": {"fields": {"phone": "/phone", "job_title": "/title"}},
        "price": {"currency": "USD", "per_match": per_match, "per_request": per_request, "per_field": {"phone": phone}},
    });
    Config::parse(&description).unwrap().price().unwrap().clone()
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
    let cost = record(100, 50).expected_cost(&price(0.2, 0.01), fields());
    // 0.01 + 0.5 × 0.2 + 0.5 × 0.1.
    assert!((cost - 0.16).abs() < 1e-9, "{cost}");
    // Answers about others are billed, too: 0.01 + 0.6 × 0.2 + 0.6 × 0.1.
    let with_others = Record { others: 10, ..record(100, 50) };
    let cost = with_others.expected_cost(&price(0.2, 0.01), fields());
    assert!((cost - 0.19).abs() < 1e-9, "{cost}");
    assert_eq!(record(0, 0).expected_cost(&price(0.2, 0.01), fields()), 0.01);
}

/// The vendor bills each field that its answer has, wanted or not.
#[test]
fn a_field_that_was_never_wanted_is_expected_in_each_answer() {
    let title = [Field::JOB_TITLE].into_iter().collect();
    let mut only_titles = record(100, 100);
    (only_titles.asked[Field::PHONE.index()], only_titles.supplied[Field::PHONE.index()]) = (0, 0);
    let cost = only_titles.expected_cost(&price(0.2, 0.0), fields());
    assert!((cost - 0.3).abs() < 1e-9, "{cost}");
    // One euro for a match and no field: cheaper than 0.20 and ten for a telephone number that comes along.
    let candidate =
        |price: &Price, record| Candidate { price: Some(price.clone()), record, supplies: fields() };
    let (along, plain) =
        (candidate(&with_phones(0.2, 0.0, 10.0), only_titles), candidate(&price(1.0, 0.0), record(100, 100)));
    assert_eq!(cheapest(&[&along, &plain], title), [1, 0]);
}

#[test]
fn the_cheapest_for_what_is_wanted_comes_first() {
    let (dear, cheap, per_request) = (price(0.5, 0.0), price(0.1, 0.0), price(0.0, 0.02));
    let candidate =
        |price: Option<&Price>, record| Candidate { price: price.cloned(), record, supplies: fields() };
    let mut never_phones = record(100, 90);
    never_phones.supplied[Field::PHONE.index()] = 0;
    let all = [
        candidate(None, record(100, 100)),
        candidate(Some(&dear), record(100, 90)),
        candidate(Some(&cheap), never_phones),
        // Two of a hundred: 0.02 for each request, and one euro for a match.
        candidate(Some(&per_request), record(100, 2)),
        candidate(Some(&cheap), record(100, 90)),
        candidate(Some(&dear), record(49, 0)),
    ];
    let all: Vec<&Candidate> = all.iter().collect();
    let phone = [Field::PHONE].into_iter().collect();
    assert_eq!(cheapest(&all, phone), [5, 4, 1, 3, 2, 0]);
    assert_eq!(cheapest(&all, FieldSet::EMPTY).len(), all.len());
    // Of ten that are paid nine are about others.
    let others = Record { others: 90, ..record(100, 10) };
    let two = [candidate(Some(&cheap), others), candidate(Some(&dear), record(100, 90))];
    assert_eq!(cheapest(&two.iter().collect::<Vec<_>>(), phone), [1, 0]);
    // Nothing tells equals apart but their priority.
    let equals = [candidate(Some(&cheap), record(100, 90)), candidate(Some(&cheap), record(100, 90))];
    assert_eq!(cheapest(&equals.iter().collect::<Vec<_>>(), phone), [0, 1]);
}
