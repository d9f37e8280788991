//! Apollo: POST /api/v1/people/match.

use serde_json::{Value, json};

use super::{Expected, Vendor, Wait, answer, case, sent, text, with};
use crate::support::Response;
use crate::world::SECRET;

const PATH: &str = "/api/v1/people/match";

#[test]
fn apollo() {
    let mut vendor = Vendor::preset("apollo", PATH);
    a_match_is_mapped(&mut vendor);
    a_partial_match_costs_one_credit(&mut vendor);
    seniority_is_told_in_our_words(&mut vendor);
    vendor.meets(no_matches());
    vendor.meets(refusals());
    vendor.meets(super::gateways());
    vendor.world.check_credits_add_up();
}

/// The caller's own record of somebody, which Apollo puts beside the person: not what was bought.
fn own_record() -> Value {
    json!({
        "id": "000000000000000000000099",
        "name": "Other Example",
        "title": "Wrong Title",
        "organization_name": "Wrong Company",
        "linkedin_url": "http://www.linkedin.com/in/wrong-example",
        "email": "other@wrong.example",
        "phone_numbers": [{"raw_number": "+1 555 0199 199", "sanitized_number": "+15550199199"}],
        "sanitized_phone": "+15550199199",
        "city": "Wrongtown",
        "state": "Nowhere",
        "country": "Elsewhere"
    })
}

fn person(more: &Value) -> Response {
    let all = json!({
        "id": "000000000000000000000001",
        "first_name": "Jane",
        "last_name": "Example",
        "name": "Jane Example",
        "linkedin_url": "http://www.linkedin.com/in/jane-example",
        "title": "Chief Testing Officer",
        "email_status": "verified",
        "email": "email_not_unlocked@domain.com",
        "seniority": "c_suite",
        "city": "Springfield",
        "state": "Illinois",
        "country": "United States",
        "organization": {
            "name": "Acme",
            "website_url": "http://www.acme.example",
            "primary_domain": "acme.example",
            "primary_phone": {"number": "+1 555-0198", "sanitized_number": "+15550198"}
        },
        "employment_history": [{"current": true, "title": "Old Title", "organization_name": "Old Company"}],
        "contact": own_record()
    });
    // A signed number of 64 bits, often negative.
    answer(200, json!({"person": with(&all, more), "request_id": -2_954_123_423_234_234_234_i64}))
}

fn a_match_is_mapped(vendor: &mut Vendor) {
    vendor.answers(&person(&json!({})));
    let known = vendor.someone();
    // No phone: Apollo has none for us here, neither the company's nor the one in our own record.
    let request = vendor.fills(
        &known,
        &json!({
            "job_title": "Chief Testing Officer",
            "company_name": "Acme",
            "linkedin_url": "https://www.linkedin.com/in/jane-example",
            "location": "Springfield, Illinois, United States",
            "seniority": "c_suite"
        }),
        None,
    );
    vendor.is_authorised_by(&request, "x-api-key", SECRET);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(
        sent(&request),
        json!({
            "method": "POST",
            "path": PATH,
            "query": {},
            "body": {
                "email": "jane1@acme.example",
                "name": "Jane Example",
                "first_name": "Jane",
                "last_name": "Example",
                "domain": "acme.example",
                "reveal_personal_emails": false,
                "reveal_phone_number": false
            }
        })
    );
}

fn a_partial_match_costs_one_credit(vendor: &mut Vendor) {
    vendor.answers(&person(&json!({"city": null, "state": "", "contact": null, "seniority": null})));
    let known = json!({
        "full_name": "Jane Example",
        "company_name": "Acme Corporation",
        "linkedin_url": "https://www.linkedin.com/in/jane-example"
    });
    let expected = json!({"job_title": "Chief Testing Officer", "location": "United States"});
    let request = vendor.fills(&known, &expected, None);
    assert_eq!(
        sent(&request)["body"],
        json!({
            "name": "Jane Example",
            "first_name": "Jane",
            "last_name": "Example",
            "organization_name": "Acme Corporation",
            "linkedin_url": "https://www.linkedin.com/in/jane-example",
            "reveal_personal_emails": false,
            "reveal_phone_number": false
        })
    );
}

fn seniority_is_told_in_our_words(vendor: &mut Vendor) {
    for (theirs, ours) in [
        ("owner", "owner"),
        ("founder", "founder"),
        ("partner", "partner"),
        ("vp", "vp"),
        ("head", "head"),
        ("director", "director"),
        ("manager", "manager"),
        ("senior", "senior"),
        ("entry", "entry"),
        ("intern", "intern"),
        ("Advisor", "Advisor"),
    ] {
        let body = json!({"person": {"id": "1", "name": "Jane Example", "seniority": theirs}});
        vendor.reads(&answer(200, body), &json!({"seniority": ours}), None);
    }
}

fn no_matches() -> Vec<super::Case> {
    let company = json!({"id": "2", "name": "Acme", "primary_domain": "acme.example"});
    // Nobody was found, but the company of the address is filled in all the same.
    let stub = json!({
        "id": null, "name": "", "first_name": null, "last_name": null, "title": null, "match_confidence": "none",
        "organization": company
    });
    let nameless = json!({"name": null, "organization": company});
    let other = json!({"id": "1", "name": "Jane Example", "contact": own_record()});
    vec![
        case("nothing", answer(200, json!({})), Expected::NoData),
        case("null", answer(200, json!({"person": null, "request_id": 4})), Expected::NoData),
        case("an empty person", answer(200, json!({"person": {}})), Expected::NoData),
        case("a stub", answer(200, json!({"person": stub})), Expected::NoData),
        case("a stub without the mark", answer(200, json!({"person": nameless})), Expected::NoData),
        case("nothing but our own record", answer(200, json!({"person": other})), Expected::NoData),
    ]
}

fn refusals() -> Vec<super::Case> {
    let limited = "The maximum number of api calls allowed for api/v1/people/match is 600 times per hour. Please \
                   upgrade your plan from https://app.apollo.example/#/settings/plans/upgrade.";
    vec![
        case(
            "a bad key, told in plain text",
            text(401, "Invalid API key. See https://docs.apollo.example/"),
            Expected::Pauses("bad_credentials", Wait::Unknown),
        ),
        case(
            "a key without that right",
            answer(
                403,
                json!({"error": "api/v1/people/match is not accessible with this api_key", "error_code": "API_INACCESSIBLE"}),
            ),
            Expected::Pauses("bad_credentials", Wait::Unknown),
        ),
        case(
            "credits used up",
            answer(422, json!({"error": "Insufficient credits. Please upgrade your plan."})),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case(
            "any other mistake of the same status",
            answer(422, json!({"error": "Value too long"})),
            Expected::Fails("bad_status"),
        ),
        case(
            "too many",
            answer(429, json!({"message": limited}))
                .with_header("retry-after", "37")
                .with_header("x-hourly-requests-left", "0"),
            Expected::Pauses("rate_limited", Wait::Seconds(37)),
        ),
        case(
            "an error of theirs",
            answer(500, json!({"message": "Internal error"})),
            Expected::Fails("server_error"),
        ),
        case("their proxy", text(502, "Bad Gateway"), Expected::Fails("server_error")),
    ]
}
