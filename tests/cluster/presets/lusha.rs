//! Lusha: GET /v2/person.

use serde_json::{Value, json};

use super::{Expected, Vendor, Wait, answer, case, sent, with};
use crate::support::Response;
use crate::world::SECRET;

const PATH: &str = "/v2/person";

#[test]
fn lusha() {
    let mut vendor = Vendor::preset("lusha", PATH);
    a_match_is_mapped(&mut vendor);
    a_partial_match_costs_one_credit(&mut vendor);
    numbers_that_must_not_be_called_are_not_taken(&mut vendor);
    seniority_is_told_in_our_words(&mut vendor);
    vendor.meets(errors_inside_a_success());
    vendor.meets(refusals());
    vendor.meets(super::gateways());
    let message = "We are unable to process this contact request due to our GDPR regulations";
    vendor.suppresses("451", &error(451, message));
    let restricted = json!({"code": 12, "name": "COMPLIANCE_RESTRICTED", "message": "Restricted"});
    vendor.suppresses("a refusal inside a success", &contact(&restricted, &json!(null)));
    vendor.world.check_credits_add_up();
}

fn error(status: u16, message: &str) -> Response {
    answer(status, json!({"statusCode": status, "message": message}))
}

fn contact(error: &Value, data: &Value) -> Response {
    let charged = error.is_null();
    answer(200, json!({"contact": {"error": error, "isCreditCharged": charged, "data": data}}))
}

fn phone(number: &str, kind: &str, do_not_call: bool) -> Value {
    json!({"number": number, "phoneType": kind, "doNotCall": do_not_call, "updateDate": "2026-01-15"})
}

fn person(more: &Value) -> Response {
    let all = json!({
        "firstName": "Jane",
        "lastName": "Example",
        "fullName": "Jane Example",
        "emailAddresses": [{"address": "jane@acme.example", "type": "work", "emailConfidence": "A+"}],
        "phoneNumbers": [
            phone("+1 555-010-0101", "Direct", false),
            phone("+1-555-010-0102", "Mobile", true),
            phone("+1-555-010-0103", "Mobile", false)
        ],
        "location": {
            "country": "United States", "countryIso2": "US", "rawLocation": "Springfield, IL, US", "city": "Springfield",
            "state": "Illinois", "stateCode": "IL", "isEuContact": false
        },
        "jobTitle": {"title": "Chief Testing Officer", "seniority": "Executive", "departments": ["Testing"]},
        "company": {"name": "Acme", "fqdn": "www.acme.example"},
        "socialLinks": {"linkedin": "https://www.linkedin.com/in/jane-example/", "xUrl": "https://x.example/jane"}
    });
    contact(&json!(null), &with(&all, more))
}

fn a_match_is_mapped(vendor: &mut Vendor) {
    vendor.answers(&person(&json!({})).with_header("RateLimit-Reset", "60"));
    let known = vendor.someone();
    let request = vendor.fills(
        &known,
        &json!({
            "job_title": "Chief Testing Officer",
            "company_name": "Acme",
            "linkedin_url": "https://www.linkedin.com/in/jane-example",
            "phone": "+1-555-010-0103",
            "location": "Springfield, IL, US",
            "seniority": "c_suite"
        }),
        None,
    );
    vendor.is_authorised_by(&request, "api_key", SECRET);
    assert_eq!(
        sent(&request),
        json!({
            "method": "GET",
            "path": PATH,
            "query": {
                "email": "jane1@acme.example", "firstName": "Jane", "lastName": "Example", "companyDomain": "acme.example"
            },
            "body": null
        })
    );
    assert_eq!(vendor.cost(), Some(1.0), "a credit was charged");
}

fn a_partial_match_costs_one_credit(vendor: &mut Vendor) {
    let place = json!({"country": "United States", "city": "Springfield", "state": "Illinois"});
    vendor.answers(&person(&json!({"location": place, "phoneNumbers": [], "jobTitle": null})));
    let known = json!({
        "full_name": "Jane Example",
        "company_name": "Acme Corporation",
        "linkedin_url": "https://www.linkedin.com/in/jane-example"
    });
    let expected = json!({"location": "Springfield, Illinois, United States"});
    let request = vendor.fills(&known, &expected, None);
    assert_eq!(
        sent(&request)["query"],
        json!({
            "linkedinUrl": "https://www.linkedin.com/in/jane-example", "firstName": "Jane", "lastName": "Example",
            "companyName": "Acme Corporation"
        })
    );
}

