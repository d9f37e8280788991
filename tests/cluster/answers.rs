//! Answers that are no match and no failure of the provider, and answers that are not the vendor's: what stands in front
//! of it (a gateway, a firewall, a portal) speaks for nobody.

use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use crate::provider_faults::reason;
use crate::support::{Behaviour, Failure, Response, eventually, fails, person};
use crate::world::{Beginning, PATH, SECRET, World, enrich, try_enrich};

fn world() -> World {
    World::with(&Beginning { contacts: 60, credits: Some(100), ..Beginning::default() })
}

fn page(status: u16, kind: &str, body: &str) -> Response {
    Response { status, headers: vec![("Content-Type".into(), kind.into())], body: body.as_bytes().to_vec() }
}

fn state(world: &World) -> Value {
    world
        .owner()
        .query_one("SELECT to_jsonb(s) FROM leadlex.provider_stats AS s WHERE s.name = 'main'", &[])
        .unwrap()
        .get(0)
}

fn alter(client: &mut Client, config: &Value) -> Result<u64, postgres::Error> {
    client.execute("SELECT leadlex.alter_provider('main', config => $1)", &[config])
}

/// Ten contacts are asked about, each anew; what the last one is told.
fn ten_times(world: &World, expected: &str) -> Failure {
    let before = world.provider.count();
    let mut last = None;
    for n in 1..=10 {
        let failure = fails(enrich(&mut world.caller(), n));
        assert_eq!(reason(&failure).1, expected, "{failure:?}");
        last = Some(failure);
    }
    assert_eq!(world.provider.count(), before + 10, "{expected}: no pause");
    assert_eq!(state(world)["state"], "ok");
    last.unwrap()
}

#[test]
fn no_content_is_no_match_and_no_reason_to_pause() {
    let world = world();
    alter(&mut world.owner(), &json!({"response": {"no_match": null}})).unwrap();
    world
        .provider
        .on(PATH, |_| Behaviour::Raw(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec()));
    let mut caller = world.caller();
    for n in 1..=8 {
        let told = try_enrich(&mut caller, n);
        assert_eq!(
            (&told["error"]["code"], &told["error"]["reason"]),
            (&json!("no_match"), &json!("no_data"))
        );
    }
    assert_eq!(world.provider.count(), 8);
    assert_eq!(state(&world)["state"], "ok");
    // It is remembered, as any nothing is.
    assert_eq!(try_enrich(&mut caller, 1)["error"]["reason"], "no_data");
    assert_eq!(world.provider.count(), 8);
}

#[test]
fn accepted_is_pending_and_never_remembered_as_nothing() {
    let world = world();
    world.provider.on(PATH, |_| Behaviour::json(202, json!({"id": 4711, "data": {}})));
    ten_times(&world, "pending");
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut world.caller(), 1).unwrap();
    // The configuration can say otherwise.
    alter(&mut world.owner(), &json!({"response": {"pending": {"status": []}}})).unwrap();
    world.provider.on(PATH, |_| Behaviour::json(202, person()));
    enrich(&mut world.caller(), 2).unwrap();
}

#[test]
fn an_error_inside_a_success_is_not_remembered_as_nothing() {
    let world = world();
    let plain = json!({"response": {"no_match": null}});
    alter(&mut world.owner(), &plain).unwrap();
    for body in [json!({"error": {"message": "internal"}}), json!({}), json!({"data": "none"})] {
        world.provider.on(PATH, move |_| Behaviour::json(200, body.clone()));
        let failure = ten_times(&world, "unrecognised");
        assert!(failure.hint.as_deref().is_some_and(|h| h.contains("no_match")), "{failure:?}");
    }
    let checked: Value = world
        .owner()
        .query_one("SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}')", &[])
        .unwrap()
        .get(0);
    assert_eq!(
        (&checked["outcome"], &checked["reason"]),
        (&json!("failed"), &json!("unrecognised")),
        "{checked}"
    );
    assert!(checked["hint"].as_str().is_some_and(|h| h.contains("\"/data\"")), "{checked}");
    // What the hint says is enough, and an empty list is a match of nothing.
    for nothing in [json!({"error": {"message": "internal"}}), json!([])] {
        world.provider.on(PATH, move |_| Behaviour::json(200, nothing.clone()));
        let rule = json!({"response": {"no_match": {"body": [{"pointer": "/error", "present": true}]}}});
        alter(&mut world.owner(), &rule).unwrap();
        assert_eq!(try_enrich(&mut world.caller(), 11)["error"]["reason"], "no_data");
    }
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut world.caller(), 1).unwrap();
}

