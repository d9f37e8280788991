use super::*;
use crate::provider::{Config, Fault};
use proptest::prelude::*;
use serde_json::{Value, json};

fn description(price: Value) -> Value {
    json!({
        "request": {"url": "https://api.vendor.example/v1", "query": {"email": "{email}"}},
        "identify_by": [["email"]],
        "response": {"fields": {"phone": "/phone", "job_title": "/title"}, "cost": {"pointer": "/credits"}},
        "price": price,
    })
}

fn price(given: Value) -> Price {
    Config::parse(&description(given)).unwrap().price().unwrap().clone()
}

fn fields(names: &[&str]) -> FieldSet {
    names.iter().filter_map(|name| Field::parse(name)).collect()
}

fn matched(names: &[&str]) -> Progress {
    let values = fields(names).iter().map(|field| (field, "x".to_owned())).collect();
    Progress::Over(Verdict::Match { values, confidence: None })
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

/// Of answers that are the first about their questions.
fn bill_of(
    price: Option<&Price>,
    came: &[Progress],
    credits: Option<Reported>,
    most: (Amount, bool),
) -> Bill {
    let supplied = |came| Supplied { fields: all_supplied(came), is_first: true };
    let supplied: Vec<Supplied> = came.iter().map(supplied).collect();
    bill(price, (came, &supplied), credits, most)
}

#[test]
fn a_request_costs_what_its_answer_supplied() {
    let price = price(json!({
        "currency": "USD", "per_request": 0.01, "per_match": 0.28, "per_field": {"phone": 0.4},
        "per_credit": 0.05, "most_credits": 20,
    }));
    let cost = |came: &Progress, credits: Option<f64>| {
        let credits = credits.map(Reported::Credits);
        bill_of(Some(&price), std::slice::from_ref(came), credits, (Amount::ZERO, false)).cost
    };
    assert_eq!(cost(&matched(&["job_title"]), None), amount("0.29"));
    assert_eq!(cost(&matched(&["job_title", "phone"]), None), amount("0.69"));
    // Credits count in place of matches and fields, also where nothing was supplied, and more than was said.
    assert_eq!(cost(&matched(&["phone"]), Some(3.0)), amount("0.16"));
    assert_eq!(cost(&matched(&["phone"]), Some(0.0)), amount("0.01"));
    assert_eq!(cost(&Progress::Over(Verdict::NoMatch), Some(1.0)), amount("0.06"));
    assert_eq!(cost(&matched(&["phone"]), Some(40.0)), amount("2.01"));
    assert_eq!(cost(&Progress::Over(Verdict::NoMatch), None), amount("0.01"));
    // What it says of somebody else is billed like a match.
    assert_eq!(cost(&Progress::Over(Verdict::OtherPerson(fields(&["phone"]))), None), amount("0.69"));
    assert_eq!(cost(&Progress::Next { after_s: 10 }, None), amount("0.01"));
    // Of a question with steps each answer is billed what it adds; the match once.
    let step = |names: &[&str], is_first| {
        let supplied = Supplied { fields: fields(names), is_first };
        let bill =
            bill(Some(&price), (&[Progress::Next { after_s: 0 }], &[supplied]), None, (Amount::ZERO, false));
        (bill.cost, bill.matches, bill.fields_supplied)
    };
    assert_eq!(step(&["job_title"], true), (amount("0.29"), 1, 1));
    assert_eq!(step(&["phone"], false), (amount("0.41"), 0, 1));
    assert_eq!(step(&[], true), (amount("0.01"), 0, 0));
    assert_eq!(price.most(fields(&["phone", "job_title"])), amount("1.01"));
    // What is supplied is paid; what will be reported in credits is not known.
    let both = fields(&["phone", "job_title"]);
    let no_credits = Price { per_credit: None, ..price.clone() };
    assert_eq!(no_credits.most_of_rest(both, FieldSet::EMPTY), amount("0.68"));
    assert_eq!(no_credits.most_of_rest(both, fields(&["job_title"])), amount("0.40"));
    assert_eq!(price.most_of_rest(both, fields(&["job_title"])), amount("1.00"));
}

#[test]
fn what_was_not_answered_is_not_known() {
    let price = price(json!({"currency": "USD", "per_request": 0.01, "per_match": 0.28}));
    let failed = |kind| Progress::Failed(Fault::new(kind, ""));
    let all = price.most_of_answer(fields(&["phone"]));
    let timeout = bill_of(Some(&price), &[failed(FaultKind::Timeout)], None, (all, false));
    assert_eq!((timeout.requests, timeout.cost, timeout.unknown), (1, amount("0.01"), amount("0.28")));
    for unread in [FaultKind::BadJson, FaultKind::BadEncoding, FaultKind::Unrecognised] {
        assert_eq!(bill_of(Some(&price), &[failed(unread)], None, (all, false)), timeout, "{unread:?}");
    }
    // Of a request about several, each by itself.
    let several = [matched(&["phone"]), failed(FaultKind::Unrecognised), failed(FaultKind::ServerError)];
    let bulk = bill_of(Some(&price), &several, None, (all.times(3), false));
    assert_eq!(
        (bulk.requests, bulk.matches, bulk.cost, bulk.unknown),
        (1, 1, amount("0.29"), amount("0.28"))
    );
    let refused = bill_of(Some(&price), &[failed(FaultKind::Refused)], None, (all, false));
    assert_eq!(refused, Bill::default());
    let error = bill_of(Some(&price), &[failed(FaultKind::ServerError)], None, (all, false));
    assert_eq!((error.requests, error.cost, error.unknown), (1, amount("0.01"), Amount::ZERO));
    let unpriced = bill_of(None, &[matched(&["phone"])], Some(Reported::Credits(2.0)), (Amount::ZERO, false));
    assert_eq!((unpriced.matches, unpriced.credits, unpriced.cost), (1, amount("2"), Amount::ZERO));
}

#[test]
fn mistakes_are_refused_with_their_place() {
    for (given, place) in [
        (json!({}), "/price/currency"),
        (json!({"currency": "USD"}), "/price"),
        (json!({"currency": "usd", "per_match": 1}), "/price/currency"),
        (json!({"currency": 1, "per_match": 1}), "/price/currency"),
        (json!({"currency": "USD", "per_match": -0.28}), "/price/per_match"),
        (json!({"currency": "USD", "per_match": 0.1234567}), "/price/per_match"),
        (json!({"currency": "USD", "per_match": "0.28"}), "/price/per_match"),
        (json!({"currency": "USD", "per_match": 1e12}), "/price/per_match"),
        (json!({"currency": "USD", "per_request": 1e-7}), "/price/per_request"),
        (json!({"currency": "USD", "per_credit": 0.1}), "/price/per_credit"),
        (json!({"currency": "USD", "per_match": 1, "most_credits": 8}), "/price/most_credits"),
        (json!({"currency": "USD", "per_credit": 0.1, "most_credits": 0}), "/price/most_credits"),
        (json!({"currency": "USD", "per_field": {"location": 1}}), "/price/per_field/location"),
        (json!({"currency": "USD", "per_field": {"fax": 1}}), "/price/per_field/fax"),
        (json!({"currency": "USD", "per_field": {"phone": -1}}), "/price/per_field/phone"),
        (json!({"currency": "USD", "per_contact": 1}), "/price/per_contact"),
    ] {
        let error = Config::parse(&description(given.clone())).unwrap_err();
        assert_eq!(error.place, place, "{given}: {}", error.message);
    }
    let mut silent = description(json!({"currency": "USD", "per_credit": 0.1, "most_credits": 8}));
    silent["response"].as_object_mut().unwrap().remove("cost");
    assert_eq!(Config::parse(&silent).unwrap_err().place, "/price/per_credit");
}

proptest! {
    /// Whatever an answer supplies, and whatever it reports up to what was said: never more than was reserved.
    #[test]
    fn no_request_costs_more_than_its_most(
        amounts in proptest::array::uniform5(0_i64..5_000_000),
        most_credits in 1_i64..100,
        supplied in 0_usize..4,
        credits in proptest::option::of(0.0_f64..1.0),
        by_credits in any::<bool>(),
        unreadable in any::<bool>(),
    ) {
        let [request, on_match, phone, title, credit] = amounts.map(|millionths| Amount(millionths).to_f64());
        let mut given = json!({
            "currency": "EUR", "per_request": request, "per_match": on_match,
            "per_field": {"phone": phone, "job_title": title},
        });
        if by_credits {
            given["per_credit"] = json!(credit);
            given["most_credits"] = json!(most_credits);
        }
        let price = price(given);
        let came = matched([[].as_slice(), &["phone"], &["job_title"], &["phone", "job_title"]][supplied]);
        let credits = credits.map(|part| (part * most_credits as f64).floor());
        let all = fields(&["phone", "job_title"]);
        let credits = match unreadable {
            true => Some(Reported::Unreadable),
            false => credits.map(Reported::Credits),
        };
        let bill = bill_of(Some(&price), &[came], credits, (price.most_of_answer(all), false));
        prop_assert!(bill.cost.plus(bill.unknown) <= price.most(all));
        prop_assert!(bill.cost >= price.per_request());
    }
}

#[test]
fn a_match_without_the_report_that_prices_it_may_have_cost_the_most() {
    let price = price(json!({"currency": "USD", "per_credit": 0.01, "most_credits": 8}));
    let most = price.most_of_answer(fields(&["phone"]));
    let of = |came: Progress, credits: Option<f64>| {
        let credits = credits.map(Reported::Credits);
        let bill = bill_of(Some(&price), &[came], credits, (most, false));
        (bill.cost, bill.unknown)
    };
    assert_eq!(of(matched(&["phone"]), None), (Amount::ZERO, amount("0.08")));
    assert_eq!(of(matched(&["phone"]), Some(3.0)), (amount("0.03"), Amount::ZERO));
    assert_eq!(of(Progress::Over(Verdict::NoMatch), None), (Amount::ZERO, Amount::ZERO));
    let unread = || Progress::Failed(Fault::new(FaultKind::BadJson, ""));
    assert_eq!(of(unread(), None), (Amount::ZERO, amount("0.08")));
    assert_eq!(of(unread(), Some(2.0)), (amount("0.02"), Amount::ZERO));
}

#[test]
fn a_report_that_cannot_be_read_counts_as_the_most() {
    let price = price(json!({
        "currency": "USD", "per_request": 0.01, "per_match": 0.05, "per_credit": 0.01, "most_credits": 8,
    }));
    let most = price.most_of_answer(fields(&["phone"]));
    let of = |price: &Price, came: &[Progress]| {
        let most = most.times(came.len() as u64);
        let bill = bill_of(Some(price), came, Some(Reported::Unreadable), (most, false));
        (bill.cost, bill.unknown, bill.credits)
    };
    for came in [matched(&["phone"]), Progress::Over(Verdict::NoMatch), Progress::Next { after_s: 1 }] {
        assert_eq!(of(&price, &[came]), (amount("0.01"), amount("0.08"), Amount::ZERO));
    }
    let several = [matched(&["phone"]), Progress::Over(Verdict::NoMatch)];
    assert_eq!(of(&price, &several), (amount("0.01"), amount("0.16"), Amount::ZERO));
    // It is not by credits that this one is billed.
    let by_match = self::price(json!({"currency": "USD", "per_match": 0.05}));
    assert_eq!(of(&by_match, &[matched(&["phone"])]), (amount("0.05"), Amount::ZERO, Amount::ZERO));
    // What was handed in stays owed where the request for it fails.
    let failed = || [Progress::Failed(Fault::new(FaultKind::Timeout, ""))];
    let kept = |owed| bill_of(Some(&price), &failed(), None, (most, owed)).unknown;
    assert_eq!((kept(false), kept(true)), (amount("0.08"), Amount::ZERO));
}
