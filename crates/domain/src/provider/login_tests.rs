use serde_json::{Value, json};

use super::*;
use crate::provider::Config;

fn config(login: Value) -> Result<Config, super::super::ConfigError> {
    Config::parse(&json!({
        "login": login,
        "request": {"url": "https://h/x", "query": {"email": "{email}"}, "headers": {"Authorization": "Bearer {token}"}},
        "identify_by": [["email"]],
        "response": {"fields": {"job_title": "/t"}}
    }))
}

fn plain() -> Value {
    json!({
        "request": {
            "method": "POST", "url": "https://id.acme.example/token",
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            "body": "grant_type=client_credentials&client_id=me&client_secret={secret}"
        },
        "take": {"token": "/access_token"}
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut login = plain();
    login[key] = value;
    login
}

fn read(login: Value, status: u16, body: &str) -> Result<LoginValues, Fault> {
    let config = config(login).unwrap();
    let login = config.login().unwrap();
    let request = login.request(Some("s3/cret-key")).unwrap();
    let headers = vec![("Retry-After".to_owned(), "9".to_owned())];
    login.read(&request, &Answer { status, headers, body: body.as_bytes().to_vec() }, 0)
}

#[test]
fn a_login_sends_the_secret_alone_and_takes_a_token_for_a_time() {
    let config = config(plain()).unwrap();
    let request = config.login().unwrap().request(Some("s3/cret-key\n")).unwrap();
    let body = String::from_utf8(request.body.clone().unwrap()).unwrap();
    assert_eq!(body, "grant_type=client_credentials&client_id=me&client_secret=s3%2Fcret-key");
    assert!(!request.masked().to_string().contains("s3"));
    assert!(config.needs_secret());
    assert_eq!(config.origins().len(), 2);

    for (valid_for, body, expected) in [
        (Value::Null, r#"{"access_token": "t"}"#, None),
        (json!({"seconds": 3600}), r#"{"access_token": "t"}"#, Some(3_570)),
        (json!({"pointer": "/expires_in"}), r#"{"access_token": "t", "expires_in": 100}"#, Some(70)),
        (json!({"pointer": "/expires_in"}), r#"{"access_token": "t", "expires_in": "100"}"#, Some(70)),
        (json!({"pointer": "/expires_in"}), r#"{"access_token": "t", "expires_in": 10}"#, Some(5)),
        (json!({"pointer": "/expires_in"}), r#"{"access_token": "t", "expires_in": -1}"#, None),
        (json!({"pointer": "/expires_in"}), r#"{"access_token": "t"}"#, None),
    ] {
        let values = read(with("valid_for", valid_for), 200, body).unwrap();
        assert_eq!((values.taken.get("token"), values.valid_for_s), (Some("t"), expected), "{body}");
        assert!(!format!("{values:?}").contains("\"t\""), "{values:?}");
    }
    let long = format!(r#"{{"access_token": "{}"}}"#, "x".repeat(8 * 1_024));
    assert!(read(plain(), 200, &long).is_ok());
}

#[test]
fn what_a_login_gave_goes_through_shared_memory() {
    let both = with("take", json!({"token": "/a", "tenant": "/b"}));
    for (a, b) in [("t".to_owned(), "ü \"x\"".to_owned()), ("x".repeat(8_192), "\u{1}".repeat(8_192))] {
        let values = read(both.clone(), 200, &json!({"a": a, "b": b}).to_string()).unwrap();
        let bytes = values.to_bytes();
        assert_eq!(LoginValues::from_bytes(&bytes), Some(values));
        for wrong in [&bytes[..bytes.len() - 1], &bytes[..3], &bytes[1..], &[0, 0, 0, 1, 0xff, 0, 0, 0, 0]] {
            assert_eq!(LoginValues::from_bytes(wrong), None);
        }
    }
    assert_eq!(LoginValues::from_bytes(&[]), Some(LoginValues::default()));
}

#[test]
fn how_a_login_failed_goes_through_shared_memory() {
    for kind in FaultKind::ALL {
        for retry_after_s in [None, Some(0), Some(u64::MAX)] {
            let fault = Fault { retry_after_s, ..Fault::new(kind, "login: ü \"x\"") };
            assert_eq!(failure_from_bytes(&failure_to_bytes(&fault)), Some(fault));
        }
    }
    assert_eq!(failure_from_bytes(b"[\"timeout\",null]"), None);
}

#[test]
fn a_login_that_fails_is_a_matter_of_credentials_unless_its_server_is_in_trouble() {
    for (status, body, kind) in [
        (400, r#"{"error": "invalid_client"}"#, FaultKind::BadCredentials),
        (401, "{}", FaultKind::BadCredentials),
        (403, "{}", FaultKind::BadCredentials),
        (404, "{}", FaultKind::BadCredentials),
        (200, r#"{"error": "s3/cret-key"}"#, FaultKind::BadCredentials),
        (200, r#"{"access_token": null}"#, FaultKind::BadCredentials),
        (200, "", FaultKind::BadCredentials),
        (429, "{}", FaultKind::RateLimited),
        (500, "{}", FaultKind::ServerError),
        (302, "", FaultKind::Redirect),
        (200, "<html>s3/cret-key", FaultKind::Unrecognised),
        (403, "<html>", FaultKind::Unrecognised),
    ] {
        let fault = read(plain(), status, body).unwrap_err();
        assert_eq!(fault.kind, kind, "{status} {body}");
        assert!(fault.message.starts_with("login: ") && !fault.message.contains("s3/"), "{}", fault.message);
        assert_eq!(fault.retry_after_s, Some(9));
    }
}

#[test]
fn a_login_that_is_not_there_is_no_word_about_the_secret() {
    let fault = read(plain(), 404, "{}").unwrap_err();
    assert_eq!(fault.kind, FaultKind::BadCredentials);
    assert!(
        fault.message.contains("status 404, so login.request may have the wrong address"),
        "{}",
        fault.message
    );
    assert!(fault.advice("main").contains("login.request"), "{}", fault.advice("main"));
    let refused = read(plain(), 401, "{}").unwrap_err();
    assert!(refused.message.contains("it does not accept the secret"), "{}", refused.message);
}

/// A token that is not where it is looked for is not known to be one, so nothing masks it.
#[test]
fn nothing_that_the_answer_to_a_login_says_is_told() {
    let config = config(plain()).unwrap();
    let login = config.login().unwrap();
    let request = login.request(Some("s3/cret-key")).unwrap();
    for (kind, body) in [
        ("application/x-www-form-urlencoded", "access_token=ToKeN123&token_type=bearer"),
        ("text/plain", "ToKeN123"),
        ("application/xml", "<t>ToKeN123</t>"),
        ("text/html", "<html>ToKeN123"),
        ("application/json", r#"{"x": {"ToKeN123": "ToKeN123"}}"#),
        ("application/json; charset=utf-16", r#"{"broken": "ToKeN123"#),
        ("text/plain; ToKeN123", "ToKeN123"),
        ("ToKeN123/x", ""),
        ("ToKeN123", "\u{0}ToKeN123"),
    ] {
        for status in
            [200, 201, 202, 206, 300, 302, 400, 401, 402, 403, 404, 409, 418, 422, 429, 451, 500, 503]
        {
            let mut headers = vec![("Content-Type".to_owned(), kind.to_owned())];
            for name in ["Location", "Set-Cookie", "WWW-Authenticate", "Retry-After"] {
                headers.push((name.to_owned(), "https://id.acme.example/ToKeN123/x?ToKeN123".to_owned()));
            }
            if kind == "ToKeN123" {
                headers.push(("Content-Encoding".to_owned(), kind.to_owned()));
            }
            let answer = Answer { status, headers, body: body.as_bytes().to_vec() };
            let fault = login.read(&request, &answer, 0).unwrap_err();
            assert!(!format!("{fault:?}").contains("ToKeN123"), "{status} {kind}: {fault:?}");
            if status == 200 {
                let size = format!("{} bytes)", body.len());
                assert!(fault.message.ends_with(&size), "{}", fault.message);
            }
        }
    }
}

#[test]
fn mistakes_are_refused_with_their_place() {
    let mut of_contact = plain();
    of_contact["request"]["body"] = json!("user={email}&k={secret}");
    let mut of_itself = plain();
    of_itself["request"]["headers"] = json!({"Authorization": "Bearer {token}"});
    let mut wanting = plain();
    wanting["request"] = json!({"url": "https://h/t", "query": {"x": {"wanted": {"phone": "p"}}}});
    for (login, place, part) in [
        (json!({"take": {"token": "/t"}}), "/login/request", "missing"),
        (json!({"request": {"url": "https://h/t"}}), "/login/take", "missing"),
        (with("take", json!({"email": "/t"})), "/login/take/email", "placeholder of ours"),
        (with("token", json!(1)), "/login/token", "allowed are request, take, valid_for"),
        (with("valid_for", json!(3600)), "/login/valid_for", "must be an object"),
        (with("valid_for", json!({})), "/login/valid_for", "either pointer or seconds"),
        (with("valid_for", json!({"seconds": 9, "pointer": "/x"})), "/login/valid_for", "either"),
        (with("valid_for", json!({"seconds": 30})), "/login/valid_for/seconds", "from 31 to"),
        (with("valid_for", json!({"pointer": "x"})), "/login/valid_for/pointer", "begins with /"),
        (
            with("take", json!({"other": "/t"})),
            "/request/headers/Authorization",
            "unknown placeholder {token}",
        ),
        (with("take", json!({"token": "/t", "unused": "/u"})), "", ""),
        (of_contact, "/login/request", "about no contact"),
        (
            of_itself,
            "/login/request/headers/Authorization",
            "unknown placeholder {token}; known are {secret}",
        ),
        (wanting, "/login/request", "about no contact"),
    ] {
        match config(login.clone()) {
            Ok(_) => assert_eq!(part, "", "{login}"),
            Err(error) => {
                assert_eq!(error.place, place, "{login}: {}", error.message);
                assert!(!part.is_empty() && error.message.contains(part), "{login}: {}", error.message);
            }
        }
    }
    let error = Config::parse(&json!({
        "login": plain(),
        "request": {"url": "https://h/x", "query": {"email": "{email}"}},
        "identify_by": [["email"]],
        "response": {"fields": {"job_title": "/t"}}
    }))
    .unwrap_err();
    assert_eq!(error.place, "/login");
    assert!(error.message.contains("no request names"), "{}", error.message);
}

#[test]
fn a_token_that_no_header_can_carry_is_not_taken_and_none_is_asked_for_at_each_request() {
    for body in
        [r#"{"access_token": "a\nb"}"#, r#"{"access_token": "a\u0000b"}"#, r#"{"access_token": "\u007f"}"#]
    {
        let fault = read(plain(), 200, body).unwrap_err();
        assert!(["unrecognised", "bad_credentials"].contains(&fault.kind.name()), "{body} {fault:?}");
        assert!(!fault.message.contains("a\n"), "{}", fault.message);
    }
    let fault = read(plain(), 200, r#"{"access_token": "a\tb"}"#).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unrecognised);
    assert!(fault.message.starts_with("login: ") && fault.message.contains("{token}"), "{}", fault.message);
    let told = with("valid_for", json!({"pointer": "/expires_in"}));
    for (seconds, used) in [(0, 1), (1, 1), (20, 10), (30, 15), (31, 1), (60, 30), (3_600, 3_570)] {
        let body = json!({"access_token": "t", "expires_in": seconds}).to_string();
        assert_eq!(read(told.clone(), 200, &body).unwrap().valid_for_s, Some(used), "{seconds}");
    }
}