#[test]
fn a_map_says_no_value_with_an_empty_text_and_null_is_refused() {
    let world = world();
    let mut owner = world.owner();
    let seniority = |map: Value| json!({"response": {"fields": {"seniority": {"pointer": "/data/seniority", "map": map}}}});
    let mut whole = world.provider.config(PATH);
    whole["response"]["fields"]["seniority"] = json!({"pointer": "/data/seniority", "map": {"n/a": null}});
    let preset = "SELECT leadlex.add_provider('other', preset => 'people_data_labs', config => $1)";
    for (what, refused) in [
        ("altered", alter(&mut owner, &seniority(json!({"n/a": null})))),
        ("whole", owner.execute("SELECT leadlex.add_provider('other', config => $1)", &[&whole])),
        ("over a preset", owner.execute(preset, &[&seniority(json!({"n/a": null}))])),
    ] {
        let failure = fails(refused);
        assert_eq!(failure.sqlstate, "22023", "{what}: {failure:?}");
        assert_eq!(failure.json()["place"], "/response/fields/seniority/map/n~1a", "{what}");
    }
    alter(&mut owner, &seniority(json!({"Intern (unpaid)": "", "c_suite": "C"}))).unwrap();
    for (n, word, updated) in
        [(1, "intern (UNPAID)", json!(["phone"])), (2, "C_suite", json!(["phone", "seniority"]))]
    {
        world.provider.on(PATH, move |_| {
            Behaviour::json(200, json!({"data": {"phone": "+15550100100", "seniority": word}}))
        });
        assert_eq!(enrich(&mut world.caller(), n).unwrap()["fields_updated"], updated, "{word}");
    }
}

#[test]
fn lists_are_sent_without_what_has_nothing_to_tell() {
    let world = world();
    let config = json!({
        "request": {
            "method": "POST",
            "url": world.provider.url("/listed"),
            "headers": {"Authorization": "{secret}"},
            "body": {
                "emails": ["{email}"],
                "urls": ["{linkedin_url}"],
                "profiles": [{"service": "linkedin", "url": "{linkedin_url}"}],
                "filter": [{"kind": "person"}]
            }
        },
        "identify_by": [["email"], ["linkedin_url"], ["phone"]],
        "response": {"fields": {"job_title": "/job_title"}}
    });
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    world.provider.on("/listed", |_| Behaviour::json(200, json!({"job_title": "Tester"})));
    enrich(&mut world.caller(), 1).unwrap();
    let sent = world.provider.requests()[0].json();
    assert_eq!(sent, json!({"emails": ["person1@acme.example"], "filter": [{"kind": "person"}]}));
    // By its telephone number the contact could be asked about, if the request told it.
    world.run("UPDATE crm SET email = NULL, phone = '+15550100100' WHERE full_name = 'Person 2'");
    assert_eq!(try_enrich(&mut world.caller(), 2)["error"]["reason"], "not_identifiable");
    assert_eq!(world.provider.count(), 1);
    let checked = "SELECT leadlex.check_provider('main', '{\"phone\": \"+15550100100\"}')->>'reason'";
    let told: String = world.owner().query_one(checked, &[]).unwrap().get(0);
    assert_eq!((told.as_str(), world.provider.count()), ("not_identifiable", 1));
}

