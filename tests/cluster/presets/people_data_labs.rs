//! People Data Labs: GET /v5/person/enrich.

use serde_json::{Value, json};

use super::{Expected, Vendor, Wait, answer, case, now, sent, with};
use crate::support::Response;
use crate::world::SECRET;

const PATH: &str = "/v5/person/enrich";

#[test]
fn people_data_labs() {
    let mut vendor = Vendor::preset("people_data_labs", PATH);
    a_match_is_mapped(&mut vendor);
    a_partial_match_costs_one_credit(&mut vendor);
    what_the_free_plan_withholds_is_not_written(&mut vendor);
    seniority_is_told_in_our_words(&mut vendor);
    vendor.meets(refusals());
    vendor.meets(super::gateways());
    vendor.world.check_credits_add_up();
}

fn person(data: &Value) -> Response {
    let all = json!({
        "id": "aExample0000_0000",
        "full_name": "jane example",
        "first_name": "jane",
        "last_name": "example",
        "linkedin_url": "linkedin.com/in/jane-example",
        "mobile_phone": "+12025550100",
        "phone_numbers": ["+12025550101"],
        "phones": [{"number": "+15550100102", "first_seen": "2017-06-02", "num_sources": 17}],
        "work_email": "jane@acme.example",
        "personal_emails": [],
        "job_title": "Vice President Of Testing",
        "job_title_role": "engineering",
        "job_title_levels": ["vp", "manager"],
        "job_company_name": "Acme",
        "job_company_website": "acme.example",
        "job_company_linkedin_url": "linkedin.com/company/acme",
        "location_name": "Springfield, Illinois, United States",
        "location_country": "United States"
    });
    let body = json!({"status": 200, "likelihood": 8, "data": with(&all, data)});
    answer(200, body).with_header("x-call-credits-spent", "1").with_header("x-call-credits-type", "enrich")
}

fn a_match_is_mapped(vendor: &mut Vendor) {
    // The window that headers tell of on every answer is no reason to wait after a good one.
    vendor.answers(&person(&json!({})).with_header("x-ratelimit-reset", "2999-01-01T00:00:00Z"));
    let known = vendor.someone();
    let request = vendor.fills(
        &known,
        &json!({
            "job_title": "Vice President Of Testing",
            "company_name": "Acme",
            "linkedin_url": "https://www.linkedin.com/in/jane-example",
            "phone": "+12025550100",
            "location": "Springfield, Illinois, United States",
            "seniority": "vp"
        }),
        Some(0.8),
    );
    vendor.is_authorised_by(&request, "X-Api-Key", SECRET);
    assert_eq!(
        sent(&request),
        json!({
            "method": "GET",
            "path": PATH,
            "query": {
                "email": "jane1@acme.example", "name": "Jane Example", "company": "acme.example", "titlecase": "true",
                "min_likelihood": "2"
            },
            "body": null
        })
    );
    assert_eq!(vendor.cost(), Some(1.0), "as the header says");
}

fn a_partial_match_costs_one_credit(vendor: &mut Vendor) {
    // Numbers come without a plus sign, too.
    vendor.answers(&person(&json!({"mobile_phone": null, "phone_numbers": ["1 202-555-0101"]})));
    let known = json!({
        "full_name": "Jane Example",
        "company_name": "Acme Corporation",
        "linkedin_url": "https://www.linkedin.com/in/jane-example",
        "location": "Springfield",
        "seniority": "head"
    });
    let expected = json!({"job_title": "Vice President Of Testing", "phone": "+12025550101"});
    let request = vendor.fills(&known, &expected, Some(0.8));
    assert_eq!(
        sent(&request)["query"],
        json!({
            "name": "Jane Example",
            "company": "Acme Corporation",
            "profile": "https://www.linkedin.com/in/jane-example",
            "location": "Springfield",
            "titlecase": "true",
            "min_likelihood": "2"
        })
    );
    assert_eq!(vendor.cost(), Some(2.0));
}

fn what_the_free_plan_withholds_is_not_written(vendor: &mut Vendor) {
    let withheld = json!({
        "work_email": false, "personal_emails": true, "mobile_phone": true, "phone_numbers": true, "phones": true,
        "location_name": true, "linkedin_url": true
    });
    // The country is not withheld.
    let expected = json!({
        "job_title": "Vice President Of Testing", "company_name": "Acme", "location": "United States", "seniority": "vp"
    });
    vendor.reads(&person(&withheld), &expected, Some(0.8));
}

fn seniority_is_told_in_our_words(vendor: &mut Vendor) {
    for (levels, expected) in [
        (json!(["cxo"]), "c_suite"),
        (json!(["director", "senior"]), "director"),
        (json!(["entry"]), "entry"),
        (json!(["manager"]), "manager"),
        (json!(["owner"]), "owner"),
        (json!(["partner"]), "partner"),
        (json!(["senior"]), "senior"),
        (json!(["training"]), "intern"),
        (json!(["unpaid"]), "intern"),
        // A word that is not in the list is kept.
        (json!(["Emeritus"]), "Emeritus"),
    ] {
        let body = json!({"status": 200, "likelihood": 10, "data": {"job_title_levels": levels}});
        vendor.reads(&answer(200, body), &json!({"seniority": expected}), Some(1.0));
    }
}

fn refusals() -> Vec<super::Case> {
    let error = |status: u16, kind: &str, message: &str| {
        answer(status, json!({"status": status, "error": {"type": kind, "message": message}}))
    };
    // The window's end, and the sets that the vendor writes in Python's manner.
    let reset = now() + 90;
    let reset_at = jiff::Timestamp::from_second(reset as i64).unwrap().to_string();
    let limited =
        error(429, "rate_limit_error", "An error occurred due to requests hitting the API too quick")
            .with_header("x-ratelimit-limit", "{'minute': 100, 'day': None, 'month': None}")
            .with_header("x-ratelimit-remaining", "{'minute': 0, 'day': None, 'month': None}")
            .with_header("x-ratelimit-reset", &reset_at);
    let nothing =
        json!({"status": 200, "likelihood": 2, "data": {"mobile_phone": true, "location_name": false}});
    vec![
        case(
            "not found",
            error(404, "not_found", "No records were found matching your request"),
            Expected::NoData,
        ),
        case(
            "somebody else",
            answer(
                200,
                json!({"data": {"first_name": "john", "last_name": "other", "work_email": "john@acme.example", "job_title": "ceo"}}),
            ),
            Expected::OtherPerson,
        ),
        case("no data", answer(200, json!({"status": 200, "data": null})), Expected::NoData),
        case("nothing but withheld values", answer(200, nothing), Expected::NoData),
        case(
            "wrong parameters",
            error(400, "invalid_request_error", "Request contained either missing or invalid parameters"),
            Expected::Fails("bad_status"),
        ),
        case(
            "a bad key",
            error(401, "authentication_error", "Request contained a missing or invalid key"),
            Expected::Pauses("bad_credentials", Wait::Unknown),
        ),
        case(
            "credits used up",
            error(402, "payment_required", "You have reached your account maximum"),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case("too fast", limited, Expected::Pauses("rate_limited", Wait::Until(reset))),
        case(
            "an error of theirs",
            error(500, "api_error", "The server encountered an unexpected condition"),
            Expected::Fails("server_error"),
        ),
        case("a page of their proxy", super::text(503, "<html>"), Expected::Fails("server_error")),
    ]
}
