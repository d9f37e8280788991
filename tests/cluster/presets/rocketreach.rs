//! RocketReach: GET /api/v2/person/lookup.

use serde_json::{Value, json};

use super::{Expected, Vendor, Wait, answer, case, sent, with};
use crate::support::Response;
use crate::world::SECRET;

const PATH: &str = "/api/v2/person/lookup";

#[test]
fn rocketreach() {
    let mut vendor = Vendor::preset("rocketreach", PATH);
    a_match_is_mapped(&mut vendor);
    a_partial_match_costs_one_credit(&mut vendor);
    the_best_number_is_taken(&mut vendor);
    vendor.meets(unfinished_lookups());
    a_lookup_that_was_pending_can_be_asked_for_again(&mut vendor);
    vendor.meets(refusals());
    vendor.meets(super::gateways());
    vendor.world.check_credits_add_up();
}

fn phone(number: Option<&str>, e164: Option<&str>, kind: &str, recommended: bool) -> Value {
    json!({"number": number, "e164": e164, "type": kind, "grade": "A", "recommended": recommended})
}

fn person(more: &Value) -> Response {
    let all = json!({
        "id": 4711,
        "status": "complete",
        "name": "Jane Example",
        "linkedin_url": "https://www.linkedin.com/in/jane-example",
        "current_title": "Chief Testing Officer",
        "current_employer": "Acme",
        "current_employer_domain": "acme.example",
        "location": "Springfield, Illinois, United States",
        "city": "Springfield",
        "region": "IL",
        "country": "United States",
        "country_code": "US",
        "emails": [{"email": "jane@acme.example", "smtp_valid": "valid", "type": "professional", "grade": "A"}],
        "phones": [
            phone(Some("+1 202-555-0101"), Some("+12025550101"), "direct dial", false),
            phone(Some("+1 202-555-0100"), Some("+12025550100"), "mobile", true)
        ]
    });
    answer(200, with(&all, more)).with_header("RR-Request-ID", "00000000-0000-4000-8000-000000000001")
}

fn a_match_is_mapped(vendor: &mut Vendor) {
    vendor.answers(&person(&json!({})));
    let known = vendor.someone();
    // RocketReach has no word for seniority.
    let request = vendor.fills(
        &known,
        &json!({
            "job_title": "Chief Testing Officer",
            "company_name": "Acme",
            "linkedin_url": "https://www.linkedin.com/in/jane-example",
            "phone": "+12025550100",
            "location": "Springfield, Illinois, United States"
        }),
        None,
    );
    vendor.is_authorised_by(&request, "Api-Key", SECRET);
    assert_eq!(
        sent(&request),
        json!({
            "method": "GET",
            "path": PATH,
            "query": {"email": "jane1@acme.example", "name": "Jane Example"},
            "body": null
        })
    );
}

fn a_partial_match_costs_one_credit(vendor: &mut Vendor) {
    // Without reveal_phone there is no list of phones at all.
    vendor.answers(&person(&json!({"phones": null, "location": null, "emails": null})));
    let known = json!({
        "full_name": "Jane Example",
        "company_name": "Acme Corporation",
        "linkedin_url": "https://www.linkedin.com/in/jane-example"
    });
    let expected =
        json!({"job_title": "Chief Testing Officer", "location": "Springfield, IL, United States"});
    let request = vendor.fills(&known, &expected, None);
    assert_eq!(
        sent(&request)["query"],
        json!({
            "linkedin_url": "https://www.linkedin.com/in/jane-example", "name": "Jane Example",
            "current_employer": "Acme Corporation"
        })
    );
}

fn the_best_number_is_taken(vendor: &mut Vendor) {
    let other = phone(Some("+1 202-555-0109"), Some("+12025550109"), "other", false);
    let recommended = phone(None, None, "mobile", true);
    for (numbers, expected) in [
        // The recommended one is there, but withheld.
        ([&other, &recommended, &phone(None, Some("+12025550101"), "mobile", false)], "+12025550101"),
        ([&other, &recommended, &phone(Some("+1 202-555-0102"), None, "mobile", false)], "+1 202-555-0102"),
        ([&phone(Some(""), None, "unknown", false), &recommended, &other], "+12025550109"),
    ] {
        let body = json!({"status": "complete", "phones": numbers});
        vendor.reads(&answer(200, body), &json!({"phone": expected}), None);
    }
}

fn unfinished_lookups() -> Vec<super::Case> {
    // The profile may be there already: it is not complete, and not ours yet.
    let mut cases: Vec<super::Case> = ["searching", "progress", "waiting", "not queued", "pending"]
        .map(|status| case(status, person(&json!({"status": status})), Expected::Fails("pending")))
        .into();
    cases.push(case(
        "with another status",
        answer(202, json!({"id": 4711, "status": "progress"})),
        Expected::Fails("pending"),
    ));
    cases.push(case(
        "failed for good",
        answer(200, json!({"id": 4711, "status": "failed"})),
        Expected::Fails("provider_error"),
    ));
    cases
}

fn a_lookup_that_was_pending_can_be_asked_for_again(vendor: &mut Vendor) {
    let known = vendor.someone();
    let id = vendor.contact(&known);
    for (status, reason) in [("searching", "pending"), ("complete", "")] {
        vendor.answers(&person(&json!({"status": status})));
        let reply = vendor.tries(id);
        match reason {
            "" => assert_eq!(reply["contact"]["job_title"], "Chief Testing Officer", "{reply}"),
            reason => assert_eq!(vendor.only_failure(&reply["error"], status)["reason"], reason),
        }
    }
}

fn refusals() -> Vec<super::Case> {
    // The number of the HTTP status stands where a success has a word.
    let error = |status: u16, message: &str| answer(status, json!({"status": status, "message": message}));
    vec![
        case("not found", error(404, "No matching profile"), Expected::NoData),
        case("complete, and empty", answer(200, json!({"id": 1, "status": "complete"})), Expected::NoData),
        case("a bad key", error(401, "Invalid API Key"), Expected::Pauses("bad_credentials", Wait::Unknown)),
        case(
            "a plan without that right",
            error(403, "You do not have permission to perform this action."),
            Expected::Pauses("bad_credentials", Wait::Unknown),
        ),
        case(
            "credits used up",
            error(403, "You have run out of lookup credits."),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case(
            "credits used up, by status",
            error(402, "Payment required"),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case(
            "too many",
            answer(429, json!({"detail": "Request was throttled. Expected available in 41 seconds."}))
                .with_header("Retry-After", "41"),
            Expected::Pauses("rate_limited", Wait::Seconds(41)),
        ),
        case(
            "too many, without a word on when",
            answer(429, json!({"detail": "Request was throttled."})),
            Expected::Pauses("rate_limited", Wait::Unknown),
        ),
        case("wrong parameters", error(400, "Missing name"), Expected::Fails("bad_status")),
        case("an error of theirs", error(500, "Server error"), Expected::Fails("server_error")),
    ]
}