#[test]
fn a_gateways_page_lists_nobody_and_is_not_remembered() {
    let world = world();
    let pages = [
        page(451, "text/html", "<html><h1>451 Unavailable For Legal Reasons</h1></html>"),
        page(451, "text/plain", "Not available in your country"),
        page(451, "text/html", ""),
        page(
            404,
            "text/html",
            "<html><center><h1>404 Not Found</h1></center><hr><center>nginx</center></html>",
        ),
        page(404, "text/plain", "default backend - 404"),
    ];
    for answer in pages {
        let shown = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        world.provider.on(PATH, move |_| Behaviour::Answer(answer.clone()));
        ten_times(&world, "unrecognised");
        assert_eq!(world.number("SELECT count(*) FROM leadlex.suppression"), 0, "{shown}");
    }
    // Nobody was taken out: each can be asked about again.
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    for n in 1..=10 {
        enrich(&mut world.caller(), n).unwrap();
    }
    // The vendor's own words count as ever.
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    assert_eq!(try_enrich(&mut world.caller(), 11)["error"]["reason"], "no_data");
    world.provider.on(PATH, |_| Behaviour::json(451, json!({"message": "opted out"})));
    assert_eq!(try_enrich(&mut world.caller(), 12)["error"]["reason"], "suppressed");
}

/// After a bad night: whom the provider had nothing about is asked about again, and what it supplied is kept.
#[test]
fn nothings_of_a_bad_night_can_be_forgotten() {
    let world = world();
    let mut caller = world.caller();
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    for n in 1..=3 {
        assert_eq!(try_enrich(&mut caller, n)["error"]["reason"], "no_data");
    }
    let asked: String = world.owner().query_one("SELECT clock_timestamp()::text", &[]).unwrap().get(0);
    world.provider.on(PATH, |_| Behaviour::json(404, json!({"status": "bad night"})));
    for n in 4..=8 {
        assert_eq!(try_enrich(&mut caller, n)["error"]["reason"], "no_data");
    }
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut caller, 9).unwrap();
    let recheck = format!("SELECT leadlex.recheck('main', '{asked}')");
    assert_eq!(fails(caller.query_one(&recheck, &[])).sqlstate, "42501");
    // At once: also what the worker has not written yet.
    assert_eq!(world.number(&recheck), 5);
    assert_eq!(world.number(&recheck), 0);
    world.provider.forget();
    for n in 4..=8 {
        enrich(&mut caller, n).unwrap();
    }
    assert_eq!(world.provider.count(), 5);
    assert_eq!(try_enrich(&mut caller, 1)["error"]["reason"], "no_data", "older ones are still known");
    world.run("UPDATE crm SET phone = NULL WHERE full_name = 'Person 9'");
    enrich(&mut caller, 9).unwrap();
    assert_eq!(world.provider.count(), 5, "what it supplied was kept");
    for wrong in ["SELECT leadlex.recheck('other', now())", "SELECT leadlex.recheck('main', NULL)"] {
        assert_eq!(fails(world.owner().query_one(wrong, &[])).sqlstate, "22023", "{wrong}");
    }
}

#[test]
fn what_was_not_understood_is_shown_everywhere() {
    let world = world();
    let html = format!("<html>\n<h1>Access to {SECRET} denied</h1>{}</html>", " for you".repeat(40));
    let cases = [
        (page(403, "text/html", &html), "unrecognised", "<h1>Access to *** denied</h1>"),
        (
            page(400, "text/html", "<center>No required SSL certificate was sent</center>"),
            "bad_status",
            "No required SSL",
        ),
        (page(200, "text/html", "<title>Sign in</title>"), "unrecognised", "<title>Sign in</title>"),
        (page(200, "application/json", "{\"data\": oops"), "bad_json", "{\"data\": oops"),
        (
            page(302, "text/html", "").with_header("Location", "https://sso.example/login?next=x"),
            "redirect",
            "Location: https://sso.example/login",
        ),
        (page(502, "text/html", "<h1>502 Bad Gateway</h1>"), "server_error", "502 Bad Gateway"),
    ];
    for (answer, expected, shown) in cases {
        let status = answer.status;
        world.provider.on(PATH, move |_| Behaviour::Answer(answer.clone()));
        let failure = fails(enrich(&mut world.caller(), 1));
        assert_eq!(reason(&failure).1, expected, "{failure:?}");
        let mut seen = vec![failure.json()["providers"][0]["message"].as_str().unwrap().to_owned()];
        let sql = "SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}')->>'message'";
        seen.push(world.owner().query_one(sql, &[]).unwrap().get(0));
        seen.push(state(&world)["last_error"].as_str().unwrap().to_owned());
        for text in seen {
            assert!(text.contains(shown) && text.contains(&status.to_string()), "{text}");
            assert!(!text.contains(SECRET) && text.chars().count() < 350, "{text}");
        }
        world.end_pauses();
    }
}

