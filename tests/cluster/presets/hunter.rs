//! Hunter: GET /v2/people/find.

use serde_json::{Value, json};

use super::{Expected, Vendor, Wait, answer, case, sent, with};
use crate::support::Response;
use crate::world::SECRET;

const PATH: &str = "/v2/people/find";

#[test]
fn hunter() {
    let mut vendor = Vendor::preset("hunter", PATH);
    a_match_is_mapped(&mut vendor);
    a_partial_match_costs_one_credit(&mut vendor);
    handles_come_in_every_form(&mut vendor);
    seniority_is_told_in_our_words(&mut vendor);
    vendor.meets(refusals());
    vendor.meets(super::gateways());
    let claimed = error(451, "claimed_email", "The person who owns this email address asked us to stop");
    vendor.suppresses("a refusal by its name", &claimed);
    vendor
        .suppresses("a refusal of another kind", &error(451, "unavailable", "Unavailable for legal reasons"));
    vendor.world.check_credits_add_up();
}

fn error(status: u16, id: &str, details: &str) -> Response {
    answer(status, json!({"errors": [{"id": id, "code": status, "details": details}]}))
}

fn person(more: &Value) -> Response {
    let all = json!({
        "id": "00000000-0000-5000-8000-000000000001",
        "name": {"fullName": "Jane Example", "givenName": "Jane", "familyName": "Example"},
        "email": "jane@acme.example",
        "location": "Springfield, Illinois, United States",
        "timeZone": "America/Chicago",
        "geo": {"city": "Springfield", "state": "Illinois", "stateCode": "IL", "country": "United States", "countryCode": "US"},
        "employment": {
            "domain": "acme.example", "name": "Acme", "title": "Chief Testing Officer", "role": "executive",
            "subRole": null, "seniority": "executive"
        },
        "twitter": {"handle": "wrong"},
        "linkedin": {"handle": "jane-example"},
        "fuzzy": false,
        "phone": "+1 555 010 0100",
        "inactiveAt": null
    });
    answer(200, json!({"data": with(&all, more), "meta": {"email": "jane@acme.example"}}))
}

fn a_match_is_mapped(vendor: &mut Vendor) {
    vendor.answers(&person(&json!({})));
    let known = vendor.someone();
    let request = vendor.fills(
        &known,
        &json!({
            "job_title": "Chief Testing Officer",
            "company_name": "Acme",
            "linkedin_url": "https://www.linkedin.com/in/jane-example",
            "phone": "+1 555 010 0100",
            "location": "Springfield, Illinois, United States",
            "seniority": "c_suite"
        }),
        None,
    );
    vendor.is_authorised_by(&request, "X-API-KEY", SECRET);
    assert_eq!(
        sent(&request),
        json!({"method": "GET", "path": PATH, "query": {"email": "jane1@acme.example"}, "body": null})
    );
}

fn a_partial_match_costs_one_credit(vendor: &mut Vendor) {
    // As most answers are: no phone, and here no line for the place either.
    vendor.answers(&person(&json!({"phone": null, "location": null})));
    let known = json!({
        "full_name": "Jane Example",
        "job_title": "Tester",
        "company_name": "Acme Corporation",
        "linkedin_url": "http://linkedin.com/in/jane-example/",
        "seniority": "senior"
    });
    let expected = json!({"location": "Springfield, Illinois, United States"});
    let request = vendor.fills(&known, &expected, None);
    assert_eq!(sent(&request)["query"], json!({"linkedin_handle": "jane-example"}));
}

fn handles_come_in_every_form(vendor: &mut Vendor) {
    for (theirs, ours) in [
        ("jane-example", "jane-example"),
        ("in/jane-example", "jane-example"),
        ("in%2Fjane-example", "jane-example"),
        ("jane%2Dexample", "jane-example"),
        ("j%C3%A1ne-example", "j%C3%A1ne-example"),
        ("https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjane-example", "jane-example"),
        ("https://www.linkedin.com/in/jane-example/", "jane-example"),
        ("linkedin.com/in/jane-example", "jane-example"),
    ] {
        let body = json!({"data": {"linkedin": {"handle": theirs}}});
        let expected = json!({"linkedin_url": format!("https://www.linkedin.com/in/{ours}")});
        vendor.reads(&answer(200, body), &expected, None);
    }
}

fn seniority_is_told_in_our_words(vendor: &mut Vendor) {
    for (theirs, ours) in [("junior", "entry"), ("senior", "senior"), ("executive", "c_suite")] {
        let body = json!({"data": {"employment": {"seniority": theirs}}});
        vendor.reads(&answer(200, body), &json!({"seniority": ours}), None);
    }
}

fn refusals() -> Vec<super::Case> {
    let nobody = json!({"data": {"id": "x", "phone": null, "employment": {"title": null}, "linkedin": {"handle": null}}});
    vec![
        case(
            "not found",
            error(404, "not_found", "The requested resource couldn't be found."),
            Expected::NoData,
        ),
        case("no data", answer(200, json!({"data": null, "meta": {}})), Expected::NoData),
        case("a person of whom nothing is known", answer(200, nobody), Expected::NoData),
        case("wrong parameters", error(400, "wrong_params", "Missing email"), Expected::Fails("bad_status")),
        case(
            "a bad key",
            error(401, "authentication_failed", "No user found for the API key supplied"),
            Expected::Pauses("bad_credentials", Wait::Unknown),
        ),
        // Hunter has these two the other way round than everybody else.
        case(
            "403 is the rate limit",
            error(403, "too_many_requests", "You have reached the rate limit"),
            Expected::Pauses("rate_limited", Wait::Unknown),
        ),
        case("also without a name", answer(403, json!({})), Expected::Pauses("rate_limited", Wait::Unknown)),
        case(
            "429 is the quota",
            error(429, "usage_exceeded", "You've reached your usage limit; upgrade your plan"),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case(
            "the same under the name of the rate limit",
            error(429, "too_many_requests", "You've reached your usage limit"),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case(
            "a gateway's rate limit",
            super::text(429, "slow down"),
            Expected::Pauses("rate_limited", Wait::Unknown),
        ),
        case("an error of theirs", error(500, "server_error", "Oops"), Expected::Fails("server_error")),
    ]
}
