use serde_json::json;

use super::*;
use crate::contact::Contact;
use crate::person::Person;
use crate::provider::Config;

/// What is told of an answer to a request with this secret, which an Authorization header has after `Basic` where `basic`.
fn told(secret: &str, basic: bool, answer: &Answer) -> String {
    let headers = if basic { json!({"authorization": "Basic {secret}"}) } else { json!({}) };
    let config = Config::parse(&json!({
        "request": {"url": "https://h/x", "query": {"m": "{email}"}, "headers": headers},
        "identify_by": [["email"]],
        "response": {"fields": {"phone": "/p"}}
    }))
    .unwrap();
    let jane = Contact { email: Some("jane@acme.example".into()), ..Contact::default() };
    let request = config.request(&Person::made_up(&jane), Some(secret)).unwrap();
    match request.without_echo(config.read(answer, 0)) {
        Verdict::Failed(fault) => fault.message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_password_of_basic_authentication_is_masked_as_the_vendor_writes_it() {
    let body = br#"{"error": "password Passw0rd!z of api-user is wrong"}"#.to_vec();
    let answer = Answer { status: 400, headers: Vec::new(), body };
    // api-user:Passw0rd!z
    let message = told("YXBpLXVzZXI6UGFzc3cwcmQheg==", true, &answer);
    assert!(message.contains("password *** of api-user"), "{message}");
}

#[test]
fn what_a_message_quotes_of_an_answer_is_masked() {
    let headers = vec![("content-encoding".to_owned(), "login-secret-777".to_owned())];
    let message = told("login-secret-777", false, &Answer { status: 200, headers, body: b"{}".to_vec() });
    assert!(message.contains("is encoded as ***,"), "{message}");
}