#[test]
fn a_request_larger_than_any_server_takes_is_not_sent() {
    let world = world();
    let long = "x".repeat(70_000);
    alter(&mut world.owner(), &json!({"request": {"query": {"more": long}}})).unwrap();
    let failure = fails(enrich(&mut world.caller(), 1));
    assert_eq!(reason(&failure).1, "too_large", "{failure:?}");
    assert_eq!(world.provider.connections(), 0);
}

#[test]
fn encodings_are_undone_or_named() {
    let world = world();
    let packed = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(person().to_string().as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let padded = [packed.clone(), vec![0; 100]].concat();
    for (n, name, body) in
        [(1, "gzip", &packed), (2, "x-gzip", &packed), (3, "GZIP", &packed), (4, "gzip", &padded)]
    {
        let answer = Response { status: 200, headers: Vec::new(), body: body.clone() };
        let answer =
            answer.with_header("Content-Type", "application/json").with_header("Content-Encoding", name);
        world.provider.on(PATH, move |_| Behaviour::Answer(answer.clone()));
        enrich(&mut world.caller(), n).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    for name in ["br", "zstd", "deflate"] {
        let answer = Response::json(200, &person()).with_header("Content-Encoding", name);
        world.provider.on(PATH, move |_| Behaviour::Answer(answer.clone()));
        let failure = fails(enrich(&mut world.caller(), 5));
        assert_eq!(reason(&failure).1, "bad_encoding", "{failure:?}");
        assert!(failure.message.contains(&format!("encoded as {name}")), "{failure:?}");
        assert_eq!(
            state(&world)["failures_by_kind"]["bad_encoding"],
            json!(if name == "br" {
                1
            } else if name == "zstd" {
                2
            } else {
                3
            })
        );
    }
    let latin = page(200, "application/json;charset=ISO-8859-1", "");
    let latin = Response { body: b"{\"data\": {\"job_title\": \"G\xe9rant\"}}".to_vec(), ..latin };
    world.provider.on(PATH, move |_| Behaviour::Answer(latin.clone()));
    assert_eq!(enrich(&mut world.caller(), 6).unwrap()["contact"]["job_title"], "Gérant");
}

#[test]
fn too_many_requests_always_pause() {
    let world = world();
    let date = |offset: i64| {
        let at = std::time::SystemTime::now();
        let span = Duration::from_secs(offset.unsigned_abs());
        httpdate::fmt_http_date(if offset < 0 { at - span } else { at + span })
    };
    let limited = |date_header: Option<String>, wait: String| {
        let answer = Response::json(429, &json!({})).with_header("Retry-After", &wait);
        match date_header {
            Some(date) => answer.with_header("Date", &date),
            None => answer,
        }
    };
    for (what, answer, least, most) in [
        ("at once", limited(None, "0".into()), 1, 1),
        ("a date that is past", limited(None, date(-60)), 1, 1),
        ("a clock that is behind", limited(Some(date(-3_600)), date(-3_570)), 29, 30),
        ("a clock that is ahead", limited(Some(date(600)), date(630)), 29, 30),
        ("two waits", limited(None, "3, 60".into()), 59, 60),
        ("a unit", limited(None, "20s".into()), 19, 20),
    ] {
        world.provider.on(PATH, move |_| Behaviour::Answer(answer.clone()));
        let before = world.provider.count();
        // In one statement: a busy machine may be slow between two.
        let sql = "SELECT jsonb_agg(try_enrich_contact(id)) FROM crm WHERE full_name ~ '^Person [1-5]$'";
        let told: Value = world.caller().query_one(sql, &[]).unwrap().get(0);
        assert_eq!(world.provider.count(), before + 1, "{what}: {told}");
        let wait = told[4]["error"]["providers"][0]["retry_after"].as_i64().unwrap();
        assert!((least..=most).contains(&wait), "{what}: {wait}");
        world.end_pauses();
    }
}

#[test]
fn after_a_503_nobody_is_told_of_a_rate_limit() {
    let world = world();
    let answer = Response::json(503, &json!({})).with_header("Retry-After", "20");
    world.provider.on(PATH, move |_| Behaviour::Answer(answer.clone()));
    assert_eq!(reason(&fails(enrich(&mut world.caller(), 1))).1, "server_error");
    let failure = fails(enrich(&mut world.caller(), 2));
    assert_eq!(reason(&failure).1, "server_error", "{failure:?}");
    assert_eq!(failure.json()["providers"][0]["paused"], true, "{failure:?}");
    assert_eq!(state(&world)["state"], "server_error");
    assert_eq!(world.provider.count(), 1);
}

/// HAProxy and Apache end a connection so when their own one to the vendor dies: after the vendor has read the request.
#[test]
fn a_request_that_went_out_is_sent_once_and_counted() {
    let world = world();
    world.run("SELECT leadlex.alter_provider('main', '{\"max_requests_per_day\": 8}')");
    let mut caller = world.caller();
    for n in 1..=4 {
        world.provider.on(PATH, |_| Behaviour::json(200, person()));
        enrich(&mut caller, n).unwrap();
        world.provider.on(PATH, |_| Behaviour::Close);
        let failure = fails(enrich(&mut caller, 20 + n));
        assert_eq!(reason(&failure).1, "reset", "{failure:?}");
        assert_eq!(failure.json()["retryable"], true);
    }
    assert_eq!(world.provider.count(), 8);
    assert_eq!(reason(&fails(enrich(&mut caller, 30))).1, "provider_limit");
    assert_eq!(world.provider.count(), 8, "never more than the limit");
    eventually("the statistics know all of them", Duration::from_secs(10), || state(&world)["calls"] == 8);
}

/// With a key by which the vendor knows repetitions it is sent once more, and counts twice.
#[test]
fn with_an_idempotency_key_it_is_sent_once_more_and_both_count() {
    let world = world();
    world.run("SELECT leadlex.alter_provider('main', '{\"idempotency_header\": \"X-Key\", \"max_requests_per_day\": 6}')");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    // Only on a used connection: a new one that is closed is no doubt about this request.
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person2@acme.example") => Behaviour::Close,
        _ => Behaviour::json(200, person()),
    });
    assert_eq!(reason(&fails(enrich(&mut caller, 2))).1, "reset");
    let keys: Vec<Option<String>> =
        world.provider.requests()[1..].iter().map(|r| r.header("x-key").map(str::to_owned)).collect();
    assert!(keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
    enrich(&mut caller, 3).unwrap();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    world.provider.on(PATH, move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Behaviour::Close,
        _ => Behaviour::json(200, person()),
    });
    let sql = "SELECT status FROM enrich_contacts(ARRAY[(SELECT id FROM crm WHERE full_name = 'Person 4')])";
    assert_eq!(caller.query_one(sql, &[]).unwrap().get::<_, String>(0), "enriched");
    assert_eq!(world.provider.count(), 6);
    assert_eq!(reason(&fails(enrich(&mut caller, 5))).1, "provider_limit");
    eventually("the statistics know all of them", Duration::from_secs(10), || state(&world)["calls"] == 6);
}

#[test]
fn an_interim_answer_and_one_without_a_body_are_understood() {
    let world = world();
    alter(&mut world.owner(), &json!({"response": {"no_match": null}})).unwrap();
    world.provider.on(PATH, |_| {
        let head = "HTTP/1.1 100 Continue\r\nVia: 1.1 Caddy\r\n\r\n";
        Behaviour::Raw([head.as_bytes(), &Response::json(200, &person()).to_bytes()].concat())
    });
    enrich(&mut world.caller(), 1).unwrap();
    let started = Instant::now();
    world.provider.on(PATH, |_| {
        Behaviour::Custom(Box::new(|stream| {
            use std::io::{Read, Write};
            stream.write_all(b"HTTP/1.1 205 Reset Content\r\n\r\n")?;
            let _ = stream.read(&mut [0; 16]);
            Ok(crate::support::http::Next::Close)
        }))
    });
    assert_eq!(reason(&fails(enrich(&mut world.caller(), 2))).1, "unrecognised");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    for status in [300, 304, 305] {
        world.provider.on(PATH, move |_| {
            Behaviour::Raw(
                format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").into_bytes(),
            )
        });
        assert_eq!(reason(&fails(enrich(&mut world.caller(), 2))).1, "bad_status", "{status}");
    }
}
