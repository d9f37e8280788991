//! Vendors that there is no preset for, described by configuration alone; and several vendors together.

use serde_json::{Value, json};

use super::{Expected, SOON, Vendor, Wait, answer, case, now, sent, with};
use crate::support::{Behaviour, Response, eventually};
use crate::world::{SECRET, World};

/// Shaped like FullContact: a POST, details in lists, and 202 for as long as it looks.
const FULL: &str = "/v3/person.enrich";
/// Shaped like Prospeo and ContactOut: the key in the query, codes in a body of whatever status, results in a list.
const CODED: &str = "/linkedin-finder";

fn full(world: &World) -> Value {
    json!({
        "request": {
            "method": "POST",
            "url": world.provider.url(FULL),
            "headers": {"Authorization": "Bearer {secret}"},
            "body": {
                "email": "{email}",
                "profiles": [{"service": "linkedin", "username": "{linkedin_handle}"}],
                "name": {"full": "{full_name}", "given": "{first_name}", "family": "{last_name}"},
                "location": {"addressLine1": "{location}"},
                "dataFilter": ["employment_history", "social"]
            }
        },
        "identify_by": [["email"], ["linkedin_handle"], ["full_name", "location"]],
        "response": {
            "pending": {"status": [202]},
            "quota": {"status": [403]},
            "no_match": {"status": [404], "absent": "/details"},
            "retry_after": [{"header": "X-Rate-Limit-Reset", "as": "seconds"}],
            "fields": {
                "job_title": [
                    {"list": "/details/employment", "where": {"/current": true}, "pointer": "/title"},
                    "/title"
                ],
                "company_name": [
                    {"list": "/details/employment", "where": {"/current": true}, "pointer": "/name"},
                    "/organization"
                ],
                "linkedin_url": {"pointer": "/details/profiles/linkedin/url"},
                "phone": {"list": "/details/phones", "where": {"/type": ["work", "mobile"]}, "pointer": "/value", "format": "e164"},
                "location": [
                    {"list": "/details/locations", "pointer": "/formatted"},
                    {"join": ["/details/locations/0/city", "/details/locations/0/country"], "separator": ", "}
                ]
            },
            "confidence": {"value": 0.6}
        }
    })
}

fn full_person() -> Value {
    json!({
        "fullName": "Jane Example",
        "title": "Wrong: of some day",
        "details": {
            "locations": [{"city": "Springfield", "country": "United States", "formatted": "Springfield, Illinois, United States"}],
            "employment": [
                {"name": "Old Company", "current": false, "title": "Old Title"},
                {"name": "Acme", "domain": "acme.example", "current": true, "title": "Chief Testing Officer"}
            ],
            "profiles": {"linkedin": {"service": "linkedin", "username": "jane-example", "url": "https://linkedin.com/in/jane-example"}},
            "phones": [{"type": "fax", "value": "+15550100199"}, {"type": "work", "value": "1 (202) 555-0100"}]
        }
    })
}

#[test]
fn a_vendor_with_nested_details() {
    let mut vendor = Vendor::described("full", full);
    vendor.answers(&answer(200, full_person()));
    let known = vendor.someone();
    let expected = json!({
        "job_title": "Chief Testing Officer",
        "company_name": "Acme",
        "linkedin_url": "https://www.linkedin.com/in/jane-example",
        "phone": "+12025550100",
        "location": "Springfield, Illinois, United States"
    });
    let request = vendor.fills(&known, &expected, Some(0.6));
    vendor.is_authorised_by(&request, "Authorization", &format!("Bearer {SECRET}"));
    assert_eq!(
        sent(&request),
        json!({
            "method": "POST",
            "path": FULL,
            "query": {},
            "body": {
                "email": "jane1@acme.example",
                "name": {"full": "Jane Example", "given": "Jane", "family": "Example"},
                "dataFilter": ["employment_history", "social"]
            }
        })
    );
    let former =
        json!({"title": "Founder", "details": {"employment": [{"name": "Old Company", "current": false}]}});
    vendor.reads(&answer(200, former), &json!({"job_title": "Founder"}), Some(0.6));
    let limited = answer(429, json!({"message": "Too many"})).with_header("X-Rate-Limit-Reset", "31");
    vendor.meets(vec![
        case(
            "it looks for the person",
            answer(202, json!({"status": 202, "message": "Search is in progress"})),
            Expected::Fails("pending"),
        ),
        case("not found", answer(404, json!({"status": 404})), Expected::NoData),
        case("nothing", answer(200, json!({"fullName": "Jane Example", "details": {}})), Expected::NoData),
        case("a bad key", answer(401, json!({})), Expected::Pauses("bad_credentials", Wait::Unknown)),
        case("nothing left", answer(403, json!({})), Expected::Pauses("quota", Wait::Unknown)),
        case("too many", limited, Expected::Pauses("rate_limited", Wait::Seconds(31))),
        case("wrong", answer(422, json!({})), Expected::Fails("bad_status")),
    ]);
    vendor.world.check_credits_add_up();
}

