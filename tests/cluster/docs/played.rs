//! The vendors that the pages ask: one that knows everybody, and the one at [`ADDRESS`], with every way of answering.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Behaviour, Provider, Response};

/// Where the vendor of docs/providers/write-your-own.md is, as the pages write it.
pub const ADDRESS: &str = "https://api.vendor.example";
/// What its login gives.
const TOKEN: &str = "vendor-token-1";

/// Answers whatever the pages ask.
pub fn play(provider: &Provider) {
    let polls = Arc::new(AtomicUsize::new(0));
    provider.always(move |request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/people") => people(request.param("email").unwrap_or_default()),
        ("POST", "/v1/search") => search(&request.json()),
        ("GET", "/v1/people/4711/phones") => Behaviour::json(200, json!({"phones": phones()})),
        ("POST", "/v1/reveal") => reveal(&request.json()),
        ("POST", "/v1/lookups") => Behaviour::json(202, json!({"id": "lk_1", "title": "General Counsel"})),
        ("GET", "/v1/lookups/lk_1") => lookup(polls.fetch_add(1, Ordering::SeqCst)),
        ("POST", "/oauth/token") => Behaviour::json(200, json!({"access_token": TOKEN, "expires_in": 3600})),
        ("GET", "/v1/profile") if request.header("Authorization") == Some(&format!("Bearer {TOKEN}")) => {
            Behaviour::json(200, json!({"title": "General Counsel"}))
        }
        ("GET", "/v1/profile") => Behaviour::json(401, json!({"error": {"code": "token_expired"}})),
        _ => everybody(),
    });
}

/// In the words of People Data Labs.
fn everybody() -> Behaviour {
    let person = json!({
        "job_title": "General Counsel", "job_company_name": "Acme Corp", "mobile_phone": "+12025550143",
        "linkedin_url": "linkedin.com/in/jane-example", "location_name": "New York, NY, US", "job_title_levels": ["cxo"]
    });
    Behaviour::json(200, json!({"likelihood": 9, "data": person}))
}

/// The part of the address before the @ says what comes.
fn people(email: &str) -> Behaviour {
    let error = |status, code: &str| Behaviour::json(status, json!({"error": {"code": code}}));
    match email.split('@').next().unwrap_or_default() {
        "unknown" => error(404, "person_not_found"),
        "empty" => Behaviour::json(200, json!({"person": null, "score": 0})),
        "private" => error(403, "opted_out"),
        "broke" => error(403, "no_credits"),
        "error" => error(200, "internal"),
        "busy" => Behaviour::json(429, json!({"error": {"code": "too_many"}, "wait_ms": 20_000})),
        "renamed" => Behaviour::json(200, json!({"result": {"job": "General Counsel"}})),
        "page" => {
            let headers = vec![("Content-Type".to_owned(), "text/html".to_owned())];
            Behaviour::Answer(Response { status: 404, headers, body: b"<h1>Not here</h1>".to_vec() })
        }
        "john" => Behaviour::json(200, json!({"person": person("John Other"), "score": 92})),
        _ => Behaviour::json(200, json!({"person": person("Jane Example"), "score": 92})),
    }
}

fn person(name: &str) -> Value {
    json!({
        "name": name, "title": "General Counsel", "level": "Chief", "employer": {"name": "Acme"}, "handle": "jane-example",
        "phones": phones(), "city": "Boston", "country": "US"
    })
}

fn phones() -> Value {
    json!([{"kind": "work", "number": "+1 202-555-0100"}, {"kind": "mobile", "number": "+1 202-555-0143"}])
}

fn search(asked: &Value) -> Behaviour {
    let results = match asked["email"].as_str().is_some_and(|email| email.starts_with("unknown@")) {
        true => json!([]),
        false => json!([{"id": 4711, "title": "General Counsel", "employer": "Acme"}]),
    };
    Behaviour::json(200, json!({"results": results}))
}

/// Tells what it was asked for, and no more.
fn reveal(asked: &Value) -> Behaviour {
    let asks = |what: &str| asked["reveal"].as_array().is_some_and(|all| all.contains(&json!(what)));
    let mut person = json!({});
    if asks("profile") {
        person["title"] = json!("General Counsel");
    }
    if asks("phones") {
        person["phones"] = phones();
    }
    Behaviour::json(200, json!({"person": person}))
}

/// The first time that it is asked for, it is not ready.
fn lookup(polls: usize) -> Behaviour {
    match polls {
        0 => Behaviour::json(200, json!({"status": "running"})),
        _ => Behaviour::json(200, json!({"status": "done", "person": {"phones": phones()}})),
    }
}
