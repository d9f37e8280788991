//! Whatever a gateway answers in JSON in a vendor's place: no preset takes it for the vendor's word about a person, or
//! about what was handed in.

use serde_json::{Value, json};

use super::tests::complete;
use crate::provider::response::Reading;
use crate::provider::{Answer, Config, Whom};

/// 2026-10-21 07:27:00 UTC.
const NOW: i64 = 1_792_567_620;
const STATUSES: [u16; 7] = [200, 201, 202, 404, 406, 410, 451];

/// Bodies of routers, firewalls and portals. `true`: its words are those of no vendor.
fn bodies() -> Vec<(Value, bool)> {
    vec![
        (json!({"message": "no Route matched with those values"}), true),
        (json!({"statusCode": 404, "message": "Cannot GET /x", "error": "Not Found"}), true),
        (json!({"message": "Cannot POST /x", "error": "Not Found", "statusCode": 404}), true),
        (json!({"message": "Missing Authentication Token"}), true),
        (json!({}), false),
        (json!({"message": "Not Found"}), false),
        (json!({"message": "Not Found", "code": 404}), false),
        (json!({"code": "404", "message": "not found"}), false),
        (json!({"statusCode": 404, "message": "Resource not found"}), false),
        (json!({"statusCode": 451, "message": "blocked"}), false),
        (json!({"statusCode": 410, "message": "Gone"}), false),
        (json!({"error": "Not Found"}), false),
        (json!({"error": "blocked"}), false),
        (json!({"error": "internal"}), false),
        (json!({"error": true}), false),
        (json!({"error": {"message": "blocked"}}), false),
        (json!({"error": {"code": 404, "message": "not found"}}), false),
        (json!({"detail": "Not Found"}), false),
        (json!({"reason": "blocked"}), false),
        (json!({"success": false}), false),
        (json!({"success": false, "message": "not found"}), false),
        (json!({"message": "maintenance"}), false),
        (json!({"errors": ["not found"]}), false),
        (json!({"errors": [{"message": "not found"}]}), false),
        (json!({"status": null}), false),
        (json!({"timestamp": "2026-10-21T07:27:00Z", "error": "Not Found", "path": "/x"}), false),
    ]
}

/// The generic preset cannot know what its vendor's answer looks like: there the status speaks, unless the words are a
/// router's.
fn is_told_by_status(preset: &str, status: u16, router: bool) -> bool {
    preset == "generic" && [404, 451].contains(&status) && !router
}

#[test]
fn a_gateways_json_is_no_vendors_word() {
    let mut wrong = Vec::new();
    for (name, description) in complete() {
        let config = Config::parse(&description).unwrap();
        for (at, step) in config.steps.iter().enumerate() {
            for status in STATUSES {
                for (body, router) in bodies() {
                    let answer = Answer { status, headers: Vec::new(), body: body.to_string().into_bytes() };
                    let reading = step.read(&answer, NOW, &Whom::default()).0;
                    let failed = matches!(reading, Reading::Failed(_));
                    if !failed && !is_told_by_status(name, status, router) {
                        wrong.push(format!("{name}, step {at}: {status} {body}: {reading:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