fn coded(world: &World) -> Value {
    json!({
        "request": {
            "url": format!("{}?api_key={{secret}}", world.provider.url(CODED)),
            "query": {"email": "{email}", "reveal_phone": true}
        },
        "identify_by": [["email"]],
        "response": {
            "suppressed": {"body": [{"pointer": "/message", "in": ["OPTED_OUT"]}]},
            "bad_credentials": {"body": [{"pointer": "/message", "in": ["INVALID_API_KEY"]}]},
            "quota": {"body": [{"pointer": "/message", "in": ["INSUFFICIENT_CREDITS"]}]},
            "rate_limited": {"body": [{"pointer": "/message", "in": ["RATE_LIMITED"]}]},
            "pending": {"body": [{"pointer": "/message", "contains": "in_progress", "status": [200]}]},
            "failed": {"body": [{"pointer": "/error", "in": [true]}]},
            "no_match": {"body": [{"pointer": "/message", "in": ["NO_RESULT"]}], "absent": "/results"},
            "retry_after": [{"pointer": "/reset_in_ms", "as": "milliseconds"}, {"pointer": "/reset_at", "as": "epoch_ms"}],
            "cost": {"pointer": "/credits_spent"},
            "fields": {
                "job_title": "/results/0/job/title",
                "company_name": "/results/0/job/company",
                "linkedin_url": {
                    "pointer": "/results/0/handle", "decode": "percent", "prefix": "https://www.linkedin.com/in/"
                },
                "phone": [
                    {"list": "/results/0/phones", "where": {"/type": "mobile"}, "pointer": "/number"},
                    {"list": "/results/0/phones", "pointer": "/number"}
                ],
                "seniority": {
                    "pointer": "/results/0/job/level", "trim_prefix": "level:", "map": {"chief": "c_suite", "lead": "head"}
                }
            },
            "confidence": {"pointer": ["/results/0/score", "/score"], "divide_by": 100}
        }
    })
}

fn found(person: Value) -> Response {
    answer(
        200,
        json!({"error": false, "credits_spent": 0.5, "results": [person, {"job": {"title": "Wrong"}}]}),
    )
}

fn code(status: u16, code: &str) -> Response {
    answer(status, json!({"error": true, "message": code}))
}

#[test]
fn a_vendor_that_puts_codes_into_bodies() {
    let mut vendor = Vendor::described("coded", coded);
    let person = json!({
        "handle": "in%2Fj%C3%A1ne-example", "score": "85", "job": {"title": "Lead Tester", "level": "Level: Lead"},
        "phones": [{"type": "work", "number": "+15550100101"}, {"type": "Mobile", "number": 15550100100_u64}]
    });
    vendor.answers(&found(person));
    let known = vendor.someone();
    let expected = json!({
        "job_title": "Lead Tester",
        "linkedin_url": "https://www.linkedin.com/in/j%C3%A1ne-example",
        "phone": "15550100100",
        "seniority": "head"
    });
    let request = vendor.fills(&known, &expected, Some(0.85));
    assert_eq!(
        sent(&request),
        json!({
            "method": "GET",
            "path": CODED,
            "query": {"api_key": SECRET, "email": "jane1@acme.example", "reveal_phone": "true"},
            "body": null
        })
    );
    assert_eq!(vendor.cost(), Some(0.5));
    let only_phone = json!({"phones": [{"type": "work", "number": "+15550100101"}]});
    vendor.reads(&found(only_phone), &json!({"phone": "+15550100101"}), None);
    vendor.meets(codes());
    vendor.suppresses("somebody who opted out", &code(200, "OPTED_OUT"));
    vendor.world.check_credits_add_up();
}

