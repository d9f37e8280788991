//! A service of one's own, in our words.

use serde_json::{Value, json};

use super::{Expected, Vendor, Wait, answer, case, now, sent};
use crate::world::SECRET;

const PATH: &str = "/people";

#[test]
fn generic() {
    let mut vendor = Vendor::preset("generic", PATH);
    a_match_is_mapped(&mut vendor);
    a_partial_match_costs_one_credit(&mut vendor);
    vendor.meets(refusals());
    vendor.suppresses("451", &answer(451, json!({"message": "She asked us to forget her"})));
    a_service_without_keys_is_asked_without_one(&mut vendor);
    vendor.world.check_credits_add_up();
}

fn person() -> Value {
    json!({
        "job_title": "Chief Testing Officer",
        "company_name": "Acme",
        "linkedin_url": "de.linkedin.com/in/jane-example?trk=x",
        "phone": 15550100100_u64,
        "location": " Springfield ",
        "seniority": "C-Level"
    })
}

fn normalised() -> Value {
    json!({
        "job_title": "Chief Testing Officer",
        "company_name": "Acme",
        "linkedin_url": "https://www.linkedin.com/in/jane-example",
        "phone": "15550100100",
        "location": "Springfield",
        "seniority": "c_suite"
    })
}

fn a_match_is_mapped(vendor: &mut Vendor) {
    let mut body = person();
    body["confidence"] = json!(0.75);
    vendor.answers(&answer(200, body));
    let known = vendor.someone();
    let request = vendor.fills(&known, &normalised(), Some(0.75));
    vendor.is_authorised_by(&request, "Authorization", &format!("Bearer {SECRET}"));
    assert_eq!(
        sent(&request),
        json!({
            "method": "GET",
            "path": PATH,
            "query": {
                "email": "jane1@acme.example", "full_name": "Jane Example", "company_domain": "acme.example"
            },
            "body": null
        })
    );
    vendor.reads(&answer(200, json!({"data": person()})), &normalised(), None);
}

fn a_partial_match_costs_one_credit(vendor: &mut Vendor) {
    vendor.answers(&answer(200, person()));
    let known = json!({
        "company_name": "Acme Corporation", "linkedin_url": "https://www.linkedin.com/in/jane-example",
        "phone": "+15550100199", "location": "Springfield"
    });
    let expected = json!({"job_title": "Chief Testing Officer", "seniority": "c_suite"});
    let request = vendor.fills(&known, &expected, None);
    assert_eq!(
        sent(&request)["query"],
        json!({
            "company_name": "Acme Corporation", "linkedin_url": "https://www.linkedin.com/in/jane-example",
            "phone": "+15550100199"
        })
    );
}

fn refusals() -> Vec<super::Case> {
    let then = now() + 90;
    let date =
        jiff::Timestamp::from_second(then as i64).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let limited = |after: &str| answer(429, json!({})).with_header("Retry-After", after);
    vec![
        case("not found", answer(404, json!({})), Expected::NoData),
        case("nothing", answer(200, json!({"data": {}})), Expected::NoData),
        case("values that are none", answer(200, json!({"phone": true, "job_title": 7})), Expected::NoData),
        case("a bad key", answer(401, json!({})), Expected::Pauses("bad_credentials", Wait::Unknown)),
        case("nothing left", answer(402, json!({})), Expected::Pauses("quota", Wait::Unknown)),
        case("too many", limited("19"), Expected::Pauses("rate_limited", Wait::Seconds(19))),
        case("too many, with a date", limited(&date), Expected::Pauses("rate_limited", Wait::Until(then))),
        case("no JSON", super::text(200, "<html>"), Expected::Fails("unrecognised")),
        case("an error of theirs", answer(500, json!({})), Expected::Fails("server_error")),
    ]
}

fn a_service_without_keys_is_asked_without_one(vendor: &mut Vendor) {
    let config =
        json!({"request": {"url": vendor.world.provider.url("/open"), "headers": {"Authorization": null}}});
    vendor.world.run("SELECT leadlex.drop_provider('generic')");
    let sql = "SELECT leadlex.add_provider('generic', preset => 'generic', config => $1)";
    vendor.world.owner().execute(sql, &[&config]).unwrap();
    vendor.answers(&answer(200, person()));
    let known = vendor.someone();
    let request = vendor.fills(&known, &normalised(), None);
    assert_eq!((request.path.as_str(), request.header("authorization")), ("/open", None));
}