fn numbers_that_must_not_be_called_are_not_taken(vendor: &mut Vendor) {
    for (numbers, expected) in [
        (json!([phone("+15550100", "mobile", true), phone("+15550101", "direct", false)]), "+15550101"),
        (json!([phone("+15550100", "direct", true), phone("+15550101", "Phone", false)]), "+15550101"),
        // Without the mark it may be called.
        (json!([{"number": "+15550102", "phoneType": "mobile"}]), "+15550102"),
    ] {
        let data = json!({"phoneNumbers": numbers});
        vendor.reads(&contact(&json!(null), &data), &json!({"phone": expected}), None);
    }
    let only_such = json!({
        "jobTitle": {"title": "Tester"},
        "phoneNumbers": [phone("+15550100", "Mobile", true), phone("+15550101", "Direct", true)],
        "phones": ["+15550100"]
    });
    vendor.reads(&contact(&json!(null), &only_such), &json!({"job_title": "Tester"}), None);
}

fn seniority_is_told_in_our_words(vendor: &mut Vendor) {
    for (theirs, ours) in [
        ("Director", "director"),
        ("Manager", "manager"),
        ("Vice President", "vp"),
        ("Non-Manager", "Non-Manager"),
    ] {
        let data = json!({"jobTitle": {"seniority": theirs}});
        vendor.reads(&contact(&json!(null), &data), &json!({"seniority": ours}), None);
    }
}

fn errors_inside_a_success() -> Vec<super::Case> {
    let inside = |code: u16, name: &str, message: &str| {
        contact(&json!({"code": code, "name": name, "message": message}), &json!(null))
    };
    vec![
        case("empty data", inside(3, "EMPTY_DATA", "Could not find requested data"), Expected::NoData),
        case("not found", inside(40, "NOT_FOUND", "No such contact"), Expected::NoData),
        case("any other", inside(9, "ENRICH_FAILED", "Try again later"), Expected::Fails("provider_error")),
        case("nothing", answer(200, json!({})), Expected::NoData),
        case(
            "nothing but a number that must not be called",
            contact(&json!(null), &json!({"phoneNumbers": [phone("+15550100", "Mobile", true)]})),
            Expected::NoData,
        ),
    ]
}

fn refusals() -> Vec<super::Case> {
    let too_many = error(429, "Too many requests. Please wait before making another request.");
    vec![
        case("a bad key", error(401, "Invalid API key"), Expected::Pauses("bad_credentials", Wait::Unknown)),
        case(
            "an account that is not active",
            error(403, "Your account is not active. Please contact support"),
            Expected::Pauses("bad_credentials", Wait::Unknown),
        ),
        case(
            "credits used up",
            error(402, "Your account requires payment"),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case(
            "too many",
            too_many
                .with_header("RateLimit-Limit", "25")
                .with_header("RateLimit-Remaining", "0")
                .with_header("RateLimit-Reset", "23"),
            Expected::Pauses("rate_limited", Wait::Seconds(23)),
        ),
        case(
            "the same in the other shape",
            answer(429, json!({"error": {"code": 429, "message": "Too many requests"}})),
            Expected::Pauses("rate_limited", Wait::Unknown),
        ),
        case(
            "the hour's limit",
            error(429, "Hourly API rate limit exceeded. Limit: 150 calls per hour. Reset in 1200 seconds")
                .with_header("RateLimit-Reset", "1200"),
            Expected::Pauses("rate_limited", Wait::Seconds(1_200)),
        ),
        case(
            "the day's quota",
            error(429, "Daily API quota limit exceeded. Limit 1500 calls per day")
                .with_header("X-RateLimit-Remaining-Daily", "0")
                .with_header("X-RateLimit-Reset-Daily", "3600"),
            Expected::Pauses("quota", Wait::Seconds(3_600)),
        ),
        case(
            "the end of the trial",
            error(429, "You've reached your trial limit, please contact support for upgrade"),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case("wrong parameters", error(400, "Bad request"), Expected::Fails("bad_status")),
        case(
            "an error of theirs",
            error(500, "Internal server error").with_header("RateLimit-Reset", "60"),
            Expected::Fails("server_error"),
        ),
    ]
}