fn codes() -> Vec<super::Case> {
    let then = now() + 90;
    let limited =
        |reset: Value| answer(200, with(&json!({"error": true, "message": "RATE_LIMITED"}), &reset));
    vec![
        case("no result inside a success", code(200, "NO_RESULT"), Expected::NoData),
        case("no result inside a 400", code(400, "no_result"), Expected::NoData),
        case("an empty list", answer(200, json!({"error": false, "results": []})), Expected::NoData),
        case("any other code", code(200, "INTERNAL"), Expected::Fails("provider_error")),
        case(
            "still at it",
            answer(200, json!({"message": "SEARCH_IN_PROGRESS"})),
            Expected::Fails("pending"),
        ),
        case(
            "a bad key inside a 400",
            code(400, "INVALID_API_KEY"),
            Expected::Pauses("bad_credentials", Wait::Unknown),
        ),
        case(
            "nothing left inside a success",
            code(200, "INSUFFICIENT_CREDITS"),
            Expected::Pauses("quota", Wait::Unknown),
        ),
        case(
            "a wait in milliseconds, rounded up",
            limited(json!({"reset_in_ms": 41_200})),
            Expected::Pauses("rate_limited", Wait::Seconds(42)),
        ),
        case(
            "a time in milliseconds",
            limited(json!({"reset_at": then * 1_000})),
            Expected::Pauses("rate_limited", Wait::Until(then)),
        ),
    ]
}

/// Three vendors, of whom the second is down: the others fill all that there is, and it costs one credit.
#[test]
fn vendors_fill_a_contact_together() {
    let mut vendor = Vendor::described("full", full);
    let world = &vendor.world;
    world.add_provider("coded", &coded(world));
    let sql = "SELECT leadlex.add_provider('down', preset => 'people_data_labs', secret => 'another', config => $1)";
    let config = json!({"request": {"url": world.provider.url("/v5/person/enrich")}});
    world.owner().execute(sql, &[&config]).unwrap();
    for (name, priority) in [("full", 10), ("down", 20), ("coded", 30)] {
        world.run(&format!("SELECT leadlex.alter_provider('{name}', priority => {priority})"));
    }
    // The first has no phone, and the last one knows better what the first knows, too late.
    let first = with(&full_person(), &json!({}));
    let details = with(&first["details"], &json!({"phones": []}));
    let first = with(&first, &json!({"details": details}));
    world.provider.on(FULL, move |_| Behaviour::json(200, first.clone()));
    world.provider.on("/v5/person/enrich", |_| Behaviour::json(503, json!({})));
    let last = found(json!({
        "handle": "somebody-else", "score": 90, "job": {"title": "Another Title", "level": "chief", "company": "ACME Ltd."},
        "phones": [{"type": "mobile", "number": "+15550100100"}]
    }));
    world.provider.on(CODED, move |_| Behaviour::Answer(last.clone()));

    let known = vendor.someone();
    let id = vendor.contact(&known);
    let before = vendor.credits();
    vendor.caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    let reply = vendor.tries(id);
    let filled = json!({
        "job_title": "Chief Testing Officer",
        "company_name": "Acme",
        "linkedin_url": "https://www.linkedin.com/in/jane-example",
        "phone": "+15550100100",
        "location": "Springfield, Illinois, United States",
        "seniority": "c_suite"
    });
    assert_eq!(vendor.row(id), with(&known, &filled), "{reply}");
    let full = json!({"source": "full", "confidence": 0.6});
    let coded = json!({"source": "coded", "confidence": 0.9});
    let sources = json!({
        "job_title": full, "company_name": full, "linkedin_url": full, "location": full, "phone": coded, "seniority": coded
    });
    assert_eq!((&reply["field_sources"], &reply["source"]), (&sources, &json!("full")), "{reply}");
    let paths: Vec<String> = vendor.world.provider.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(paths, [FULL, "/v5/person/enrich", CODED]);
    charged_once(&mut vendor, before, &reply, &sources);
}

fn charged_once(vendor: &mut Vendor, before: i64, reply: &Value, sources: &Value) {
    assert_eq!(vendor.credits(), before - 1);
    let request_id = reply["request_id"].as_str().unwrap();
    let sql = "SELECT jsonb_agg(amount) FROM leadlex.credit_ledger WHERE request_id::text = $1";
    let charges: Value = vendor.world.owner().query_one(sql, &[&request_id]).unwrap().get(0);
    assert_eq!(charges, json!([-1]));
    let sql = "SELECT jsonb_agg(field_sources) FROM leadlex.enrichment WHERE request_id::text = $1";
    let history: Value = vendor.world.owner().query_one(sql, &[&request_id]).unwrap().get(0);
    assert_eq!(history, json!([sources]));
    assert_eq!(vendor.world.ledger().charges, 1, "one row of the ledger in all");
    // Each vendor's answer counts as its own.
    let stats = |name: &str| {
        let sql = format!("SELECT matches - failures FROM leadlex.provider_stats WHERE name = '{name}'");
        vendor.world.number(&sql)
    };
    eventually("each is counted", SOON, || [stats("full"), stats("down"), stats("coded")] == [1, -1, 1]);
    vendor.world.check_credits_add_up();
}
